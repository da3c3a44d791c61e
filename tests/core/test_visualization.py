# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core import drawing
from imkd_core.bev_grid import BevGrid
from imkd_core.bev_view import BevView, EgoShape
from imkd_core.drawing import class_color
from imkd_core.geometry import rigid_transform
from imkd_core.types import CameraImage, CameraModel, Detections, Frame, RadarCloud, SensorRig
from imkd_core.visualization import (
    bev_picture,
    camera_mosaic,
    driving_order,
    encode_jpeg,
    encode_png,
    heat_map,
    radar_points,
)

STAMP_NS = 1_500_000_000_000_000_000
GRID = BevGrid(x_min_m=-20.0, x_max_m=60.0, y_min_m=-30.0, y_max_m=20.0, cell_m=2.0)
CLASSES = ("car", "pedestrian")
#: Camera name -> bearing of its optical axis, degrees counter-clockwise from forward.
BEARINGS = {
    "CAM_FRONT": 0,
    "CAM_FRONT_RIGHT": -55,
    "CAM_BACK_RIGHT": -110,
    "CAM_BACK": 180,
    "CAM_BACK_LEFT": 110,
    "CAM_FRONT_LEFT": 55,
}


def camera(bearing_deg: float) -> CameraModel:
    yaw = np.deg2rad(bearing_deg)
    turn = [[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]]
    optical = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    return CameraModel(
        width_px=160,
        height_px=90,
        pixel_from_cam=[[120.0, 0, 79.5], [0, 120.0, 44.5], [0, 0, 1]],
        ego_from_cam=rigid_transform(turn @ optical, (0.0, 0.0, 1.5)),
    )


def rig(names=tuple(BEARINGS)) -> SensorRig:
    return SensorRig(
        cameras={name: camera(BEARINGS[name]) for name in names},
        radars={"RADAR_FRONT": rigid_transform(np.eye(3), (3.0, 0.0, 0.5))},
    )


def frame(names=tuple(BEARINGS), radar_xyz=(), level: int = 0, **changes) -> Frame:
    grey = {name: level + 20 * i for i, name in enumerate(BEARINGS)}
    points = np.zeros((len(radar_xyz), 7), dtype=np.float32)
    points[:, :3] = np.array(radar_xyz).reshape(-1, 3)
    cloud = RadarCloud(sensor="RADAR_FRONT", stamp_ns=STAMP_NS + 10, points=points)
    values = {
        "stamp_ns": STAMP_NS,
        "cameras": {
            name: CameraImage(
                sensor=name,
                stamp_ns=STAMP_NS,
                pixels=np.full((90, 160, 3), grey[name], dtype=np.uint8),
            )
            for name in names
        },
        "radars": {"RADAR_FRONT": (cloud,)},
    }
    return Frame(**(values | changes))


def boxes(centers, labels=None, velocity=(0.0, 0.0), scores=0.75) -> Detections:
    n = len(centers)
    return Detections(
        stamp_ns=STAMP_NS,
        class_names=CLASSES,
        center_m=np.array(centers).reshape(n, 3),
        size_m=np.tile((4.0, 2.0, 1.6), (n, 1)),
        yaw_rad=np.zeros(n),
        velocity_mps=np.tile(velocity, (n, 1)).reshape(n, 2),
        scores=np.full(n, scores),
        labels=np.zeros(n, dtype=np.int64) if labels is None else labels,
    )


def has_color(picture, color) -> bool:
    return bool((picture == color).all(axis=2).any())


def where(picture, color) -> np.ndarray:
    """Return the mean (row, column) of the pixels of a colour."""
    return np.argwhere((picture == color).all(axis=2)).mean(axis=0)


def test_cameras_stand_as_a_driver_sees_them():
    assert driving_order(rig()) == [
        ["CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT"],
        ["CAM_BACK_LEFT", "CAM_BACK", "CAM_BACK_RIGHT"],
    ]


