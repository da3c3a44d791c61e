# SPDX-License-Identifier: Apache-2.0
"""Poses of the vehicle over time: interpolated between, extrapolated a stated time beyond."""

import copy
from bisect import bisect_left
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from imkd_core.geometry import (
    Float64,
    checked_transform,
    interpolate_transform,
    invert_transform,
    quaternion_from_rotation,
    rotate_vectors,
)
from imkd_core.mapping import require


class Twist(NamedTuple):
    """Motion of a frame over ground, in its own axes.

    Attributes:
        linear_mps: (3,) velocity of its origin.
        angular_radps: (3,) angular velocity.
    """

    linear_mps: Float64
    angular_radps: Float64


class PoseBuffer:
    """Poses `odom_from_ego` by stamp, oldest first; bounded in number and time.

    `odom` is any frame that moves smoothly and does not jump (REP-105), never `map`.

    Args:
        max_extrapolation_ns: how far before the first and after the last pose one is still
            given, with the velocity of the nearest `velocity_baseline_ns`.
        max_gap_ns: two poses further apart than this are not interpolated between.
        jump_ns: a stamp this far behind the newest clears the buffer (a bag that loops).
        keep_ns: poses older than this before the newest are forgotten.
        max_poses: as are the oldest beyond this number.
        velocity_baseline_ns: time over which velocity is measured, so that two poses a
            millisecond apart do not make it noise.

    Raises:
        ConfigError: a limit is not positive.
    """

    def __init__(
        self,
        *,
        max_extrapolation_ns: int = 100_000_000,
        max_gap_ns: int = 1_000_000_000,
        jump_ns: int = 500_000_000,
        keep_ns: int = 10_000_000_000,
        max_poses: int = 2000,
        velocity_baseline_ns: int = 50_000_000,
    ) -> None:
        limits = (max_gap_ns, jump_ns, keep_ns, velocity_baseline_ns)
        require(
            min(limits) > 0 and max_extrapolation_ns >= 0 and max_poses >= 2,
            "pose buffer: limits must be positive, and max_poses at least 2",
        )
        self._max_extrapolation_ns = max_extrapolation_ns
        self._max_gap_ns = max_gap_ns
        self._jump_ns = jump_ns
        self._keep_ns = keep_ns
        self._max_poses = max_poses
        self._baseline_ns = velocity_baseline_ns
        self._stamps_ns: list[int] = []
        self._poses: list[Float64] = []
        self._reference: tuple[int, Float64 | None] | None = None  # of the last `relative`
        self.jumps = 0

    def __len__(self) -> int:
        """Return the number of poses held."""
        return len(self._stamps_ns)

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest pose; None while there is none."""
        return self._stamps_ns[-1] if self._stamps_ns else None

    @property
    def span_ns(self) -> tuple[int, int] | None:
        """Stamps of the oldest and newest pose; None while there is none."""
        return (self._stamps_ns[0], self._stamps_ns[-1]) if self._stamps_ns else None

    def copy(self) -> "PoseBuffer":
        """Return another buffer with the same poses."""
        twin = copy.copy(self)
        twin._stamps_ns, twin._poses = list(self._stamps_ns), list(self._poses)
        return twin

    def goes_back(self, stamp_ns: int) -> bool:
        """Whether a pose of this stamp clears the buffer first."""
        return bool(self._stamps_ns) and stamp_ns < self._stamps_ns[-1] - self._jump_ns

    def clear(self) -> None:
        """Forget all poses."""
        self._stamps_ns.clear()
        self._poses.clear()
        self._reference = None

    def push(self, stamp_ns: int, odom_from_ego: ArrayLike) -> None:
        """Add a pose, in any order; the same stamp again replaces the pose.

        Raises:
            CalibrationError: the transform is not rigid or not finite.
        """
        pose = checked_transform(odom_from_ego, "odom_from_ego")
        if self.goes_back(stamp_ns):
            self.clear()
            self.jumps += 1
        self._reference = None
        index = bisect_left(self._stamps_ns, stamp_ns)
        if index < len(self._stamps_ns) and self._stamps_ns[index] == stamp_ns:
            self._poses[index] = pose
            return
        self._stamps_ns.insert(index, stamp_ns)
        self._poses.insert(index, pose)
        self._forget()

    def pose_at(self, stamp_ns: int) -> Float64 | None:
        """Return `odom_from_ego` at a time; None where it is not known well enough."""
        stamps = self._stamps_ns
        index = bisect_left(stamps, stamp_ns)
        if index < len(stamps) and stamps[index] == stamp_ns:
            return self._poses[index]
        if 0 < index < len(stamps):
            return self._between(index - 1, index, stamp_ns, self._max_gap_ns)
        if len(stamps) < 2 or not self._is_near(stamp_ns):
            return None
        first, second = self._baseline(0 if index == 0 else len(stamps) - 1)
        return self._between(first, second, stamp_ns, self._max_gap_ns)

    def relative(self, reference_ns: int, stamp_ns: int) -> Float64 | None:
        """Return `reference_from_ego`: from the ego frame at a stamp to that at the reference.

        None where one of the poses is not known; equal stamps always give the identity.
        """
        if reference_ns == stamp_ns:
            return np.eye(4)
        if self._reference is None or self._reference[0] != reference_ns:
            self._reference = reference_ns, self.pose_at(reference_ns)
        odom_from_reference, odom_from_ego = self._reference[1], self.pose_at(stamp_ns)
        if odom_from_reference is None or odom_from_ego is None:
            return None
        return invert_transform(odom_from_reference) @ odom_from_ego

    def twist_at(self, stamp_ns: int) -> Twist | None:
        """Return the ego motion over ground in ego axes; None where it is not known."""
        if len(self._stamps_ns) < 2 or not self._is_near(stamp_ns):
            return None
        nearest = min(bisect_left(self._stamps_ns, stamp_ns), len(self._stamps_ns) - 1)
        first, second = self._baseline(nearest)
        gap_ns = self._stamps_ns[second] - self._stamps_ns[first]
        if gap_ns > self._max_gap_ns:
            return None
        odom_from_first, odom_from_second = self._poses[first], self._poses[second]
        turn = _rotation_vector(invert_transform(odom_from_first) @ odom_from_second)
        moved_m = odom_from_second[:3, 3] - odom_from_first[:3, 3]
        odom_from_middle = interpolate_transform(odom_from_first, odom_from_second, 0.5)
        linear = rotate_vectors(invert_transform(odom_from_middle), moved_m)
        return Twist(linear / (gap_ns * 1e-9), turn / (gap_ns * 1e-9))

    def velocity_at(self, stamp_ns: int) -> Float64 | None:
        """Return (3,) velocity of the ego origin over ground, in ego axes, metres a second."""
        twist = self.twist_at(stamp_ns)
        return None if twist is None else twist.linear_mps

    def _is_near(self, stamp_ns: int) -> bool:
        return (
            self._stamps_ns[0] - self._max_extrapolation_ns
            <= stamp_ns
            <= self._stamps_ns[-1] + self._max_extrapolation_ns
        )

    def _baseline(self, nearest: int) -> tuple[int, int]:
        """Return two poses around or beside index `nearest`, at least the baseline apart.

        They are fewer nanoseconds apart only where the whole buffer is.
        """
        stamps = self._stamps_ns
        last = len(stamps) - 1
        first = bisect_left(stamps, stamps[nearest] - self._baseline_ns + 1) - 1
        if first >= 0:
            return first, nearest
        first = 0
        second = min(bisect_left(stamps, stamps[first] + self._baseline_ns), last)
        return first, max(second, 1)

    def _between(self, first: int, second: int, stamp_ns: int, max_gap_ns: int) -> Float64 | None:
        start_ns, end_ns = self._stamps_ns[first], self._stamps_ns[second]
        if end_ns - start_ns > max_gap_ns:
            return None
        fraction = (stamp_ns - start_ns) / (end_ns - start_ns)
        return interpolate_transform(self._poses[first], self._poses[second], fraction)

    def _forget(self) -> None:
        stamps = self._stamps_ns
        too_old = bisect_left(stamps, stamps[-1] - self._keep_ns)
        drop = max(too_old, len(stamps) - self._max_poses)
        if drop > 0:
            del self._stamps_ns[:drop], self._poses[:drop]


def sensor_velocity(twist: Twist, ego_from_sensor: ArrayLike) -> Float64:
    """Return (3,) velocity of a sensor mounted on the vehicle over ground, in sensor axes.

    Args:
        twist: motion of the vehicle, in ego axes.
        ego_from_sensor: (4, 4) mounting pose.
    """
    arm_m = np.asarray(ego_from_sensor, dtype=np.float64)[:3, 3]
    velocity_ego = twist.linear_mps + np.cross(twist.angular_radps, arm_m)
    return rotate_vectors(invert_transform(ego_from_sensor), velocity_ego)


def _rotation_vector(first_from_second: Float64) -> Float64:
    """Return (3,) axis times angle (radians, at most pi) of a transform's rotation."""
    w, *xyz = quaternion_from_rotation(first_from_second[:3, :3])
    axis: Float64 = np.asarray(xyz, dtype=np.float64)
    sine = float(np.linalg.norm(axis))
    if sine < 1e-12:
        return np.zeros(3)
    axis *= 2 * np.arctan2(sine, w) / sine
    return axis
