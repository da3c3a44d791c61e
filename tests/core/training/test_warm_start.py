# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
import torch

from imkd_core.errors import DataError
from imkd_core.training.checkpoint import save_checkpoint
from imkd_core.training.distributed import World
from imkd_core.training.state import TrainingState
from imkd_core.training.student_task import StudentTask
from imkd_core.training.warm_start import start_from
from tests.core.model.remembering import WINDOW, config_with
from tests.core.model.small import CONFIG
from tests.core.training.taught_batch import config_with as taught_config

WORLD = World(rank=0, size=1, device=torch.device("cpu"))


def saved(folder, config=CONFIG, stage="student", decay=0.0):
    """Write the checkpoint of a student whose running mean, if any, differs from its weights."""
    torch.manual_seed(3)
    train = replace(config.train, ema_decay=decay)
    state = TrainingState(StudentTask.from_config(config), train, WORLD)
    if state.average is not None:
        for value in state.average.state_dict().values():
            value += 1
    return save_checkpoint(folder, replace(config, train=train), stage, state), state


def test_a_student_with_a_memory_begins_with_the_weights_of_one_without(tmp_path):
    path, state = saved(tmp_path)
    task = StudentTask.from_config(config_with(WINDOW))
    report = start_from(task, path, "student")
    own = task.student.state_dict()
    for key, value in state.task.student.state_dict().items():
        assert torch.equal(own[key], value), key
    assert {key.split(".")[1] for key in report.not_filled} == {"temporal"}
    assert not report.left_out
    assert len(report.loaded) + len(report.not_filled) == len(task.state_dict())


def test_the_running_mean_is_what_is_continued(tmp_path):
    saved(tmp_path, decay=0.9)
    task = StudentTask.from_config(CONFIG)
    start_from(task, tmp_path, "student")
    _, state = saved(tmp_path / "again", decay=0.9)
    mean = state.average.state_dict()
    for key, value in task.student.state_dict().items():
        assert torch.equal(value, mean[key]), key


def test_adaptors_are_taken_where_both_have_them_and_named_where_one_lacks_them(tmp_path):
    path, state = saved(tmp_path, taught_config(lidar_to_fused=0.3))
    taught = StudentTask.from_config(taught_config(lidar_to_fused=0.3))
    assert not start_from(taught, path, "student").not_filled
    for key, value in state.task.state_dict().items():
        assert torch.equal(taught.state_dict()[key], value), key
    report = start_from(StudentTask.from_config(CONFIG), path, "student")
    assert report.left_out
    assert all(key.startswith("distillation.") for key in report.left_out)


def test_weights_of_another_shape_are_left_out_and_named(tmp_path):
    path, _ = saved(tmp_path)
    model = replace(CONFIG.model, head_channels=CONFIG.model.head_channels + 2)
    report = start_from(StudentTask.from_config(replace(CONFIG, model=model)), path, "student")
    assert "student.head.shared.0.weight" in report.left_out
    assert "student.head.shared.0.weight" in report.not_filled
    assert "student.trunk.stem.0.weight" in report.loaded


def test_another_stage_and_a_stranger_are_refused(tmp_path):
    saved(tmp_path / "labels", stage="labels")
    task = StudentTask.from_config(CONFIG)
    with pytest.raises(DataError, match="stage 'labels'"):
        start_from(task, tmp_path / "labels", "student")
    with pytest.raises(DataError, match="no checkpoint"):
        start_from(task, tmp_path / "nothing", "student")