def test_the_mosaic_puts_each_image_at_its_place():
    picture = camera_mosaic(frame(), rig(), None, None, tile_width_px=160)
    assert picture.shape[1] == 480
    greys = [[picture[row, column, 0] for column in (80, 240, 400)] for row in (60, 150)]
    assert greys == [[100, 0, 20], [80, 60, 40]]


def test_images_are_not_mirrored():
    pixels = np.zeros((90, 160, 3), dtype=np.uint8)
    pixels[:, 100:] = (0, 0, 255)
    image = CameraImage(sensor="CAM_BACK", stamp_ns=STAMP_NS, pixels=pixels)
    picture = camera_mosaic(
        frame(cameras={"CAM_BACK": image}), rig(("CAM_BACK",)), None, None, tile_width_px=160
    )
    assert picture[60, 150, 2] == 255
    assert picture[60, 20, 2] == 0


def test_a_missing_camera_is_a_dark_tile_with_words():
    names = [name for name in BEARINGS if name != "CAM_FRONT"]
    picture = camera_mosaic(frame(names, level=80), rig(), None, None, tile_width_px=400)
    tile = picture[:225, 401:799]
    assert (np.median(tile, axis=(0, 1)) == drawing.DARK).all()
    assert has_color(tile, drawing.MUTED)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_any_number_of_cameras_makes_a_mosaic(count):
    names = tuple(BEARINGS)[:count]
    picture = camera_mosaic(frame(names), rig(names), boxes([]), None, tile_width_px=160)
    assert picture.dtype == np.uint8
    assert picture.shape[1] % 160 == 0


def test_cameras_of_unequal_shape_fit_into_one_mosaic():
    tall = CameraModel(
        width_px=100,
        height_px=150,
        pixel_from_cam=[[90.0, 0, 49.5], [0, 90.0, 74.5], [0, 0, 1]],
        ego_from_cam=camera(20).ego_from_cam,
    )
    mixed = SensorRig(cameras={"TALL": tall, "CAM_FRONT": camera(0)}, radars={})
    picture = camera_mosaic(frame(("CAM_FRONT",)), mixed, None, None, tile_width_px=160)
    assert picture.shape[0] > 240
    assert picture.shape[1] == 320


def test_predictions_have_the_colour_of_their_class_and_truth_is_white():
    found, true = boxes([(10.0, 0.0, 1.0)], labels=[1]), boxes([(10.0, 0.0, 1.0)])
    front = frame(("CAM_FRONT",)), rig(("CAM_FRONT",))
    predicted = camera_mosaic(*front, found, None, tile_width_px=480)[60:270]
    truth = camera_mosaic(*front, None, true, tile_width_px=480)[60:270]
    assert has_color(predicted, class_color(1))
    assert not has_color(predicted, drawing.WHITE)
    assert truth.max() > 240
    assert not has_color(truth, class_color(1))


def test_a_box_appears_in_the_camera_that_looks_at_it_and_in_no_other():
    empty = camera_mosaic(frame(), rig(), boxes([]), None, tile_width_px=160)
    picture = camera_mosaic(frame(), rig(), boxes([(-12.0, 0.0, 1.0)]), None, tile_width_px=160)
    changed = (picture[:180] != empty[:180]).any(axis=2)
    assert changed[90:, 160:320].any()
    changed[90:, 160:320] = False
    assert not changed.any()


def test_radar_returns_are_compensated_for_the_motion_since_their_scan():
    moved = rigid_transform(np.eye(3), (1.0, -2.0, 0.0))
    with_motion = frame(radar_xyz=[(7.0, 2.0, 0.5)], reference_from_ego={STAMP_NS + 10: moved})
    np.testing.assert_allclose(radar_points(with_motion, rig()), [[11.0, 0.0, 1.0]], atol=1e-6)


def test_a_radar_return_is_drawn_at_its_projected_pixel():
    names = ("CAM_FRONT",)
    seen = frame(names, radar_xyz=[(7.0, 1.0, 1.0)])
    picture = camera_mosaic(seen, rig(names), None, None, tile_width_px=160)
    without = camera_mosaic(seen, rig(names), None, None, radar=False, tile_width_px=160)
    at = np.argwhere((picture[:89] != without[:89]).any(axis=2)).mean(axis=0)
    np.testing.assert_allclose(at, (44.5, 79.5 - 120 * 1.0 / 10.0), atol=0.6)


