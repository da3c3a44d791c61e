# SPDX-License-Identifier: Apache-2.0
"""The vehicle's own motion as ROS messages: `/tf` and `/odometry` with twist from known poses."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from imkd_core.data.bags.messages import make, make_header, make_pose, make_transform, make_vector
from imkd_core.geometry import Float64, quaternion_from_rotation

#: Variance of a recorded pose: nuScenes states a localisation error of at most 0.1 m.
POSE_VARIANCE = 0.01

#: Variance of a speed derived from poses, and of one that cannot be derived.
TWIST_VARIANCE, UNKNOWN_VARIANCE = 0.04, 1e9

#: Speeds are taken over at least this time on either side, where poses reach so far.
HALF_WINDOW_NS = 25_000_000


class EgoTrack:
    """Ego poses by stamp, and the speeds between them.

    Args:
        odom_from_base: stamp_ns -> (4, 4) pose of the vehicle in the frame `odom`.
    """

    def __init__(self, odom_from_base: Mapping[int, Float64]) -> None:
        self._poses = dict(sorted(odom_from_base.items()))
        self._stamps_ns = np.array(list(self._poses), dtype=np.int64)

    def make_tf(self, stamp_ns: int, shift_ns: int) -> Any:
        """Return the tf2_msgs/TFMessage of a stamp, moved in time by `shift_ns`."""
        pose = self._poses[stamp_ns]
        transform = make_transform(stamp_ns + shift_ns, "odom", "base_link", pose)
        return make("tf2_msgs/msg/TFMessage", transforms=[transform])

    def make_odometry(self, stamp_ns: int, shift_ns: int) -> Any:
        """Return the nav_msgs/Odometry of a stamp; the twist is in base_link."""
        twist = self.twist(stamp_ns)
        linear, angular = (np.zeros(3), np.zeros(3)) if twist is None else twist
        variance = UNKNOWN_VARIANCE if twist is None else TWIST_VARIANCE
        return make(
            "nav_msgs/msg/Odometry",
            header=make_header(stamp_ns + shift_ns, "odom"),
            child_frame_id="base_link",
            pose=make(
                "geometry_msgs/msg/PoseWithCovariance",
                pose=make_pose(self._poses[stamp_ns]),
                covariance=np.diag([POSE_VARIANCE] * 6).reshape(-1),
            ),
            twist=make(
                "geometry_msgs/msg/TwistWithCovariance",
                twist=make(
                    "geometry_msgs/msg/Twist",
                    linear=make_vector(linear),
                    angular=make_vector(angular),
                ),
                covariance=np.diag([variance] * 6).reshape(-1),
            ),
        )

    def twist(self, stamp_ns: int) -> tuple[Float64, Float64] | None:
        """Return linear (m/s) and angular (rad/s) velocity in base_link; None with one pose."""
        before = np.flatnonzero(self._stamps_ns <= stamp_ns - HALF_WINDOW_NS)
        after = np.flatnonzero(self._stamps_ns >= stamp_ns + HALF_WINDOW_NS)
        first_ns = int(self._stamps_ns[before[-1] if before.size else 0])
        last_ns = int(self._stamps_ns[after[0] if after.size else -1])
        if first_ns == last_ns:
            return None
        time_s = (last_ns - first_ns) * 1e-9
        first, last = self._poses[first_ns], self._poses[last_ns]
        base_from_odom = self._poses[stamp_ns][:3, :3].T
        linear = base_from_odom @ (last[:3, 3] - first[:3, 3]) / time_s
        turn = base_from_odom @ last[:3, :3] @ first[:3, :3].T @ base_from_odom.T
        return np.asarray(linear), _rotation_vector(turn) / time_s


def _rotation_vector(rotation: Float64) -> Float64:
    """Return axis times angle (radians) of a (3, 3) rotation."""
    w, *xyz = quaternion_from_rotation(rotation)
    length = float(np.linalg.norm(xyz))
    if length < 1e-12:
        return np.zeros(3)
    return np.asarray(np.array(xyz) * (2 * np.arctan2(length, w) / length))
