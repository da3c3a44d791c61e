# SPDX-License-Identifier: Apache-2.0
"""Poses become TF and odometry; speeds are those of the motion between poses."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.data.bags.ego_messages import UNKNOWN_VARIANCE, EgoTrack
from imkd_core.geometry import rigid_transform

speeds = st.floats(-30, 30, allow_subnormal=False)
turns = st.floats(-1.5, 1.5, allow_subnormal=False)


def pose_on_arc(time_s: float, speed_mps: float, turn_radps: float, yaw_rad: float) -> np.ndarray:
    """Return odom_from_base of a vehicle that drives a circle, or straight on."""
    yaw = yaw_rad + turn_radps * time_s
    middle = yaw_rad + turn_radps * time_s / 2
    chord = np.sinc(turn_radps * time_s / 2 / np.pi) * speed_mps * time_s
    rotation = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    return rigid_transform(rotation, (chord * np.cos(middle), chord * np.sin(middle), 0.0))


@given(speed_mps=speeds, turn_radps=turns, yaw_rad=st.floats(-3, 3))
def test_the_twist_is_the_speed_of_the_arc_in_the_vehicles_frame(speed_mps, turn_radps, yaw_rad):
    stamps = [10**9 + i * 25_000_000 for i in range(5)]
    track = EgoTrack(
        {ns: pose_on_arc((ns - 10**9) * 1e-9, speed_mps, turn_radps, yaw_rad) for ns in stamps}
    )
    linear, angular = track.twist(stamps[2])
    np.testing.assert_allclose(linear, (speed_mps, 0, 0), atol=1e-3 * abs(speed_mps) + 1e-9)
    np.testing.assert_allclose(angular, (0, 0, turn_radps), atol=1e-6)


def test_odometry_carries_pose_twist_and_the_shifted_stamp():
    poses = {ns: pose_on_arc(ns * 1e-9, 4.0, 0.0, 0.0) for ns in (10**9, 2 * 10**9)}
    message = EgoTrack(poses).make_odometry(2 * 10**9, 500_000_000)
    assert (message.header.frame_id, message.child_frame_id) == ("odom", "base_link")
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (2, 500_000_000)
    assert message.pose.pose.position.x == 8.0
    np.testing.assert_allclose(message.twist.twist.linear.x, 4.0)
    assert 0 < message.twist.covariance[0] < 1


def test_one_pose_has_an_unknown_speed_and_says_so():
    track = EgoTrack({10**9: np.eye(4)})
    assert track.twist(10**9) is None
    message = track.make_odometry(10**9, 0)
    assert message.twist.twist.linear.x == 0.0
    assert message.twist.covariance[0] == message.twist.covariance[35] == UNKNOWN_VARIANCE
