# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

from imkd_core.bev_grid import BevGrid
from imkd_core.config import HeadSpec, InputSpec
from imkd_core.data.learning.label_maps import label_maps
from imkd_core.data.learning.teaching_datasets import LabelDataset, TeacherDataset, lidar_points
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.errors import DataError
from imkd_core.recipe import AugmentConfig, Config, ModelConfig
from imkd_core.teaching import TeacherConfig
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
    teacher=TeacherConfig(lidar_sweeps=2, max_points=600),
    augment=AugmentConfig(bev_yaw_deg=20, bev_scale=0.05, flip_y=0.5),
)
DATASETS = [TeacherDataset, LabelDataset]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    root = tmp_path_factory.mktemp("drive")
    write_dataroot(root, frames=2, lidar_points=500)
    return NuScenes(root).samples()


def arrays(sample):
    return {**sample.inputs, **sample.target_arrays()}


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_same_generator_gives_the_same_sample_and_another_another(dataset, records):
    source = dataset(records, CONFIG)
    first, second, third = (
        arrays(source.sample(0, np.random.default_rng(seed))) for seed in (1, 1, 2)
    )
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)
    assert not np.array_equal(first["heatmap"], third["heatmap"])


@pytest.mark.parametrize("dataset", DATASETS)
def test_without_a_generator_nothing_is_changed(dataset, records):
    source = dataset(records, CONFIG)
    still = dataset(records, replace(CONFIG, augment=AugmentConfig()))
    first, second = arrays(source.sample(1, None)), arrays(still.sample(1, None))
    assert all(np.array_equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_sample_has_arrays_of_one_shape(dataset, records):
    source = dataset(records, CONFIG)
    assert len(source) == 2
    shapes = [
        {name: (value.shape, value.dtype) for name, value in arrays(sample).items()}
        for sample in (source.sample(i, np.random.default_rng(i)) for i in range(2))
    ]
    assert shapes[0] == shapes[1]


def test_the_teacher_is_asked_for_boxes_with_lidar_returns(records):
    truth = records[0].truth()
    _, inside = CONFIG.inputs.bev.cell_index(truth.detections.center_m[:, :2])
    targets = TeacherDataset(records, CONFIG).sample(0, None).targets
    wanted = inside & (truth.num_lidar_points > 0)
    assert (targets.code_weight.sum(axis=1) > 0).sum() == wanted.sum()


def test_labels_are_drawn_after_the_change(records):
    sample = LabelDataset(records, CONFIG).sample(0, np.random.default_rng(3))
    filled = sample.inputs["maps"][10:].any(axis=0)
    rows, columns = np.divmod(sample.targets.cell, CONFIG.inputs.bev.columns)
    real = sample.targets.code_weight.sum(axis=1) > 0
    assert real.sum() > 3
    assert filled[rows[real], columns[real]].all()
    np.testing.assert_allclose(
        sample.inputs["maps"][:8, rows[real], columns[real]].T,
        sample.targets.code[real, :8],
        rtol=1e-4,
        atol=1e-4,
    )
    truth = records[0].truth().detections
    assert not np.array_equal(sample.inputs["maps"], label_maps(truth, CONFIG.inputs.bev))


def test_points_follow_the_boxes_through_a_change(records):
    """Cells of changed boxes hold about as many points as those of the boxes as they are."""
    dataset = TeacherDataset(
        records, replace(CONFIG, teacher=replace(CONFIG.teacher, drop_points=0))
    )
    grid, shares = CONFIG.inputs.bev, []
    for rng in (None, *(np.random.default_rng(seed) for seed in range(5))):
        sample = dataset.sample(0, rng)
        points = sample.inputs["points"][sample.inputs["mask"]]
        cells, _ = grid.cell_index(points[:, :2])
        hit = sample.targets.heatmap.max(axis=0)[cells[:, 0], cells[:, 1]] > 0.3
        shares.append(hit.mean())
    assert min(shares[1:]) > 0.7 * shares[0]
    assert shares[0] > 0.1


def test_clutter_is_filtered_by_choice(records):
    chosen = replace(CONFIG, teacher=replace(CONFIG.teacher, filter_clutter=True))
    plain, filtered = lidar_points(records[0], CONFIG), lidar_points(records[0], chosen)
    assert len(filtered) < len(plain)


@pytest.mark.parametrize("dataset", DATASETS)
def test_no_samples_are_refused(dataset):
    with pytest.raises(DataError, match="no samples"):
        dataset([], CONFIG)
