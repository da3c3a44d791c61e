# SPDX-License-Identifier: Apache-2.0
"""The health of all sensors of a vehicle, frame by frame, and frames without the bad ones.

    health = SensorHealth()
    for frame in frames:
        findings = health.look(frame)
        detections = detector.detect(without(frame, health.unusable))

One implementation for the node and the offline replay: the same frames give the same findings.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import numpy as np

from imkd_core.ahead import Ahead
from imkd_core.geometry import Float64
from imkd_core.health import camera, radar
from imkd_core.health.camera import CameraSettings, CameraState
from imkd_core.health.faults import CERTAIN, FROZEN, Finding
from imkd_core.health.picture import PictureFacts, picture_facts
from imkd_core.health.radar import RadarSettings, RadarState
from imkd_core.types import CameraImage, Frame


@dataclass(frozen=True, kw_only=True)
class HealthSettings:
    """Limits of all detectors.

    Attributes:
        camera, radar: of the signs.
        back_ns: a frame that lies so far behind a sensor's newest measurement begins anew.
        gap_ns: a sensor that sent nothing for so long begins anew.
        moved_m: a picture that repeats while the vehicle moves by so much is certainly frozen.
    """

    camera: CameraSettings = field(default_factory=CameraSettings)
    radar: RadarSettings = field(default_factory=RadarSettings)
    back_ns: int = 500_000_000
    gap_ns: int = 5_000_000_000
    moved_m: float = 0.2


class SensorHealth:
    """Watches the frames of one vehicle, in the order of time; `look_ahead` alone from any thread.

    Args:
        settings: limits.

    Attributes:
        findings: of the newest frame.
    """

    def __init__(self, settings: HealthSettings | None = None) -> None:
        self._settings = settings or HealthSettings()
        self._facts: Ahead[PictureFacts] = Ahead()
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._cameras: dict[str, CameraState] = {}
        self._radars: dict[str, RadarState] = {}
        self._newest_ns: dict[str, int] = {}
        self._frozen_at: dict[str, Float64 | None] = {}
        self.findings: tuple[Finding, ...] = ()

    @property
    def unusable(self) -> frozenset[str]:
        """Sensors with a fault that leaves no doubt: better left out of the frame."""
        return frozenset(finding.sensor for finding in self.findings if finding.is_certain)

    def look_ahead(self, image: CameraImage) -> None:
        """Take down the facts of an image whose frame is to come; findings are the same without."""
        self._facts.note(image, picture_facts(image.pixels))

    def look(self, frame: Frame) -> tuple[Finding, ...]:
        """Take in one frame and return the faults that its sensors have now.

        A measurement that was seen in a frame before is not judged again. A sensor that the frame
        lacks is not in the findings: that it is silent is told elsewhere.
        """
        self._forget_old(frame.stamp_ns)
        self._look_at_cameras(frame)
        for name, scans in frame.radars.items():
            for scan in reversed(scans):
                if self._is_new(name, scan.stamp_ns):
                    state = self._radars.get(name, RadarState())
                    self._radars[name] = radar.advance(
                        state, scan.stamp_ns, scan.points, self._settings.radar
                    )
        self.findings = tuple(self._findings(frame))
        return self.findings

    def _forget_old(self, stamp_ns: int) -> None:
        """Forget sensors whose newest measurement lies too far before or behind a frame."""
        gap_ns, back_ns = self._settings.gap_ns, self._settings.back_ns
        for name, newest_ns in list(self._newest_ns.items()):
            if not -gap_ns <= newest_ns - stamp_ns <= back_ns:
                for kept in (self._newest_ns, self._cameras, self._radars, self._frozen_at):
                    kept.pop(name, None)

    def _is_new(self, name: str, stamp_ns: int) -> bool:
        is_new = stamp_ns > self._newest_ns.get(name, 0)
        if is_new:
            self._newest_ns[name] = stamp_ns
        return is_new

    def _look_at_cameras(self, frame: Frame) -> None:
        settings = self._settings.camera
        images = {n: i for n, i in frame.cameras.items() if self._is_new(n, i.stamp_ns)}
        facts = {
            name: self._facts.find(image) or picture_facts(image.pixels)
            for name, image in images.items()
        }
        states = {name: self._cameras.get(name, CameraState()) for name in facts}
        changes = {name: camera.change(states[name], facts[name], settings) for name in facts}
        for name, image in images.items():
            others = [change for other, change in changes.items() if other != name]
            self._cameras[name] = camera.advance(
                states[name],
                image.stamp_ns,
                facts[name],
                changes[name],
                camera.peer_change(others),
                settings,
            )
            self._note_place(name, frame)

    def _note_place(self, name: str, frame: Frame) -> None:
        """Remember where the vehicle was when a camera began to repeat itself."""
        streak = self._cameras[name].streaks.running.get(FROZEN)
        if streak is None:
            self._frozen_at.pop(name, None)
        elif streak.count == 1:
            pose = frame.odom_from_ego
            self._frozen_at[name] = None if pose is None else pose[:3, 3].copy()

    def _findings(self, frame: Frame) -> list[Finding]:
        found = []
        states: dict[str, CameraState | RadarState] = {**self._cameras, **self._radars}
        for name, state in states.items():
            if name not in frame.cameras and name not in frame.radars:
                continue
            for fault, since_ns in state.faults.items():
                is_certain = fault in CERTAIN and (
                    fault != FROZEN or name in frame.radars or self._has_moved(name, frame)
                )
                found.append(
                    Finding(sensor=name, fault=fault, since_ns=since_ns, is_certain=is_certain)
                )
        return found

    def _has_moved(self, name: str, frame: Frame) -> bool:
        """Whether the vehicle moved since a camera repeats itself; true where nobody knows."""
        before, pose = self._frozen_at.get(name), frame.odom_from_ego
        if before is None or pose is None:
            return True
        return float(np.linalg.norm(pose[:3, 3] - before)) >= self._settings.moved_m


def without(frame: Frame, sensors: Collection[str]) -> Frame:
    """Return a frame without some of its sensors; the same object where it has none of them."""
    if not any(name in frame.cameras or name in frame.radars for name in sensors):
        return frame
    return replace(
        frame,
        cameras={name: image for name, image in frame.cameras.items() if name not in sensors},
        radars={name: scans for name, scans in frame.radars.items() if name not in sensors},
    )
