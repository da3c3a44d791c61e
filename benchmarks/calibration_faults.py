# SPDX-License-Identifier: Apache-2.0
"""Calibrations that changed or cannot be, and how surely they are told, on made-up drives.

    python -m benchmarks.calibration_faults --data FOLDER [FOLDER ...] --json FILE

The judge gets calibrations with an error in them; pictures and scans stay as they are. Cameras are
turned by 0.5 to 5 degrees about each axis of the vehicle, or exchanged, and judged twice: by whole
pictures, as `imkd doctor` does, and by those that the node decodes. What traffic may explain is
told where it lasts for as much driving as the monitor asks; where the drive ends before, the judge
abstains. Radars are turned, or send
speeds in km/h or mm/s, of the wrong sign, with the own motion wrongly in or out; and once more they
are turned and judged without the speeds, as if their driver took the own motion out: by their own
scans, and against the pictures that the node would look at. Each case is as much driving as the
first verdict takes. Where it does not tell (too slow; a rotation about the direction of travel
while going straight on, with nothing upright in sight), the judge abstains: neither hit nor alarm,
but counted, and no part of the goals. Camera pictures between key frames are needed (`imkd simulate
--camera-sweeps`). Without --data, drives are made first.
"""

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from benchmarks.calibration_planted import (
    AXES,
    Drive,
    echoes,
    frames,
    laid_otherwise,
    open_drive,
    repeated,
    swapped,
    turned,
)
from benchmarks.fault_drives import FaultDrives, add_options
from benchmarks.harness import AT_MOST, Figure, Goal, Report, Timing, run_benchmark
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.geometry import rigid_transform
from imkd_core.health.calibration import CalibrationSettings
from imkd_core.health.calibration_camera import camera_verdict
from imkd_core.health.calibration_radar import motion_error, radar_verdict
from imkd_core.health.calibration_radar_map import map_verdict, map_yaw
from imkd_core.health.calibration_reprojection import reprojection_verdict, reprojection_yaw
from imkd_core.health.calibration_rig import rig_findings
from imkd_core.health.calibration_turn import CameraSettings, Pair, turn_of
from imkd_core.health.calibration_upright import roll_of
from imkd_core.types import CameraModel, SensorRig
from imkd_ros.bridge.calibration_watch import SETTINGS, CalibrationWatch

#: Degrees that cameras are turned by. A goal begins at the third.
_DEGREES = (0.5, 1.0, 2.0, -2.0, 5.0)
_TOLD_FROM = 2.0

#: Wrong radars: degrees that one is turned by against its calibration, and factor of its speeds.
_RADARS = {
    "yaw off by 1 degree": (1.0, 1.0),
    "yaw off by 3 degrees": (3.0, 1.0),
    "yaw off by -3 degrees": (-3.0, 1.0),
    "yaw off by 5 degrees": (5.0, 1.0),
    "left and right swapped": (180.0, 1.0),
    "speeds of the wrong sign": (0.0, -1.0),
    "speeds in km/h": (0.0, 3.6),
    "speeds in mm/s": (0.0, 1000.0),
    "own motion taken out twice": (0.0, 0.0),
    "own motion not taken out": (0.0, 2.0),
}

#: Of radars whose driver has taken the own motion out: degrees that the calibration is off by.
_YAWS = {f"yaw off by {degrees:g} degrees": degrees for degrees in (3.0, -3.0, 5.0, -5.0)}

#: Drives that are made where none are named. No limit was chosen by them: by seeds 9800, 9900.
MADE = FaultDrives(
    name="calibration",
    seed=9950,
    conditions=("clear", "night", "rain", "clear", "fog", "low_sun"),
    count=20,
    duration_s=12.0,
    quick_s=12.0,
)

_RIGHT = "as it is"

#: Kind of the cameras that are judged as the node judges them.
NODE = "camera in the node"

#: Kind of the radars that are judged without the speeds that they measured.
COMPENSATED = "compensated radar"

#: Kind of the radars that are judged by the pictures.
AGAINST = "radar against pictures"

#: A drive is looked at so often for the processor time: more than the first verdicts take.
_ROUNDS = 16


@dataclass(kw_only=True)
class Counts:
    """What was counted, by (kind of sensor, case).

    Attributes:
        tried, judged, told: stretches of driving; those that a verdict was given of; with a fault.
        settings: of the judges.
        times_ms: processor time of the monitor, frame by frame.
    """

    tried: Counter[tuple[str, str]] = field(default_factory=Counter)
    judged: Counter[tuple[str, str]] = field(default_factory=Counter)
    told: Counter[tuple[str, str]] = field(default_factory=Counter)
    settings: CalibrationSettings = field(default_factory=CalibrationSettings)
    times_ms: list[float] = field(default_factory=list)

    def add(self, kind: str, case: str, has_fault: bool | None) -> None:
        """Count a verdict; None abstains."""
        self.tried[kind, case] += 1
        self.judged[kind, case] += has_fault is not None
        self.told[kind, case] += bool(has_fault)

    def rate(self, kind: str, case: str) -> float | None:
        """Return how many of the verdicts told a fault, per cent; None without verdicts."""
        judged = self.judged[kind, case]
        return round(100 * self.told[kind, case] / judged, 2) if judged else None


