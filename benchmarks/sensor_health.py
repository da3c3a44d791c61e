# SPDX-License-Identifier: Apache-2.0
"""Hits and false alarms of the detectors of sensor faults, on made-up drives in all weathers.

    python -m benchmarks.sensor_health --data FOLDER [FOLDER ...] --json FILE

Every drive is watched as it is, and once for each fault of each of its sensors: the fault begins
in mid-drive and stays. A hit is a drive in which the sensor's fault was told, by its own name,
before the end; a false alarm is a measurement of a drive as it is for which a fault was told.
Without --data, drives of all weathers with images at 12 Hz are made first, which takes a minute.
"""

import argparse
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fault_drives import NODE_WIDTH_PX, FaultDrives, add_options
from benchmarks.harness import AT_MOST, Figure, Goal, Report, Timing, run_benchmark
from benchmarks.sensor_faults import faulty_picture, faulty_scan
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.data.nuscenes.reading import Reading
from imkd_core.health import radar
from imkd_core.health.faults import CAMERA_FAULTS, RADAR_FAULTS
from imkd_core.health.monitor import SensorHealth
from imkd_core.types import CameraImage, Frame, RadarCloud

#: A fault begins after this share of a drive's frames.
_BEGINS = 0.36

#: Drives that are made where none are named.
MADE = FaultDrives(
    name="health",
    seed=9700,
    conditions=("night", "fog", "rain", "low_sun", "clear"),
    count=10,
    duration_s=6.0,
    quick_s=3.0,
)

#: All faults, with the kind of sensor.
_PAIRS = (
    *(("camera", fault) for fault in CAMERA_FAULTS),
    *(("radar", fault) for fault in RADAR_FAULTS),
)


@dataclass(frozen=True, kw_only=True)
class Drive:
    """A drive as a vehicle would hand it to the detectors.

    Attributes:
        weather: in words.
        frames: in the order of time.
    """

    weather: str
    frames: tuple[Frame, ...]


@dataclass(kw_only=True)
class Counts:
    """What was counted.

    Attributes:
        tried, hits: (fault, kind, weather) -> drives with it, and those in which it was told.
        delays_s: (fault, kind) -> from its first measurement until it was told.
        looked, alarms: (kind, weather) -> measurements without fault; and with fault told.
        sensors, blamed: (kind, weather) -> sensors of drives; and those with an alarm.
    """

    tried: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    hits: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    delays_s: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    looked: Counter[tuple[str, str]] = field(default_factory=Counter)
    alarms: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    certain: Counter[str] = field(default_factory=Counter)


def measure(options: argparse.Namespace) -> Report:
    """Watch all drives."""
    counts = Counts()
    with tempfile.TemporaryDirectory() as folder:
        for reader, scene in MADE.scenes(options, Path(folder)):
            drive = _open_drive(reader, scene)
            _watch_clean(drive, counts)
            _watch_faults(drive, counts, options.seed)
        times = _times(drive)
    return Report(
        name="sensor_health",
        figures=(*_figures(counts), *times),
        goals=_goals(counts),
        facts=_facts(counts),
    )


def _open_drive(reader: NuScenes, scene: str) -> Drive:
    """Return a drive: one frame for each image of its first camera."""
    readings = [reading for reading in reader.readings(scene) if reading.modality != "lidar"]
    by_sensor: dict[str, list[Reading]] = {}
    for reading in readings:
        by_sensor.setdefault(reading.sensor, []).append(reading)
    cameras = {n: r for n, r in by_sensor.items() if r[0].modality == "camera"}
    radars = {n: r for n, r in by_sensor.items() if r[0].modality == "radar"}
    frames, before_ns = [], 0
    for images in zip(*cameras.values(), strict=False):
        stamp_ns = max(image.stamp_ns for image in images)
        scans = {
            name: tuple(
                one.radar_cloud(reader.radar_filter)
                for one in reversed(found)
                if before_ns < one.stamp_ns <= stamp_ns
            )
            for name, found in radars.items()
        }
        frames.append(
            Frame(
                stamp_ns=stamp_ns,
                cameras={image.sensor: image.image(NODE_WIDTH_PX) for image in images},
                radars={name: clouds for name, clouds in scans.items() if clouds},
                odom_from_ego=images[0].global_from_ego,
            )
        )
        before_ns = stamp_ns
    record = reader.sample(reader.sample_tokens(scene)[0])
    return Drive(weather=record.description or "unknown", frames=tuple(frames))


def _watch_clean(drive: Drive, counts: Counts) -> None:
    health = SensorHealth()
    for frame in drive.frames:
        findings = health.look(frame)
        counts.looked["camera", drive.weather] += len(frame.cameras)
        counts.looked["radar", drive.weather] += len(frame.radars)
        for finding in findings:
            kind = "camera" if finding.sensor in frame.cameras else "radar"
            counts.alarms[finding.fault, kind, drive.weather] += 1
            counts.certain[kind] += finding.is_certain


def _watch_faults(drive: Drive, counts: Counts, seed: int) -> None:
    cameras = sorted(drive.frames[0].cameras)
    radars = sorted({name for frame in drive.frames for name in frame.radars})
    cases = [("camera", sensor, fault) for sensor in cameras for fault in CAMERA_FAULTS]
    cases += [("radar", sensor, fault) for sensor in radars for fault in RADAR_FAULTS]
    for number, (kind, sensor, fault) in enumerate(cases):
        key = (fault, kind, drive.weather)
        counts.tried[key] += 1
        delay_s = _told_after_s(drive, kind, sensor, fault, seed + number)
        if delay_s is not None:
            counts.hits[key] += 1
            counts.delays_s.setdefault((fault, kind), []).append(delay_s)


