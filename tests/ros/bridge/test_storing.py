# SPDX-License-Identifier: Apache-2.0
"""What is stored of a message is what the training reader gives back."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from imkd_core.data.bags.recorded_scene import Mount
from imkd_core.data.point_clouds import read_lidar_bin, read_radar_pcd, to_radar_cloud
from imkd_core.errors import SensorError
from imkd_core.types import CameraModel
from imkd_ros.bridge.convert import to_radar_scan
from imkd_ros.bridge.sensors import RadarFields, RadarSource
from imkd_ros.bridge.storing import image_content, lidar_content, radar_content, write_content
from tests.ros.made_up_messages import cloud, header, image

K = [[20.0, 0, 16], [0, 20, 8], [0, 0, 1]]
CAMERA = Mount(
    channel="eye",
    modality="camera",
    ego_from_sensor=np.eye(4),
    camera=CameraModel(width_px=32, height_px=16, pixel_from_cam=K, ego_from_cam=np.eye(4)),
)
RADAR = Mount(channel="bumper", modality="radar", ego_from_sensor=np.eye(4), max_points=300)
LIDAR = Mount(channel="LIDAR_TOP", modality="lidar", ego_from_sensor=np.eye(4))


def picture():
    return np.random.default_rng(2).integers(0, 256, (16, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_compressed_images_are_stored_byte_by_byte(suffix):
    data = cv2.imencode(f".{suffix}", picture())[1].reshape(-1)
    message = SimpleNamespace(header=header(), format="what?", data=data)
    content = image_content(message, CAMERA, lossless=False)
    assert (content.data, content.suffix) == (data.tobytes(), suffix)


def test_raw_images_keep_their_colours_in_rgb_order():
    rgb = picture()
    content = image_content(image(rgb, "rgb8"), CAMERA, lossless=True)
    back = cv2.imdecode(np.frombuffer(content.data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(back, rgb)
    assert image_content(image(rgb, "rgb8"), CAMERA, lossless=False).data[:2] == b"\xff\xd8"


def test_an_image_of_another_size_than_the_calibration_is_refused():
    with pytest.raises(SensorError, match=r"'eye'.*16 x 16 px.*32 x 16;"):
        image_content(image(picture()[:, :16], "rgb8"), CAMERA, lossless=True)


@pytest.mark.parametrize("count", [0, 1, 200])
def test_a_radar_scan_is_read_back_as_the_node_reads_it(tmp_path, count):
    rng = np.random.default_rng(count)
    names = ("px", "py", "power", "range_rate")
    message = cloud({name: rng.uniform(1, 50, count).astype(np.float32) for name in names})
    fields = RadarFields(x="px", y="py", z="", rcs="power", vx="", vy="", radial="range_rate")
    source = RadarSource(points="/p", fields=fields)
    content = radar_content(message, RADAR, source, None)
    write_content(tmp_path / "a.pcd", content, RADAR)
    back = to_radar_cloud(read_radar_pcd(tmp_path / "a.pcd", max_points=300), "bumper", 1)
    expected = to_radar_scan(message, "bumper", source).cloud.points
    np.testing.assert_array_equal(back.points, expected)
    np.testing.assert_array_equal(content.points, expected[:, :3])


def test_a_lidar_sweep_loses_only_points_without_echo(tmp_path):
    columns = {
        "x": [1.0, np.nan, 3.0],
        "y": [4.0, 5.0, 6.0],
        "z": [0.0, 0.0, -1.5],
        "intensity": [0.5, 0.1, 2.0],
        "ring": [3, 4, 5],
    }
    message = cloud(columns, kinds={"ring": "<u2"})
    content = lidar_content(message, LIDAR, 255.0)
    write_content(tmp_path / "a.pcd.bin", content, LIDAR)
    back = read_lidar_bin(tmp_path / "a.pcd.bin")
    np.testing.assert_array_equal(back, [[1, 4, 0, 127.5, 3], [3, 6, -1.5, 255, 5]])


@pytest.mark.parametrize("value", [1e300, np.inf, np.nan])
def test_a_point_beyond_single_precision_has_no_echo(value):
    kinds = dict.fromkeys(("x", "y", "z", "intensity"), "<f8")
    columns = {"x": [1.0, value], "y": [2.0, 2.0], "z": [0.0, 0.0], "intensity": [1.0, value]}
    content = lidar_content(cloud(columns, kinds), LIDAR, 255.0)
    assert content.data.shape == (1, 5)
    assert np.isfinite(content.data).all()


def test_a_lidar_without_intensity_and_rings_has_zeros_there():
    content = lidar_content(cloud({"x": [1.0], "y": [2.0], "z": [3.0]}), LIDAR, 1.0)
    np.testing.assert_array_equal(content.data, [[1, 2, 3, 0, 0]])


def test_a_lidar_cloud_without_height_is_refused():
    with pytest.raises(SensorError, match=r"LIDAR_TOP.*'z' is not there"):
        lidar_content(cloud({"x": [1.0], "y": [2.0]}), LIDAR, 1.0)
