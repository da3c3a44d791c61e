# SPDX-License-Identifier: Apache-2.0
"""The doctor on a real graph: real publishers, real QoS."""

import pytest

pytest.importorskip("rclpy")

from imkd_core.errors import ConfigError
from imkd_core.health.check import GREEN, RED
from imkd_ros.bridge.parameter_file import read_settings
from imkd_ros.doctor.judgement import judge
from imkd_ros.doctor.live import observe_graph
from imkd_ros.doctor.wanted import wanted
from tests.ros.doctor.vehicle import SPEED_MPS, Trouble, driving
from tests.ros.node_bench import write_sensors

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]

SECONDS = 2.0


@pytest.fixture
def look(tmp_path):
    path = write_sensors(tmp_path / "sensors.yaml")

    def listen(trouble, use_sim_time=None, seconds=SECONDS):
        settings = read_settings(None, {"sensors_file": str(path)})
        want = wanted(settings, use_sim_time=use_sim_time)
        with driving(trouble):
            return observe_graph(want, seconds), want

    return listen


def faults(observation, want):
    return {c.name: (c.found, c.remedy) for c in judge(observation, want) if c.level == RED}


def test_a_healthy_vehicle_has_no_fault_and_its_facts_are_told(look):
    seen, want = look(Trouble())
    assert faults(seen, want) == {}
    assert seen.driven.findings == ()
    searched_s = 2.5  # until the detector is given up
    assert 2 <= seen.driven.frames <= 4 * (seen.seconds + searched_s) + 2, "four a second"
    assert all(facts.faults == {} for facts in seen.radars.values())
    assert seen.cameras["CAM_A"].sizes_px == ((128, 64),)
    assert set(seen.frames.ego_from_sensor) == {"CAM_A", "CAM_B", "RADAR"}
    assert seen.frames.speed_mps == pytest.approx(SPEED_MPS, rel=0.01)
    assert not seen.node.is_there
    levels = {check.name: check.level for check in judge(seen, want)}
    assert levels["TF"] == levels["ego motion"] == levels["clock"] == GREEN


def test_qos_that_does_not_fit_a_dead_radar_and_a_clock_that_stands_are_found(look):
    trouble = Trouble(tf_is_best_effort=True, radar_is_dead=True, clock_stands=True)
    found = faults(*look(trouble, use_sim_time=True))
    assert "/vehicle is best effort" in found["/tf"][0]
    assert found["/tf"][1] == "publish /tf with RELIABLE QoS"
    assert "TRANSIENT_LOCAL" in found["/tf_static"][1]
    assert "/vehicle sends nothing on it" in found["RADAR"][0]
    assert "/clock stands still" in found["clock"][0]


def test_a_black_and_a_frozen_camera_and_a_frozen_radar_are_found_with_their_remedies(look):
    found = faults(*look(Trouble(black=True, frozen=True), seconds=3.0))
    assert set(found) == {"CAM_A", "CAM_B", "RADAR"}
    assert found["CAM_A"][0] == "black: its picture is black"
    assert "lens cap" in found["CAM_A"][1]
    for name in ("CAM_B", "RADAR"):
        assert found[name][0].startswith("frozen: it sends the same measurement"), found
        assert found[name][1].startswith("start its driver again")


def test_a_missing_transform_a_stale_clock_and_a_slow_camera_are_found(look):
    seen, want = look(Trouble(lacks_radar_tf=True, stale_s=3.0, every=4))
    found = faults(seen, want)
    assert found["RADAR"][0] == "missing TF: no frame 'radar'"
    assert "stale clock: its stamps are 3." in found["CAM_A"][0]
    slow = {check.found for check in judge(seen, want) if check.name == "CAM_B"}
    assert any("Hz, and the others of its kind" in text for text in slow), slow


def test_too_short_a_time_is_refused():
    with pytest.raises(ConfigError, match="--seconds must be"):
        observe_graph(wanted(read_settings(None)), 0.1)
