# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import cv2
import numpy as np
import pytest

from imkd_core import drawing
from imkd_core.bev_grid import BevGrid
from imkd_core.drawing import class_color
from imkd_core.evaluation.frame_pictures import as_jpeg, frame_pictures
from imkd_core.geometry import rigid_transform
from imkd_core.types import CameraImage, CameraModel, Detections, Frame, RadarCloud, SensorRig

STAMP_NS = 1_700_000_000_000_000_000
GRID = BevGrid(x_min_m=-20.0, x_max_m=60.0, y_min_m=-30.0, y_max_m=20.0, cell_m=2.0)
FORWARD = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]


def camera(turn) -> CameraModel:
    return CameraModel(
        width_px=160,
        height_px=90,
        pixel_from_cam=[[120.0, 0, 79.5], [0, 120.0, 44.5], [0, 0, 1]],
        ego_from_cam=rigid_transform(np.array(turn) @ np.array(FORWARD), (0.0, 0.0, 1.5)),
    )


RIG = SensorRig(
    cameras={"CAM_FRONT": camera(np.eye(3)), "CAM_BACK": camera(np.diag((-1.0, -1.0, 1.0)))},
    radars={"RADAR_LEFT": rigid_transform([[0, -1, 0], [1, 0, 0], [0, 0, 1]], (0, 0, 0))},
)


def frame(cameras=("CAM_FRONT", "CAM_BACK"), returns=()) -> Frame:
    pixels = np.full((90, 160, 3), 90, np.uint8)
    points = np.array(returns, np.float32).reshape(-1, 7)
    cloud = RadarCloud(sensor="RADAR_LEFT", stamp_ns=STAMP_NS, points=points)
    images = {name: CameraImage(sensor=name, stamp_ns=STAMP_NS, pixels=pixels) for name in cameras}
    return Frame(stamp_ns=STAMP_NS, cameras=images, radars={"RADAR_LEFT": (cloud,)})


def boxes(*centers, score=0.9, **changes) -> Detections:
    n = len(centers)
    return Detections(
        stamp_ns=STAMP_NS,
        class_names=("car", "bus"),
        center_m=np.array(centers, np.float32).reshape(n, 3),
        size_m=np.tile((4.0, 2.0, 1.6), (n, 1)),
        yaw_rad=np.zeros(n),
        velocity_mps=np.zeros((n, 2)),
        scores=np.full(n, score),
        labels=np.zeros(n, np.int64),
        **changes,
    )


def gates() -> dict[str, np.ndarray]:
    ramp = np.linspace(0.1, 0.9, GRID.shape[0] * GRID.shape[1]).reshape(GRID.shape)
    return {"camera": ramp.astype(np.float32), "radar": 1 - ramp.astype(np.float32)}


def has(picture, color) -> bool:
    return bool((picture == color).all(axis=2).any())


def test_a_frame_has_four_pictures_of_which_none_changes_its_size():
    full = frame_pictures(
        frame(returns=[(10, 0, 0, 5, 3, 0, 0)]),
        boxes((10, 0, 1), (20, 5, 1), reliability=gates()),
        RIG,
        truth=boxes((10, 0, 1)),
        grid=GRID,
    )
    bare = frame_pictures(frame(("CAM_BACK",)), boxes(reliability=gates()), RIG, grid=GRID)
    assert list(full) == ["mosaic", "bev", "icam", "irad"]
    assert {kind: one.shape for kind, one in full.items()} == {
        kind: one.shape for kind, one in bare.items()
    }
    assert all(one.dtype == np.uint8 for one in full.values())


def test_a_camera_that_is_missing_says_why_and_one_that_is_suspect_too():
    shown = frame_pictures(frame(), None, RIG, grid=GRID)["mosaic"]
    lost = frame_pictures(
        frame(("CAM_BACK",)), None, RIG, grid=GRID, missing={"CAM_FRONT": "frozen"}
    )["mosaic"]
    suspect = frame_pictures(frame(), None, RIG, grid=GRID, suspect={"CAM_BACK": "blurred"})
    half = shown.shape[0] // 2
    np.testing.assert_array_equal(shown[half:], lost[half:])
    assert not has(shown, drawing.WARNING)
    assert has(lost[:half], drawing.WARNING)
    assert lost[:half].mean() < 40
    assert has(suspect["mosaic"][half:], drawing.WARNING)
    assert not has(suspect["mosaic"][:half], drawing.WARNING)


def test_a_frame_that_was_not_answered_has_no_gates_and_no_boxes():
    pictures = frame_pictures(frame(), None, RIG, grid=GRID)
    assert list(pictures) == ["mosaic", "bev"]
    assert not has(pictures["bev"], class_color(0))


def test_boxes_of_little_score_are_left_out():
    sure, unsure = (
        frame_pictures(frame(), boxes((10, 0, 1), score=score), RIG, grid=GRID)["bev"]
        for score in (0.9, 0.2)
    )
    assert has(sure, class_color(0))
    assert not has(unsure, class_color(0))


def test_maps_that_are_given_stand_in_for_those_of_the_boxes():
    given = {"radar": np.zeros(GRID.shape)}
    found = boxes(reliability=gates())
    pictures = frame_pictures(frame(), found, RIG, given, grid=GRID)
    assert "icam" not in pictures
    rows = pictures["irad"][40:-40]
    assert np.median(rows.reshape(-1, 3), axis=0).tolist() == [68, 1, 84]  # viridis at 0
    with pytest.raises(ValueError, match="expected a map"):
        frame_pictures(frame(), found, RIG, {"radar": np.zeros((3, 4))}, grid=GRID)


def test_a_radar_return_that_moves_has_a_line_along_its_way_in_the_ego_frame():
    # The radar looks to the left: forward in its frame is left in the vehicle's.
    still, moving = (
        frame_pictures(frame(returns=[(10, 0, 0, 5, speed, 0, 0)]), None, RIG, grid=GRID)["bev"]
        for speed in (0.0, 8.0)
    )
    rows, columns = np.nonzero((still != moving).any(axis=2))
    px_per_m = still.shape[0] / 80
    assert np.ptp(columns) == pytest.approx(8 * px_per_m, abs=6)
    assert np.ptp(rows) <= 3
    assert columns.max() == pytest.approx((20 - 10) * px_per_m, abs=5)


def test_pictures_become_jpeg_of_the_same_size():
    pictures = frame_pictures(frame(), None, RIG, grid=GRID)
    for kind, data in as_jpeg(pictures).items():
        assert cv2.imdecode(np.frombuffer(data, np.uint8), 1).shape == pictures[kind].shape


def test_a_rig_of_radars_alone_has_pictures_too():
    rig = replace(RIG, cameras={})
    pictures = frame_pictures(replace(frame(), cameras={}), boxes((9, 0, 1)), rig, grid=GRID)
    assert pictures["mosaic"].shape[2] == 3
    assert has(pictures["bev"], class_color(0))
