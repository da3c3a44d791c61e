# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest

from imkd_core.geometry import invert_transform, project_points, transform_points
from imkd_core.simulation.camera.faces import empty_table, place_faces
from imkd_core.simulation.camera.painting import faces_in_view, paint
from imkd_core.simulation.camera.view import View
from tests.core.simulation.camera.small_scenes import CAMERA, GLOBAL_FROM_CAM, cuboid, placed_at

VIEW = View(
    width_px=CAMERA.width_px,
    height_px=CAMERA.height_px,
    pixel_from_cam=CAMERA.pixel_from_cam,
    global_from_cam=GLOBAL_FROM_CAM,
)


def painted(*placed, **options):
    table = place_faces(placed)
    return paint(VIEW, table, faces_in_view(VIEW, table), **options), table


def owners(*placed):
    """(H, W) index of the body that each pixel shows, -1 for none."""
    table = place_faces(placed)
    faces = faces_in_view(VIEW, table)
    number = paint(VIEW, table, faces).number
    return np.concatenate([[-1], table.owner[faces]])[number]


def outline(item):
    """Convex hull (N, 2) of the projected corners."""
    shape, pose = item.body.shape, item.global_from_body
    corners = np.concatenate([solid.corners_m for solid in shape.solids])
    points = transform_points(invert_transform(GLOBAL_FROM_CAM) @ pose, corners)
    pixels, _ = project_points(CAMERA.pixel_from_cam, points)
    return cv2.convexHull(pixels.astype(np.float32))


@pytest.mark.parametrize(
    ("x_m", "y_m", "yaw_rad", "size_m"),
    [
        (12.0, 1.0, 0.3, (4.0, 2.0, 1.6)),
        (25.0, -4.0, 1.1, (4.0, 2.0, 1.6)),
        (45.0, 3.0, -0.7, (0.6, 0.6, 1.8)),
        (9.0, 0.5, 2.0, (0.5, 0.4, 0.8)),
    ],
)
def test_a_silhouette_equals_the_projected_corners_within_a_pixel(x_m, y_m, yaw_rad, size_m):
    item = placed_at(cuboid(size_m), x_m, y_m, yaw_rad)
    seen = owners(item) == 0
    hull = outline(item)
    rows, columns = np.mgrid[: VIEW.height_px, : VIEW.width_px]
    signed = np.array(
        [
            cv2.pointPolygonTest(hull, (float(u), float(v)), True)
            for u, v in zip(columns.ravel(), rows.ravel(), strict=True)
        ]
    ).reshape(seen.shape)
    assert seen.any()
    assert seen[signed > 1.0].all()
    assert not seen[signed < -1.0].any()


def test_the_nearer_body_hides_the_farther_in_either_order():
    near, far = placed_at(cuboid((2, 3, 2)), 10.0, 0.0), placed_at(cuboid((2, 2, 1.5)), 20.0, 0.0)
    assert set(np.unique(owners(near, far))) == {-1, 0}
    assert set(np.unique(owners(far, near))) == {-1, 1}


def test_a_long_wall_beside_a_car_does_not_hide_it():
    wall = placed_at(cuboid((60, 0.4, 4)), 33.0, 4.0)
    car = placed_at(cuboid((4, 1.8, 1.5)), 20.0, 0.0)
    seen = owners(wall, car)
    alone = owners(car)
    assert ((alone == 0) == (seen == 1)).all()


def test_solids_that_run_into_each_other_meet_where_their_planes_do():
    low = placed_at(cuboid((6, 2, 1)), 15.0, 0.0)
    tall = placed_at(cuboid((1, 1, 3)), 15.0, 0.0)
    seen = owners(low, tall)
    column = seen[:, int(CAMERA.pixel_from_cam[0, 2])]
    shown = column[column >= 0]
    assert shown[0] == 1
    assert shown[-1] == 0
    assert np.abs(np.diff(shown)).sum() == 1


def test_small_and_large_faces_are_painted_by_the_same_rule():
    item = placed_at(cuboid((4, 2, 1.6)), 12.0, 1.0, 0.3)
    table = place_faces([item])
    large, small = VIEW.scaled(2), VIEW.scaled(0.25)
    shares = [
        (paint(view, table, faces_in_view(view, table)).number > 0).mean()
        for view in (large, small)
    ]
    assert shares[0] == pytest.approx(shares[1], rel=0.1)


def test_depth_is_that_of_the_ground_and_of_the_faces():
    result, _ = painted(placed_at(cuboid((2, 4, 2)), 11.0, 0.0))
    k = CAMERA.pixel_from_cam
    u, v = int(k[0, 2]), int(k[1, 2])
    assert 1 / result.inverse_depth[v, u] == pytest.approx(10.0, rel=1e-4)
    assert 1 / result.inverse_depth[199, 5] == pytest.approx(
        1.5 * k[1, 1] / (199 - k[1, 2]), rel=1e-4
    )
    assert result.inverse_depth[0, 5] == 0


def test_a_body_around_the_camera_and_one_behind_it_leave_no_mess():
    behind, _ = painted(placed_at(cuboid(), -8.0, 0.0))
    assert (behind.number == 0).all()
    beside, _ = painted(placed_at(cuboid((30, 0.5, 3)), 0.0, 1.0))
    assert (beside.number[:, 0] > 0).any()
    assert (beside.number[:, -1] == 0).all()


def test_what_lies_below_the_ground_is_hidden_unless_the_ground_is_taken_away():
    item = placed_at(cuboid((2, 2, 2)), 10.0, 0.0)
    item.global_from_body[2, 3] = -1.5
    hidden, _ = painted(item)
    open_, _ = painted(item, ground_hides=False)
    assert (hidden.number == 0).all()
    assert (open_.number > 0).any()


def test_an_empty_table_paints_nothing():
    table = empty_table()
    assert (paint(VIEW, table, faces_in_view(VIEW, table)).number == 0).all()


def test_a_mirrored_view_shows_a_body_upside_down_below_its_foot():
    item = placed_at(cuboid((1, 1, 2)), 10.0, 0.0)
    table, mirrored = place_faces([item]), VIEW.mirrored()
    upright, _ = painted(item)
    below = paint(mirrored, table, faces_in_view(mirrored, table), ground_hides=False).number > 0
    foot = np.flatnonzero((upright.number > 0).any(axis=1)).max()
    assert abs(int(np.flatnonzero(below.any(axis=1)).min()) - foot) <= 3
    assert below.any()
