# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from imkd_core.errors import CalibrationError, ConfigError
from imkd_core.geometry import invert_transform, rigid_transform, rotation_from_quaternion
from imkd_core.runtime.ego_motion import PoseBuffer, Twist, sensor_velocity

MS = 1_000_000
START_NS = 1_600_000_000_000 * MS


def circle_pose(time_s: float, speed_mps: float, yaw_rate_radps: float) -> NDArray[np.float64]:
    """Pose of a vehicle on a circle; starts at the origin, heading along x."""
    yaw = yaw_rate_radps * time_s
    cos, sin = np.cos(yaw), np.sin(yaw)
    radius_m = speed_mps / yaw_rate_radps
    rotation = [[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]
    return rigid_transform(rotation, [radius_m * sin, radius_m * (1 - cos), 0.3])


def driven(
    speed_mps: float = 12.0, yaw_rate_radps: float = 0.2, step_ms: int = 20, count: int = 60
) -> PoseBuffer:
    buffer = PoseBuffer()
    for k in range(count):
        pose = circle_pose(k * step_ms / 1000, speed_mps, yaw_rate_radps)
        buffer.push(START_NS + k * step_ms * MS, pose)
    return buffer


rates = st.floats(-0.5, 0.5).filter(lambda rate: abs(rate) > 1e-3)
times_ms = st.integers(0, 1180)


@given(st.floats(-30, 30), rates, times_ms, times_ms)
def test_relative_motion_is_that_of_the_drive(
    speed_mps: float, yaw_rate_radps: float, reference_ms: int, at_ms: int
) -> None:
    buffer = driven(speed_mps, yaw_rate_radps)
    found = buffer.relative(START_NS + reference_ms * MS, START_NS + at_ms * MS)
    odom_from_reference = circle_pose(reference_ms / 1000, speed_mps, yaw_rate_radps)
    expected = invert_transform(odom_from_reference) @ circle_pose(
        at_ms / 1000, speed_mps, yaw_rate_radps
    )
    assert found is not None
    np.testing.assert_allclose(found, expected, atol=2e-3)


@given(rates, times_ms, times_ms)
def test_there_and_back_is_the_identity(rate: float, first_ms: int, second_ms: int) -> None:
    buffer = driven(yaw_rate_radps=rate)
    there = buffer.relative(START_NS + first_ms * MS, START_NS + second_ms * MS)
    back = buffer.relative(START_NS + second_ms * MS, START_NS + first_ms * MS)
    assert there is not None
    assert back is not None
    np.testing.assert_allclose(there @ back, np.eye(4), atol=1e-9)


@given(st.floats(-30, 30), rates, times_ms)
def test_the_twist_is_that_of_the_drive(speed_mps: float, rate: float, at_ms: int) -> None:
    buffer = driven(speed_mps, rate)
    twist = buffer.twist_at(START_NS + at_ms * MS)
    assert twist is not None
    np.testing.assert_allclose(twist.linear_mps, [speed_mps, 0, 0], atol=0.01)
    np.testing.assert_allclose(twist.angular_radps, [0, 0, rate], atol=1e-6)
    np.testing.assert_array_equal(buffer.velocity_at(START_NS + at_ms * MS), twist.linear_mps)


@given(st.permutations(list(range(12))))
def test_the_order_of_arrival_does_not_matter(order: list[int]) -> None:
    shuffled, sorted_ = PoseBuffer(), PoseBuffer()
    for buffer, indices in ((shuffled, order), (sorted_, sorted(order))):
        for k in indices:
            buffer.push(START_NS + k * 30 * MS, circle_pose(k * 0.03, 9.0, 0.4))
    at_ns = START_NS + 100 * MS
    np.testing.assert_array_equal(shuffled.pose_at(at_ns), sorted_.pose_at(at_ns))


def test_beyond_the_poses_the_motion_goes_on_for_the_stated_time_and_no_longer() -> None:
    buffer = driven(count=50)  # poses up to 980 ms
    found = buffer.pose_at(START_NS + 1080 * MS)
    assert found is not None
    np.testing.assert_allclose(found, circle_pose(1.08, 12.0, 0.2), atol=0.03)
    assert buffer.pose_at(START_NS + 1080 * MS + 1) is None
    assert buffer.pose_at(START_NS - 100 * MS) is not None
    assert buffer.pose_at(START_NS - 100 * MS - 1) is None
    assert buffer.twist_at(START_NS + 1081 * MS) is None
    assert buffer.relative(START_NS, START_NS + 2000 * MS) is None
    assert buffer.relative(START_NS + 2000 * MS, START_NS) is None


def test_poses_a_microsecond_apart_do_not_blow_up_what_lies_beyond() -> None:
    buffer = driven(count=50)
    shaken = np.array(circle_pose(0.98, 12.0, 0.2))
    shaken[0, 3] += 0.005
    buffer.push(START_NS + 980 * MS + 1000, shaken)
    found = buffer.pose_at(START_NS + 1060 * MS)
    assert found is not None
    np.testing.assert_allclose(found, circle_pose(1.06, 12.0, 0.2), atol=0.05)


def test_an_empty_buffer_knows_nothing_but_that_the_same_time_is_the_same_place() -> None:
    buffer = PoseBuffer()
    assert buffer.pose_at(START_NS) is None
    assert buffer.twist_at(START_NS) is None
    assert buffer.velocity_at(START_NS) is None
    assert (buffer.newest_ns, buffer.span_ns, len(buffer)) == (None, None, 0)
    np.testing.assert_array_equal(buffer.relative(START_NS, START_NS), np.eye(4))


def test_one_pose_is_known_at_its_own_time_only() -> None:
    buffer = PoseBuffer()
    buffer.push(START_NS, np.eye(4))
    np.testing.assert_array_equal(buffer.pose_at(START_NS), np.eye(4))
    assert buffer.pose_at(START_NS + 1) is None
    assert buffer.twist_at(START_NS) is None


def test_a_long_gap_is_not_bridged() -> None:
    buffer = PoseBuffer(max_gap_ns=500 * MS)
    for at_ms in (0, 600):
        buffer.push(START_NS + at_ms * MS, np.eye(4))
    assert buffer.pose_at(START_NS + 300 * MS) is None
    assert buffer.pose_at(START_NS + 610 * MS) is None
    assert buffer.twist_at(START_NS + 600 * MS) is None


def test_a_backward_jump_clears_and_is_counted() -> None:
    buffer = driven()
    buffer.push(START_NS, np.eye(4))
    assert (len(buffer), buffer.jumps) == (1, 1)


def test_the_same_stamp_again_replaces_the_pose() -> None:
    buffer = driven(count=10)
    moved = rigid_transform(np.eye(3), [7, 8, 9])
    buffer.push(START_NS + 100 * MS, moved)
    assert len(buffer) == 10
    np.testing.assert_array_equal(buffer.pose_at(START_NS + 100 * MS), moved)


def test_a_pose_that_comes_later_changes_what_was_known_before() -> None:
    buffer = PoseBuffer()
    for at_ms in (0, 100):
        buffer.push(START_NS + at_ms * MS, np.eye(4))
    reference_ns, at_ns = START_NS + 150 * MS, START_NS + 100 * MS
    np.testing.assert_allclose(buffer.relative(reference_ns, at_ns), np.eye(4))
    buffer.push(START_NS + 200 * MS, rigid_transform(np.eye(3), [2.0, 0, 0]))
    found = buffer.relative(reference_ns, at_ns)
    np.testing.assert_allclose(found, rigid_transform(np.eye(3), [-1.0, 0, 0]))
    buffer.clear()
    assert buffer.relative(reference_ns, at_ns) is None


def test_the_past_is_forgotten_by_age_and_by_number() -> None:
    by_age = PoseBuffer(keep_ns=200 * MS)
    by_number = PoseBuffer(max_poses=5)
    for buffer in (by_age, by_number):
        for k in range(100):
            buffer.push(START_NS + k * 20 * MS, np.eye(4))
    assert by_age.span_ns == (START_NS + 1780 * MS, START_NS + 1980 * MS)
    assert by_number.span_ns == (START_NS + 1900 * MS, START_NS + 1980 * MS)


def test_impossible_poses_and_limits_are_refused() -> None:
    buffer = PoseBuffer()
    for bad in (np.full((4, 4), np.nan), np.eye(3), np.diag([2.0, 2, 2, 1])):
        with pytest.raises(CalibrationError):
            buffer.push(START_NS, bad)
    for limits in ({"max_poses": 1}, {"jump_ns": 0}, {"max_extrapolation_ns": -1}):
        with pytest.raises(ConfigError):
            PoseBuffer(**limits)


def test_a_turning_vehicle_moves_a_sensor_at_its_corner_sideways() -> None:
    twist = Twist(np.array([10.0, 0, 0]), np.array([0, 0, 0.5]))
    quarter_turn = rotation_from_quaternion([np.sqrt(0.5), 0, 0, np.sqrt(0.5)])
    ego_from_radar = rigid_transform(quarter_turn, [3.0, 1.0, 0.5])
    # in the ego frame: (10 - 0.5 * 1, 0.5 * 3, 0); the radar looks to the left
    np.testing.assert_allclose(sensor_velocity(twist, ego_from_radar), [1.5, -9.5, 0], atol=1e-12)
