# SPDX-License-Identifier: Apache-2.0
"""Made-up streams of sensor readings, for tests and benchmarks of the synchronisers."""

import random
from collections.abc import Iterable, Mapping
from typing import NamedTuple

MS = 1_000_000
CAMERAS = tuple(f"CAM_{i}" for i in range(6))
RADARS = tuple(f"RADAR_{i}" for i in range(5))
START_NS = 1_000_000 * MS


class Reading(NamedTuple):
    arrival_ns: int
    sensor: str
    stamp_ns: int


def rig_stream(
    seed: int,
    seconds: float = 20.0,
    camera_hz: float = 12.0,
    radar_hz: float = 13.0,
    jitter_ms: float = 20.0,
    latency_ms: float = 30.0,
    rates_hz: Mapping[str, float] | None = None,
    loss: Mapping[str, float] | None = None,
    dead: Iterable[str] = (),
    camera_phases_ms: Iterable[float] | None = None,
) -> list[Reading]:
    """Return readings in order of arrival; phases are random where they are not given."""
    rng = random.Random(seed)
    phases_ms = dict(zip(CAMERAS, camera_phases_ms or (), strict=False))
    readings = []
    for sensor in (*CAMERAS, *RADARS):
        hz = (rates_hz or {}).get(sensor, camera_hz if sensor in CAMERAS else radar_hz)
        first_ms = phases_ms.get(sensor, rng.uniform(0, 1000 / hz))
        newest_ns = 0
        for k in range(int(seconds * hz)):
            stamp_ms = first_ms + k * 1000 / hz + rng.uniform(-jitter_ms, jitter_ms)
            stamp_ns = START_NS + int(stamp_ms * MS)
            lost = rng.random() < (loss or {}).get(sensor, 0.0)
            if lost or sensor in dead or stamp_ns <= newest_ns:
                continue
            arrival_ns = max(stamp_ns, newest_ns) + int(rng.uniform(0, latency_ms) * MS)
            newest_ns = stamp_ns
            readings.append(Reading(arrival_ns, sensor, stamp_ns))
    return in_order(readings)


def in_order(readings: list[Reading]) -> list[Reading]:
    """Return readings by arrival, each sensor's in the order of its stamps."""
    arrivals: dict[str, int] = {}
    fixed = []
    for reading in sorted(readings, key=lambda r: r.stamp_ns):
        arrival_ns = max(reading.arrival_ns, arrivals.get(reading.sensor, 0))
        arrivals[reading.sensor] = arrival_ns
        fixed.append(reading._replace(arrival_ns=arrival_ns))
    return sorted(fixed)