def _told_after_s(drive: Drive, kind: str, sensor: str, fault: str, seed: int) -> float | None:
    """Return how long after its begin a fault was told; None where it never was."""
    stamp_ns = drive.frames[0].stamp_ns
    rng = np.random.default_rng([seed, stamp_ns])
    fixed = int(rng.integers(1 << 32))
    begin = round(_BEGINS * len(drive.frames))
    health = SensorHealth()
    repeated: CameraImage | RadarCloud | None = None
    for number, frame in enumerate(drive.frames):
        if kind == "radar":
            frame = replace(frame, cameras={})
        if number >= begin and kind == "camera":
            image = frame.cameras[sensor]
            repeated = repeated or image
            pixels = faulty_picture(fault, image.pixels, repeated.pixels, fixed, rng)
            changed = replace(image, pixels=pixels)
            frame = replace(frame, cameras={**frame.cameras, sensor: changed})
        elif number >= begin and sensor in frame.radars:
            clouds = frame.radars[sensor]
            repeated = repeated or clouds[-1]
            bad = [
                replace(one, points=faulty_scan(fault, one.points, repeated.points, rng))
                for one in clouds
            ]
            frame = replace(frame, radars={**frame.radars, sensor: tuple(bad)})
        findings = health.look(frame)
        if any(one.sensor == sensor and one.fault == fault for one in findings):
            if number < begin:
                return None
            return (frame.stamp_ns - drive.frames[begin].stamp_ns) * 1e-9
    return None


def _goals(counts: Counts) -> tuple[Goal, ...]:
    """Return the worst of all faults; each stands among the figures."""
    hits = [_rate(counts.hits, counts.tried, *pair) for pair in _PAIRS]
    alarms = [_alarm_rate(counts, *pair) for pair in _PAIRS]
    return (
        Goal(name="fault told, worst fault", value=min(hits), goal=95.0, unit="%"),
        Goal(
            name="false alarms, worst fault",
            value=max(alarms),
            goal=1.0,
            unit="%",
            comparison=AT_MOST,
        ),
    )


def _rate(
    hits: Counter[tuple[str, str, str]], tried: Counter[tuple[str, str, str]], kind: str, fault: str
) -> float:
    part = sum(n for key, n in hits.items() if key[:2] == (fault, kind))
    whole = sum(n for key, n in tried.items() if key[:2] == (fault, kind))
    return round(100 * part / max(whole, 1), 3)


def _alarm_rate(counts: Counts, kind: str, fault: str) -> float:
    part = sum(n for key, n in counts.alarms.items() if key[:2] == (fault, kind))
    whole = sum(n for key, n in counts.looked.items() if key[0] == kind)
    return round(100 * part / max(whole, 1), 3)


def _figures(counts: Counts) -> tuple[Figure, ...]:
    figures = []
    for kind, fault in _PAIRS:
        tried = sum(n for key, n in counts.tried.items() if key[:2] == (fault, kind))
        rate = _rate(counts.hits, counts.tried, kind, fault)
        name = f"{kind} {fault}"
        figures.append(Figure(name=f"{name}, told", value=rate, unit="%", note=f"of {tried}"))
        delays_s = counts.delays_s.get((fault, kind), [])
        if delays_s:
            median_s = round(float(np.median(delays_s)), 2)
            figures.append(Figure(name=f"{name}, told after, p50", value=median_s, unit="s"))
        alarm = _alarm_rate(counts, kind, fault)
        figures.append(Figure(name=f"{name}, false alarms", value=alarm, unit="%"))
    return tuple(figures)


def _facts(counts: Counts) -> dict[str, Any]:
    """Return the counts by weather."""
    return {
        "looked": {" ".join(key): n for key, n in sorted(counts.looked.items())},
        "tried": {" ".join(key): n for key, n in sorted(counts.tried.items())},
        "hits": {" ".join(key): n for key, n in sorted(counts.hits.items())},
        "false alarms": {" ".join(key): n for key, n in sorted(counts.alarms.items())},
        "masked without cause": dict(counts.certain),
    }


def _times(drive: Drive) -> tuple[Figure, ...]:
    """Return the time of one picture and of one scan, on the drive's measurements."""
    images = [image for frame in drive.frames for image in frame.cameras.values()]
    clouds = [one for frame in drive.frames for scans in frame.radars.values() for one in scans]
    figures: list[Figure] = []
    health = SensorHealth()
    spent = []
    for frame in drive.frames:
        begin_ns = time.perf_counter_ns()
        health.look(replace(frame, radars={}))
        spent.append((time.perf_counter_ns() - begin_ns) * 1e-6 / len(frame.cameras))
    size = "x".join(str(side) for side in images[0].pixels.shape[1::-1])
    figures += Timing(samples_ms=tuple(spent)).figures(f"a picture of {size}, all detectors")
    state, spent = radar.RadarState(), []
    for cloud in clouds:
        begin_ns = time.perf_counter_ns()
        state = radar.advance(state, cloud.stamp_ns, cloud.points, radar.RadarSettings())
        spent.append((time.perf_counter_ns() - begin_ns) * 1e-6)
    figures += Timing(samples_ms=tuple(spent)).figures("a scan, all detectors")
    return tuple(figures)


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_options(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the faults")


def main() -> int:
    """Run from the command line."""
    return run_benchmark("sensor_health", __doc__, measure, _add_options)


if __name__ == "__main__":
    raise SystemExit(main())
