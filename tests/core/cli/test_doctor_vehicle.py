# SPDX-License-Identifier: Apache-2.0
"""`imkd doctor` on a recording, and what it says of model, provider, speed and load."""

import json

import pytest

from imkd_core.__main__ import main
from imkd_core.cli.vehicle_checks import check_vehicle_model, load_check, speed_check
from imkd_core.health.check import AMBER, GREEN, RED
from imkd_ros.bridge.parameters import NodeSettings
from tests.faults.planting import PLANTS, planted
from tests.ros.doctor.made_up_drive import write_drive, write_sensors
from tests.ros.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="module")
def vehicle(tmp_path_factory):
    """Bag, sensor file and bundle; the bag's cameras send the same picture again and again."""
    folder = tmp_path_factory.mktemp("vehicle")
    bundle = write_tiny_bundle(folder / "tiny").root
    sensors = write_sensors(folder / "sensors.yaml")
    return write_drive(folder / "drive"), ["--sensors", str(sensors), "--model", str(bundle)]


def test_a_recording_gives_a_table_a_file_and_an_exit_code(vehicle, tmp_path, capsys):
    bag, options = vehicle
    path = tmp_path / "doctor.json"
    assert main(["doctor", "--bag", str(bag), *options, "--json", str(path)]) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"the bag {bag}, 3.1 s\n")
    assert "FAULT  CAM_FRONT" in out
    assert "1 faults" in out
    names = {check["name"] for check in json.loads(path.read_text(encoding="utf-8"))["checks"]}
    assert {"CAM_FRONT", "RADAR_FRONT", "TF", "ego motion", "model", "provider", "speed"} <= names


def test_a_planted_fault_is_in_the_table(vehicle, tmp_path, capsys):
    bag, options = vehicle
    plant = next(plant for plant in PLANTS if plant.name == "no CameraInfo")
    assert main(["doctor", "--bag", str(planted(plant, bag, tmp_path)), *options]) == 1
    assert plant.found in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bag", "none/such"], "there is no bag"),
        (["--bag", "x", "--seconds", "3"], "--seconds goes with --live"),
        (["--sensors", "a.yaml"], "--sensors goes with --live or --bag"),
        (["--bag", "x", "--remap", "nonsense"], "FROM:=TO"),
        (["--bag", "x", "--params", "none.yaml"], "cannot read the parameter file"),
    ],
)
def test_what_cannot_be_looked_at_is_an_error_of_the_user(arguments, words, capsys):
    assert main(["doctor", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_model_that_runs_is_green_and_its_speed_is_told(vehicle):
    settings = NodeSettings(values={"model.bundle": vehicle[1][3], "model.threads": 1})
    checks = {check.name: check for check in check_vehicle_model(settings, 3, 0.0)}
    assert [checks[name].level for name in ("model", "provider", "speed")] == [GREEN] * 3
    assert "CPUExecutionProvider" in checks["provider"].found


@pytest.mark.parametrize(
    ("parameters", "name", "words"),
    [
        ({"model.bundle": "/no/such"}, "model", "missing or broken"),
        ({"model.provider": "NoExecutionProvider"}, "provider", "is not available"),
        ({"model.precision": "int8_s8"}, "provider", "nothing runs the model as asked"),
    ],
)
def test_a_model_that_cannot_run_is_a_fault_with_its_remedy(vehicle, parameters, name, words):
    values = {"model.bundle": vehicle[1][3], **parameters}
    last = list(check_vehicle_model(NodeSettings(values=values), 3, 0.0))[-1]
    assert (last.name, last.level) == (name, RED)
    assert words in last.found
    assert "model." in last.remedy


@pytest.mark.parametrize(("seconds", "level"), [(0.01, GREEN), (0.2, AMBER)])
def test_an_inference_slower_than_the_cameras_is_a_note(seconds, level):
    check = speed_check(seconds, 12.0)
    assert check.level == level
    assert check.found.startswith(f"{seconds * 1e3:.0f} ms an inference")


@pytest.mark.parametrize(
    ("load", "cores", "threads", "level"),
    [(0.5, 4, 2, GREEN), (6.0, 4, 2, AMBER), (0.5, 2, 4, AMBER)],
)
def test_a_busy_machine_and_too_many_threads_are_notes(load, cores, threads, level):
    check = load_check(load, cores, threads)
    assert check.level == level
    assert bool(check.remedy) is (level == AMBER)
