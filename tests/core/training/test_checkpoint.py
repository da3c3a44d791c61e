# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from imkd_core.errors import DataError
from imkd_core.mapping import to_mapping
from imkd_core.recipe import TrainConfig
from imkd_core.training.checkpoint import (
    FILE_NAME,
    differing_keys,
    load_checkpoint,
    save_checkpoint,
)
from imkd_core.training.distributed import World
from imkd_core.training.losses import LossTerms
from imkd_core.training.state import TrainingState
from imkd_core.training.task import TrainingTask
from tests.core.model.small import CONFIG as SMALL
from tests.core.training.full_disk import full_disk

CONFIG = dataclasses.replace(SMALL, train=TrainConfig(steps=7, ema_decay=0.9))


class Task(TrainingTask):
    """A network, an adaptor beside it, and a frozen teacher that has a file of its own."""

    not_saved = ("teacher",)

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
        self.adaptor = nn.Linear(2, 3)
        self.teacher = nn.Linear(3, 3).requires_grad_(False)

    @property
    def delivered(self):
        return self.net

    def forward(self, batch, step):
        output = self.adaptor(self.net(batch).mean((2, 3)))
        return LossTerms(values={"square": output.square().mean()}, weights={"square": 1.0})


def trained(seed, steps, train=CONFIG.train):
    torch.manual_seed(seed)
    state = TrainingState(Task(), train, World())
    for _ in range(steps):
        step(state)
    return state


def step(state):
    torch.manual_seed(state.step)
    state.optimizer.zero_grad()
    state.task(torch.randn(4, 3, 6, 8), state.step).total().backward()
    state.optimizer.step()
    state.step += 1
    if state.average is not None:
        state.average.update(state.step)


def everything(state):
    parts = [state.task.state_dict()]
    if state.average is not None:
        parts.append(state.average.state_dict())
    parts += list(state.optimizer.state_dict()["state"].values())
    return [value for part in parts for _, value in sorted(part.items())]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_was_saved_goes_on_as_if_nothing_had_happened(tmp_path, precision):
    train = dataclasses.replace(CONFIG.train, precision=precision)
    state = trained(0, 3, train)
    checkpoint = load_checkpoint(save_checkpoint(tmp_path, CONFIG, "student", state))
    assert (checkpoint.step, checkpoint.stage, checkpoint.config) == (3, "student", CONFIG)
    other = trained(1, 1, train)
    other.task.teacher.load_state_dict(state.task.teacher.state_dict())
    checkpoint.restore(other)
    step(state)
    step(other)
    for ours, theirs in zip(everything(other), everything(state), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_the_running_mean_is_delivered_where_there_is_one(tmp_path):
    state = trained(0, 3)
    with_mean = load_checkpoint(save_checkpoint(tmp_path / "mean", CONFIG, "student", state))
    module = Task().net
    with_mean.load_delivered(module)
    for key, value in state.average.state_dict().items():
        torch.testing.assert_close(module.state_dict()[key], value, rtol=0, atol=0)
    plain = dataclasses.replace(CONFIG.train, ema_decay=0.0)
    last = load_checkpoint(
        save_checkpoint(tmp_path / "last", CONFIG, "student", trained(0, 3, plain))
    )
    assert last.delivered_state() is last.model
    torch.testing.assert_close(last.model, with_mean.model, rtol=0, atol=0)


def test_the_adaptor_is_kept_and_the_frozen_teacher_is_not(tmp_path):
    checkpoint = load_checkpoint(save_checkpoint(tmp_path, CONFIG, "student", trained(0, 1)))
    assert set(checkpoint.others) == {"adaptor.weight", "adaptor.bias"}
    assert set(checkpoint.model) == set(Task().net.state_dict())


def test_a_task_that_delivers_a_foreign_network_is_refused():
    class Foreign(Task):
        @property
        def delivered(self):
            return nn.Linear(1, 1)

    with pytest.raises(TypeError, match="not one of its submodules"):
        TrainingState(Foreign(), TrainConfig(), World()).other_state()


def test_a_folder_stands_for_the_checkpoint_inside(tmp_path):
    save_checkpoint(tmp_path, CONFIG, "student", trained(0, 1))
    assert load_checkpoint(tmp_path).step == 1
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_weights_of_another_model_and_of_another_task_are_refused(tmp_path):
    save_checkpoint(tmp_path, CONFIG, "student", trained(0, 1))
    checkpoint = load_checkpoint(tmp_path)
    with pytest.raises(DataError, match="does not fit this model"):
        checkpoint.load_delivered(nn.Linear(3, 4))
    state = trained(0, 0)
    state.task.second_adaptor = nn.Linear(1, 1)
    with pytest.raises(DataError, match="second_adaptor"):
        checkpoint.restore(state)


def test_another_stage_is_refused_by_name(tmp_path):
    save_checkpoint(tmp_path, CONFIG, "teacher", trained(0, 1))
    with pytest.raises(DataError, match="stage 'teacher', not 'student'"):
        load_checkpoint(tmp_path, stage="student")


def test_a_missing_checkpoint_says_how_to_make_one(tmp_path):
    with pytest.raises(DataError, match="imkd train labels"):
        load_checkpoint(tmp_path, stage="labels")


@pytest.mark.parametrize("content", [b"", b"\x80", pickle.dumps({"step": 1}), b"\xff" * 64])
def test_anything_but_safetensors_is_refused_unread(tmp_path, content):
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(DataError, match="not a readable safetensors"):
        load_checkpoint(tmp_path)


def test_a_truncated_checkpoint_is_refused(tmp_path):
    path = save_checkpoint(tmp_path, CONFIG, "student", trained(0, 1))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="safetensors"):
        load_checkpoint(path)