def test_boxes_and_returns_are_brought_to_the_moment_of_each_exposure():
    names = ("CAM_FRONT",)
    image = CameraImage(
        sensor="CAM_FRONT", stamp_ns=STAMP_NS - 40, pixels=np.zeros((90, 160, 3), dtype=np.uint8)
    )
    reference_from_ego = {STAMP_NS - 40: rigid_transform(np.eye(3), (-3.0, 1.0, 0.0))}
    moved = frame(
        names,
        [(7.0, 2.0, 1.0)],
        cameras={"CAM_FRONT": image},
        reference_from_ego=reference_from_ego,
    )
    still = frame(names, [(10.0, 1.0, 1.0)])
    pictures = [
        camera_mosaic(seen, rig(names), boxes([center]), None, tile_width_px=160)[20:90]
        for seen, center in ((moved, (9.0, 0.0, 1.0)), (still, (12.0, -1.0, 1.0)))
    ]
    lit = [picture.max(axis=2) > 20 for picture in pictures]  # ranges, and so colours, differ
    assert lit[0].any()
    assert (lit[0] != lit[1]).sum() < 5


def test_radars_the_rig_does_not_know_are_left_out():
    unknown = SensorRig(cameras={}, radars={})
    assert radar_points(frame(radar_xyz=[(1.0, 0.0, 0.0)]), unknown).shape == (0, 3)


@given(st.floats(-19, 59), st.floats(-29, 19))
def test_bev_pixels_put_forward_up_and_left_left(x_m, y_m):
    view = BevView(GRID, 800)
    (u, v), (origin_u, origin_v) = view.pixels([(x_m, y_m), (0.0, 0.0)])
    assert (u < origin_u) == (y_m > 0) or abs(y_m) < 1e-9
    assert (v < origin_v) == (x_m > 0) or abs(x_m) < 1e-9
    assert -0.5 <= u <= view.size_px[0] - 0.5
    assert -0.5 <= v <= view.size_px[1] - 0.5


@pytest.mark.parametrize(
    ("x_m", "y_m", "above", "left"),
    [(30, 0, True, None), (-15, 0, False, None), (0, 15, None, True), (0, -15, None, False)],
)
def test_a_box_in_the_bird_s_eye_view_lies_on_its_side_of_the_vehicle(x_m, y_m, above, left):
    picture = bev_picture(boxes([(x_m, y_m, 0.0)]), None, None, GRID, height_px=800)[:800]
    row, column = where(picture, class_color(0))
    origin_u, origin_v = BevView(GRID, 800).pixels((0.0, 0.0))
    if above is not None:
        assert (row < origin_v - 50) == above
    if left is not None:
        assert (column < origin_u - 50) == left


def test_the_bird_s_eye_view_has_the_grid_s_proportions_and_a_legend():
    picture = bev_picture(None, None, None, GRID, height_px=800)
    assert picture.shape[1] == 500
    assert picture.shape[0] > 800


def test_moving_boxes_get_an_arrow_of_one_second_and_unknown_velocities_none():
    def rows(velocity):
        moving = boxes([(20.0, -10.0, 0.0)], velocity=velocity)
        picture = bev_picture(None, moving, None, GRID, height_px=800)[:800]
        bright = np.argwhere(picture.min(axis=2) > 200)[:, 0]
        return bright.min(), bright.max()

    top, bottom = rows((0.0, 0.0))
    assert rows((15.0, 0.0)) == (pytest.approx((60 - 35) * 10, abs=2), bottom)
    assert rows((np.nan, np.nan)) == (top, bottom)


def test_radar_dots_lie_at_their_place():
    with_dot = bev_picture(None, None, [(30.0, 10.0, 0.5)], GRID, height_px=800)[:800]
    without = bev_picture(None, None, np.zeros((0, 3)), GRID, height_px=800)[:800]
    row, column = np.argwhere((with_dot != without).any(axis=2)).mean(axis=0)
    np.testing.assert_allclose((row, column), (300 - 0.5, 100 - 0.5), atol=0.5)


