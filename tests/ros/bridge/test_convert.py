# SPDX-License-Identifier: Apache-2.0
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from imkd_core.errors import SensorError
from imkd_ros.bridge.convert import (
    ENCODINGS,
    stamp_ns,
    to_camera_image,
    to_camera_image_compressed,
    to_lidar_points,
    to_radar_scan,
)
from imkd_ros.bridge.sensors import RadarFields, RadarSource
from tests.ros.made_up_messages import cloud, header, image

STAMP_NS = 1_600_000_000_123_456_789
RED, GREEN, BLUE = (250, 20, 30), (10, 240, 50), (40, 60, 230)


def stripes(height: int = 6, width: int = 10) -> NDArray[np.uint8]:
    """An RGB image: left half red, right half blue, the lower rows darker."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[:, : width // 2], pixels[:, width // 2 :] = RED, BLUE
    pixels[height // 2 :] //= 2
    return pixels


def bayer(rgb: NDArray[np.uint8], pattern: str) -> NDArray[np.uint8]:
    """What a sensor of a pattern, read by rows, would see."""
    raw = np.zeros(rgb.shape[:2], dtype=np.uint8)
    for i, colour in enumerate(pattern):
        row, column = divmod(i, 2)
        raw[row::2, column::2] = rgb[row::2, column::2, "rgb".index(colour)]
    return raw


@pytest.mark.parametrize("padding", [0, 7])
@pytest.mark.parametrize(
    ("encoding", "order"),
    [("rgb8", [0, 1, 2]), ("bgr8", [2, 1, 0]), ("rgba8", [0, 1, 2, 0]), ("bgra8", [2, 1, 0, 0])],
)
def test_colours_arrive_as_they_were(encoding: str, order: list[int], padding: int) -> None:
    found = to_camera_image(image(stripes()[..., order], encoding, padding), "front")
    np.testing.assert_array_equal(found.pixels, stripes())
    assert (found.sensor, found.stamp_ns) == ("front", STAMP_NS)


def test_grey_becomes_three_equal_channels() -> None:
    grey = stripes()[..., :1]
    found = to_camera_image(image(grey, "mono8", 5), "front").pixels
    np.testing.assert_array_equal(found, np.repeat(grey, 3, axis=2))


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("colour", [RED, GREEN, BLUE])
def test_every_bayer_pattern_gives_its_colours(pattern: str, colour: tuple[int, ...]) -> None:
    rgb = np.full((8, 12, 3), colour, dtype=np.uint8)
    found = to_camera_image(image(bayer(rgb, pattern)[..., None], f"bayer_{pattern}8"), "front")
    np.testing.assert_array_equal(found.pixels[2:-2, 2:-2], rgb[2:-2, 2:-2])


@pytest.mark.parametrize(
    ("encoding", "luma_first"),
    [("yuv422", False), ("uyvy", False), ("yuv422_yuy2", True), ("yuyv", True)],
)
def test_yuv_gives_its_colours(encoding: str, luma_first: bool) -> None:
    red, green, blue = RED
    luma = 16 + 0.257 * red + 0.504 * green + 0.098 * blue
    u = 128 - 0.148 * red - 0.291 * green + 0.439 * blue
    v = 128 + 0.439 * red - 0.368 * green - 0.071 * blue
    pair = [luma, u, luma, v] if luma_first else [u, luma, v, luma]
    raw = np.tile(np.array(pair).round().astype(np.uint8), (4, 3)).reshape(4, 6, 2)
    found = to_camera_image(image(raw, encoding, 3), "front").pixels
    assert found.shape == (4, 6, 3)
    np.testing.assert_allclose(found, np.broadcast_to(RED, (4, 6, 3)), atol=4)


def test_every_supported_encoding_is_tested_here() -> None:
    assert set(ENCODINGS) == {
        *("rgb8", "bgr8", "rgba8", "bgra8", "mono8", "yuv422", "uyvy", "yuv422_yuy2", "yuyv"),
        *(f"bayer_{pattern}8" for pattern in ("rggb", "bggr", "gbrg", "grbg")),
    }


@pytest.mark.parametrize("kind", [bytes, lambda data: np.frombuffer(data, np.uint8)])
def test_rgb_is_a_view_into_the_message_that_cannot_be_written(kind: Any) -> None:
    message = image(stripes(), "rgb8", 4)
    message.data = kind(bytes(message.data))
    found = to_camera_image(message, "front").pixels
    np.testing.assert_array_equal(found, stripes())
    assert not found.flags.writeable
    assert np.shares_memory(found, np.frombuffer(message.data, np.uint8))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"encoding": "16UC1"}, "'16UC1' is not supported; set the driver to one of rgb8"),
        ({"encoding": ""}, "not supported"),
        ({"encoding": "x" * 9999}, "not supported"),
        ({"data": b"\0" * 179}, "do not hold"),
        ({"data": b"\0" * 181}, "do not hold"),
        ({"step": 29}, "do not hold"),
        ({"height": 0, "data": b""}, "0 px refused"),
        ({"width": 0}, "image of 0 x"),
        ({"height": 65535, "width": 65535}, "65535 px refused"),
        ({"height": 1 << 31, "width": 1 << 31}, "refused"),
        ({"encoding": "yuv422", "width": 9}, "even sides"),
        ({"encoding": "bayer_rggb8", "height": 5}, "even sides"),
        ({"data": [0.5] * 180}, "not a sequence of bytes"),
        ({"header": header(0)}, "not a time"),
    ],
)
def test_an_image_that_does_not_fit_is_refused_at_once(changes: dict[str, Any], text: str) -> None:
    begin = time.perf_counter()
    with pytest.raises(SensorError, match=text) as caught:
        to_camera_image(image(stripes(), **{"encoding": "rgb8", **changes}), "front")
    assert time.perf_counter() - begin < 0.05
    assert "'front'" in str(caught.value)
    assert len(str(caught.value)) < 500


@given(
    st.sampled_from([*ENCODINGS, "16UC1"]),
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 40),
    st.binary(max_size=400),
)
def test_whatever_an_image_claims_it_is_refused_or_has_its_size(
    encoding: str, height: int, width: int, step: int, data: bytes
) -> None:
    message = image(stripes(), encoding, height=height, width=width, step=step, data=data)
    try:
        found = to_camera_image(message, "front")
    except SensorError:
        return
    assert found.pixels.shape == (height, width, 3)


@given(st.integers(0, (1 << 31) - 1), st.integers(0, (1 << 32) - 1))
def test_a_stamp_is_a_time_or_refused(seconds: int, nanoseconds: int) -> None:
    message = SimpleNamespace(stamp=SimpleNamespace(sec=seconds, nanosec=nanoseconds))
    if nanoseconds < 1_000_000_000 and seconds + nanoseconds > 0:
        assert stamp_ns(message, "front") == seconds * 1_000_000_000 + nanoseconds
    else:
        with pytest.raises(SensorError, match="not a time"):
            stamp_ns(message, "front")


def test_a_negative_stamp_is_refused_and_an_offset_is_added() -> None:
    early = SimpleNamespace(stamp=SimpleNamespace(sec=-1, nanosec=5))
    with pytest.raises(SensorError, match="not a time"):
        stamp_ns(early, "front")
    found = to_camera_image(image(stripes(), "rgb8"), "front", stamp_offset_ns=-40_000_000)
    assert found.stamp_ns == STAMP_NS - 40_000_000


def test_a_compressed_image_is_decoded_whatever_its_format_says() -> None:
    rgb = np.full((16, 24, 3), RED, dtype=np.uint8)
    for suffix in (".jpg", ".png"):
        data = cv2.imencode(suffix, rgb[..., ::-1])[1].tobytes()
        message = SimpleNamespace(header=header(), format="nonsense", data=data)
        found = to_camera_image_compressed(message, "front")
        np.testing.assert_allclose(found.pixels, rgb, atol=3)
        assert found.stamp_ns == STAMP_NS
    for bad in (b"", data[:40], b"GIF89a" + bytes(99)):
        message = SimpleNamespace(header=header(), format="jpeg", data=bad)
        with pytest.raises(SensorError, match="'front'"):
            to_camera_image_compressed(message, "front")


SCAN = {
    "x": [10.0, 0.0, 3.0],
    "y": [0.0, 20.0, 4.0],
    "z": [0.0, 0.0, 12.0],
    "rcs": [5.0, -2.5, 30.0],
    "vx_comp": [1.0, 0.0, -2.0],
    "vy_comp": [0.0, -3.0, 1.0],
}


def test_a_scan_keeps_position_strength_and_velocity() -> None:
    scan = to_radar_scan(cloud(SCAN, point_padding=5), "front", RadarSource())
    expected = np.column_stack([*SCAN.values(), np.zeros(3)])
    np.testing.assert_array_equal(scan.cloud.points, expected.astype(np.float32))
    assert scan.dropped == {}
    assert (scan.cloud.sensor, scan.cloud.stamp_ns) == ("front", STAMP_NS)
    assert scan.cloud.points.dtype == np.float32


def test_a_radial_speed_becomes_a_vector_along_the_line_of_sight() -> None:
    source = RadarSource(
        fields=RadarFields(vx="", vy="", radial="v_r", rcs="", age="t"), velocity_scale=0.5
    )
    columns = {name: SCAN[name] for name in "xyz"} | {"v_r": [2.0, -4.0, 26.0], "t": [0, 0.1, 0.2]}
    points = to_radar_scan(cloud(columns), "front", source).cloud.points
    np.testing.assert_allclose(points[:, 4:6], [[1, 0], [0, -2], [3, 4]], atol=1e-6)
    np.testing.assert_allclose(points[:, 6], [0, 0.1, 0.2], atol=1e-6)
    assert not points[:, 3].any()


@pytest.mark.parametrize("form", ["radial", "radial vector", "full vector"])
def test_own_motion_is_taken_out_so_that_still_things_stand_still(form: str) -> None:
    velocity_mps = np.array([12.0, -3.0, 0.5])
    points = np.column_stack([SCAN[name] for name in "xyz"])
    lines = points / np.linalg.norm(points, axis=1, keepdims=True)
    speed = -lines @ velocity_mps
    columns: dict[str, Any] = {name: SCAN[name] for name in ("x", "y", "z", "rcs")}
    if form == "radial":
        fields = RadarFields(vx="", vy="", radial="doppler")
        columns["doppler"] = speed
    else:
        fields = RadarFields(vx="vx", vy="vy")
        columns |= {"vx": speed * lines[:, 0], "vy": speed * lines[:, 1]}
        if form == "full vector":
            columns |= {
                "vx": columns["vx"] - 5 * lines[:, 1],
                "vy": columns["vy"] + 5 * lines[:, 0],
            }
    source = RadarSource(fields=fields, velocity_is_compensated=False)
    found = to_radar_scan(cloud(columns), "front", source, velocity_mps).cloud.points
    np.testing.assert_allclose(found[:, 4:6], 0, atol=1e-5)
    with pytest.raises(SensorError, match="start the odometry"):
        to_radar_scan(cloud(columns), "front", source)


def test_compensated_velocities_are_left_alone_whatever_the_radar_does() -> None:
    moving = to_radar_scan(cloud(SCAN), "front", RadarSource(), [30.0, 1.0, 0.0])
    still = to_radar_scan(cloud(SCAN), "front", RadarSource())
    np.testing.assert_array_equal(moving.cloud.points, still.cloud.points)


@pytest.mark.parametrize("age_s", [1e300, -1e300, 1e30, 1.7e9])
def test_a_return_of_an_age_that_cannot_be_is_left_out(age_s: float) -> None:
    source = RadarSource(fields=RadarFields(age="age"))
    columns = {**SCAN, "age": [0.05, age_s, -0.01]}
    scan = to_radar_scan(cloud(columns, {"age": "<f8"}), "front", source)
    assert scan.dropped == {"implausible": 1}
    np.testing.assert_allclose(scan.cloud.points[:, 6], [0.05, -0.01])


def test_what_cannot_be_a_return_is_left_out_and_counted() -> None:
    columns = {name: [*values, *values, *values, 1.0] for name, values in SCAN.items()}
    columns["x"][0], columns["vy_comp"][1] = np.nan, np.inf
    columns["rcs"][2], columns["vx_comp"][3], columns["y"][4] = -200.0, 1e6, 1e9
    columns["state"] = [0] * 5 + [1, 3, 0, 2, 7]
    source = RadarSource(keep={"state": (0, 3)})
    scan = to_radar_scan(cloud(columns, {"state": "i1"}), "front", source)
    assert scan.dropped == {"not finite": 2, "implausible": 3, "filtered": 3}
    np.testing.assert_array_equal(scan.cloud.points[:, 0], [10.0, 0.0])


@pytest.mark.parametrize("radial", [True, False])
def test_returns_beyond_all_floats_are_dropped_without_a_word_of_numpy(radial: bool) -> None:
    columns = {name: [1e200, *values] for name, values in SCAN.items()} | {"v_r": [1e308, 0, 0, 0]}
    signalling = np.frombuffer(np.array([0x7F800001] * 4, "<u4").tobytes(), "<f4")
    columns |= {"vx_comp": signalling, "rcs": signalling}
    fields = RadarFields(vx="", vy="", radial="v_r") if radial else RadarFields()
    source = RadarSource(fields=fields, velocity_scale=10.0, velocity_is_compensated=False)
    kinds = dict.fromkeys(columns, "<f8") | {"vx_comp": "<f4", "rcs": "<f4"}
    scan = to_radar_scan(cloud(columns, kinds), "front", source, [1.0, 0.0, 0.0])
    assert scan.dropped == {"not finite": 4}
    assert len(scan.cloud.points) == 0


def test_lidar_points_of_signalling_nan_are_no_echo() -> None:
    signalling = np.frombuffer(np.array([0x7F800001, 0], "<u4").tobytes(), "<f4")
    columns = {"x": signalling, "y": [1.0, 2.0], "z": [0.0, 1.0], "intensity": [0.5, 2.0]}
    found = to_lidar_points(cloud(columns), "top", intensity_scale=255.0)
    np.testing.assert_array_equal(found, [[0.0, 2.0, 1.0, 255.0, 0.0]])


def test_an_empty_scan_is_a_scan() -> None:
    empty = cloud({name: [] for name in SCAN})
    assert to_radar_scan(empty, "front", RadarSource()).cloud.points.shape == (0, 7)


def test_a_return_at_the_radar_itself_has_no_line_of_sight() -> None:
    columns = {
        "x": [0.0, 1.0],
        "y": [0.0, 0.0],
        "z": [0.0, 0.0],
        "rcs": [1.0, 1.0],
        "v": [1.0, 2.0],
    }
    source = RadarSource(fields=RadarFields(vx="", vy="", radial="v"))
    scan = to_radar_scan(cloud(columns), "front", source)
    assert scan.dropped == {"not finite": 1}
    np.testing.assert_allclose(scan.cloud.points[:, 4:6], [[2.0, 0.0]])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"fields": RadarFields(rcs="amplitude")}, "field 'amplitude' is not there"),
        ({"keep": {"dyn_prop": (0,)}}, "field 'dyn_prop' is not there"),
        ({"max_points": 2}, "at most 2"),
    ],
)
def test_a_scan_that_does_not_fit_its_source_is_refused(change: dict[str, Any], text: str) -> None:
    with pytest.raises(SensorError, match=text) as caught:
        to_radar_scan(cloud(SCAN), "front", RadarSource(**change))
    assert "radar 'front'" in str(caught.value)


@pytest.mark.slow
def test_ten_million_points_are_refused_in_no_time() -> None:
    message = cloud(SCAN, width=10_000_000, row_step=10_000_000 * 24, data=bytes(240_000_000))
    begin = time.perf_counter()
    with pytest.raises(SensorError, match="at most"):
        to_radar_scan(message, "front", RadarSource())
    assert time.perf_counter() - begin < 0.01


def test_a_nuscenes_scan_comes_out_as_the_training_reader_gives_it(nuscenes_one: Path) -> None:
    from imkd_core.data import point_clouds

    path = next((nuscenes_one / "samples" / "RADAR_FRONT").glob("*.pcd"))
    raw = point_clouds.read_radar_pcd(path, point_clouds.RadarFilter.none())
    names = point_clouds.RADAR_FILE_FIELDS
    kinds = {name: point_clouds.RADAR_RECORD.fields[name][0].str.lstrip("|") for name in names}
    message = cloud({name: raw[:, i] for i, name in enumerate(names)}, kinds)
    assert message.point_step == 43
    source = RadarSource(keep={"invalid_state": (0,), "dyn_prop": (1, 3), "ambig_state": (3,)})
    found = to_radar_scan(message, "RADAR_FRONT", source)
    kept = point_clouds.read_radar_pcd(path, point_clouds.RadarFilter(dynprop_states=(1, 3)))
    expected = point_clouds.to_radar_cloud(kept, "RADAR_FRONT", STAMP_NS)
    assert 0 < len(kept) < len(raw)
    np.testing.assert_array_equal(found.cloud.points, expected.points)
    assert found.dropped == {"filtered": len(raw) - len(kept)}


def test_own_motion_taken_out_of_raw_nuscenes_speeds_gives_the_compensated_ones(
    nuscenes_one: Path,
) -> None:
    from imkd_core.data import point_clouds

    path = next((nuscenes_one / "samples" / "RADAR_FRONT").glob("*.pcd"))
    raw = point_clouds.read_radar_pcd(path)
    names = ("x", "y", "z", "rcs", "vx", "vy", "vx_comp", "vy_comp")
    columns = {name: raw[:, point_clouds.RADAR_FILE_FIELDS.index(name)] for name in names}
    own_mps = [
        float(np.median(columns["vx_comp"] - columns["vx"])),
        float(np.median(columns["vy_comp"] - columns["vy"])),
        0.0,
    ]
    assert own_mps[0] > 5
    source = RadarSource(fields=RadarFields(vx="vx", vy="vy"), velocity_is_compensated=False)
    found = to_radar_scan(cloud(columns), "RADAR_FRONT", source, own_mps).cloud.points[:, 4:6]
    expected = np.column_stack([columns["vx_comp"], columns["vy_comp"]])
    np.testing.assert_allclose(found, expected, atol=0.5)


def test_messages_of_the_bag_library_are_read_like_those_of_ros() -> None:
    pytest.importorskip("rosbags", reason="rosbags is not installed")
    from imkd_core.data.bags import messages

    store = messages.typestore()
    made = image(stripes(), "bgr8", 3)
    picture = messages.make(
        "sensor_msgs/msg/Image",
        header=messages.make_header(STAMP_NS, "camera"),
        **{name: getattr(made, name) for name in ("height", "width", "encoding", "step")},
        is_bigendian=0,
        data=np.frombuffer(made.data, np.uint8),
    )
    raw = messages.serialize("sensor_msgs/msg/Image", picture)
    read = store.deserialize_cdr(raw, "sensor_msgs/msg/Image")
    found = to_camera_image(read, "front")
    np.testing.assert_array_equal(found.pixels, stripes()[..., ::-1])
    columns = {name: np.array(values, dtype=np.float32) for name, values in SCAN.items()}
    points = messages.make_point_cloud(STAMP_NS, "radar", columns)
    raw = messages.serialize("sensor_msgs/msg/PointCloud2", points)
    read = store.deserialize_cdr(raw, "sensor_msgs/msg/PointCloud2")
    scan = to_radar_scan(read, "front", RadarSource()).cloud
    np.testing.assert_array_equal(scan.points[:, :6], np.column_stack(list(columns.values())))


@pytest.mark.ros
def test_messages_of_ros_are_read() -> None:
    from sensor_msgs.msg import Image, PointCloud2, PointField

    made = image(stripes(), "bgr8", 3)
    picture = Image()
    picture.header.stamp.sec = 5
    for name in ("height", "width", "encoding", "step", "data"):
        setattr(picture, name, getattr(made, name))
    found = to_camera_image(picture, "front")
    np.testing.assert_array_equal(found.pixels, stripes()[..., ::-1])
    scan, points = cloud(SCAN), PointCloud2()
    points.header.stamp.sec = 5
    for name in ("height", "width", "point_step", "row_step", "data"):
        setattr(points, name, getattr(scan, name))
    points.fields = [PointField(**vars(item)) for item in scan.fields]
    found_scan = to_radar_scan(points, "front", RadarSource()).cloud
    np.testing.assert_array_equal(
        found_scan.points[:, :6], np.column_stack(list(SCAN.values())).astype(np.float32)
    )