def test_foreign_safetensors_and_those_of_another_version_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(DataError, match="names no step"):
        load_checkpoint(path)
    save_file({"weight": torch.zeros(2)}, path, {"step": "1", "config": '{"nme": "old"}'})
    with pytest.raises(DataError, match=r"another version .*nme"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"step": "-1"}, "its step is '-1'"),
        ({"step": "9" * 5000}, "its step is"),
        ({"config": "{"}, "its config is no JSON"),
        ({"config": "[" * 100_000}, "its config is no JSON"),
        ({"scaler": "null"}, "its scaler is no mapping"),
    ],
)
def test_metadata_that_were_damaged_are_refused_by_name(tmp_path, changes, words):
    path = tmp_path / "damaged.safetensors"
    whole = {"step": "1", "stage": "student", "scaler": "{}"}
    whole["config"] = json.dumps(to_mapping(CONFIG))
    save_file({"model.weight": torch.zeros(2)}, path, {**whole, **changes})
    with pytest.raises(DataError, match=words):
        load_checkpoint(path)


@pytest.mark.parametrize("name", ["optimizer.x.step", "optimizer.0", "optimizer..step"])
def test_a_state_of_no_parameter_is_refused(tmp_path, name):
    path = tmp_path / "damaged.safetensors"
    metadata = {"step": "1", "config": json.dumps(to_mapping(CONFIG))}
    save_file({name: torch.zeros(2)}, path, metadata)
    with pytest.raises(DataError, match="it holds 'optimizer"):
        load_checkpoint(path)


def test_a_full_disk_names_the_file_and_leaves_the_old_checkpoint(tmp_path):
    state = trained(0, 1)
    path = save_checkpoint(tmp_path, CONFIG, "student", state)
    before = path.read_bytes()
    step(state)
    refusal = pytest.raises(DataError, match=r"cannot write .*checkpoint.safetensors.*free space")
    with full_disk(2000), refusal as told:
        save_checkpoint(tmp_path, CONFIG, "student", state)
    assert "intact" in str(told.value)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == [FILE_NAME]


def test_a_full_disk_leaves_nothing_where_there_was_nothing(tmp_path):
    state = trained(0, 1)
    with full_disk(2000), pytest.raises(DataError, match="cannot write"):
        save_checkpoint(tmp_path, CONFIG, "student", state)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="file"):
        save_checkpoint(tmp_path / "file", CONFIG, "student", trained(0, 0))


def test_differing_keys_are_named_with_both_values():
    other = dataclasses.replace(CONFIG, train=dataclasses.replace(CONFIG.train, steps=9))
    assert differing_keys(CONFIG, CONFIG) == []
    assert differing_keys(CONFIG, other) == ["train.steps: 7 there, 9 here"]
