# SPDX-License-Identifier: Apache-2.0
"""The calibration is watched beside the answers: after one went out, and never waited for.

Frames that come while the one before is still looked at are passed over. No ROS in here.
"""

from collections.abc import Callable

from imkd_core.health.faults import Finding
from imkd_core.types import Frame, SensorRig
from imkd_ros.bridge.calibration_watch import CalibrationWatch
from imkd_ros.node.aside import Aside


class CalibrationAside:
    """Looks at frames in a thread of its own, which starts with the first.

    Args:
        watch: looks at the frames.
        log: is told what went wrong, in words.
    """

    def __init__(self, watch: CalibrationWatch, log: Callable[[str], object]) -> None:
        self._watch = watch
        self._aside: Aside[tuple[Frame, SensorRig]] = Aside(
            lambda job: _look(watch, *job),
            trouble="the calibration could not be watched",
            log=log,
            name="imkd_calibration",
        )

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with the calibration now."""
        return self._watch.findings

    @property
    def judged(self) -> frozenset[str]:
        """Cameras and radars that driving has told enough about."""
        return self._watch.judged

    def want(self, is_wanted: bool) -> None:
        """Begin or cease to look at frames; what was found is forgotten when it ceases."""
        self._watch.is_wanted = is_wanted
        if not is_wanted:
            self._watch.reset()

    def offer(self, frame: Frame, rig: SensorRig) -> None:
        """Have a frame that was answered looked at; returns at once."""
        if self._watch.is_wanted:
            self._aside.offer((frame, rig))

    def check(self) -> None:
        """Tell what ended the thread, if anything did; the next frame starts another."""
        self._aside.check()

    def reset(self) -> None:
        """Forget all frames, and what was found."""
        self._watch.reset()

    def stop(self) -> None:
        """Let the frame in hand be looked at, join the thread, and forget all."""
        self._aside.stop()
        self._watch.reset()


def _look(watch: CalibrationWatch, frame: Frame, rig: SensorRig) -> None:
    watch.look(frame, rig)
