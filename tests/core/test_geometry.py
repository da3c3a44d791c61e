# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imkd_core.errors import CalibrationError
from imkd_core.geometry import (
    BOX_EDGES,
    RIGID_TOLERANCE,
    box_corners,
    checked_transform,
    interpolate_transform,
    invert_transform,
    planar_transform,
    points_in_box,
    project_points,
    quaternion_from_rotation,
    rigid_transform,
    rotate_vectors,
    rotation_from_quaternion,
    transform_from_quaternion,
    transform_points,
    wrap_angle,
    yaw_of,
)

metres = st.floats(-1e3, 1e3, allow_subnormal=False)
quaternions = arrays(np.float64, 4, elements=st.floats(-1, 1, allow_subnormal=False)).filter(
    lambda q: np.linalg.norm(q) > 0.01
)
poses = st.builds(transform_from_quaternion, st.tuples(metres, metres, metres), quaternions)
clouds = st.integers(0, 7).flatmap(lambda n: arrays(np.float64, (n, 3), elements=metres))
angles = st.floats(-50, 50)


@given(quaternions)
def test_a_quaternion_becomes_a_rotation_and_back_up_to_its_sign(wxyz):
    rotation = rotation_from_quaternion(wxyz)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    back = quaternion_from_rotation(rotation)
    assert back[0] >= 0
    assert abs(back @ (wxyz / np.linalg.norm(wxyz))) == pytest.approx(1)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("angle", [np.pi, np.pi - 1e-9, 1e-9, 2.0])
def test_half_turns_about_each_axis_keep_their_quaternion(axis, angle):
    wxyz = np.zeros(4)
    wxyz[0], wxyz[1 + axis] = np.cos(angle / 2), np.sin(angle / 2)
    back = quaternion_from_rotation(rotation_from_quaternion(wxyz))
    np.testing.assert_allclose(np.abs(back), np.abs(wxyz), atol=1e-9)


def test_a_quarter_turn_about_z_takes_x_to_y():
    wxyz = [np.sqrt(0.5), 0, 0, np.sqrt(0.5)]
    np.testing.assert_allclose(rotation_from_quaternion(wxyz) @ [1, 0, 0], [0, 1, 0], atol=1e-15)


@given(quaternions)
def test_rotations_equal_those_of_scipy(wxyz):
    scipy_rotation = pytest.importorskip("scipy.spatial.transform").Rotation
    expected = scipy_rotation.from_quat(wxyz[[1, 2, 3, 0]]).as_matrix()
    np.testing.assert_allclose(rotation_from_quaternion(wxyz), expected, atol=1e-12)


@pytest.mark.parametrize(
    "bad",
    [[0, 0, 0, 0], [1, 0, 0], [np.nan, 0, 0, 1], [[1, 0, 0, 0]], "none", [1, "x", 0, 0], None],
)
def test_what_is_no_quaternion_is_refused(bad):
    with pytest.raises(CalibrationError):
        rotation_from_quaternion(bad)


@given(poses, clouds)
def test_there_and_back_is_the_identity(dst_from_src, points_src):
    points_dst = transform_points(dst_from_src, points_src)
    back = transform_points(invert_transform(dst_from_src), points_dst)
    np.testing.assert_allclose(back, points_src, atol=1e-9)
    assert points_dst.shape == points_src.shape


@given(poses, poses, clouds)
def test_transforms_compose_like_their_names(a_from_b, b_from_c, points_c):
    step_by_step = transform_points(a_from_b, transform_points(b_from_c, points_c))
    np.testing.assert_allclose(
        transform_points(a_from_b @ b_from_c, points_c), step_by_step, atol=1e-8
    )


@given(poses, clouds)
def test_free_vectors_do_not_see_the_translation(dst_from_src, vectors):
    turned = rotate_vectors(dst_from_src, vectors)
    expected = transform_points(dst_from_src, vectors) - dst_from_src[:3, 3]
    np.testing.assert_allclose(turned, expected, atol=1e-8)
    lengths = np.linalg.norm(turned, axis=1)
    np.testing.assert_allclose(lengths, np.linalg.norm(vectors, axis=1), atol=1e-8)


@given(angles, metres, metres)
def test_planar_vectors_turn_as_three_dimensional_ones_on_level_ground(yaw, vx, vy):
    pose = transform_from_quaternion([5, 6, 7], [np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)])
    flat = rotate_vectors(pose, [vx, vy])
    np.testing.assert_allclose(flat, rotate_vectors(pose, [vx, vy, 0.0])[:2], atol=1e-9)


@given(angles)
def test_the_yaw_of_a_turn_is_its_angle(yaw):
    pose = transform_from_quaternion([1, 2, 3], [np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)])
    assert wrap_angle(yaw_of(pose) - yaw) == pytest.approx(0, abs=1e-9)


