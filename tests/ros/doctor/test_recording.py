# SPDX-License-Identifier: Apache-2.0
"""The doctor on recordings: a healthy one has no fault, and each planted fault is told."""

from collections.abc import Mapping

import pytest

from imkd_core.errors import DataError
from imkd_core.health.check import AMBER, GREEN, RED
from imkd_ros.bridge.parameter_file import read_settings
from imkd_ros.doctor.judgement import judge
from imkd_ros.doctor.recording import observe_bag
from imkd_ros.doctor.wanted import wanted
from tests.faults.planting import CABLES, PLANTS, examine, is_found, planted
from tests.ros.doctor.made_up_drive import SPEED_MPS, write_drive, write_sensors

BY_NAME: Mapping[str, object] = {plant.name: plant for plant in PLANTS}


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    return write_drive(tmp_path_factory.mktemp("drive") / "healthy")


@pytest.fixture(scope="module")
def sensors(tmp_path_factory):
    return str(write_sensors(tmp_path_factory.mktemp("sensors") / "sensors.yaml"))


def test_there_are_the_twelve_faults_of_the_list():
    assert len(BY_NAME) == len(PLANTS) == 12


def test_a_healthy_recording_has_no_fault_and_only_the_notes_that_hold(drive, sensors):
    checks = examine(drive, {"sensors_file": sensors}, with_model=False, with_pictures=False)
    assert {check.name: check.level for check in checks if check.level != GREEN} == {
        "cameras' view": AMBER,
        "radars' view": AMBER,
    }
    assert "200 of 360 degrees; not 100 to -100 (left is positive)" in {c.found for c in checks}


def test_pictures_that_repeat_while_the_vehicle_drives_are_told_once_for_all_cameras(
    drive, sensors
):
    checks = examine(drive, {"sensors_file": sensors}, with_model=False)
    (told,) = [check for check in checks if check.level == RED]
    assert told.name == "CAM_FRONT"
    assert told.found.startswith("frozen: ")
    assert "(and the same: CAM_FRONT_RIGHT, CAM_FRONT_LEFT)" in told.found
    assert told.remedy.startswith("start its driver again")


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_each_planted_fault_is_found_with_its_remedy_and_no_other_of_a_sensor(
    plant, drive, sensors, tmp_path
):
    bag = planted(plant, drive, tmp_path)
    parameters = {"sensors_file": sensors, **plant.parameters}
    with_model = bool(plant.parameters)
    checks = examine(bag, parameters, with_model, with_pictures=False)
    assert is_found(plant, checks), checks
    assert [
        check for check in checks if check.level == RED and check.name not in plant.sensors
    ] == []


def test_the_healthy_recording_has_none_of_the_planted_faults(drive, sensors):
    checks = examine(drive, {"sensors_file": sensors}, with_model=False, with_pictures=False)
    assert not any(is_found(plant, checks) for plant in (*PLANTS, CABLES))


def test_sqlite_and_mcap_are_seen_alike(drive, sensors, tmp_path):
    want = wanted(read_settings(None, {"sensors_file": sensors}))
    other = write_drive(tmp_path / "sqlite", storage="sqlite3")
    first, second = (
        judge(observe_bag(path, want, with_pictures=False), want) for path in (drive, other)
    )
    assert first == second


def test_facts_are_those_of_the_drive(drive, sensors):
    want = wanted(read_settings(None, {"sensors_file": sensors}))
    seen = observe_bag(drive, want, with_pictures=False)
    assert seen.frames.speed_mps == pytest.approx(SPEED_MPS, abs=0.01)
    assert seen.frames.known_share == 1.0
    assert seen.cameras["CAM_FRONT"].sizes_px == ((64, 32),)
    assert seen.traffic["/tf_static"].count == 1
    assert set(seen.radars["RADAR_FRONT"].returns.tolist()) == {30}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/sensing/cam_front/info", "did you mean /sensing/cam_front/camera_info?"),
        ("/elsewhere", "of its type there is /sensing/cam_front/camera_info"),
    ],
)
def test_remappings_are_followed_and_what_is_there_instead_is_named(drive, sensors, name, words):
    settings = read_settings(None, {"sensors_file": sensors})
    want = wanted(settings, remaps=[f"/sensing/cam_front/camera_info:={name}"])
    checks = judge(observe_bag(drive, want, with_pictures=False), want)
    assert any(check.name == "CAM_FRONT" and words in check.remedy for check in checks), checks


def test_a_bag_that_is_not_there_is_an_error_of_the_user(tmp_path, sensors):
    want = wanted(read_settings(None, {"sensors_file": sensors}))
    with pytest.raises(DataError, match="there is no bag"):
        observe_bag(tmp_path / "none", want)
