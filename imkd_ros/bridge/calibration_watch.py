# SPDX-License-Identifier: Apache-2.0
"""Calibrations that changed or cannot be, watched while frames are answered.

The node and the offline replay share it. What is found is told and masks nothing: odometry that is
wrong makes the calibration of every sensor look wrong, and boxes must not depend on how many frames
there was time to look at. No ROS in here.
"""

import threading

import numpy as np

from imkd_core.health.calibration import CalibrationMonitor, CalibrationSettings
from imkd_core.health.calibration_turn import CameraSettings
from imkd_core.health.faults import Finding
from imkd_core.types import Frame, SensorRig

#: Seldom, for a calibration stays wrong once it is; and with more pairs of pictures to a verdict,
#: for they are decoded no larger than the network's.
SETTINGS = CalibrationSettings(
    camera=CameraSettings(
        least_pairs=48,
        turned_pairs=72,
        known_rad=float(np.radians(0.15)),
        turned_rad=float(np.radians(1.15)),
    ),
    pairs=84,
    rest_frames=1,
    new_pairs=12,
    lasting_pairs=36,
    new_scans=39,
)


class CalibrationWatch:
    """Looks at frames that were answered; may be reset from another thread.

    Args:
        is_wanted: look at them at all; may be changed at any time.
        settings: limits, and how much work is done.

    Attributes:
        is_wanted: as given.
        findings: what is wrong now.
        judged: cameras and radars that driving has told enough about.
    """

    def __init__(self, is_wanted: bool, settings: CalibrationSettings = SETTINGS) -> None:
        self.is_wanted = is_wanted
        self._settings = settings
        self._lock = threading.Lock()
        self._monitor: CalibrationMonitor | None = None
        self._rig: SensorRig | None = None
        self.findings: tuple[Finding, ...] = ()
        self.judged: frozenset[str] = frozenset()

    def look(self, frame: Frame, rig: SensorRig) -> tuple[Finding, ...]:
        """Take in one frame and return what is wrong with the calibration now.

        Args:
            frame: the next one in the order of time, without sensors that are bad.
            rig: calibration of it; another object than before begins anew.
        """
        if not self.is_wanted:
            self.reset()
            return ()
        with self._lock:
            if self._monitor is None or rig is not self._rig:
                self._monitor, self._rig = CalibrationMonitor(rig, self._settings), rig
            monitor = self._monitor
        found = monitor.add(frame)  # the lock is free: it takes a while
        with self._lock:
            if monitor is self._monitor:
                self.findings, self.judged = found, monitor.judged
        return self.findings

    def reset(self) -> None:
        """Forget all frames, and what was found."""
        with self._lock:
            self._monitor, self._rig = None, None
            self.findings, self.judged = (), frozenset()
