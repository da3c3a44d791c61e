# SPDX-License-Identifier: Apache-2.0
"""What is done with a frame by the sensors that are left of it; node and offline replay share it.

    policy = policy_of(settings)                      # parameters policy.*
    for pending in pipeline.on_message(topic, message, now_ns):
        judged = judge(pending, watch, sensors, policy)
        detections = judged.answered(detector.detect, class_names)
        if detections is not None:                    # None: the policy publishes nothing
            ...
        print(judged.status.level, judged.status.outcome, judged.status.missing)

`judge` waits for the images of the frame. No ROS and no clock in here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from imkd_core.health.degradation import (
    MISSING_CORRUPT,
    Action,
    FrameStatus,
    Level,
    Policy,
    level_of,
    outcome_of,
)
from imkd_core.health.faults import Finding
from imkd_core.runtime.slots import MISSING_NOT_DUE
from imkd_core.types import Detections, Frame
from imkd_ros.bridge.decoding import PendingFrame
from imkd_ros.bridge.parameters import NodeSettings
from imkd_ros.bridge.sensor_watch import SensorWatch
from imkd_ros.bridge.sensors import SensorSet

#: Beginning of the reason for which a frame lacks a sensor that is bad; its faults follow.
LEFT_OUT = "left out: "


def policy_of(settings: NodeSettings) -> Policy:
    """Return what is done at each level.

    Raises:
        ConfigError: boxes are to be published of no sensor.
    """
    levels = (level for level in Level if level != Level.FULL)
    return Policy(**{level.value: Action(settings.text(f"policy.{level}")) for level in levels})


def no_boxes(stamp_ns: int, class_names: tuple[str, ...]) -> Detections:
    """Return an answer without a box.

    Args:
        stamp_ns: its reference time.
        class_names: of the model.
    """
    nothing = np.zeros(0, np.float32)
    triples = np.zeros((0, 3), np.float32)
    return Detections(
        stamp_ns=stamp_ns,
        class_names=class_names,
        center_m=triples,
        size_m=triples,
        yaw_rad=nothing,
        velocity_mps=np.zeros((0, 2), np.float32),
        scores=nothing,
        labels=np.zeros(0, np.int64),
    )


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A frame that was looked at, and what is to be done with it.

    Attributes:
        frame: of the sensors that can be used; None where there is none.
        action: what the policy says.
        status: what to tell of it, as if it is answered where the policy lets it be.
        findings: faults of its sensors.
    """

    frame: Frame | None
    action: Action
    status: FrameStatus
    findings: tuple[Finding, ...] = ()

    @property
    def asked(self) -> Frame | None:
        """The frame that the network is to answer; None where the policy asks for no answer."""
        return self.frame if self.action == Action.PUBLISH else None

    def answered(
        self, detect: Callable[[Frame], Detections], class_names: tuple[str, ...]
    ) -> Detections | None:
        """Return what is to be published: boxes, no boxes, or None for nothing at all.

        Args:
            detect: answers a frame; called where the policy says `publish`.
            class_names: of the model.

        Raises:
            ImkdError: whatever `detect` raises.
        """
        return self.unasked(class_names) if self.asked is None else detect(self.asked)

    def unasked(self, class_names: tuple[str, ...]) -> Detections | None:
        """Return what is published without the network: no boxes, or None for nothing at all."""
        if self.action == Action.PUBLISH_EMPTY:
            return no_boxes(self.status.stamp_ns, class_names)
        return None


def judge(pending: PendingFrame, watch: SensorWatch, sensors: SensorSet, policy: Policy) -> Judged:
    """Finish a frame, leave out what is bad, and say what is to be done with the rest.

    Args:
        pending: the next frame in the order of time.
        watch: looks at the sensors; counts what it leaves out.
        sensors: the sensor set, whose sensors make the level.
        policy: what is done at each level.
    """
    finished = pending.finish()
    frame = None if finished is None else watch.admit(finished)
    whole = status_of(pending, sensors, "")
    left = () if frame is None else (*frame.cameras, *frame.radars)
    missing = dict(whole.missing)
    for name in whole.used:
        if name not in left:
            is_read = finished is not None and (name in finished.cameras or name in finished.radars)
            missing[name] = _fault(name, watch) if is_read else MISSING_CORRUPT
    level = level_of(left, sensors.cameras, sensors.radars, _resting(missing))
    action = policy.action_at(level)
    status = replace(
        whole,
        level=level,
        outcome=outcome_of(action, level),
        age_ms={name: age_ms for name, age_ms in whole.age_ms.items() if name in left},
        missing=missing,
    )
    return Judged(frame=frame, action=action, status=status, findings=watch.findings)


def status_of(pending: PendingFrame, sensors: SensorSet, outcome: str) -> FrameStatus:
    """Return the status of a frame that nobody looks into: its images are taken as good."""
    stamps_ns: Mapping[str, int] = {
        **{name: image.stamp_ns for name, image in pending.cameras.items()},
        **{name: scans[0].stamp_ns for name, scans in pending.radars.items() if scans},
    }
    return FrameStatus(
        stamp_ns=pending.stamp_ns,
        level=level_of(stamps_ns, sensors.cameras, sensors.radars, _resting(pending.missing)),
        outcome=outcome,
        age_ms={name: (pending.stamp_ns - stamp) * 1e-6 for name, stamp in stamps_ns.items()},
        missing=pending.missing,
    )


def _resting(missing: Mapping[str, str]) -> frozenset[str]:
    """Return the sensors that a frame lacks only because they are slower than the others."""
    return frozenset(name for name, reason in missing.items() if reason == MISSING_NOT_DUE)


def _fault(name: str, watch: SensorWatch) -> str:
    faults = [finding.fault for finding in watch.findings if finding.sensor == name]
    return f"{LEFT_OUT}{', '.join(faults)}"
