# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.bev_grid import BevGrid
from imkd_core.config import BOX_CODE, DepthBins, HeadSpec, InputSpec
from imkd_core.data.learning.targets import (
    MAX_OBJECTS,
    depth_bins,
    draw_gaussian,
    encode_boxes,
    gaussian_radius,
    make_targets,
)
from imkd_core.errors import DataError
from imkd_core.types import Detections

GRID = BevGrid(x_min_m=-16.0, x_max_m=32.0, y_min_m=-8.0, y_max_m=8.0, cell_m=0.5)
HEAD = HeadSpec()


def boxes(centers, labels, yaw=0.3, velocity=(1.0, -2.0), size=(4.0, 2.0, 1.5)):
    n = len(centers)
    return Detections(
        stamp_ns=1,
        class_names=HEAD.class_names,
        center_m=np.asarray(centers, np.float32).reshape(n, 3),
        size_m=np.tile(np.float32(size), (n, 1)),
        yaw_rad=np.full(n, yaw, np.float32),
        velocity_mps=np.tile(np.float32(velocity), (n, 1)),
        scores=np.ones(n, np.float32),
        labels=np.asarray(labels, np.int64),
    )


def decode(targets, slot):
    """Read a box back from its cell and code, as the graph decodes it."""
    row, column = divmod(int(targets.cell[slot]), GRID.columns)
    x, y = GRID.centers()[row, column]
    code = dict(zip(BOX_CODE, targets.code[slot], strict=True))
    size = np.exp([code["log_length"], code["log_width"], code["log_height"]])
    yaw = np.arctan2(code["sin_yaw"], code["cos_yaw"])
    return np.array([x + code["dx"], y + code["dy"], code["z"], *size, yaw])


@given(
    x=st.floats(-15.9, 31.9),
    y=st.floats(-7.9, 7.9),
    z=st.floats(-2, 2),
    yaw=st.floats(-3.1, 3.1),
    label=st.integers(0, 9),
)
def test_a_box_comes_back_from_its_cell_and_code(x, y, z, yaw, label):
    targets = make_targets(boxes([(x, y, z)], [label], yaw), GRID, HEAD)
    np.testing.assert_allclose(decode(targets, 0), [x, y, z, 4, 2, 1.5, yaw], atol=1e-4)
    assert targets.task[0] == HEAD.task_of_class[label]
    assert np.abs(targets.code[0, :2]).max() <= GRID.cell_m / 2 + 1e-5


@given(x=st.floats(-15.9, 31.9), y=st.floats(-7.9, 7.9), label=st.integers(0, 9))
def test_the_heat_map_is_one_at_the_object_and_only_in_its_class(x, y, label):
    targets = make_targets(boxes([(x, y, 0)], [label]), GRID, HEAD)
    (cell,), (inside,) = GRID.cell_index([(x, y)])
    assert inside
    assert targets.heatmap[label, cell[0], cell[1]] == 1
    assert (targets.heatmap == 1).sum() == 1
    assert np.delete(targets.heatmap, label, axis=0).max() == 0


def test_boxes_off_the_grid_give_no_target():
    targets = make_targets(boxes([(40, 0, 0), (0, 9, 0)], [0, 0]), GRID, HEAD)
    assert targets.heatmap.max() == 0
    assert targets.code_weight.max() == 0


def test_an_unknown_velocity_does_not_count_and_the_rest_does():
    targets = make_targets(boxes([(1, 1, 0)], [0], velocity=(np.nan, np.nan)), GRID, HEAD)
    np.testing.assert_array_equal(targets.code_weight[0], [1] * 8 + [0, 0])
    assert np.isfinite(targets.code).all()


def test_no_boxes_and_too_many_boxes():
    assert make_targets(boxes([], []), GRID, HEAD).heatmap.max() == 0
    crowd = boxes([(0, 0, 0)] * (MAX_OBJECTS + 1), [0] * (MAX_OBJECTS + 1))
    with pytest.raises(DataError, match="more than 500"):
        make_targets(crowd, GRID, HEAD)


