# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.bev_grid import BevGrid
from imkd_core.config import BOX_CODE, HeadSpec, InputSpec
from imkd_core.data.changes.bev_change import BevChange
from imkd_core.data.learning.targets import MAX_OBJECTS, make_targets
from imkd_core.data.learning.teacher_maps import TeacherMaps
from imkd_core.data.learning.teaching_arrays import (
    ShuffledTeaching,
    radar_occupied,
    shuffled_tokens,
    taught_codes,
    taught_maps,
)
from imkd_core.errors import DataError
from imkd_core.radar_grid import radar_statistics
from imkd_core.recipe import Config, ModelConfig
from imkd_core.teaching import DistillConfig
from imkd_core.types import Detections

CONFIG = Config(
    name="small",
    inputs=InputSpec(
        image_height_px=64,
        image_width_px=160,
        bev=BevGrid(x_min_m=-16.0, x_max_m=16.0, y_min_m=-12.0, y_max_m=12.0, cell_m=0.5),
    ),
    head=HeadSpec(),
    model=ModelConfig(backbone="resnet18"),
    distill=DistillConfig(channels=3),
)
GRID = CONFIG.inputs.bev
changes = st.builds(
    BevChange,
    yaw_rad=st.floats(-3, 3),
    scale=st.floats(0.9, 1.1),
    flip_x=st.booleans(),
    flip_y=st.booleans(),
)


def boxes_of(n, seed=0):
    rng = np.random.default_rng(seed)
    return Detections(
        stamp_ns=1,
        class_names=CONFIG.head.class_names,
        center_m=rng.uniform(-7, 7, (n, 3)).astype(np.float32),
        size_m=rng.uniform(1, 4, (n, 3)).astype(np.float32),
        yaw_rad=rng.uniform(-3, 3, n).astype(np.float32),
        velocity_mps=rng.uniform(-9, 9, (n, 2)).astype(np.float32),
        scores=rng.uniform(0, 1, n).astype(np.float32),
        labels=rng.integers(0, 10, n),
    )


def maps_of(boxes, seed=0, tokens=None):
    rng = np.random.default_rng(seed)
    return TeacherMaps(
        f_lidar=rng.normal(size=(3, *GRID.shape)).astype(np.float32),
        f_label=rng.normal(size=(3, *GRID.shape)).astype(np.float32),
        i_lidar=rng.uniform(size=GRID.shape).astype(np.float32),
        heat=rng.uniform(size=(10, *GRID.shape)).astype(np.float32),
        annotation_tokens=tokens or tuple(f"o{i}" for i in range(len(boxes))),
        boxes=boxes,
        quality=0.7,
        depth_points={},
    )


@given(st.integers(0, 99), changes)
def test_a_perfect_teachers_codes_are_the_targets_in_any_changed_scene(seed, change):
    truth = boxes_of(6, seed)
    tokens = tuple(f"o{i}" for i in range(6))
    changed = change.apply_to_boxes(truth)
    arrays = taught_codes(maps_of(truth), changed, tokens, CONFIG, change)
    targets = make_targets(changed, GRID, CONFIG.head)
    np.testing.assert_allclose(arrays["code_teacher"], targets.code, atol=1e-3)
    np.testing.assert_allclose(arrays["code_teacher_weight"][:6], truth.scores)
    assert (arrays["code_teacher_weight"][6:] == 0).all()


def test_codes_belong_to_the_annotation_and_not_to_the_place_in_the_list():
    truth = boxes_of(4)
    teaching = maps_of(truth.select(np.array([2, 0])), tokens=("o2", "o0"))
    arrays = taught_codes(teaching, truth, ("o0", "o1", "o2", "o3"), CONFIG, BevChange())
    targets = make_targets(truth, GRID, CONFIG.head)
    np.testing.assert_allclose(arrays["code_teacher_weight"][:4] > 0, [1, 0, 1, 0])
    np.testing.assert_allclose(arrays["code_teacher"][[0, 2]], targets.code[[0, 2]], atol=1e-4)


def test_maps_follow_the_scene_and_keep_their_names():
    teaching, change = maps_of(boxes_of(2)), BevChange(flip_x=True)
    maps = taught_maps(teaching, CONFIG, change)
    np.testing.assert_array_equal(maps["f_lidar"], teaching.f_lidar[..., ::-1])
    np.testing.assert_array_equal(maps["f_label"], teaching.f_label[..., ::-1])
    np.testing.assert_array_equal(maps["i_lidar"], teaching.i_lidar[:, ::-1])
    np.testing.assert_array_equal(maps["heat_teacher"], teaching.heat[..., ::-1])
    assert maps["has_lidar"] == [1]
    assert maps["teacher_quality"] == [np.float32(0.7)]


def test_no_teaching_gives_zeros_of_the_same_shapes():
    nothing = taught_maps(None, CONFIG, BevChange()) | taught_codes(
        None, boxes_of(2), ("o0", "o1"), CONFIG, BevChange()
    )
    something = taught_maps(maps_of(boxes_of(2)), CONFIG, BevChange()) | taught_codes(
        maps_of(boxes_of(2)), boxes_of(2), ("o0", "o1"), CONFIG, BevChange()
    )
    assert nothing.keys() == something.keys()
    for name, values in nothing.items():
        assert values.shape == something[name].shape
        assert values.dtype == something[name].dtype == np.float32
        assert not values.any()
    assert nothing["code_teacher"].shape == (MAX_OBJECTS, len(BOX_CODE))


def test_labels_alone_are_said_to_be_without_lidar():
    teaching = dataclasses.replace(maps_of(boxes_of(1)), has_lidar=False)
    assert taught_maps(teaching, CONFIG, BevChange())["has_lidar"] == [0]


def test_maps_of_another_configuration_are_refused_by_name():
    config = dataclasses.replace(CONFIG, distill=DistillConfig(channels=5))
    with pytest.raises(DataError, match=r"f_lidar .* write the teacher cache again"):
        taught_maps(maps_of(boxes_of(1)), config, BevChange())


def test_cells_with_a_return_in_any_of_their_radar_cells_are_occupied():
    points = np.zeros((2, 7), np.float32)
    points[:, :2] = [(3.1, -4.9), (-15.9, 11.9)]
    occupied = radar_occupied(radar_statistics(points, CONFIG.inputs.radar_grid), CONFIG.inputs)
    cells, _ = GRID.cell_index(points[:, :2])
    expected = np.zeros(GRID.shape, np.float32)
    expected[cells[:, 0], cells[:, 1]] = 1
    np.testing.assert_array_equal(occupied, expected)


@given(st.integers(2, 40))
def test_the_shuffled_control_gives_nobody_its_own_maps_and_always_the_same_ones(count):
    tokens = [f"t{i}" for i in range(count)]
    shuffled = shuffled_tokens(tokens)
    assert sorted(shuffled) == sorted(shuffled.values()) == sorted(tokens)
    assert all(token != other for token, other in shuffled.items())
    assert shuffled == shuffled_tokens(tokens[::-1])


def test_one_sample_alone_cannot_be_shuffled():
    with pytest.raises(DataError, match="two samples"):
        ShuffledTeaching(None, ["only"])