def measure(options: argparse.Namespace) -> Report:
    """Judge all drives."""
    counts, period_s, cameras = Counts(), 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        for reader, scene in MADE.scenes(options, Path(folder)):
            drive = open_drive(reader, scene)
            _judge_cameras("camera", drive, drive.pairs, counts.settings, counts)
            _judge_cameras(NODE, drive, drive.node_pairs, SETTINGS, counts)
            _judge_radars(drive, counts)
            _judge_maps(drive, counts)
            _judge_numbers(drive.rig, counts)
            period_s, cameras = drive.period_s, len(drive.rig.cameras)
            if not counts.times_ms:
                _time(drive.rig, reader, scene, counts)
    return Report(
        name="calibration_faults",
        figures=(*_figures(counts), *_driving(counts.settings, period_s, cameras), *_times(counts)),
        goals=_goals(counts),
    )


def _judge_cameras(
    kind: str,
    drive: Drive,
    pairs_of: Mapping[str, tuple[Pair, ...]],
    settings: CalibrationSettings,
    counts: Counts,
) -> None:
    cameras, size = drive.rig.cameras, settings.camera.turned_pairs
    stretches = 1 + -(-settings.lasting_pairs // size)
    for name, all_pairs in pairs_of.items():
        for begin in range(0, max(len(all_pairs) - size, 0) + 1, size):
            known = _known_axes(cameras[name], all_pairs[begin : begin + size], settings.camera)
            for case, changed, axis in _camera_cases(name, cameras):
                if axis and axis not in known:
                    counts.add(kind, case, None)
                    continue
                has_fault = None
                for first in range(begin, begin + stretches * size, size):
                    seen = {n: pairs[first : first + size] for n, pairs in pairs_of.items()}
                    verdict = camera_verdict(name, changed, seen, settings.camera)
                    if verdict is None or not verdict.has_to_last:
                        has_fault = None if verdict is None else bool(verdict.fault)
                        break
                else:
                    has_fault = True
                counts.add(kind, case, has_fault)


def _known_axes(camera: CameraModel, pairs: Sequence[Pair], settings: CameraSettings) -> set[str]:
    """Return the axes about which a rotation could be told of these pictures."""
    turn = turn_of(camera, pairs, settings)
    if turn is None:
        return set()
    known = {axis for axis, way in zip(AXES, np.eye(3), strict=True) if turn.knows(way)}
    edges = np.concatenate([pair.edges for pair in pairs])
    return known if roll_of(camera, edges, settings.upright) is None else known | {"roll"}


def _camera_cases(
    name: str, cameras: Mapping[str, CameraModel]
) -> Iterator[tuple[str, Mapping[str, CameraModel], str]]:
    """Yield what a case is called, its calibrations, and the axis that must be known for it."""
    yield _RIGHT, cameras, ""
    for axis in AXES:
        for degrees in _DEGREES:
            case = f"{axis} off by {degrees:g} degrees"
            changed = {**cameras, name: turned(cameras[name], axis, degrees)}
            yield case, changed, axis
    for other in cameras:
        if other != name:
            yield "swapped", swapped(cameras, name, other), ""


def _judge_radars(drive: Drive, counts: Counts) -> None:
    settings = counts.settings.radar
    size = counts.settings.new_scans * -(-settings.least_scans // counts.settings.new_scans)
    for all_scans in drive.scans.values():
        moving = [s for s in all_scans if np.hypot(*s.own_mps) >= settings.least_speed_mps]
        for begin in range(0, max(len(moving) - size, 0) + 1, size):
            for case, (degrees, factor) in {_RIGHT: (0.0, 1.0), **_RADARS}.items():
                found = echoes(moving[begin : begin + size], degrees, factor, settings)
                verdict = radar_verdict(motion_error(found, settings), settings)
                counts.add("radar", case, None if verdict is None else bool(verdict.fault))


def _judge_maps(drive: Drive, counts: Counts) -> None:
    """Count what is told of radars without their speeds: by where they see what stands.

    Each case is as many maps as the first verdict takes.
    """
    settings, against = counts.settings.map, counts.settings.reprojection
    size = settings.least_scans * settings.least_maps
    for scans in drive.still.values():
        for begin in range(0, max(len(scans) - size, 0) + 1, size):
            for case, degrees in {_RIGHT: 0.0, **_YAWS}.items():
                found = laid_otherwise(scans[begin : begin + size], degrees)
                maps = [
                    found[first : first + settings.least_scans]
                    for first in range(0, size, settings.least_scans)
                ]
                verdict = map_verdict(_known(map_yaw(one, settings) for one in maps), settings)
                counts.add(COMPENSATED, case, None if verdict is None else bool(verdict.fault))
                yaws = _known(reprojection_yaw(drive.seen, one, against) for one in maps)
                verdict = reprojection_verdict(yaws, against)
                counts.add(AGAINST, case, None if verdict is None else bool(verdict.fault))


def _known(yaws_rad: Iterable[float | None]) -> list[float]:
    return [yaw_rad for yaw_rad in yaws_rad if yaw_rad is not None]


def _judge_numbers(rig: SensorRig, counts: Counts) -> None:
    """Count the cases that the numbers of the rig alone tell, each sensor in turn."""
    counts.add("numbers", _RIGHT, bool(rig_findings(rig)))
    for name, camera in rig.cameras.items():
        pose = camera.ego_from_cam
        far = rigid_transform(pose[:3, :3], 1000 * pose[:3, 3])
        housing = pose[:3, :3] @ np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
        half = camera.pixel_from_cam * [[0.25], [0.25], [1.0]]
        cases = {
            "camera in mm": replace(camera, ego_from_cam=far),
            "camera frame of its housing": replace(
                camera, ego_from_cam=rigid_transform(housing, pose[:3, 3])
            ),
            "camera calibrated for a quarter of its size": replace(camera, pixel_from_cam=half),
        }
        for case, changed in cases.items():
            findings = rig_findings(replace(rig, cameras={**rig.cameras, name: changed}))
            counts.add("numbers", case, name in {finding.sensor for finding in findings})
    for name, pose in rig.radars.items():
        far = rigid_transform(pose[:3, :3], 1000 * pose[:3, 3])
        findings = rig_findings(replace(rig, radars={**rig.radars, name: far}))
        counts.add("numbers", "radar in mm", name in {finding.sensor for finding in findings})


def _time(rig: SensorRig, reader: NuScenes, scene: str, counts: Counts) -> None:
    """Look at a drive as the node does, again and again, so that every camera is judged."""
    watch = CalibrationWatch(is_wanted=True)
    for frame in repeated(tuple(frames(reader, scene)), _ROUNDS):
        begin_ns = time.process_time_ns()
        watch.look(frame, rig)
        counts.times_ms.append((time.process_time_ns() - begin_ns) * 1e-6)


def _is_fault(kind: str, case: str) -> bool:
    """Return whether a case must be told; small angles may be or not."""
    if kind in ("camera", NODE) and "off by" in case:
        return abs(float(case.split()[3])) >= _TOLD_FROM
    return case not in (_RIGHT, "yaw off by 1 degree")


def _goals(counts: Counts) -> tuple[Goal, ...]:
    goals = []
    for kind, words in (
        ("camera", "camera turned by 2 degrees or more, or swapped"),
        (NODE, "camera turned or swapped, by pictures of 352 px as in the node"),
        ("radar", "radar turned by 3 degrees or more, or with wrong speeds"),
        (COMPENSATED, "radar whose driver takes own motion out, turned by 3 degrees or more"),
        (AGAINST, "radar turned by 3 degrees or more against the pictures of the node"),
        ("numbers", "calibration that cannot be by its numbers"),
    ):
        cases = [case for of, case in counts.tried if of == kind and _is_fault(kind, case)]
        rates = [rate for case in cases if (rate := counts.rate(kind, case)) is not None]
        right = counts.rate(kind, _RIGHT)
        reason = "" if rates else "no drive could be judged"
        goals += [
            Goal(
                name=f"{words}: told, worst case",
                value=min(rates, default=None),
                goal=95.0,
                unit="%",
                reason=reason,
            ),
            Goal(
                name=f"{words}: false alarms",
                value=right,
                goal=1.0,
                unit="%",
                comparison=AT_MOST,
                reason="" if right is not None else "no drive could be judged",
            ),
        ]
    return tuple(goals)


def _figures(counts: Counts) -> Iterator[Figure]:
    for kind, case in counts.tried:
        tried, judged = counts.tried[kind, case], counts.judged[kind, case]
        note = f"of {judged} judged; {tried - judged} of {tried} abstained"
        rate = counts.rate(kind, case)
        yield Figure(name=f"{kind}, {case}: told", value=rate, unit="%", note=note)


def _driving(settings: CalibrationSettings, period_s: float, cameras: int) -> Iterator[Figure]:
    at_once_s = settings.camera.turned_pairs * period_s
    in_node_s = SETTINGS.camera.turned_pairs * period_s * cameras * (1 + SETTINGS.rest_frames)
    yield Figure(
        name="driving that a camera's first verdict takes, all followed at once",
        value=round(at_once_s, 1),
        unit="s",
        note="moving, without standstill",
    )
    yield Figure(
        name="driving that it takes in the node",
        value=round(in_node_s, 1),
        unit="s",
        note=f"{cameras} cameras in turn, in every second frame",
    )


def _times(counts: Counts) -> tuple[Figure, ...]:
    timing = Timing(samples_ms=tuple(counts.times_ms))
    name = "calibration watched as in the node, processor time of a frame"
    mean = Figure(name=f"{name}, mean", value=round(float(np.mean(counts.times_ms)), 2), unit="ms")
    return (mean, *timing.figures(name))


def main() -> int:
    """Run from the command line."""
    return run_benchmark("calibration_faults", __doc__, measure, add_options)


if __name__ == "__main__":
    raise SystemExit(main())
