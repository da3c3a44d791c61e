# SPDX-License-Identifier: Apache-2.0
import argparse
import importlib
import json
import subprocess
import sys

import pytest

from imkd_core.__main__ import VERBS, main
from imkd_core.cli import doctor
from imkd_core.cli.common import open_nuscenes, parse_overrides, progress
from imkd_core.cli.proof.report import without_nan
from imkd_core.errors import ConfigError, DataError
from imkd_core.resources import share_folder
from tests.core.data.made_up import write_dataroot

SMALL = [
    "inputs.image_height_px=64",
    "inputs.image_width_px=160",
    "inputs.depth={min_m: 2.0, max_m: 42.0, step_m: 4.0}",
    "model.backbone_width=8",
    "train.steps=2",
]


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    root = tmp_path_factory.mktemp("drive")
    write_dataroot(root, frames=2, lidar_points=300)
    return root


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb_teaches_with_examples(verb, capsys):
    with pytest.raises(SystemExit) as leave:
        main([verb, "--help"])
    assert leave.value.code == 0
    text = capsys.readouterr().out
    assert f"imkd {verb}" in text
    assert "Examples:" in text


def test_the_overview_names_every_verb(capsys):
    with pytest.raises(SystemExit) as leave:
        main(["--help"])
    assert leave.value.code == 0
    text = capsys.readouterr().out
    assert all(f"  {verb} " in text for verb in VERBS)


def test_an_unknown_verb_and_no_verb_are_errors_of_the_user(capsys):
    for arguments in ([], ["fly"]):
        with pytest.raises(SystemExit) as leave:
            main(arguments)
        assert leave.value.code == 2
    assert "fly" in capsys.readouterr().err


def test_the_command_starts_without_heavy_libraries():
    program = (
        "import sys, imkd_core.__main__ as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'cv2', 'onnxruntime', 'rosbags', 'rclpy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_train_export_and_bag_run_one_after_the_other(drive, tmp_path, capsys):
    run, bundle, bag = tmp_path / "run", tmp_path / "bundle", tmp_path / "bag"
    config = str(share_folder() / "config" / "imkd_tiny.yaml")
    overrides = [text for pair in SMALL for text in ("--set", pair)]
    train = ["train", "--config", config, "--data", str(drive), "--output", str(run), *overrides]
    assert main(train) == 0
    assert main(train) == 2
    assert "--resume" in capsys.readouterr().err
    export = ["export", "--checkpoint", str(run), "--output", str(bundle), "--data", str(drive)]
    assert main([*export, "--licence", "none", "--trained-on", "made-up"]) == 0
    manifest = json.loads((bundle / "bundle.json").read_text())
    assert manifest["provenance"]["trained_on"] == "made-up"
    assert main(["bag", "nuscenes", str(drive), str(bag), "--repeat", "2"]) == 0
    assert main(["bag", "info", str(bag)]) == 0
    text = capsys.readouterr().out
    assert "/sensing/cam_front/image/compressed" in text
    assert "sha256" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--config", "no.yaml", "--data", ".", "--output", "x"], "no.yaml"),
        (["export", "--checkpoint", "nothing", "--output", "x"], "imkd train"),
        (["bag", "info", "nothing"], "nothing"),
        (["bag", "nuscenes", "nothing", "out"], "nuscenes.org"),
    ],
)
def test_errors_of_the_user_are_one_line_and_exit_2(arguments, message, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_overrides_are_read_as_yaml_and_numbers_without_a_dot_too():
    assert parse_overrides(["a.b=3", "c=2e-4", "d=[1, 2]", "e=text", "f=true"]) == {
        "a.b": 3,
        "c": 2e-4,
        "d": [1, 2],
        "e": "text",
        "f": True,
    }
    for bad in ("nothing", "=3"):
        with pytest.raises(ConfigError, match="KEY=VALUE"):
            parse_overrides([bad])


def test_a_folder_with_two_versions_needs_a_choice(drive, tmp_path):
    for name in ("v1.0-mini", "v1.0-trainval"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="--version"):
        open_nuscenes(tmp_path, None)
    assert open_nuscenes(drive, None).scenes == ("made-up-0",)


def test_doctor_is_green_here_and_red_for_a_broken_bundle(tmp_path, capsys):
    assert main(["doctor"]) == 0
    assert "0 faults" in capsys.readouterr().out
    assert main(["doctor", "--model", str(tmp_path / "missing")]) == 1
    text = capsys.readouterr().out
    assert "FAULT" in text
    assert "imkd export" in text


def test_doctor_names_the_remedy_of_each_fault(tmp_path):
    old = doctor.check_python((3, 8))
    absent = doctor.check_module("no_such_module", "install it", doctor.RED)
    closed = doctor.check_shared_memory(tmp_path / "none")
    assert [check.level for check in (old, absent, closed)] == ["FAULT", "FAULT", "note"]
    assert all(check.remedy for check in (old, absent, closed))
    assert doctor.check_module("json", "", doctor.RED).level == doctor.GREEN


def test_progress_without_a_terminal_is_a_line_at_the_start_and_at_the_end(capsys):
    with progress("fit", 100) as update:
        for done in range(1, 101):
            update(done, "loss 1")
    assert capsys.readouterr().out.splitlines() == ["fit 1/100 loss 1", "fit 100/100 loss 1"]


def test_progress_on_a_terminal_is_a_bar(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    with progress("fit") as update:
        update(3, "loss 1", 5)
    assert "fit" in capsys.readouterr().out


def test_progress_without_rich_is_lines(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setitem(sys.modules, "rich", None)
    with progress("replay") as update:
        update(1)
    assert capsys.readouterr().out == "replay 1 \n"


def test_numbers_that_json_cannot_say_become_null():
    values = {"a": float("nan"), "b": {"c": float("inf"), "d": 1.5}, "e": "text", "f": True}
    assert without_nan(values) == {"a": None, "b": {"c": None, "d": 1.5}, "e": "text", "f": True}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_the_two_functions(verb):
    module = importlib.import_module(f"imkd_core.cli.{VERBS[verb][0]}")
    module.add_arguments(argparse.ArgumentParser())
    assert callable(module.run)