@given(metres, metres, metres, st.floats(-3.1, 3.1), st.tuples(metres, metres))
def test_on_level_ground_the_planar_transform_is_the_whole_one(x, y, z, yaw, point):
    level = transform_from_quaternion((x, y, z), [np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)])
    planar = planar_transform(level)
    expected = transform_points(level, (*point, 0.0))[:2]
    np.testing.assert_allclose(planar[:, :2] @ point + planar[:, 2], expected, atol=1e-9)


@given(poses)
def test_the_planar_transform_of_any_pose_turns_without_stretching(pose):
    planar = planar_transform(pose)
    np.testing.assert_allclose(planar[:, :2] @ planar[:, :2].T, np.eye(2), atol=1e-12)
    assert np.linalg.det(planar[:, :2]) > 0
    np.testing.assert_array_equal(planar[:, 2], pose[:2, 3])


@given(st.floats(-1e6, 1e6))
def test_wrapped_angles_lie_in_the_half_open_turn_and_differ_by_whole_turns(angle):
    wrapped = float(wrap_angle(angle))
    assert -np.pi <= wrapped < np.pi
    turns = (angle - wrapped) / (2 * np.pi)
    assert turns == pytest.approx(round(turns), abs=1e-6)


def test_an_angle_a_hair_below_minus_pi_stays_in_range():
    assert float(wrap_angle(np.nextafter(-np.pi, -4))) < np.pi
    assert float(wrap_angle(np.pi)) == -np.pi


@given(poses, poses, st.floats(0, 1))
def test_interpolation_starts_ends_and_stays_rigid(first, second, fraction):
    np.testing.assert_allclose(interpolate_transform(first, second, 0), first, atol=1e-9)
    np.testing.assert_allclose(interpolate_transform(first, second, 1), second, atol=1e-9)
    middle = interpolate_transform(first, second, fraction)
    checked_transform(middle, "middle")
    shift_m = (1 - fraction) * first[:3, 3] + fraction * second[:3, 3]
    np.testing.assert_allclose(middle[:3, 3], shift_m, atol=1e-9)


@given(st.floats(-3.0, 3.0), st.floats(-1.0, 2.0), st.sampled_from([1, -1]))
def test_interpolated_turns_are_even_also_beyond_the_ends(turn, fraction, sign):
    end = sign * np.array([np.cos(turn / 2), 0, 0, np.sin(turn / 2)])
    pose = interpolate_transform(np.eye(4), transform_from_quaternion([0, 0, 0], end), fraction)
    assert wrap_angle(yaw_of(pose) - fraction * turn) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "bad",
    [
        np.eye(3),
        np.full((4, 4), np.nan),
        np.diag([2.0, 1, 1, 1]),
        np.diag([-1.0, 1, 1, 1]),
        np.zeros((4, 4)),
        np.diag([1.0, 1, 1, 2]),
        [[1, 0], [0]],
        "identity",
    ],
)
def test_what_is_not_rigid_is_refused_by_name(bad):
    with pytest.raises(CalibrationError, match="ego_from_radar"):
        checked_transform(bad, "ego_from_radar")


@given(quaternions, arrays(np.float64, (3, 3), elements=st.floats(-2e-4, 2e-4)))
def test_a_rotation_is_what_numpy_calls_one_within_the_tolerance(wxyz, bent):
    pose = np.eye(4)
    pose[:3, :3] = rotation_from_quaternion(wxyz) + bent
    off = np.abs(pose[:3, :3] @ pose[:3, :3].T - np.eye(3)).max()
    assume(abs(off - RIGID_TOLERANCE) > 1e-12 and np.abs(pose).max() <= 1 + RIGID_TOLERANCE)
    if off < RIGID_TOLERANCE:
        np.testing.assert_array_equal(checked_transform(pose, "pose"), pose)
    else:
        with pytest.raises(CalibrationError, match="not a rigid transform"):
            checked_transform(pose, "pose")


@given(poses, st.integers(0, 2))
def test_a_mirror_is_no_rotation(pose, axis):
    mirrored = pose.copy()
    mirrored[:, axis] *= -1
    with pytest.raises(CalibrationError, match="not a rigid transform"):
        checked_transform(mirrored, "pose")


