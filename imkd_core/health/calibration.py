# SPDX-License-Identifier: Apache-2.0
"""A calibration that changed, or that cannot be: told from its numbers and from driving.

    monitor = CalibrationMonitor(rig)          # at once: what cannot be by the numbers alone
    for frame in frames:                       # in the order of time
        for finding in monitor.add(frame):
            print(finding.sensor, finding.fault, finding.remedy)
    monitor.judged                             # cameras and radars that driving has told about

Cameras are judged by how their pictures move (`calibration_camera`), radars by the speeds of what
stands (`calibration_radar`) and by where they see it: against their own scans
(`calibration_radar_map`) and against the pictures (`calibration_reprojection`). All need the
vehicle to move, and frames that say how: `Frame.odom_from_ego`, and `Frame.reference_from_ego` for
the stamp of each reading. Without them, and while it stands, nothing is judged; a finding stays
until driving tells otherwise. Nothing here repairs or masks anything. One implementation for the
vehicle, a recording and the doctor.
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from imkd_core.geometry import Float64, invert_transform, transform_points
from imkd_core.health.calibration_camera import camera_verdict, pair_of
from imkd_core.health.calibration_radar import (
    Echoes,
    RadarSettings,
    echoes_of,
    motion_error,
    radar_verdict,
    range_fault,
)
from imkd_core.health.calibration_radar_map import (
    MapSettings,
    StillScan,
    map_verdict,
    map_yaw,
    still_scan,
)
from imkd_core.health.calibration_reprojection import (
    ReprojectionSettings,
    places_of,
    reprojection_verdict,
    reprojection_yaw,
)
from imkd_core.health.calibration_rig import RigSettings, rig_findings
from imkd_core.health.calibration_tracks import Grey, TrackSettings, small_grey
from imkd_core.health.calibration_turn import CameraSettings, Pair
from imkd_core.health.calibration_verdict import Verdict
from imkd_core.health.faults import SWAPPED, TURNED, WRONG_SCALE, WRONG_SPEEDS, Finding
from imkd_core.types import Frame, RadarCloud, SensorRig

#: Stamp of a picture, the picture, and (4, 4) pose of the vehicle then.
_Picture = tuple[int, Grey, Float64]


@dataclass(frozen=True, kw_only=True)
class CalibrationSettings:
    """Limits, and how much work is done.

    Attributes:
        rig, tracks, camera, radar, map, reprojection: of the parts.
        cameras_at_once: cameras whose pictures are followed in one frame, in turn; 0 for all. One
            is cheap and takes as many times longer as there are cameras.
        rest_frames: after every frame that begins to follow, as many are passed over.
        pairs: of pictures that a camera is judged by, the newest, and scans: of a radar.
        scans: see `pairs`.
        new_pairs: after so many the camera is judged again, and new_scans: the radar.
        new_scans: see `new_pairs`.
        together_ns: pairs of other cameras that are older tell nothing of the road.
        lasting_pairs: so many more have to bear out a verdict that traffic may explain.
        most_gap_ns: between two readings that belong together.
        back_ns: a frame that lies so far behind the newest begins anew.
    """

    rig: RigSettings = field(default_factory=RigSettings)
    tracks: TrackSettings = field(default_factory=TrackSettings)
    camera: CameraSettings = field(default_factory=CameraSettings)
    radar: RadarSettings = field(default_factory=RadarSettings)
    map: MapSettings = field(default_factory=MapSettings)
    reprojection: ReprojectionSettings = field(default_factory=ReprojectionSettings)
    cameras_at_once: int = 1
    rest_frames: int = 0
    pairs: int = 66
    scans: int = 60
    new_pairs: int = 6
    new_scans: int = 13
    together_ns: int = 30_000_000_000
    lasting_pairs: int = 120
    most_gap_ns: int = 400_000_000
    back_ns: int = 500_000_000


@dataclass(kw_only=True)
class _Camera:
    """What is kept of a camera.

    A picture to follow from, with the vehicle's pose; pairs, and how many are new since it was
    judged; the stamp of the newest; and how many bore out a verdict that has to last, -1 while
    there is none.
    """

    pairs: deque[Pair]
    held: _Picture | None = None
    unjudged: int = 0
    newest_ns: int = 0
    lasting: int = -1


@dataclass(kw_only=True)
class _Radar:
    """What is kept of a radar: the newest scan's stamp and pose, echoes, ranges, what stood."""

    echoes: deque[Echoes]
    ranges_m: deque[Float64]
    still: deque[StillScan]
    map_yaws_rad: deque[float]
    picture_yaws_rad: deque[float]
    newest: tuple[int, Float64 | None] = (0, None)
    unjudged: int = 0
    unmapped: int = 0


