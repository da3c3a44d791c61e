# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
import torch

from imkd_core.errors import ConfigError, DataError
from imkd_core.model.frozen import is_frozen
from imkd_core.training.checkpoint import save_checkpoint
from imkd_core.training.distributed import join_world
from imkd_core.training.state import TrainingState
from imkd_core.training.teachers.label_task import LabelTask
from imkd_core.training.teachers.teacher_task import TeacherTask
from imkd_core.training.teachers.trained_teachers import load_labels, load_teacher
from tests.core.training.fitted_teachers import CONFIG


def with_teacher(**changes):
    return replace(CONFIG, teacher=replace(CONFIG.teacher, **changes))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    torch.manual_seed(3)
    task = TeacherTask(CONFIG)
    teacher = task.teacher
    with join_world("cpu") as world:
        state = TrainingState(task, CONFIG.teacher_train, world)
        save_checkpoint(folder / "teacher", CONFIG, "teacher", state)
        state = TrainingState(LabelTask(CONFIG, teacher), CONFIG.labels_train, world)
        save_checkpoint(folder / "labels", CONFIG, "labels", state)
    return folder, teacher


def test_a_teacher_comes_back_frozen_with_its_weights(runs):
    folder, original = runs
    teacher = load_teacher(folder / "teacher", CONFIG)
    assert is_frozen(teacher)
    state = teacher.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in original.state_dict().items())


def test_a_label_encoder_comes_back_frozen_and_without_the_teacher(runs):
    labels = load_labels(runs[0] / "labels", CONFIG)
    assert is_frozen(labels)
    size = {
        stage: (runs[0] / stage / "checkpoint.safetensors").stat().st_size
        for stage in ("labels", "teacher")
    }
    assert size["labels"] < 0.7 * size["teacher"]


@pytest.mark.parametrize(
    "other",
    [
        with_teacher(lidar_sweeps=9),
        replace(CONFIG, inputs=replace(CONFIG.inputs, z_min_m=-2.0)),
        replace(CONFIG, intensity=replace(CONFIG.intensity, variant="learned")),
    ],
)
def test_a_teacher_of_another_configuration_is_refused_by_the_key(runs, other):
    with pytest.raises(ConfigError, match=r"another configuration \((teacher|inputs|intensity)\."):
        load_teacher(runs[0] / "teacher", other)


@pytest.mark.parametrize(
    "other",
    [
        with_teacher(drop_points=0.3),
        replace(CONFIG, intensity=replace(CONFIG.intensity, variant="literal")),
        replace(CONFIG, inputs=replace(CONFIG.inputs, image_width_px=320)),
    ],
)
def test_what_does_not_concern_the_teacher_may_differ(runs, other):
    assert is_frozen(load_teacher(runs[0] / "teacher", other))


def test_runs_of_other_stages_and_missing_ones_are_refused(runs, tmp_path):
    with pytest.raises(ConfigError, match="imkd train teacher"):
        load_teacher(runs[0] / "labels", CONFIG)
    with pytest.raises(ConfigError, match="imkd train labels"):
        load_labels(runs[0] / "teacher", CONFIG)
    with pytest.raises(DataError, match="no checkpoint"):
        load_teacher(tmp_path, CONFIG)


def test_a_label_encoder_of_another_width_is_refused(runs):
    other = replace(CONFIG, labels=replace(CONFIG.labels, channels=48))
    with pytest.raises(ConfigError, match=r"labels\.channels"):
        load_labels(runs[0] / "labels", other)
