# SPDX-License-Identifier: Apache-2.0
"""When each sensor measures: LiDAR 20 Hz, radars 13 Hz, cameras 12 Hz, key frames 2 Hz.

A key frame's time is that of its LiDAR sweep; of every other sensor the nearest reading belongs to
it. Cameras open when the LiDAR's beam sweeps past them, radars have phases of their own.
Everything begins with the readings of the first key frame and ends with those of the last.
"""

from dataclasses import dataclass

import numpy as np

from imkd_core.simulation.rig import CAMERA_MOUNTS, RADAR_MOUNTS

LIDAR = "LIDAR_TOP"

#: All channels; the place in this list is the sensor's number in random seeds.
CHANNELS = (LIDAR, *RADAR_MOUNTS, *CAMERA_MOUNTS)

KEY_PERIOD_US = 500_000
LIDAR_PERIOD_US = 50_000
CAMERA_HZ, RADAR_HZ = 12, 13

#: Time of the first key frame in a drive.
FIRST_KEY_US = 100_000


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One measurement of one sensor.

    Attributes:
        channel: sensor.
        index: of the measurement on this channel, from 0.
        time_us: since the start of the drive.
        key: index of the key frame it belongs to, or that comes next.
        is_key: whether it is that key frame's.
    """

    channel: str
    index: int
    time_us: int
    key: int
    is_key: bool


def key_count(duration_s: float) -> int:
    """Return the number of key frames of a drive; one at least."""
    return max(1, int(duration_s * 1e6) // KEY_PERIOD_US)


def measurements(channel: str, keys: int, with_sweeps: bool = True) -> tuple[Measurement, ...]:
    """Return the measurements of a channel in time order.

    Args:
        channel: sensor.
        keys: number of key frames.
        with_sweeps: those between key frames too.
    """
    key_us = FIRST_KEY_US + KEY_PERIOD_US * np.arange(keys, dtype=np.int64)
    time_us = _raster(channel, int(key_us[-1]) + KEY_PERIOD_US)
    nearest = [int(np.argmin(np.abs(time_us - key))) for key in key_us]
    found = []
    for i in range(nearest[0], nearest[-1] + 1):
        key = int(np.searchsorted(nearest, i))
        is_key = nearest[key] == i
        if is_key or with_sweeps:
            found.append((int(time_us[i]), key, is_key))
    return tuple(
        Measurement(channel=channel, index=n, time_us=time, key=key, is_key=is_key)
        for n, (time, key, is_key) in enumerate(found)
    )


def _raster(channel: str, end_us: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return all times of a channel from the start of the drive on."""
    if channel == LIDAR:
        return np.arange(0, end_us, LIDAR_PERIOD_US, dtype=np.int64)
    if channel in CAMERA_MOUNTS:
        # a full turn of the LiDAR takes 50 ms and passes the front at its stamp
        phase_us = FIRST_KEY_US - CAMERA_MOUNTS[channel][3] / 360 * LIDAR_PERIOD_US
        phase_us, rate_hz = phase_us % (1e6 / CAMERA_HZ), CAMERA_HZ
    else:
        phase_us, rate_hz = 14_000.0 * list(RADAR_MOUNTS).index(channel), RADAR_HZ
    count = int(end_us * rate_hz / 1e6) + 1
    return np.round(phase_us + np.arange(count) * 1e6 / rate_hz).astype(np.int64)