def test_truth_of_other_classes_is_refused():
    head = HeadSpec(class_names=("car",), tasks=(("car",),), nms_radius_m={"car": 2.0})
    with pytest.raises(DataError, match="classes"):
        make_targets(boxes([(0, 0, 0)], [0]), GRID, head)


def test_codes_of_boxes_follow_the_order_of_box_code():
    code = encode_boxes(boxes([(0.25, 0.25, 1.0)], [0], yaw=0.0), GRID)[0]
    expected = [0, 0, 1.0, np.log(4), np.log(2), np.log(1.5), 0, 1, 1, -2]
    np.testing.assert_allclose(code, expected, atol=1e-6)


@given(length=st.floats(0.5, 40), width=st.floats(0.5, 10))
def test_a_shift_by_the_radius_keeps_the_promised_overlap(length, width):
    (radius,) = gaussian_radius(np.array([[length, width]]))
    if radius > 2:  # the smallest radius may promise more than tiny boxes can keep
        overlap = max(0.0, length - radius) * max(0.0, width - radius)
        union = 2 * length * width - overlap
        assert overlap / union >= 0.1 - 1e-9
    assert radius >= 2


@pytest.mark.parametrize("row", [0, 3, 6])
@pytest.mark.parametrize("column", [0, 5, 10])
def test_a_gaussian_at_any_border_is_the_cut_of_the_whole_one(row, column):
    small, large = np.zeros((7, 11), np.float32), np.zeros((27, 31), np.float32)
    draw_gaussian(small, row, column, 4)
    draw_gaussian(large, row + 10, column + 10, 4)
    np.testing.assert_array_equal(small, large[10:17, 10:21])
    assert small[row, column] == 1


def test_depth_bins_take_the_nearest_return_of_a_cell_and_know_their_range():
    spec = InputSpec(
        image_height_px=32,
        image_width_px=64,
        bev=GRID,
        depth=DepthBins(min_m=2, max_m=10, step_m=1),
    )
    pixel_from_cam = np.array([[32.0, 0, 31.5], [0, 32.0, 15.5], [0, 0, 1]])
    ego_from_cam = np.eye(4)
    points = np.array(
        [
            (0.1, 0.1, 5.5),  # cell (1, 2), bin 3
            (0.2, 0.2, 8.5),  # behind it, the same cell
            (-3.0, 0.1, 4.2),  # cell (1, 0), bin 2
            (9.0, 0.0, 3.0),  # outside the image
            (0.1, -0.1, 20.0),  # cell (0, 2), beyond the last bin
            (-0.1, -0.1, -5.0),  # behind the camera
        ],
        np.float32,
    )
    bins = depth_bins(points, [(pixel_from_cam, ego_from_cam)], spec)
    expected = np.full((1, 2, 4), -1)
    expected[0, 1, 2], expected[0, 1, 0] = 3, 2
    np.testing.assert_array_equal(bins, expected)


def test_radial_speeds_stand_at_the_objects_they_belong_to():
    truth = boxes([(40, 0, 0), (1, 1, 0), (5, 2, 0)], [0, 0, 1])  # the first is off the grid
    doppler = np.arange(12, dtype=np.float32).reshape(3, 4)
    targets = make_targets(truth, GRID, HEAD, doppler)
    np.testing.assert_array_equal(targets.doppler[:2], doppler[1:])
    assert not targets.doppler[2:].any()
    assert not make_targets(truth, GRID, HEAD).doppler.any()


def test_boxes_can_be_coded_at_the_cells_of_others():
    truth = boxes([(1.1, 1.1, 0)], [0])
    (cell,), _ = GRID.cell_index([(3.3, 0.4)])
    code = encode_boxes(truth, GRID, cell[None])
    center = GRID.centers()[cell[0], cell[1]]
    np.testing.assert_allclose(code[0, :2] + center, (1.1, 1.1), atol=1e-5)