def test_boxes_far_outside_the_grid_do_no_harm():
    far = boxes([(1e7, -1e7, 0.0), (58.0, 19.5, 0.0)], velocity=(1e6, 0.0))
    assert bev_picture(far, far, None, GRID, ego=EgoShape(width_m=2.5)).dtype == np.uint8


def test_the_heat_map_is_turned_like_the_bird_s_eye_view():
    values = np.zeros(GRID.shape)
    (row, column), inside = GRID.cell_index((41.0, 13.0))
    values[row, column] = 1.0
    assert inside
    picture = heat_map(values, GRID, height_px=800)[30:830]
    high = drawing.color_ramp(1.0).astype(int)
    at = np.argwhere(np.abs(picture.astype(int) - high).max(axis=2) < 4).mean(axis=0)
    np.testing.assert_allclose(at, ((60 - 41) * 10 - 0.5, (20 - 13) * 10 - 0.5), atol=1.0)


def test_values_that_are_not_finite_are_grey():
    values = np.full(GRID.shape, 0.5)
    values[3, 2] = np.nan
    picture = heat_map(values, GRID, height_px=800)[30:830]
    assert has_color(picture, drawing.MUTED)


def test_the_heat_map_has_a_range_of_its_own():
    picture = heat_map(np.full(GRID.shape, 6.0), GRID, low=5.0, high=9.0, height_px=800)
    usual = np.median(picture[30:830], axis=(0, 1))
    np.testing.assert_array_equal(usual, drawing.color_ramp(0.25))


def test_the_heat_map_takes_a_title_and_outlines_without_arrows():
    values = np.zeros(GRID.shape)
    plain, still, moving, titled = (
        heat_map(values, GRID, **more)
        for more in (
            {},
            {"boxes": boxes([(30.0, -5.0, 0.0)])},
            {"boxes": boxes([(30.0, -5.0, 0.0)], velocity=(20.0, 0.0))},
            {"title": "I_cam"},
        )
    )
    assert (still != plain).any()
    np.testing.assert_array_equal(still, moving)
    assert (titled[:30] != plain[:30]).any()
    np.testing.assert_array_equal(titled[30:], plain[30:])


def test_a_map_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="expected a map"):
        heat_map(np.zeros(GRID.shape[::-1]), GRID)


def test_encoded_pictures_decode_to_the_same_colours():
    picture = np.zeros((20, 30, 3), dtype=np.uint8)
    picture[:, :15] = (250, 10, 60)
    png = cv2.imdecode(np.frombuffer(encode_png(picture), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    jpeg = cv2.imdecode(np.frombuffer(encode_jpeg(picture), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(png, picture)
    assert np.abs(jpeg[10, 5, ::-1].astype(int) - picture[10, 5]).max() < 12


def test_the_inputs_stay_as_they_were():
    seen = frame(radar_xyz=[(7.0, 1.0, 1.0)])
    before = {name: image.pixels.copy() for name, image in seen.cameras.items()}
    camera_mosaic(seen, rig(), boxes([(9.0, 0.0, 1.0)]), boxes([(9.0, 0.0, 1.0)]))
    for name, image in seen.cameras.items():
        np.testing.assert_array_equal(image.pixels, before[name])


def test_the_real_key_frame_makes_a_mosaic_with_boxes_in_all_six_cameras(nuscenes_one):
    from imkd_core.data.nuscenes.reader import NuScenes

    record = NuScenes(nuscenes_one).samples()[0]
    true = record.truth().detections
    seen = record.frame()
    plain = camera_mosaic(seen, record.rig, None, None, radar=False, tile_width_px=200)
    picture = camera_mosaic(seen, record.rig, None, true, radar=False, tile_width_px=200)
    changed = (picture[:224] != plain[:224]).any(axis=2)
    for row in range(2):
        for column in range(3):
            assert changed[row * 112 : (row + 1) * 112, column * 200 : (column + 1) * 200].any()
