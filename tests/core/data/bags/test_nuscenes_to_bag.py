# SPDX-License-Identifier: Apache-2.0
"""A scene in a bag holds what the dataroot holds: bytes, calibration, poses, truth, times."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from imkd_core.data.bags.bag_writer import BagWriter
from imkd_core.data.bags.messages import read_point_cloud
from imkd_core.data.bags.nuscenes_to_bag import (
    SceneOptions,
    description_of,
    optical_frame,
    provenance,
    write_scene,
)
from imkd_core.data.bags.recording import Bag, open_bag
from imkd_core.data.nuscenes.reader import CAMERAS, RADARS, NuScenes
from imkd_core.errors import ConfigError, DataError
from imkd_core.geometry import invert_transform, transform_from_quaternion
from tests.core.data.made_up import write_dataroot


def stamp_of(message) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def matrix_of(transform) -> np.ndarray:
    move, turn = transform.transform.translation, transform.transform.rotation
    return transform_from_quaternion((move.x, move.y, move.z), (turn.w, turn.x, turn.y, turn.z))


def all_of(bag: Bag, topic: str) -> list:
    return [bag.decode(message) for message in bag.messages([topic])]


def poses_by_stamp(bag: Bag) -> dict[int, np.ndarray]:
    transforms = [item for message in all_of(bag, "/tf") for item in message.transforms]
    assert {(t.header.frame_id, t.child_frame_id) for t in transforms} == {("odom", "base_link")}
    return {stamp_of(item): matrix_of(item) for item in transforms}


def mounts(bag: Bag) -> dict[str, np.ndarray]:
    (message,) = all_of(bag, "/tf_static")
    assert {item.header.frame_id for item in message.transforms} == {"base_link"}
    return {item.child_frame_id: matrix_of(item) for item in message.transforms}


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    root = tmp_path_factory.mktemp("drive")
    return write_dataroot(root, frames=3, sweeps=1, camera_sweeps=2, lidar_points=10)


@pytest.fixture(scope="module")
def nuscenes(drive) -> NuScenes:
    return NuScenes(drive.root)


def write(path: Path, nuscenes: NuScenes, options: SceneOptions | None = None, **kwargs) -> Path:
    scene = nuscenes.scenes[0]
    with BagWriter(path, custom_data=provenance(scene)) as bag:
        write_scene(nuscenes, scene, bag, options, **kwargs)
    return path


@pytest.fixture(scope="module")
def key_frames(tmp_path_factory, nuscenes) -> Path:
    return write(tmp_path_factory.mktemp("bags") / "keys", nuscenes)


def test_every_sensor_has_its_topics_with_one_message_a_key_frame(key_frames: Path):
    with open_bag(key_frames) as bag:
        counts = {topic: info.count for topic, info in bag.topics.items()}
    sensing = {f"/sensing/{name.lower()}/{part}": 3 for name in CAMERAS for part in CAMERA_PARTS}
    sensing |= {f"/sensing/{name.lower()}/points": 3 for name in RADARS}
    poses = counts.pop("/tf")
    assert counts.pop("/odometry") == poses >= 3
    assert counts == sensing | {
        "/tf_static": 1,
        "/ground_truth/boxes": 3,
        "/ground_truth/objects": 3,
    }


CAMERA_PARTS = ("image/compressed", "camera_info")


def test_images_are_the_original_bytes_with_their_own_stamps(key_frames: Path, nuscenes):
    with open_bag(key_frames) as bag:
        for name in CAMERAS:
            messages = all_of(bag, f"/sensing/{name.lower()}/image/compressed")
            for message, sample in zip(messages, nuscenes.samples(), strict=True):
                reading = sample.readings[name]
                assert message.data.tobytes() == reading.path.read_bytes()
                assert message.format == "jpeg"
                assert message.header.frame_id == optical_frame(name)
                assert stamp_of(message) == reading.stamp_ns


def test_the_log_time_is_the_stamp_and_poses_come_a_little_before(key_frames: Path):
    with open_bag(key_frames) as bag:
        seen_ns = set()
        for message in bag.messages():
            decoded = bag.decode(message)
            if message.topic == "/tf":
                stamp_ns = stamp_of(decoded.transforms[0])
                assert 0 < stamp_ns - message.stamp_ns < 5_000_000
                seen_ns.add(stamp_ns)
            elif message.topic.startswith(("/sensing", "/ground_truth")):
                assert stamp_of(decoded) == message.stamp_ns
                assert message.stamp_ns in seen_ns


def test_camera_info_carries_size_and_all_four_matrices(key_frames: Path, nuscenes):
    camera = nuscenes.samples()[0].rig.cameras["CAM_BACK"]
    with open_bag(key_frames) as bag:
        info = all_of(bag, "/sensing/cam_back/camera_info")[0]
    assert (info.width, info.height) == (camera.width_px, camera.height_px) == (1600, 900)
    np.testing.assert_array_equal(info.k.reshape(3, 3), camera.pixel_from_cam)
    np.testing.assert_array_equal(info.p.reshape(3, 4)[:, :3], camera.pixel_from_cam)
    np.testing.assert_array_equal(info.p.reshape(3, 4)[:, 3], 0)
    np.testing.assert_array_equal(info.r.reshape(3, 3), np.eye(3))
    assert (info.distortion_model, info.d.tolist()) == ("plumb_bob", [0.0] * 5)
    assert info.header.frame_id == optical_frame("CAM_BACK")


def test_radar_points_have_all_fields_and_all_returns(key_frames: Path, nuscenes):
    with open_bag(key_frames) as bag:
        cloud = all_of(bag, "/sensing/radar_front_left/points")[1]
    columns = read_point_cloud(cloud)
    assert " ".join(columns) == (
        "x y z dyn_prop id rcs vx vy vx_comp vy_comp is_quality_valid ambig_state x_rms y_rms "
        "invalid_state pdh0 vx_rms vy_rms"
    )
    assert [item.datatype for item in cloud.fields] == [7, 7, 7, 1, 3, 7, 7, 7, 7, 7, *[1] * 8]
    assert cloud.header.frame_id == "radar_front_left"
    assert not cloud.is_bigendian
    assert set(columns["dyn_prop"]) >= set(range(8)), "the returns that a filter drops are there"
    kept = nuscenes.samples()[1].frame(with_images=False).radars["RADAR_FRONT_LEFT"][0].points
    assert len(kept) < cloud.width
    keep = (columns["invalid_state"] == 0) & (columns["ambig_state"] == 3)
    keep &= columns["dyn_prop"] != 7
    np.testing.assert_array_equal(columns["x"][keep], kept[:, 0])
    np.testing.assert_array_equal(columns["vy_comp"][keep], kept[:, 5])


def test_the_tf_chain_gives_the_readers_poses(key_frames: Path, nuscenes):
    samples = nuscenes.samples()
    odom_from_global = invert_transform(samples[0].global_from_reference)
    with open_bag(key_frames) as bag:
        poses, base_from = poses_by_stamp(bag), mounts(bag)
    np.testing.assert_allclose(poses[samples[0].stamp_ns], np.eye(4), atol=1e-12)
    for sample in samples:
        for name in (*CAMERAS, *RADARS):
            reading = sample.readings[name]
            frame_id = optical_frame(name) if name in CAMERAS else name.lower()
            actual = poses[reading.stamp_ns] @ base_from[frame_id]
            expected = odom_from_global @ reading.global_from_ego @ reading.ego_from_sensor
            np.testing.assert_allclose(actual, expected, atol=1e-9)


def test_odometry_tells_the_speed_of_the_drive(key_frames: Path):
    with open_bag(key_frames) as bag:
        messages = all_of(bag, "/odometry")
    for message in messages:
        assert 7.5 < message.twist.twist.linear.x < 8.5  # an arc at 8 m/s and 0.2 rad/s
        assert abs(message.twist.twist.linear.y) < 0.8
        assert 0.15 < message.twist.twist.angular.z < 0.25


def test_the_ground_truth_is_that_of_the_reader(key_frames: Path, nuscenes):
    with open_bag(key_frames) as bag:
        arrays = all_of(bag, "/ground_truth/boxes")
        tables = all_of(bag, "/ground_truth/objects")
    for sample, array, cloud in zip(nuscenes.samples(), arrays, tables, strict=True):
        truth, table = sample.truth(), read_point_cloud(cloud)
        boxes = truth.detections
        assert stamp_of(array) == stamp_of(cloud) == sample.stamp_ns
        assert array.header.frame_id == cloud.header.frame_id == "base_link"
        assert [item.results[0].hypothesis.class_id for item in array.detections] == boxes.names
        assert [item.id for item in array.detections] == list(truth.annotation_tokens)
        centers = [item.bbox.center.position for item in array.detections]
        np.testing.assert_array_equal([(c.x, c.y, c.z) for c in centers], boxes.center_m)
        sizes = [item.bbox.size for item in array.detections]
        np.testing.assert_array_equal([(s.x, s.y, s.z) for s in sizes], boxes.size_m)
        turns = [item.bbox.center.orientation for item in array.detections]
        yaw_rad = [2 * np.arctan2(turn.z, turn.w) for turn in turns]
        np.testing.assert_allclose(np.cos(yaw_rad - boxes.yaw_rad), 1, atol=1e-9)
        np.testing.assert_array_equal(
            np.column_stack([table["vx"], table["vy"]]), boxes.velocity_mps
        )
        np.testing.assert_array_equal(table["class_id"], boxes.labels)
        np.testing.assert_array_equal(table["num_lidar_points"], truth.num_lidar_points)
        np.testing.assert_array_equal(table["yaw"], boxes.yaw_rad)


def test_the_first_key_frames_alone_can_be_written(nuscenes, tmp_path):
    for with_sweeps in (False, True):
        options = SceneOptions(key_frames=1, repeat=2, with_sweeps=with_sweeps)
        with open_bag(write(tmp_path / f"{with_sweeps}", nuscenes, options)) as bag:
            assert bag.topics["/ground_truth/boxes"].count == 2
            assert bag.topics["/sensing/cam_front/image/compressed"].count == 2
    with pytest.raises(ConfigError, match="key_frames"):
        SceneOptions(key_frames=0)


def test_sweeps_add_the_readings_between_key_frames(tmp_path: Path, nuscenes):
    with open_bag(write(tmp_path / "all", nuscenes, SceneOptions(with_sweeps=True))) as bag:
        assert bag.topics["/sensing/cam_front/image/compressed"].count == 3 + 2 * 2
        assert bag.topics["/sensing/radar_front/points"].count == 3 + 2 * 1
        assert bag.topics["/ground_truth/boxes"].count == 3
        poses = poses_by_stamp(bag)
        for message in bag.messages(["/sensing/cam_front/image/compressed"]):
            assert message.stamp_ns in poses


def test_the_lidar_is_written_on_demand(tmp_path: Path, nuscenes, key_frames: Path):
    topic = "/sensing/lidar_top/points"
    options = SceneOptions(with_sweeps=True, with_lidar=True)
    with open_bag(write(tmp_path / "all", nuscenes, options)) as bag:
        clouds = all_of(bag, topic)
        assert "lidar_top" in mounts(bag)
    assert len(clouds) == 3 + 2 * 1
    reading = nuscenes.samples()[1].readings["LIDAR_TOP"]
    (cloud,) = (item for item in clouds if stamp_of(item) == reading.stamp_ns)
    columns = read_point_cloud(cloud)
    assert list(columns) == ["x", "y", "z", "intensity", "ring"]
    points = np.fromfile(reading.path, "<f4").reshape(-1, 5)
    np.testing.assert_array_equal(np.column_stack(list(columns.values())), points)
    with open_bag(key_frames) as bag:
        assert topic not in bag.topics


def test_repetitions_shift_the_stamps_and_keep_the_rest(tmp_path: Path, nuscenes):
    options = SceneOptions(repeat=3)
    calls = []
    path = write(tmp_path / "r", nuscenes, options, on_progress=lambda *call: calls.append(call))
    topic = "/sensing/cam_front/image/compressed"
    with open_bag(path) as bag:
        images, poses = all_of(bag, topic), poses_by_stamp(bag)
        assert bag.topics["/tf_static"].count == 1
        assert calls[-1] == (bag.message_count - 1, bag.message_count - 1)
    stamps = [stamp_of(image) for image in images]
    np.testing.assert_array_equal(np.diff(stamps), 500_000_000)
    period_ns = stamps[3] - stamps[0]
    assert images[0].data.tobytes() == images[3].data.tobytes() != images[1].data.tobytes()
    for i in range(3):
        np.testing.assert_array_equal(poses[stamps[i]], poses[stamps[i] + period_ns])


def test_repetitions_that_would_overlap_are_refused(tmp_path: Path, nuscenes):
    with pytest.raises(ConfigError, match="overlap"):
        write(tmp_path / "r", nuscenes, SceneOptions(repeat=2, period_s=0.5))
    assert list(tmp_path.iterdir()) == []
    for wrong in ({"repeat": 0}, {"period_s": 0.0}, {"period_s": float("nan")}):
        with pytest.raises(ConfigError):
            SceneOptions(**wrong)


def test_a_scene_that_is_not_there_is_named(tmp_path: Path, nuscenes):
    with pytest.raises(DataError, match="scene-9999"), BagWriter(tmp_path / "x") as bag:
        write_scene(nuscenes, "scene-9999", bag)


def test_source_and_licence_travel_with_the_bag(key_frames: Path):
    with open_bag(key_frames) as bag:
        assert "made-up-0" in bag.custom_data["source"]
        assert "non-commercial" in bag.custom_data["licence"]


def test_what_tells_the_weather_travels_with_the_bag(nuscenes):
    words = description_of(nuscenes, nuscenes.scenes[0])
    assert provenance("one", description="rain")["description"] == "rain"
    assert "description" not in provenance("one")
    assert words == nuscenes.samples(nuscenes.scenes[0])[0].description


def test_the_real_key_frame_becomes_a_bag_of_twenty(tmp_path: Path, nuscenes_one: Path):
    nuscenes = NuScenes(nuscenes_one)
    path = write(tmp_path / "one", nuscenes, SceneOptions(repeat=20, period_s=0.4))
    (sample,) = nuscenes.samples()
    with open_bag(path) as bag:
        counts = Counter({topic: info.count for topic, info in bag.topics.items()})
        cameras = [f"/sensing/{name.lower()}/image/compressed" for name in CAMERAS]
        assert [counts[topic] for topic in cameras] == [20] * 6
        assert counts["/sensing/radar_front/points"] == counts["/ground_truth/boxes"] == 20
        clouds, arrays = (
            all_of(bag, "/sensing/radar_front/points"),
            all_of(bag, "/ground_truth/boxes"),
        )
        tables = all_of(bag, "/ground_truth/objects")
        info = all_of(bag, "/sensing/cam_front/camera_info")[0]
        poses, base_from = poses_by_stamp(bag), mounts(bag)
        twists = [message.twist.twist.linear.x for message in all_of(bag, "/odometry")]
    np.testing.assert_allclose(info.k[[0, 2, 5]], [1266.417203, 816.267020, 491.507066], atol=1e-5)
    assert [(cloud.width, len(cloud.fields)) for cloud in clouds] == [(74, 18)] * 20
    stamps = np.array([stamp_of(cloud) for cloud in clouds])
    np.testing.assert_array_equal(np.diff(stamps), 400_000_000)
    assert len(arrays[19].detections) == 68
    assert np.isnan(read_point_cloud(tables[0])["vx"]).sum() == 2
    assert min(twists) > 0
    assert max(twists) < 20
    odom_from_global = invert_transform(sample.global_from_reference)
    for shift_ns in (0, 19 * 400_000_000):
        for name in CAMERAS:
            reading = sample.readings[name]
            actual = poses[reading.stamp_ns + shift_ns] @ base_from[optical_frame(name)]
            expected = odom_from_global @ reading.global_from_ego @ reading.ego_from_sensor
            np.testing.assert_allclose(actual, expected, atol=1e-9)
