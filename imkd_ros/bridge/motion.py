# SPDX-License-Identifier: Apache-2.0
"""TF and odometry messages -> the transform tree and the ego motion. No ROS in here."""

from collections.abc import Iterable
from typing import Any

from imkd_core.errors import CalibrationError
from imkd_core.geometry import Float64, transform_from_quaternion
from imkd_core.runtime.ego_motion import PoseBuffer, sensor_velocity
from imkd_core.runtime.transform_tree import TransformTree
from imkd_ros.bridge.convert import stamp_ns as stamp_ns_of

#: Silence after which ego motion counts as dead, and is no longer waited for.
_ALIVE_NS = 1_000_000_000


def transform_of(translation: Any, rotation: Any) -> Float64:
    """Return the (4, 4) transform of a message's vector and quaternion.

    Raises:
        CalibrationError: a number is not finite, or the quaternion has no length.
    """
    return transform_from_quaternion(
        (translation.x, translation.y, translation.z),
        (rotation.w, rotation.x, rotation.y, rotation.z),
    )


class EgoMotion:
    """Fills the transform tree, and knows where the vehicle was at a stamp.

    Args:
        tree: filled by `on_transform`.
        ego_frame: frame that stands still; empty = ego motion is never known.
        base_frame: frame of the vehicle.
        is_from_odometry: poses come by `on_odometry`; TF serves the extrinsics alone.
        poses: filled with the vehicle's poses; a buffer of its own where None.
    """

    def __init__(
        self,
        tree: TransformTree,
        ego_frame: str,
        base_frame: str,
        is_from_odometry: bool,
        poses: PoseBuffer | None = None,
    ) -> None:
        self._tree = tree
        self._link = (ego_frame, base_frame)
        self._is_from_odometry = is_from_odometry
        self._poses = PoseBuffer() if poses is None else poses
        self._before: PoseBuffer | None = None
        self._before_ns = 0
        self._has_direct_link = False
        self._last_arrival_ns: int | None = None

    @property
    def poses(self) -> PoseBuffer:
        """Where the vehicle was."""
        return self._poses

    @property
    def is_wanted(self) -> bool:
        """Whether a source of ego motion is set at all."""
        return self._is_from_odometry or bool(self._link[0])

    def is_alive(self, now_ns: int) -> bool:
        """Whether poses came lately, so that waiting for the next one makes sense."""
        if self._last_arrival_ns is None:
            return False
        return abs(now_ns - self._last_arrival_ns) <= _ALIVE_NS

    def reaches(self, stamps_ns: Iterable[int]) -> bool:
        """Whether there is a pose at or after every stamp, so that none is extrapolated."""
        newest_ns = self._poses.newest_ns
        return newest_ns is not None and all(stamp_ns <= newest_ns for stamp_ns in stamps_ns)

    def before(self, now_ns: int) -> PoseBuffer:
        """Return the poses from before time went back: it just did, for the sensors."""
        is_told = self._before is not None and abs(now_ns - self._before_ns) <= _ALIVE_NS
        return self._before if self._before is not None and is_told else self._poses

    def begin_anew(self, now_ns: int) -> None:
        """Time went back: forget the poses of before, and wait for the next."""
        if self.before(now_ns) is self._poses:
            self._poses.clear()
        self._before = None
        if self._last_arrival_ns is not None:
            self._last_arrival_ns = now_ns

    def clear(self) -> None:
        """Forget all poses."""
        self._poses.clear()
        self._before = None
        self._last_arrival_ns = None

    def on_transform(self, item: Any, is_static: bool, now_ns: int) -> None:
        """Take in one `geometry_msgs/TransformStamped`.

        Raises:
            CalibrationError: it is no rigid transform, or does not fit the tree.
            SensorError: its stamp is impossible.
        """
        parent = str(item.header.frame_id).lstrip("/")
        child = str(item.child_frame_id).lstrip("/")
        pose = transform_of(item.transform.translation, item.transform.rotation)
        if is_static:
            self._tree.set_static(parent, child, pose)
            return
        stamp_ns = stamp_ns_of(item.header, f"{parent} <- {child}")
        self._tree.push(parent, child, stamp_ns, pose)
        if self._is_from_odometry or not self._link[0]:
            return
        if (parent, child) == self._link:
            self._has_direct_link = True
            self._push(stamp_ns, pose, now_ns)
        elif not self._has_direct_link:
            self._push_chain(stamp_ns, now_ns)

    def on_odometry(self, message: Any, now_ns: int) -> None:
        """Take in one `nav_msgs/Odometry`.

        Raises:
            CalibrationError: its pose is impossible, or is not that of the vehicle's frame.
            SensorError: its stamp is impossible.
        """
        child = str(message.child_frame_id).lstrip("/")
        if child != self._link[1]:
            raise CalibrationError(
                f"its child_frame_id is '{child}', not '{self._link[1]}'; mend the publisher, or "
                "set base_frame to it"
            )
        pose = message.pose.pose
        self._push(
            stamp_ns_of(message.header, "odometry"),
            transform_of(pose.position, pose.orientation),
            now_ns,
        )

    def velocity_of(self, ego_from_sensor: Float64, stamp_ns: int) -> Float64 | None:
        """Return (3,) velocity of a sensor over ground in its own frame; None while unknown."""
        twist = self._poses.twist_at(stamp_ns)
        return None if twist is None else sensor_velocity(twist, ego_from_sensor)

    def _push(self, stamp_ns: int, pose: Float64, now_ns: int) -> None:
        if self._poses.goes_back(stamp_ns):
            self._before, self._before_ns = self._poses.copy(), now_ns
        self._poses.push(stamp_ns, pose)
        self._last_arrival_ns = now_ns

    def _push_chain(self, stamp_ns: int, now_ns: int) -> None:
        """Follow odom -> ... -> base_link where it is not one link."""
        try:
            pose = self._tree.lookup(*self._link, stamp_ns)
        except CalibrationError:
            return  # the chain is not complete yet, or this link is not part of it
        self._push(stamp_ns, pose, now_ns)
