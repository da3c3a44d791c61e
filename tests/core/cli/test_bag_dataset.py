# SPDX-License-Identifier: Apache-2.0
"""`imkd bag dataset` at the command line, up to training and judging without LiDAR."""

import pytest

from imkd_core.__main__ import main
from imkd_core.data.bags.recorded_dataset import VERSION
from imkd_core.data.nuscenes.boxes import read_true_boxes, score_detections
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.resources import share_folder
from tests.core.cli.test_cli import SMALL
from tests.core.data.made_up import write_dataroot


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    write_dataroot(folder / "root", frames=2, lidar_points=50, sweeps=1)
    assert main(["bag", "nuscenes", str(folder / "root"), str(folder / "bag"), "--lidar"]) == 0
    return folder / "bag"


def test_a_recording_without_lidar_can_be_trained_on_and_judged(bag, tmp_path, capsys):
    output = tmp_path / "set"
    assert main(["bag", "dataset", str(bag), "--output", str(output)]) == 0
    text = capsys.readouterr().out
    assert "bag: 2 key frames" in text
    assert f"next: imkd train --config CONFIG --data {output} --version {VERSION}" in text
    records = NuScenes(output, VERSION).samples()
    answers = {record.token: record.truth().detections for record in records}
    assert len(read_true_boxes(records).boxes) > 10
    metrics = score_detections(records, answers)
    assert metrics.truth > 10
    assert metrics.present_mean_ap > 0.99
    config = share_folder() / "config" / "imkd_tiny.yaml"
    command = ["train", "student", "--config", str(config), "--data", str(output)]
    for item in SMALL:
        command += ["--set", item]
    assert main([*command, "--output", str(tmp_path / "run")]) == 0


def test_with_lidar_every_sample_has_it(bag, tmp_path):
    topic = ["--lidar", "/sensing/lidar_top/points"]
    assert main(["bag", "dataset", str(bag), "--output", str(tmp_path / "set"), *topic]) == 0
    assert all(record.has_lidar for record in NuScenes(tmp_path / "set", VERSION).samples())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--class", "van"], "--class takes NAME=CLASS"),
        (["--class", "van=lorry"], "mapped to 'lorry'"),
        (["--truth", "/boxes"], "no true boxes on /boxes"),
        (["--sensors", "nothing.yaml"], "nothing.yaml"),
        (["--tolerance-s", "-1"], "tolerance"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_leaves_nothing(bag, tmp_path, capsys, options, words):
    command = ["bag", "dataset", str(bag), "--output", str(tmp_path / "set"), *options]
    assert main(command) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_training_on_a_recording_itself_names_the_command(bag, tmp_path, capsys):
    config = share_folder() / "config" / "imkd_tiny.yaml"
    command = ["train", "--config", str(config), "--data", str(bag), "--format", "bag"]
    assert main([*command, "--output", str(tmp_path / "run")]) == 2
    assert f"imkd bag dataset {bag} --output DIR" in capsys.readouterr().err