def test_a_checked_transform_is_a_read_only_copy():
    given_matrix = np.eye(4)
    checked = checked_transform(given_matrix, "pose")
    given_matrix[0, 3] = 5
    assert checked[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        checked[0, 3] = 1


@pytest.mark.parametrize(
    ("rotation", "translation"),
    [(np.eye(2), [0, 0, 0]), (np.eye(3), [0, 0]), (np.eye(3), [[0, 0, 0]]), (np.eye(3), "abc")],
)
def test_parts_of_a_transform_must_fit(rotation, translation):
    with pytest.raises(CalibrationError):
        rigid_transform(rotation, translation)


K = np.array([[500.0, 0, 320], [0, 400, 240], [0, 0, 1]])


@given(st.floats(-20, 20), st.floats(-20, 20), st.floats(0.1, 90))
def test_projection_follows_the_pinhole_formula(x, y, z):
    pixels, depth_m = project_points(K, [[x, y, z]])
    np.testing.assert_allclose(pixels, [[500 * x / z + 320, 400 * y / z + 240]], rtol=1e-9)
    assert depth_m.tolist() == [z]


def test_points_at_or_behind_the_camera_have_no_pixel():
    pixels, depth_m = project_points(K, [[0, 0, 0], [1, 1, -3], [0, 0, 2]])
    assert np.isnan(pixels[:2]).all()
    assert pixels[2].tolist() == [320, 240]
    assert depth_m.tolist() == [0, -3, 2]
    assert project_points(K, np.zeros((0, 3)))[0].shape == (0, 2)


sizes = st.tuples(*[st.floats(0.1, 20)] * 3)


@given(st.tuples(metres, metres, metres), sizes, angles)
def test_corners_have_the_box_centre_and_its_diagonals(center, size, yaw):
    corners = box_corners([center], [size], [yaw])[0]
    np.testing.assert_allclose(corners.mean(axis=0), center, atol=1e-9)
    reach = np.linalg.norm(corners - center, axis=1)
    np.testing.assert_allclose(reach, np.linalg.norm(size) / 2, rtol=1e-6)
    front = corners[:4].mean(axis=0) - center
    np.testing.assert_allclose(
        front, size[0] / 2 * np.array([np.cos(yaw), np.sin(yaw), 0]), atol=1e-8
    )


@given(sizes, angles)
def test_edges_are_parallel_to_the_box_four_each(size, yaw):
    corners = box_corners([[0, 0, 0]], [size], [yaw])[0]
    lengths = sorted(np.linalg.norm(corners[a] - corners[b]) for a, b in BOX_EDGES)
    np.testing.assert_allclose(lengths, sorted([*size] * 4), rtol=1e-9)
    assert len({frozenset(edge) for edge in BOX_EDGES}) == 12


def test_the_first_corner_is_front_left_top():
    corners = box_corners([[0, 0, 0]], [[4, 2, 1]], [0.0])[0]
    assert corners[0].tolist() == [2, 1, 0.5]
    assert corners[4].tolist() == [-2, 1, 0.5]
    assert box_corners(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0)).shape == (0, 8, 3)


@given(
    st.tuples(metres, metres, metres),
    sizes,
    angles,
    arrays(np.float64, (5, 3), elements=st.floats(-2, 2)),
)
def test_points_are_inside_exactly_when_their_box_coordinates_are(center, size, yaw, relative):
    relative = relative[(np.abs(np.abs(relative) - 1) > 1e-6).all(axis=1)]
    pose = transform_from_quaternion(center, [np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)])
    points = transform_points(pose, relative * np.array(size) / 2)
    expected = (np.abs(relative) < 1).all(axis=1)
    np.testing.assert_array_equal(points_in_box(points, center, size, yaw), expected)


def test_the_border_of_a_box_is_inside():
    assert points_in_box([[2.0, 1.0, 0.5], [2.1, 0, 0]], [0, 0, 0], [4, 2, 1], 0.0).tolist() == [
        True,
        False,
    ]


@pytest.mark.parametrize(
    "wxyz", [(1e300, 0, 0, 0), (np.nan, 0, 0, 1), (1e200, 1e200, 0, 0), (0,) * 4]
)
def test_a_quaternion_that_nobody_can_mean_is_refused_without_an_overflow(wxyz):
    with pytest.raises(CalibrationError, match="quaternion"):
        rotation_from_quaternion(wxyz)


@pytest.mark.parametrize("entry", [1e300, -1e160, 3.0])
def test_a_rotation_with_absurd_entries_is_refused_without_an_overflow(entry):
    matrix = np.eye(4)
    matrix[0, 1] = entry
    with pytest.raises(CalibrationError, match="not a rigid transform"):
        checked_transform(matrix, "pose")


def test_a_translation_beyond_the_earth_is_refused_and_one_on_it_is_not():
    assert checked_transform(rigid_transform(np.eye(3), (4e7, 0, 0)), "pose")[0, 3] == 4e7
    with pytest.raises(CalibrationError, match=r"beyond 1e\+08 m"):
        rigid_transform(np.eye(3), (0, -1e300, 0))
