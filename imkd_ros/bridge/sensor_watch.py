# SPDX-License-Identifier: Apache-2.0
"""Between a finished frame and the detector: faults of its sensors, and the frame without them.

The node and the offline replay share it, so that the same frames are masked alike. No ROS in here.
"""

import threading

from imkd_core.health.faults import Finding
from imkd_core.health.monitor import SensorHealth, without
from imkd_core.types import CameraImage, Frame
from imkd_ros.bridge.tally import FRAMES, Tally


class SensorWatch:
    """Looks at every frame that is to be answered; may be reset from another thread.

    Args:
        tally: where frames are counted that a sensor was left out of, by its fault.
        masks_bad_sensors: leave sensors out of a frame whose fault leaves no doubt; may be changed
            at any time.

    Attributes:
        masks_bad_sensors: as given.
        findings: faults of the sensors of the newest frame.
        masked: sensors that were left out of it.
    """

    def __init__(self, tally: Tally, masks_bad_sensors: bool) -> None:
        self._tally = tally
        self.masks_bad_sensors = masks_bad_sensors
        self._health = SensorHealth()
        self._lock = threading.Lock()
        self.findings: tuple[Finding, ...] = ()
        self.masked: frozenset[str] = frozenset()

    def look_ahead(self, image: CameraImage) -> None:
        """Look at an image whose frame is to come; from any thread, also beside `admit`."""
        self._health.look_ahead(image)

    def admit(self, frame: Frame) -> Frame | None:
        """Return what is to be answered of a frame; None where no sensor of it can be used.

        Args:
            frame: the next one in the order of time.
        """
        with self._lock:
            findings = self._health.look(frame)
            masked = self._health.unusable if self.masks_bad_sensors else frozenset()
            self.findings, self.masked = findings, masked
        for finding in findings:
            if finding.is_certain and finding.sensor in masked:
                self._tally.count(finding.sensor, finding.fault, 1)
        left = without(frame, masked)
        if left.cameras or left.radars:
            return left
        self._tally.count(FRAMES, "no usable sensor", 1)
        return None

    def reset(self) -> None:
        """Forget what the sensors were like."""
        with self._lock:
            self._health.reset()
            self.findings = ()
            self.masked = frozenset()
