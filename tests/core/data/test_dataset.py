# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest

from imkd_core.bev_grid import BevGrid
from imkd_core.config import HeadSpec, InputSpec
from imkd_core.data.dataset import DetectionDataset
from imkd_core.data.nuscenes import NuScenes
from imkd_core.errors import DataError
from imkd_core.preprocess import prepare_inputs
from imkd_core.recipe import AugmentConfig, Config, ModelConfig
from tests.core.data.made_up import write_dataroot

CONFIG = Config(
    name="small",
    inputs=InputSpec(
        image_height_px=64,
        image_width_px=160,
        bev=BevGrid(x_min_m=-24.0, x_max_m=40.0, y_min_m=-24.0, y_max_m=24.0, cell_m=1.0),
    ),
    head=HeadSpec(),
    model=ModelConfig(backbone="resnet18"),
    augment=AugmentConfig(pixel_shift_px=2, brightness=0.2, noise=3, blank_camera=0.5, drop_radar=0.5),
)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    root = tmp_path_factory.mktemp("drive")
    write_dataroot(root, frames=2, lidar_points=500)
    return NuScenes(root).samples()


def test_unchanged_inputs_are_those_of_the_vehicle(records):
    sample = DetectionDataset(records, CONFIG).sample(0, None)
    frame = records[0].frame(target_width_px=CONFIG.inputs.image_width_px)
    expected = prepare_inputs(frame, records[0].rig, CONFIG.inputs)
    assert sample.inputs.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(sample.inputs[name], value, err_msg=name)


def test_every_trainable_box_on_the_grid_is_a_target(records):
    dataset = DetectionDataset(records, CONFIG)
    for index, record in enumerate(records):
        truth = record.truth()
        _, inside = CONFIG.inputs.bev.cell_index(truth.detections.center_m[:, :2])
        wanted = inside & (truth.num_lidar_points + truth.num_radar_points > 0)
        targets = dataset.sample(index, None).targets
        assert wanted.any()
        assert (targets.code_weight.sum(axis=1) > 0).sum() == wanted.sum()


def test_lidar_supervises_depth_where_the_cameras_look(records):
    depth_bin = DetectionDataset(records, CONFIG).sample(0, None).depth_bin
    assert depth_bin.shape == (6, *CONFIG.inputs.feature_shape)
    assert (depth_bin >= 0).any(axis=(1, 2)).all()
    assert depth_bin.max() < CONFIG.inputs.depth.count


def test_a_blanked_camera_takes_its_targets_and_its_depth_with_it(records):
    dataset = DetectionDataset(records, CONFIG)
    unchanged = (dataset.sample(0, None).targets.code_weight.sum(axis=1) > 0).sum()
    counts = []
    for seed in range(30):
        sample = dataset.sample(0, np.random.default_rng(seed))
        counts.append(int((sample.targets.code_weight.sum(axis=1) > 0).sum()))
        masked = sample.inputs["camera_mask"] == 0
        assert (sample.depth_bin[masked] == -1).all()
    assert min(counts) < unchanged
    assert max(counts) <= unchanged


def test_the_same_generator_gives_the_same_sample(records):
    dataset = DetectionDataset(records, CONFIG)
    first, second, third = (
        dataset.sample(0, np.random.default_rng(seed)).inputs["images"] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != third).any()


def test_samples_without_objects_are_samples(tmp_path):
    write_dataroot(tmp_path, frames=1, objects=(), lidar_points=100)
    sample = DetectionDataset(NuScenes(tmp_path).samples(), CONFIG).sample(0, None)
    assert sample.targets.heatmap.max() == 0


def test_no_samples_are_refused(records):
    with pytest.raises(DataError, match="no samples"):
        DetectionDataset([], CONFIG)


def test_sweeps_of_the_configuration_are_merged(records):
    inputs = dataclasses.replace(CONFIG.inputs, radar_sweeps=3)
    many = DetectionDataset(records, dataclasses.replace(CONFIG, inputs=inputs))
    one = DetectionDataset(records, CONFIG)
    occupancy = [d.sample(1, None).inputs["radar_grid"][0].sum() for d in (one, many)]
    assert occupancy[1] > occupancy[0] > 0
