# SPDX-License-Identifier: Apache-2.0
"""How messages become frames: the settings of `pipeline.Pipeline`."""

from dataclasses import dataclass

from imkd_core.runtime.slots import SyncSettings


@dataclass(frozen=True, kw_only=True)
class PipelineSettings:
    """How messages become frames.

    Attributes:
        sync: of the synchroniser; names the sensors in the order of the sensor set.
        method: "slots" (ours) or "message_filters" (of a ROS installation).
        base_frame: TF frame of the vehicle; boxes are in it.
        ego_frame: TF frame that stands still; empty = no ego motion.
        odometry_topic: `nav_msgs/Odometry` to take ego motion from; empty = TF.
        pose_wait_ns: a frame waits so long for the pose at its newest stamp before the pose is
            extrapolated; never beyond the deadline.
        decode_width_px: compressed images are decoded to half, a quarter or an eighth while they
            stay this wide (the network image's width); None = in full. Never made to depend on
            CameraInfo, which may arrive before or after the first image.
        decode_threads: that decode images beside the caller's; 0 = none.
    """

    sync: SyncSettings
    method: str = "slots"
    base_frame: str = "base_link"
    ego_frame: str = "odom"
    odometry_topic: str = ""
    pose_wait_ns: int = 20_000_000
    decode_width_px: int | None = None
    decode_threads: int = 0
