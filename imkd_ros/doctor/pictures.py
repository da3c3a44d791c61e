# SPDX-License-Identifier: Apache-2.0
"""The pictures of a running graph, one of each camera now and then. No ROS in here.

    watch = PictureWatch(cameras, pose_at)
    if watch.is_due(sensor, arrival_ns):
        watch.add(sensor, arrival_ns, message)
    watch.close()
    watch.findings, watch.looks

Judged by `imkd_core.health`, as in the node and of a recording. Pictures that come within one
period are judged together, since some faults show only against the other cameras.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from imkd_core.geometry import Float64
from imkd_core.health.faults import Finding
from imkd_core.health.monitor import SensorHealth
from imkd_core.types import CameraImage, Frame
from imkd_ros.bridge.convert import to_camera_image, to_camera_image_compressed
from imkd_ros.bridge.sensors import CameraSource
from imkd_ros.doctor.findings import FindingLog

#: One picture of each camera in this time: decoding must not keep the doctor from listening.
PERIOD_NS = 250_000_000

#: Compressed pictures are decoded no smaller than this, pixels.
WIDTH_PX = 640


class PictureWatch:
    """Looks at pictures as they arrive, by the times of their arrival: stamps may be wrong.

    Args:
        cameras: name -> source.
        pose_at: returns (4, 4) `odom_from_ego` at a stamp, or None where it is not known.
    """

    def __init__(
        self, cameras: Mapping[str, CameraSource], pose_at: Callable[[int], Float64 | None]
    ) -> None:
        self._cameras, self._pose_at = cameras, pose_at
        self._health, self._log = SensorHealth(), FindingLog()
        self._turn = -1
        self._images: dict[str, CameraImage] = {}
        self._stamp_ns = 0

    @property
    def looks(self) -> int:
        """How often pictures were judged."""
        return self._log.looks

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Faults of the pictures that last."""
        return self._log.lasting()

    def is_due(self, sensor: str, arrival_ns: int) -> bool:
        """Whether a picture that came now is the camera's first of its period."""
        return arrival_ns // PERIOD_NS != self._turn or sensor not in self._images

    def add(self, sensor: str, arrival_ns: int, message: Any) -> None:
        """Take in an Image or a CompressedImage.

        Args:
            sensor: name of the camera.
            arrival_ns: when it came.
            message: that passed the checks of its header.

        Raises:
            SensorError: its pixels cannot be read.
        """
        turn = arrival_ns // PERIOD_NS
        if turn != self._turn:
            self.close()
            self._turn = turn
        offset_ns = self._cameras[sensor].stamp_offset_ns
        if hasattr(message, "encoding"):
            image = to_camera_image(message, sensor, offset_ns)
        else:
            image = to_camera_image_compressed(message, sensor, WIDTH_PX, offset_ns)
        self._stamp_ns = image.stamp_ns
        self._images[sensor] = replace(image, stamp_ns=arrival_ns)

    def close(self) -> None:
        """Judge the pictures that came since the last time."""
        images, self._images = self._images, {}
        if images:
            newest_ns = max(image.stamp_ns for image in images.values())
            frame = Frame(
                stamp_ns=newest_ns,
                cameras=images,
                radars={},
                odom_from_ego=self._pose_at(self._stamp_ns),
            )
            self._log.add(self._health.look(frame))