class CalibrationMonitor:
    """Watches the frames of one vehicle, in the order of time; not for several threads at once.

    Make a new one where the calibration changes.

    Args:
        rig: calibration of the cameras and radars, as the frames' pictures and scans have it.
        settings: limits.

    Attributes:
        findings: what is wrong now; at first, what cannot be by the numbers alone.
        judged: cameras and radars that driving has told enough about.
    """

    def __init__(self, rig: SensorRig, settings: CalibrationSettings | None = None) -> None:
        self._rig = rig
        self._settings = settings or CalibrationSettings()
        self._static = rig_findings(rig, settings=self._settings.rig)
        self.reset()

    def reset(self) -> None:
        """Forget all frames; what the numbers alone tell stays."""
        settings = self._settings
        self._newest_ns, self._turn, self._rest = 0, 0, 0
        self._cameras = {n: _Camera(pairs=deque(maxlen=settings.pairs)) for n in self._rig.cameras}
        self._radars = {
            n: _Radar(
                echoes=deque(maxlen=settings.scans),
                ranges_m=deque(maxlen=settings.scans),
                still=deque(maxlen=settings.map.scans),
                map_yaws_rad=deque(maxlen=settings.map.maps),
                picture_yaws_rad=deque(maxlen=settings.reprojection.map.maps),
            )
            for n in self._rig.radars
        }
        self._seen: deque[tuple[int, str, Float64]] = deque()
        self._told: dict[tuple[str, str], Finding] = {}
        self.judged: frozenset[str] = frozenset()
        self.findings: tuple[Finding, ...] = self._static

    def add(self, frame: Frame) -> tuple[Finding, ...]:
        """Take in one frame and return what is wrong with the calibration now.

        Readings of sensors that the rig lacks, and those seen before, are passed over.
        """
        if frame.stamp_ns < self._newest_ns - self._settings.back_ns:
            self.reset()
        self._newest_ns = max(self._newest_ns, frame.stamp_ns)
        self._follow_cameras(frame)
        for name, scans in frame.radars.items():
            if name in self._radars:
                for scan in reversed(scans):
                    self._take_scan(name, scan, frame)
                self._judge_radar(name, frame.stamp_ns)
        self.findings = (*self._static, *self._told.values())
        return self.findings

    def _follow_cameras(self, frame: Frame) -> None:
        """Follow what was held since the frame before, and hold the pictures that come next."""
        due = self._due()
        for name, camera in self._cameras.items():
            image, held, camera.held = frame.cameras.get(name), camera.held, None
            is_due = name in due
            if image is None or not (is_due or held):
                continue
            pose = _pose(frame, image.stamp_ns)
            if pose is None or (held and held[0] >= image.stamp_ns):
                continue
            grey = small_grey(image.pixels, self._settings.tracks)
            if held and image.stamp_ns - held[0] <= self._settings.most_gap_ns:
                self._follow(name, held, (image.stamp_ns, grey, pose))
                self._judge_camera(name, frame.stamp_ns)
            camera.held = (image.stamp_ns, grey, pose) if is_due else None

    def _due(self) -> set[str]:
        """Return the cameras that are followed from this frame on."""
        names, count = list(self._cameras), self._settings.cameras_at_once
        self._rest -= 1
        if self._rest >= 0:
            return set()
        self._rest = self._settings.rest_frames
        first, self._turn = self._turn, self._turn + count
        if not 0 < count < len(names):
            return set(names)
        return {names[(first + i) % len(names)] for i in range(count)}

    def _follow(self, name: str, held: _Picture, new: _Picture) -> None:
        """Keep what two pictures of a camera tell, and where the points stand in the odometry."""
        (before_ns, before, was), (now_ns, now, pose) = held, new
        settings, moved = self._settings, invert_transform(pose) @ was
        gap_s = (now_ns - before_ns) * 1e-9
        pair = pair_of(before, now, moved, gap_s, settings.tracks, settings.camera)
        if pair is not None:
            camera = self._cameras[name]
            camera.pairs.append(pair)
            camera.unjudged += 1
            camera.newest_ns = now_ns
            places = places_of(self._rig.cameras[name], pair, settings.reprojection)
            self._forget_places(now_ns)
            self._seen.append((now_ns, name, transform_points(pose, places)[:, :2]))

    def _judge_camera(self, name: str, stamp_ns: int) -> None:
        camera, settings = self._cameras[name], self._settings
        if camera.unjudged < settings.new_pairs or len(camera.pairs) < settings.camera.least_pairs:
            return
        oldest_ns = camera.newest_ns - settings.together_ns
        pairs_of = {
            other: tuple(kept.pairs)
            for other, kept in self._cameras.items()
            if kept.newest_ns >= oldest_ns
        }
        verdict = camera_verdict(name, self._rig.cameras, pairs_of, settings.camera)
        if verdict is not None and verdict.has_to_last:
            camera.lasting += camera.unjudged if camera.lasting >= 0 else 1
            verdict = verdict if camera.lasting >= settings.lasting_pairs else None
        elif verdict is not None:
            camera.lasting = -1
        camera.unjudged = 0
        if verdict is not None:
            self.judged |= {name}
            self._tell(name, (SWAPPED, TURNED), verdict, stamp_ns)

    def _take_scan(self, name: str, scan: RadarCloud, frame: Frame) -> None:
        radar = self._radars[name]
        before_ns, before = radar.newest
        if scan.stamp_ns <= before_ns:
            return
        ego = _pose(frame, scan.stamp_ns)
        pose = None if ego is None else ego @ self._rig.radars[name]
        radar.newest = (scan.stamp_ns, pose)
        points = np.asarray(scan.points, dtype=np.float64)
        if len(points):
            radar.ranges_m.append(np.hypot(points[:, 0], points[:, 1]))
            radar.unjudged += 1
        if pose is not None:
            radar.still.append(still_scan(scan, pose, self._settings.map))
            radar.unmapped += 1
        gap_ns = scan.stamp_ns - before_ns
        if before is None or pose is None or gap_ns > self._settings.most_gap_ns:
            return
        moved_m = pose[:3, 3] - before[:3, 3]
        own_mps = (invert_transform(pose)[:2, :3] @ moved_m) / (gap_ns * 1e-9)
        azimuth = np.arctan2(points[:, 1], points[:, 0])
        sight = np.column_stack([np.cos(azimuth), np.sin(azimuth)])
        # As the radar measured it: the own motion that was taken out is put back in.
        radial_mps = (sight * points[:, 4:6]).sum(axis=1) - sight @ own_mps
        echoes = echoes_of(azimuth, radial_mps, own_mps, self._settings.radar)
        if echoes is not None:
            radar.echoes.append(echoes)

    def _judge_radar(self, name: str, stamp_ns: int) -> None:
        radar, settings = self._radars[name], self._settings
        if radar.unjudged < settings.new_scans:
            return
        radar.unjudged = 0
        text = range_fault(np.concatenate(radar.ranges_m), settings.radar)
        scale = Verdict(fault=WRONG_SCALE, detail=text, is_certain=True) if text else Verdict()
        self._tell(name, (WRONG_SCALE,), scale, stamp_ns)
        verdict = radar_verdict(motion_error(radar.echoes, settings.radar), settings.radar)
        if radar.unmapped >= settings.map.new_scans:
            radar.unmapped = 0
            self._note_yaws(radar, stamp_ns)
        for other in (
            map_verdict(radar.map_yaws_rad, settings.map),
            reprojection_verdict(radar.picture_yaws_rad, settings.reprojection),
        ):
            if verdict is None or not verdict.fault:
                verdict = other or verdict
        if verdict is not None:
            self.judged |= {name}
            self._tell(name, (TURNED, WRONG_SPEEDS), verdict, stamp_ns)

    def _note_yaws(self, radar: _Radar, stamp_ns: int) -> None:
        """Note how far a radar is off by its own map, and by what sound cameras saw."""
        settings = self._settings
        yaw_rad = map_yaw(radar.still, settings.map)
        if yaw_rad is not None:
            radar.map_yaws_rad.append(yaw_rad)
        self._forget_places(stamp_ns)
        wrong = {finding.sensor for finding in (*self._static, *self._told.values())}
        places = [found for _, name, found in self._seen if name not in wrong]
        if places:
            together_m = np.concatenate(places)
            yaw_rad = reprojection_yaw(together_m, radar.still, settings.reprojection)
            if yaw_rad is not None:
                radar.picture_yaws_rad.append(yaw_rad)

    def _forget_places(self, stamp_ns: int) -> None:
        """Forget what cameras saw too long ago, whether or not a radar ever asked for it."""
        while self._seen and self._seen[0][0] < stamp_ns - self._settings.reprojection.last_ns:
            self._seen.popleft()

    def _tell(self, sensor: str, asked: tuple[str, ...], verdict: Verdict, stamp_ns: int) -> None:
        """Remember which of the faults asked for a sensor has; since when stays as it was."""
        before = {fault: self._told.pop((sensor, fault), None) for fault in asked}
        if verdict.fault:
            known = before[verdict.fault]
            self._told[sensor, verdict.fault] = Finding(
                sensor=sensor,
                fault=verdict.fault,
                since_ns=known.since_ns if known else stamp_ns,
                is_certain=verdict.is_certain,
                detail=verdict.detail,
            )


def _pose(frame: Frame, stamp_ns: int) -> Float64 | None:
    """Return (4, 4) `odom_from_ego` at a reading's stamp; None where it is not known."""
    if frame.odom_from_ego is None or stamp_ns not in frame.reference_from_ego:
        return None
    return np.asarray(frame.odom_from_ego @ frame.reference_from_ego[stamp_ns])
