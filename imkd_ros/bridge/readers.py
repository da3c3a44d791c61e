# SPDX-License-Identifier: Apache-2.0
"""One sensor message -> one reading, by the sensor set and the rig in force; drops are counted."""

from functools import partial
from typing import Any

from imkd_core.errors import ImkdError
from imkd_core.types import RadarCloud
from imkd_ros.bridge.calibration import CalibrationStore
from imkd_ros.bridge.convert import admit_compressed, admit_image, stamp_ns, to_radar_scan
from imkd_ros.bridge.decoding import PendingImage
from imkd_ros.bridge.motion import EgoMotion
from imkd_ros.bridge.sensors import SensorSet
from imkd_ros.bridge.tally import Tally


class Readers:
    """Reads images and scans.

    Args:
        sensors: the sensor set.
        calibration: holds the rig in force.
        motion: of the vehicle, for radars whose velocities hold it.
        tally: where drops are counted; from any thread for images.
        decode_width_px: see `PipelineSettings`.
    """

    def __init__(
        self,
        sensors: SensorSet,
        calibration: CalibrationStore,
        motion: EgoMotion,
        tally: Tally,
        decode_width_px: int | None,
    ) -> None:
        self._sensors = sensors
        self._calibration = calibration
        self._motion = motion
        self._tally = tally
        self._decode_width_px = decode_width_px

    def image(self, sensor: str, message: Any) -> PendingImage | None:
        """Let an image in by its header; None when it is refused. Its pixels come later."""
        offset_ns = self._sensors.cameras[sensor].stamp_offset_ns
        refuse = partial(self._tally.drop, sensor, "bad image")
        try:
            if hasattr(message, "encoding"):
                return admit_image(message, sensor, offset_ns, refuse)
            width_px = self._decode_width_px
            return admit_compressed(message, sensor, width_px, offset_ns, refuse)
        except ImkdError as error:
            refuse(str(error))
            return None

    def scan(self, sensor: str, message: Any) -> RadarCloud | None:
        """Read a radar's scan; None when it is refused."""
        try:
            return self._scan(sensor, message)
        except ImkdError as error:
            self._tally.drop(sensor, "bad scan", str(error))
            return None

    def _scan(self, sensor: str, message: Any) -> RadarCloud:
        source = self._sensors.radars[sensor]
        rig, velocity_mps = self._calibration.rig, None
        if not source.velocity_is_compensated and sensor in rig.radars:
            stamp = stamp_ns(message.header, sensor) + source.stamp_offset_ns
            velocity_mps = self._motion.velocity_of(rig.radars[sensor], stamp)
        scan = to_radar_scan(message, sensor, source, velocity_mps, source.stamp_offset_ns)
        for reason, number in scan.dropped.items():
            self._tally.count(sensor, f"returns {reason}", number)
        return scan.cloud
