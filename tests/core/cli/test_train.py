# SPDX-License-Identifier: Apache-2.0
"""The three stages by their command lines, on a made-up drive."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
import yaml

from imkd_core.__main__ import main
from imkd_core.mapping import to_mapping
from imkd_core.model.resnet import resnet18
from imkd_core.teaching import LabelEncoderConfig, TeacherConfig
from imkd_core.training.checkpoint import load_checkpoint
from tests.core.training.small_stage import CONFIG, write_drive

TRAIN = replace(CONFIG.train, steps=2)
SMALL = replace(
    CONFIG,
    train=TRAIN,
    teacher_train=TRAIN,
    labels_train=TRAIN,
    teacher=TeacherConfig(
        lidar_sweeps=2,
        pillar_channels=4,
        channels=8,
        trunk_channels=(8, 8, 8),
        trunk_blocks=(1, 1, 1),
        trunk_neck_channels=4,
        head_channels=8,
    ),
    labels=LabelEncoderConfig(channels=8),
    distill=replace(CONFIG.distill, channels=4),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data, a configuration and the runs of both teachers."""
    root = tmp_path_factory.mktemp("stages")
    write_drive(root / "data")
    text = yaml.safe_dump(json.loads(json.dumps(to_mapping(SMALL))))
    (root / "config.yaml").write_text(text)
    assert call(root, "teacher") == 0
    assert call(root, "labels", "--teacher", root / "teacher") == 0
    return root


def call(root, stage, *more, output=None):
    """Run a stage from the command line; return its exit code."""
    words = ["train", stage, "--config", root / "config.yaml", "--data", root / "data"]
    words += ["--output", output or root / stage, "--device", "cpu", *more]
    return main([str(word) for word in words])


def test_three_commands_make_a_taught_student(place, tmp_path, capsys):
    teachers = ("--teacher", place / "teacher", "--labels", place / "labels", "--preset", "ours")
    output = tmp_path / "student"
    assert call(place, "student", *teachers, output=output) == 0
    said = capsys.readouterr().out
    assert "imkd export --checkpoint" in said
    assert "lidar_to_fused" in said
    checkpoint = load_checkpoint(output, stage="student")
    assert checkpoint.step == 2
    assert any("adaptors" in key for key in checkpoint.others)
    assert (tmp_path / "teacher_cache" / "cache.json").exists()
    shutil.rmtree(output)  # with the cache alone, no teacher is asked again
    cached = ("--cache", tmp_path / "teacher_cache", "--preset", "ours")
    assert call(place, "student", *cached, output=output) == 0


def test_the_teacher_leaves_the_statistics_of_its_intensity_map(place):
    names = {path.name for path in (place / "teacher").iterdir()}
    assert names == {"checkpoint.safetensors", "log.jsonl", "tensorboard", "intensity.json"}
    assert load_checkpoint(place / "labels").stage == "labels"


def test_without_a_stage_a_student_is_trained_and_needs_no_teacher(place, tmp_path):
    words = ["train", "--config", place / "config.yaml", "--data", place / "data"]
    words += ["--output", tmp_path / "plain", "--set", "train.steps=1", "--scene", "made-up-0"]
    assert main([str(word) for word in words]) == 0
    assert load_checkpoint(tmp_path / "plain", stage="student").others == {}


def test_imagenet_weights_are_taken_and_every_other_key_is_named(place, tmp_path, capsys):
    weights = {**resnet18(width=8).state_dict(), "fc.weight": torch.zeros(3, 4)}
    torch.save(weights, tmp_path / "resnet.pth")
    init = ("--init", tmp_path / "resnet.pth", "--preset", "none")
    assert call(place, "student", *init, output=tmp_path / "run") == 0
    assert "120 tensors taken; left out of the file: fc.weight" in capsys.readouterr().out
    told = (tmp_path / "run" / "init.txt").read_text()
    assert "\nfc.weight\n" in told
    assert "\nneck." in told


MEMORY = f"inputs.memory={{kind: recurrent, frames: 1, channels: {CONFIG.model.fused_channels}}}"


def test_a_student_with_a_memory_starts_from_one_without_and_names_what_is_new(
    place, tmp_path, capsys
):
    plain, run = tmp_path / "plain", tmp_path / "recurrent"
    assert call(place, "student", "--preset", "none", output=plain) == 0
    capsys.readouterr()
    more = ("--preset", "none", "--start", plain, "--set", MEMORY)
    assert call(place, "student", *more, output=run) == 0
    assert "6 tensors of the network keep their random start" in capsys.readouterr().out
    assert "\nstudent.temporal.reduce.weight\n" in (run / "init.txt").read_text()
    assert load_checkpoint(run).config.inputs.memory.kind == "recurrent"


@pytest.mark.parametrize(
    ("stage", "more", "message"),
    [
        ("student", ("--preset", "ours"), "pass --teacher and --labels"),
        ("student", ("--preset", "our"), "did you mean 'ours'"),
        ("labels", (), "pass --teacher"),
        ("labels", ("--teacher", "nowhere"), "no checkpoint at nowhere"),
        ("student", ("--scene", "scene-9999"), "no scene 'scene-9999'"),
        ("student", ("--format", "kitti"), "unknown --format 'kitti'"),
        ("student", ("--format", "vod"), "lidar/training"),
        ("student", ("--set", "inputs.image_width_px=1632"), "lower those"),
        ("student", ("--set", "train.precision=fp16"), "needs a CUDA device"),
        ("student", ("--start", "nowhere", "--preset", "none"), "no checkpoint at nowhere"),
        ("student", ("--start", "a", "--init", "b"), "leave --init out"),
        ("student", ("--set", "inputs.memory={kind: window}"), "memory.frames"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_remedy(
    place, tmp_path, capsys, stage, more, message
):
    assert call(place, stage, *more, output=tmp_path / "run") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()
