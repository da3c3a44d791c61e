# SPDX-License-Identifier: Apache-2.0
"""Both teachers learn two made-up frames, and then teach them."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from imkd_core.data.learning.label_maps import soft_mask
from imkd_core.data.learning.teaching_datasets import LabelDataset, TeacherDataset
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.errors import DataError
from imkd_core.model.frozen import freeze, is_frozen
from imkd_core.training.task import collate
from imkd_core.training.teachers.intensity_statistics import (
    measure_intensity,
    read_statistics,
    write_statistics,
)
from imkd_core.training.teachers.label_task import LabelTask
from imkd_core.training.teachers.teacher_task import TeacherTask
from imkd_core.training.teachers.teaching_pass import boxes_at, teach, teach_labels
from tests.core.data.made_up import write_dataroot
from tests.core.training.fitted_teachers import CONFIG, fit, recall

GRID = CONFIG.inputs.bev


def on_grid(detections):
    return detections.select(GRID.cell_index(detections.center_m[:, :2])[1])


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    root = tmp_path_factory.mktemp("drive")
    write_dataroot(root, frames=2, lidar_points=600)
    return NuScenes(root).samples()


@pytest.fixture(scope="module")
def fitted(records):
    torch.manual_seed(0)
    teacher_task = TeacherTask(CONFIG)
    source = TeacherDataset(records, CONFIG)
    teacher_totals = fit(teacher_task, [source.sample(i, None) for i in range(2)], 70, 8e-3)
    label_task = LabelTask(CONFIG, teacher_task.delivered)
    labels = LabelDataset(records, CONFIG)
    before = {key: value.clone() for key, value in label_task.teacher.state_dict().items()}
    label_totals = fit(label_task, [labels.sample(i, None) for i in range(2)], 90, 8e-3)
    return SimpleNamespace(
        teacher=label_task.teacher,
        encoder=freeze(label_task.delivered),
        teacher_totals=teacher_totals,
        label_totals=label_totals,
        teacher_before=before,
        label_task=label_task,
    )


@pytest.fixture(scope="module")
def statistics(records):
    return measure_intensity(records, CONFIG)


@pytest.fixture(scope="module")
def lesson(fitted, statistics, records):
    return teach(fitted.teacher, fitted.encoder, statistics, records[0], CONFIG)


def test_both_losses_fall(fitted):
    for totals in (fitted.teacher_totals, fitted.label_totals):
        assert np.isfinite(totals).all()
        assert np.mean(totals[-5:]) < 0.25 * np.mean(totals[:5])


def test_the_fitted_teacher_finds_the_objects_that_lidar_sees(fitted, records):
    source = TeacherDataset(records, CONFIG)
    for index, record in enumerate(records):
        inputs = collate([source.sample(index, None)]).inputs
        with torch.no_grad():
            output = fitted.teacher(**inputs)
        truth = record.truth()
        seen = on_grid(truth.detections.select(truth.num_lidar_points > 0))
        assert recall(output.heatmap_logits, output.codes, seen) > 0.8


def test_the_frozen_teacher_decodes_the_label_map_to_the_truth(fitted, records):
    source = LabelDataset(records, CONFIG)
    for index, record in enumerate(records):
        maps = collate([source.sample(index, None)]).inputs["maps"]
        with torch.no_grad():
            decoded = fitted.teacher.decode_features(fitted.encoder(maps))
        truth = record.truth()
        seen = on_grid(truth.detections.select(truth.num_lidar_points + truth.num_radar_points > 0))
        assert recall(*decoded, seen) > 0.95


def test_fitting_labels_leaves_the_teacher_as_it_was(fitted):
    assert is_frozen(fitted.teacher)
    after = fitted.teacher.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in fitted.teacher_before.items())
    trained = {n for n, p in fitted.label_task.named_parameters() if p.requires_grad}
    assert not any(name.startswith("teacher.") for name in trained)


def test_a_lesson_lies_on_the_grid(lesson):
    assert lesson.features.shape == lesson.label_features.shape == (24, *GRID.shape)
    assert lesson.intensity.shape == GRID.shape
    assert lesson.heat.shape == (10, *GRID.shape)
    assert lesson.features.min() >= 0
    assert lesson.label_features.min() >= 0
    assert 0 < lesson.intensity.min() <= lesson.intensity.max() <= 1
    assert 0 <= lesson.heat.min() <= lesson.heat.max() <= 1


def test_a_lesson_holds_a_box_and_a_token_for_every_object_on_the_grid(lesson, records):
    truth = records[0].truth()
    inside = GRID.cell_index(truth.detections.center_m[:, :2])[1]
    tokens = [t for t, kept in zip(truth.annotation_tokens, inside, strict=True) if kept]
    assert list(lesson.annotation_tokens) == tokens
    seen = truth.num_lidar_points[inside] > 0
    miss_m = np.linalg.norm(
        lesson.boxes.center_m[:, :2] - truth.detections.center_m[inside, :2], axis=1
    )
    assert np.median(miss_m[seen]) < 0.5
    assert np.median(lesson.boxes.scores[seen]) > 0.3
    assert lesson.quality > 0.2


def test_lidar_is_trusted_more_on_objects_than_elsewhere(lesson, records):
    truth = records[0].truth()
    seen = truth.detections.select(truth.num_lidar_points > 5)
    on_objects = soft_mask(seen, GRID) > 0.5
    assert lesson.intensity[on_objects].mean() > 1.2 * lesson.intensity[~on_objects].mean()


def test_the_same_sample_is_taught_the_same_way(fitted, statistics, records, lesson):
    again = teach(fitted.teacher, fitted.encoder, statistics, records[0], CONFIG)
    np.testing.assert_array_equal(again.features, lesson.features)
    np.testing.assert_array_equal(again.intensity, lesson.intensity)


def test_teachers_in_training_mode_refuse_to_teach(fitted, statistics, records):
    waking = TeacherTask(CONFIG).delivered.train()
    with pytest.raises(DataError, match="freeze them first"):
        teach(waking, fitted.encoder, statistics, records[0], CONFIG)


def test_a_teacher_that_is_far_off_is_not_trusted(records):
    objects = on_grid(records[0].truth().detections)
    heat = np.full((10, *GRID.shape), 0.5, np.float32)
    codes = np.zeros((60, *GRID.shape), np.float32)
    near, quality = boxes_at(objects, heat, codes, CONFIG)
    codes[0::10] = 30.0
    far, _ = boxes_at(objects, heat, codes, CONFIG)
    assert quality == pytest.approx(0.5)
    assert (far.scores == 0).all()
    assert (near.scores[near.labels == 0] == 0.5).all()


def test_confidence_is_the_best_of_the_right_class_within_one_cell(records):
    objects = on_grid(records[0].truth().detections).select(np.array([0]))
    row, column = GRID.cell_index(objects.center_m[0, :2])[0]
    heat = np.zeros((10, *GRID.shape), np.float32)
    heat[objects.labels[0], row + 1, column - 1] = 0.7
    heat[objects.labels[0], row, column + 2] = 0.9
    heat[(objects.labels[0] + 1) % 10, row, column] = 0.8
    boxes, quality = boxes_at(objects, heat, np.zeros((60, *GRID.shape), np.float32), CONFIG)
    assert boxes.scores[0] == pytest.approx(0.7)
    assert quality == 0


def test_without_objects_the_quality_is_1(records):
    none = records[0].truth().detections.select(np.array([], np.int64))
    boxes, quality = boxes_at(
        none,
        np.zeros((10, *GRID.shape), np.float32),
        np.zeros((60, *GRID.shape), np.float32),
        CONFIG,
    )
    assert len(boxes) == 0
    assert quality == 1


def test_the_learned_gate_is_kept_sparse_and_teaches(records, statistics, fitted):
    config = replace(CONFIG, intensity=replace(CONFIG.intensity, variant="learned"))
    torch.manual_seed(0)
    task = TeacherTask(config)
    terms = task(collate([TeacherDataset(records, config).sample(0, None)]), 0)
    assert terms.weights["gate"] == 1e-3
    terms.total().backward()
    assert all(p.grad is not None for p in task.teacher.gate.parameters())
    lesson = teach(freeze(task.delivered), fitted.encoder, statistics, records[0], config)
    assert lesson.intensity.std() > 0


def test_pictures_show_what_is_predicted_beside_what_is_true(fitted, records):
    for task, source in (
        (TeacherTask(CONFIG).eval(), TeacherDataset(records, CONFIG)),
        (fitted.label_task, LabelDataset(records, CONFIG)),
    ):
        with torch.no_grad():
            pictures = task.pictures(collate([source.sample(0, None)]))
        assert pictures["heatmap"].ndim == 3
        assert pictures["heatmap"].shape[2] == 3


def test_labels_teach_without_lidar(fitted, records, lesson, monkeypatch):
    def no_lidar(*_arguments):
        raise DataError("there is no LiDAR here")

    monkeypatch.setattr(type(records[0]), "lidar", no_lidar)
    features = teach_labels(fitted.encoder, records[0], CONFIG)
    np.testing.assert_array_equal(features, lesson.label_features)


def test_statistics_come_back_from_their_file(statistics, tmp_path):
    write_statistics(tmp_path, statistics)
    assert read_statistics(tmp_path) == statistics
    assert [path.name for path in tmp_path.iterdir()] == ["intensity.json"]
