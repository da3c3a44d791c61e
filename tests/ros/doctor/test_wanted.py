# SPDX-License-Identifier: Apache-2.0
"""Topics as the node would resolve them, and names that may have been meant."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.errors import ConfigError
from imkd_ros.bridge.parameter_file import read_settings, says_sim_time
from imkd_ros.doctor.wanted import TYPES, Names, Role, near_names, wanted

PARTS = st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True)


@given(PARTS, PARTS)
def test_names_are_resolved_as_ros_does(namespace, topic):
    names = Names(f"/{namespace}")
    assert names.node == f"/{namespace}/imkd_detector"
    assert names.full(f"~/{topic}") == f"/{namespace}/imkd_detector/{topic}"
    assert names.full(topic) == f"/{namespace}/{topic}"
    assert names.full(f"/{topic}") == f"/{topic}"


def test_a_remapping_holds_for_the_full_name():
    names = Names("front", ["~/input/cam/image:=/cam/image_raw", "odometry:=/localisation/odom"])
    assert names.full("~/input/cam/image") == "/cam/image_raw"
    assert names.full("/front/odometry") == "/localisation/odom"
    assert names.full("/odometry") == "/odometry"


@pytest.mark.parametrize(
    ("namespace", "remaps", "words"),
    [("9", [], "no ROS namespace"), ("", ["a=b"], "FROM:=TO"), ("", [":=b"], "FROM:=TO")],
)
def test_malformed_names_are_refused(namespace, remaps, words):
    with pytest.raises(ConfigError, match=words):
        Names(namespace, remaps)


def test_a_camera_without_a_transport_has_two_rivals_and_a_radar_one_topic(tmp_path):
    path = tmp_path / "sensors.yaml"
    path.write_text(yaml.safe_dump({"cameras": {"A": {}}, "radars": {"R": {}}}), encoding="utf-8")
    want = wanted(read_settings(None, {"sensors_file": str(path)}), "car")
    assert {t.name: t.type_name for t in want.readings("A")} == {
        "/car/imkd_detector/input/a/image": TYPES[Role.IMAGE],
        "/car/imkd_detector/input/a/image/compressed": TYPES[Role.COMPRESSED],
    }
    assert [t.given for t in want.readings("R")] == ["~/input/r/points"]
    asked = {t.name: (t.is_reliable, t.is_latched) for t in want.topics if not t.sensor}
    assert asked == {"/tf": (True, False), "/tf_static": (True, True)}


def test_the_odometry_topic_takes_the_place_of_tf():
    want = wanted(read_settings(None, {"ego_motion.odometry_topic": "odom"}))
    assert (want.ego_frame, want.has_ego_motion) == ("", True)
    assert [t.name for t in want.topics if t.role is Role.ODOMETRY] == ["/odom"]


def test_near_names_come_first_and_far_ones_not_at_all():
    known = ["/cam_front/image_raw", "/cam_back/image_raw", "/radar/points"]
    assert near_names("/cam_front/image", known)[0] == "/cam_front/image_raw"
    assert near_names("/imu", known) == []
    assert near_names("/radar/points", known) == []


def test_use_sim_time_is_read_from_the_parameter_file(tmp_path):
    path = tmp_path / "p.yaml"
    for values, said in (({"use_sim_time": True}, True), ({"base_frame": "car"}, None)):
        path.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}), encoding="utf-8")
        assert says_sim_time(path) is said
