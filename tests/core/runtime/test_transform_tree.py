# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from imkd_core.errors import CalibrationError
from imkd_core.geometry import invert_transform, rigid_transform, rotation_from_quaternion
from imkd_core.runtime.transform_tree import TransformTree

MS = 1_000_000
START_NS = 1_600_000_000_000 * MS

numbers = st.floats(-5, 5, allow_subnormal=False)
poses = st.tuples(
    st.tuples(numbers, numbers, numbers, numbers).filter(lambda q: np.linalg.norm(q) > 0.1),
    st.tuples(numbers, numbers, numbers),
).map(lambda pose: rigid_transform(rotation_from_quaternion(pose[0]), pose[1]))


def shift(x: float, y: float = 0.0, z: float = 0.0) -> NDArray[np.float64]:
    return rigid_transform(np.eye(3), [x, y, z])


def vehicle() -> TransformTree:
    """odom -> base_link (moving 10 m/s along x) -> camera and radar; a map apart."""
    tree = TransformTree()
    tree.set_static("base_link", "camera", shift(1.5, 0.1, 1.6))
    tree.set_static("base_link", "bumper", shift(3.0))
    tree.set_static("bumper", "radar", shift(0.4, 0, 0.5))
    for k in range(11):
        tree.push("odom", "base_link", START_NS + k * 100 * MS, shift(k * 1.0))
    return tree


@given(st.lists(poses, min_size=1, max_size=5), st.lists(poses, min_size=1, max_size=5))
def test_a_way_up_and_down_the_tree_is_the_product_of_its_links(
    left: list[NDArray[np.float64]], right: list[NDArray[np.float64]]
) -> None:
    tree = TransformTree()
    ends = []
    for side, links in (("left", left), ("right", right)):
        root_from_end, parent = np.eye(4), "root"
        for i, link in enumerate(links):
            tree.set_static(parent, f"{side}{i}", link)
            root_from_end, parent = root_from_end @ link, f"{side}{i}"
        ends.append((parent, root_from_end))
    (left_end, root_from_left), (right_end, root_from_right) = ends
    found = tree.lookup(left_end, right_end)
    np.testing.assert_allclose(found, invert_transform(root_from_left) @ root_from_right, atol=1e-9)
    np.testing.assert_allclose(tree.lookup(right_end, left_end) @ found, np.eye(4), atol=1e-9)


def test_fixed_links_need_no_time() -> None:
    tree = vehicle()
    np.testing.assert_allclose(tree.lookup("base_link", "radar"), shift(3.4, 0, 0.5))
    np.testing.assert_allclose(tree.lookup("camera", "radar", 5), shift(1.9, -0.1, -1.1))
    np.testing.assert_array_equal(tree.lookup("radar", "radar", 5), np.eye(4))


def test_the_revision_tells_of_everything_but_new_poses() -> None:
    tree = vehicle()
    seen = [tree.revision]
    tree.push("odom", "base_link", START_NS + 1100 * MS, shift(11.0))
    tree.set_static("base_link", "camera", shift(1.5, 0.1, 1.6))
    assert tree.revision == seen[0]
    tree.set_static("base_link", "camera", shift(1.5, 0.1, 1.7))
    seen.append(tree.revision)
    tree.set_static("base_link", "lidar", shift(0.0))
    seen.append(tree.revision)
    tree.push("base_link", "camera", START_NS, shift(1.5))
    seen.append(tree.revision)
    tree.set_static("base_link", "camera", shift(1.5))
    seen.append(tree.revision)
    tree.clear()
    seen.append(tree.revision)
    assert len(set(seen)) == len(seen)


def test_only_a_way_over_a_moving_link_is_not_fixed() -> None:
    tree = vehicle()
    assert tree.is_fixed("base_link", "/radar")
    assert tree.is_fixed("camera", "radar")
    assert not tree.is_fixed("odom", "radar")
    assert not tree.is_fixed("camera", "odom")


@given(st.integers(0, 1000))
def test_a_moving_link_is_interpolated(at_ms: int) -> None:
    found = vehicle().lookup("odom", "camera", START_NS + at_ms * MS)
    np.testing.assert_allclose(found, shift(1.5 + at_ms / 100, 0.1, 1.6), atol=1e-9)


def test_without_a_time_the_newest_that_all_moving_links_have_is_taken() -> None:
    tree = vehicle()
    for k in range(9):
        tree.push("base_link", "arm", START_NS + k * 100 * MS, shift(0, 0, float(k)))
    np.testing.assert_allclose(tree.lookup("odom", "base_link"), shift(10.0))
    np.testing.assert_allclose(tree.lookup("odom", "arm"), shift(8.0, 0, 8.0))


def test_a_time_beyond_a_moving_link_is_refused_and_the_link_named() -> None:
    for at_ms in (-1, 1001):
        with pytest.raises(CalibrationError, match="odom <- base_link has no pose at"):
            vehicle().lookup("odom", "radar", START_NS + at_ms * MS)
    tolerant = TransformTree(max_extrapolation_ns=50 * MS)
    for k in range(3):
        tolerant.push("odom", "base_link", START_NS + k * 100 * MS, shift(float(k)))
    np.testing.assert_allclose(
        tolerant.lookup("odom", "base_link", START_NS + 250 * MS), shift(2.5)
    )


