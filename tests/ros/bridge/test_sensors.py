# SPDX-License-Identifier: Apache-2.0
"""The sensor set: the shipped file, defaults, and refusals that name the key."""

import pytest
import yaml

from imkd_core.errors import ConfigError
from imkd_ros.bridge.sensors import CameraSource, load_sensor_set, sensor_set_from_mapping


def set_of(camera=None, radar=None):
    raw = {}
    if camera is not None:
        raw["cameras"] = {"CAM": camera}
    if radar is not None:
        raw["radars"] = {"RADAR": radar}
    return sensor_set_from_mapping(raw)


def test_the_shipped_file_is_the_nuscenes_rig_on_the_topics_of_our_bags(project_root):
    sensors = load_sensor_set(project_root / "config" / "sensors.yaml")
    assert list(sensors.cameras) == [
        "CAM_FRONT",
        "CAM_FRONT_RIGHT",
        "CAM_BACK_RIGHT",
        "CAM_BACK",
        "CAM_BACK_LEFT",
        "CAM_FRONT_LEFT",
    ]
    assert len(sensors.radars) == 5
    for name, camera in sensors.cameras.items():
        assert camera.compressed_topic == f"/sensing/{name.lower()}/image/compressed"
        assert camera.raw_topic == ""
        assert camera.camera_info == f"/sensing/{name.lower()}/camera_info"
    for name, radar in sensors.radars.items():
        assert radar.points == f"/sensing/{name.lower()}/points"
        assert radar.fields.vx == "vx_comp"
        assert radar.keep == {
            "invalid_state": (0,),
            "dyn_prop": (0, 1, 2, 3, 4, 5, 6),
            "ambig_state": (3,),
        }


def test_topics_that_are_left_out_are_private_ones_of_the_node():
    sensors = sensor_set_from_mapping({"cameras": {"CAM": None}, "radars": {"RADAR": {}}})
    assert sensors.cameras["CAM"].image == "~/input/cam/image"
    assert sensors.cameras["CAM"].camera_info == "~/input/cam/camera_info"
    assert sensors.radars["RADAR"].points == "~/input/radar/points"
    assert sensors.names == ("CAM", "RADAR")


@pytest.mark.parametrize(
    ("transport", "image", "raw", "compressed"),
    [
        ("raw", "/a", "/a", ""),
        ("compressed", "/a", "", "/a"),
        ("auto", "/a", "/a", "/a/compressed"),
        ("auto", "/a/compressed", "", "/a/compressed"),
    ],
)
def test_a_transport_says_which_topics_are_listened_to(transport, image, raw, compressed):
    source = CameraSource(image=image, camera_info="/i", transport=transport)
    assert (source.raw_topic, source.compressed_topic) == (raw, compressed)


def test_offsets_come_in_nanoseconds():
    sensors = set_of({"stamp_offset_ms": -40}, {"stamp_offset_ms": 0.5})
    assert sensors.cameras["CAM"].stamp_offset_ns == -40_000_000
    assert sensors.radars["RADAR"].stamp_offset_ns == 500_000


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ([], "must hold 'cameras' and 'radars'"),
        ({}, "empty"),
        ({"camera": {}}, "known: cameras, radars"),
        ({"cameras": ["CAM"]}, "cameras must be a mapping"),
        ({"cameras": {"CAM": "/topic"}}, "cameras.CAM must be a mapping"),
        ({"cameras": {"CAM": {"imag": "/a"}}}, "did you mean 'image'"),
        ({"cameras": {"CAM": {"transport": "theora"}}}, "auto, raw, compressed"),
        ({"cameras": {"CAM": {"stamp_offset_ms": 5000}}}, "cameras.CAM"),
        ({"cameras": {"C-M": {}}}, "letters, digits"),
        ({"cameras": {1: {}}}, "letters, digits"),
        ({"cameras": {"A": {"image": "/x"}, "B": {"image": "/x"}}}, "/x"),
        ({"cameras": {"../../etc": {}}}, "letters, digits"),
        ({"cameras": {"file:///etc/passwd": {}}}, "letters, digits"),
        ({"cameras": {"A": {"image": "file:///etc/passwd"}}}, "image must be a topic name"),
        ({"radars": {"R": {"points": "../points"}}}, "points must be a topic name"),
        ({"radars": {"R": {"stamp_offset_ms": float("nan")}}}, "within +-1000 ms"),
        ({"radars": {"R": {"velocity_scale": 10**400}}}, "beyond all floats"),
        ({"cameras": {"A": {}}, "radars": {"A": {}}}, "both cameras and radars"),
        ({"cameras": {f"C{i}": {} for i in range(33)}}, "at most 32"),
        ({"cameras": {"A": {"image": "/a b"}}}, "cameras.A: image must be a topic name"),
        ({"cameras": {"A": {"camera_info": "/a//b"}}}, "camera_info must be a topic name"),
        ({"radars": {"R": {"points": "/1st"}}}, "points must be a topic name"),
        ({"radars": {"R": {"max_points": 0}}}, "max_points"),
        ({"radars": {"R": {"velocity_scale": 0}}}, "velocity_scale"),
        ({"radars": {"R": {"keep": {"dyn_prop": ["a"]}}}}, "must be of type int"),
        ({"radars": {"R": {"fields": {"x": ""}}}}, "fields.x"),
        ({"radars": {"R": {"fields": {"vx": ""}}}}, "go together"),
        ({"radars": {"R": {"fields": {"radial": "v"}}}}, "either"),
    ],
)
def test_a_set_that_cannot_work_is_refused_by_name(raw, words):
    with pytest.raises(ConfigError, match="sensor set") as raised:
        sensor_set_from_mapping(raw)
    assert words in str(raised.value)


def test_a_radar_with_radial_speed_alone_is_fine():
    sensors = set_of(radar={"fields": {"vx": "", "vy": "", "radial": "doppler", "z": ""}})
    assert sensors.radars["RADAR"].fields.radial == "doppler"


@pytest.mark.parametrize("content", [None, "cameras: [", "\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "sensors.yaml"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"sensors\.yaml"):
        load_sensor_set(path)


def test_a_file_is_read_as_its_mapping_is(tmp_path):
    raw = {"cameras": {"CAM": {"image": "/a"}}}
    path = tmp_path / "sensors.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    assert load_sensor_set(path) == sensor_set_from_mapping(raw)
