# SPDX-License-Identifier: Apache-2.0
"""Samples of a student with a memory: the present as without one, the past as it was present."""

from dataclasses import replace

import numpy as np
import pytest

from imkd_core.bev_grid import BevGrid
from imkd_core.config import HeadSpec, InputSpec, MemorySpec
from imkd_core.data.learning.dataset import DetectionDataset
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.recipe import AugmentConfig, Config, ModelConfig, TrainConfig
from tests.core.data.made_up import write_dataroot

PLAIN = Config(
    name="small",
    inputs=InputSpec(
        image_height_px=64,
        image_width_px=160,
        bev=BevGrid(x_min_m=-24.0, x_max_m=40.0, y_min_m=-24.0, y_max_m=24.0, cell_m=1.0),
    ),
    head=HeadSpec(),
    model=ModelConfig(backbone="resnet18"),
    augment=AugmentConfig(zoom=0.05, noise=3, blank_camera=0.3, drop_radar=0.3, bev_yaw_deg=20),
)
CHANNELS = PLAIN.model.fused_channels
WINDOW = MemorySpec(kind="window", frames=3, channels=CHANNELS)
RECURRENT = MemorySpec(kind="recurrent", frames=1, channels=CHANNELS)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    root = tmp_path_factory.mktemp("drive")
    write_dataroot(root, frames=3, lidar_points=200)
    return NuScenes(root).samples()


def config_with(memory, **changes):
    return replace(PLAIN, inputs=replace(PLAIN.inputs, memory=memory), **changes)


def past_of(sample):
    return {n.removeprefix("past_"): v for n, v in sample.inputs.items() if n.startswith("past_")}


def test_the_present_is_that_of_a_student_without_memory_chance_included(records):
    plain = DetectionDataset(records, PLAIN).sample(2, np.random.default_rng(5))
    sample = DetectionDataset(records, config_with(WINDOW)).sample(2, np.random.default_rng(5))
    for name, value in plain.inputs.items():
        np.testing.assert_array_equal(sample.inputs[name], value, err_msg=name)
    assert not past_of(plain)
    for name, value in plain.target_arrays().items():
        np.testing.assert_array_equal(sample.target_arrays()[name], value, err_msg=name)


def test_an_unchanged_past_frame_is_what_it_was_as_key_frame(records):
    dataset = DetectionDataset(records, config_with(WINDOW))
    past = past_of(dataset.sample(2, None))
    assert past["mask"].tolist() == [1, 1, 0]
    for place, index in enumerate([1, 0]):
        for name, value in DetectionDataset(records, PLAIN).sample(index, None).inputs.items():
            np.testing.assert_array_equal(past[name][place], value, err_msg=name)
    assert not past["images"][2].any()


def test_the_first_frame_of_a_drive_has_no_past(records):
    sample = DetectionDataset(records, config_with(RECURRENT)).sample(0, None)
    past = past_of(sample)
    assert past["mask"].shape == (2,)
    assert not past["mask"].any()


def test_past_and_present_share_the_change_of_the_scene(records):
    """A standing landmark: changed motion takes its changed place now to its changed place then."""
    dataset = DetectionDataset(records, config_with(WINDOW))
    plain, changed = dataset.sample(2, None), dataset.sample(2, np.random.default_rng(3))
    before, after = past_of(plain)["transform"], past_of(changed)["transform"]
    matrix = _scene_change(plain, changed)
    for old, new in zip(before[:2], after[:2], strict=True):
        point = np.array([7.0, -3.0])
        then = old[:, :2] @ point + old[:, 2]
        np.testing.assert_allclose(
            new[:, :2] @ (matrix @ point) + new[:, 2], matrix @ then, atol=1e-4
        )


def _scene_change(plain, changed):
    """The (2, 2) rotation between two samples, told by their true boxes."""
    pairs = []
    for sample in (plain, changed):
        columns = PLAIN.inputs.bev.columns
        rows = sample.targets.code_weight[:, 0] > 0
        cell, code = sample.targets.cell[rows], sample.targets.code[rows]
        center = np.stack([cell % columns, cell // columns], axis=1) + 0.5 + code[:, :2]
        pairs.append((code[:, 3:6], center - 24.0))
    (sizes, centers), (new_sizes, new_centers) = pairs
    same = [
        (i, j)
        for i, a in enumerate(sizes)
        for j, b in enumerate(new_sizes)
        if np.abs(a - b).max() < 1e-5
    ]
    i, j = max(same, key=lambda pair: np.hypot(*centers[pair[0]]))
    turn = np.arctan2(*new_centers[j][::-1]) - np.arctan2(*centers[i][::-1])
    return np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])


def test_dropped_history_is_masked(records):
    config = config_with(RECURRENT, augment=AugmentConfig(drop_history=1.0))
    dataset = DetectionDataset(records, replace(config, train=TrainConfig(history_frames=1)))
    assert not past_of(dataset.sample(2, np.random.default_rng(0)))["mask"].any()
    assert past_of(dataset.sample(2, None))["mask"].all()


def test_standing_cells_are_told_where_somebody_asks(records):
    asks = TrainConfig(weight_consistency=0.1)
    sample = DetectionDataset(records, config_with(WINDOW, train=asks)).sample(2, None)
    mask = sample.target_arrays()["static_mask"]
    assert mask.shape == PLAIN.inputs.bev.shape
    assert 0 < mask.mean() < 1
    other = DetectionDataset(records, config_with(WINDOW)).sample(2, None)
    assert "static_mask" not in other.target_arrays()