def test_an_unknown_frame_is_named_with_those_that_are_known() -> None:
    with pytest.raises(CalibrationError, match=r"names 'lidar' \(known frames: base_link, bumper"):
        vehicle().lookup("base_link", "lidar")


def test_frames_of_two_trees_are_not_connected() -> None:
    tree = vehicle()
    tree.set_static("map", "tower", shift(1.0))
    with pytest.raises(CalibrationError, match="'radar' hangs on 'odom', 'tower' on 'map'"):
        tree.lookup("tower", "radar")


def test_a_cycle_is_refused_and_nothing_is_changed() -> None:
    tree = vehicle()
    for child in ("odom", "radar"):
        with pytest.raises(CalibrationError, match="cycle"):
            tree.set_static("radar", child, np.eye(4))
    np.testing.assert_allclose(tree.lookup("base_link", "radar"), shift(3.4, 0, 0.5))


def test_a_second_parent_is_refused() -> None:
    with pytest.raises(CalibrationError, match="two parents, 'base_link' and 'odom'"):
        vehicle().set_static("odom", "camera", np.eye(4))


def test_a_fixed_link_may_be_set_again_and_may_start_to_move() -> None:
    tree = vehicle()
    tree.set_static("base_link", "camera", shift(2.0))
    np.testing.assert_allclose(tree.lookup("base_link", "camera"), shift(2.0))
    tree.push("base_link", "camera", START_NS, shift(3.0))
    np.testing.assert_allclose(tree.lookup("base_link", "camera", START_NS), shift(3.0))


def test_names_are_taken_without_a_leading_slash_and_never_empty() -> None:
    tree = vehicle()
    tree.set_static("/base_link", "/lidar", shift(1.0))
    np.testing.assert_allclose(tree.lookup("/base_link", "lidar"), shift(1.0))
    for parent, child in (("", "a"), ("a", ""), ("/", "a")):
        with pytest.raises(CalibrationError, match="empty"):
            tree.push(parent, child, START_NS, np.eye(4))


@pytest.mark.parametrize("bad", [np.full((4, 4), np.nan), np.diag([1.0, 1, -1, 1])])
def test_what_is_not_rigid_is_refused_before_the_link_exists(bad: NDArray[np.float64]) -> None:
    tree = vehicle()
    with pytest.raises(CalibrationError, match="base_link <- lidar"):
        tree.push("base_link", "lidar", START_NS, bad)
    assert "lidar" not in tree.frames


def test_the_number_of_frames_is_bounded() -> None:
    tree = TransformTree(max_frames=3)
    for i in range(3):
        tree.set_static("base_link", f"sensor{i}", np.eye(4))
    with pytest.raises(CalibrationError, match="more than 3 frames"):
        tree.set_static("base_link", "sensor3", np.eye(4))


def test_clear_forgets_everything() -> None:
    tree = vehicle()
    tree.clear()
    assert tree.frames == frozenset()
    with pytest.raises(CalibrationError, match="radar"):
        tree.lookup("base_link", "radar")


@given(poses, poses, poses, poses, st.integers(0, 100))
def test_tf2_gives_the_same(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    mount: NDArray[np.float64],
    other: NDArray[np.float64],
    at_ms: int,
) -> None:
    tf2 = pytest.importorskip("tf2_py", reason="tf2_py is not installed", exc_type=ImportError)
    clock = pytest.importorskip("rclpy.time", reason="rclpy is not installed")
    ours, buffer = TransformTree(), tf2.BufferCore()
    for k, pose in ((0, first), (1, second)):
        stamp_ns = START_NS + k * 100 * MS
        ours.push("odom", "base_link", stamp_ns, pose)
        buffer.set_transform(_message("odom", "base_link", stamp_ns, pose), "test")
    for child, pose in (("camera", mount), ("radar", other)):
        ours.set_static("base_link", child, pose)
        buffer.set_transform_static(_message("base_link", child, 0, pose), "test")
    at_ns = START_NS + at_ms * MS
    for target, source in (("odom", "camera"), ("camera", "odom"), ("radar", "camera")):
        time = clock.Time(nanoseconds=at_ns)
        found = buffer.lookup_transform_core(target, source, time).transform
        expected = rigid_transform(
            rotation_from_quaternion([getattr(found.rotation, name) for name in "wxyz"]),
            [found.translation.x, found.translation.y, found.translation.z],
        )
        np.testing.assert_allclose(ours.lookup(target, source, at_ns), expected, atol=1e-6)


def _message(parent: str, child: str, stamp_ns: int, pose: NDArray[np.float64]) -> object:
    from geometry_msgs.msg import TransformStamped

    from imkd_core.geometry import quaternion_from_rotation

    message = TransformStamped()
    message.header.frame_id, message.child_frame_id = parent, child
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    move, turn = message.transform.translation, message.transform.rotation
    move.x, move.y, move.z = map(float, pose[:3, 3])
    turn.w, turn.x, turn.y, turn.z = map(float, quaternion_from_rotation(pose[:3, :3]))
    return message
