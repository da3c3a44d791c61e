# SPDX-License-Identifier: Apache-2.0
"""A recording with true boxes becomes the data set that it was made from."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from imkd_core.data.bags.bag_writer import BagWriter
from imkd_core.data.bags.nuscenes_to_bag import SceneOptions, write_scene
from imkd_core.data.bags.recorded_dataset import VERSION
from imkd_core.data.bags.recording import open_bag
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.errors import CalibrationError, ConfigError, DataError
from imkd_core.geometry import invert_transform
from imkd_ros.bag_dataset import ImportOptions, convert
from imkd_ros.bridge.ground_truth import class_map
from imkd_ros.bridge.sensors import sensor_set_from_mapping
from imkd_ros.bridge.survey import Topics
from tests.core.data.made_up import write_dataroot

CAMERAS, RADARS = ("CAM_FRONT", "CAM_BACK_LEFT"), ("RADAR_FRONT", "RADAR_BACK_RIGHT")
KEEP = {"invalid_state": [0], "dyn_prop": [0, 1, 2, 3, 4, 5, 6], "ambig_state": [3]}
LIDAR_TOPIC = "/sensing/lidar_top/points"
FRAMES = 3


def sensors(cameras=CAMERAS, radars=RADARS, **radar):
    return {
        "cameras": {
            name: {
                "image": f"/sensing/{name.lower()}/image/compressed",
                "camera_info": f"/sensing/{name.lower()}/camera_info",
            }
            for name in cameras
        },
        "radars": {
            name: {"points": f"/sensing/{name.lower()}/points", "keep": KEEP, **radar}
            for name in radars
        },
    }


def topics(raw=None, classes=(), **changes):
    values = {
        "sensors": sensor_set_from_mapping(raw or sensors()),
        "truth": "/ground_truth/boxes",
        "objects": "/ground_truth/objects",
        "lidar": "",
        "base_frame": "base_link",
        "ego_frame": "odom",
        "odometry": "",
        "classes": class_map(dict(classes)),
    }
    return Topics(**values | changes)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a made-up dataroot and the bag of its scene, with all sweeps and LiDAR."""
    folder = tmp_path_factory.mktemp("recorded")
    root = folder / "root"
    write_dataroot(root, FRAMES, cameras=CAMERAS, radars=RADARS, lidar_points=300, sweeps=2)
    nuscenes = NuScenes(root)
    with BagWriter(folder / "drive") as bag:
        options = SceneOptions(with_sweeps=True, with_lidar=True)
        write_scene(nuscenes, nuscenes.scenes[0], bag, options)
    return folder


@pytest.fixture(scope="module")
def original(place: Path):
    return NuScenes(place / "root").samples()


def samples(root: Path):
    return NuScenes(root, VERSION).samples()


def altered(place: Path, path: Path, change) -> Path:
    """Copy the bag; `change(topic, message)` alters, replaces or (None) drops each message."""
    with open_bag(place / "drive") as bag, BagWriter(path) as copy:
        for message in bag.messages():
            decoded = change(message.topic, bag.decode(message))
            if decoded is not None:
                copy.write(message.topic, message.type_name, message.stamp_ns, decoded)
    return path


def without(*parts: str):
    return lambda topic, message: None if any(part in topic for part in parts) else message


def refused(place: Path, tmp_path: Path, change, taken=None, options=None, error=DataError):
    """Convert an altered bag, expect an error, and nothing in the folder but the bag."""
    bag = altered(place, tmp_path / "bag", change)
    with pytest.raises(error) as caught:
        convert([bag], tmp_path / "set", taken or topics(), options or ImportOptions())
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]
    return str(caught.value)


def check_boxes(found, expected):
    """Compare the true objects of two samples, as far as boxes and velocities go."""
    a, b = found.truth().detections, expected.truth().detections
    assert a.names == b.names
    np.testing.assert_allclose(a.center_m, b.center_m, atol=1e-4)
    np.testing.assert_array_equal(a.size_m, b.size_m)
    np.testing.assert_allclose(a.yaw_rad, b.yaw_rad, atol=1e-4)
    np.testing.assert_allclose(a.velocity_mps, b.velocity_mps, atol=1e-3)


def check_sensors(found, expected, sweeps=3):
    """Compare images, radar points and the poses of all readings of two samples."""
    assert (list(found.rig.cameras), list(found.rig.radars)) == (
        list(expected.rig.cameras),
        list(expected.rig.radars),
    )
    for name, camera in expected.rig.cameras.items():
        assert found.readings[name].read_bytes() == expected.readings[name].read_bytes()
        np.testing.assert_array_equal(found.rig.cameras[name].pixel_from_cam, camera.pixel_from_cam)
        np.testing.assert_allclose(
            found.rig.cameras[name].ego_from_cam, camera.ego_from_cam, atol=1e-9
        )
    frames = [sample.frame(sweeps, with_images=False) for sample in (found, expected)]
    for name in expected.rig.radars:
        for a, b in zip(*(frame.radars[name] for frame in frames), strict=True):
            assert a.stamp_ns == b.stamp_ns
            np.testing.assert_array_equal(a.points, b.points)
            np.testing.assert_allclose(
                frames[0].motion_at(a.stamp_ns), frames[1].motion_at(b.stamp_ns), atol=1e-7
            )


def test_there_and_back_is_the_same_data_set(place, original, tmp_path):
    bag, root = place / "drive", tmp_path / "set"
    calls = []
    (made,) = convert(
        [bag], root, topics(lidar=LIDAR_TOPIC), ImportOptions(), lambda *a: calls.append(a)
    )
    assert (made.scene, made.key_frames, dict(made.absent)) == ("drive", FRAMES, {})
    assert dict(made.dropped) == {}
    assert made.objects == sum(len(sample.truth()) for sample in original)
    assert calls[-1] == (len(calls) - 1, len(calls) - 1, "drive")
    back = samples(root)
    for found, expected in zip(back, original, strict=True):
        assert (found.stamp_ns, found.has_lidar) == (expected.stamp_ns, True)
        check_boxes(found, expected)
        check_sensors(found, expected)
        assert found.truth().num_lidar_points.tolist() == expected.truth().num_lidar_points.tolist()
        for sweeps in (1, 3):
            (a, ego_from_a), (b, ego_from_b) = (s.lidar(sweeps) for s in (found, expected))
            np.testing.assert_allclose(a.points, b.points, atol=1e-4)
            np.testing.assert_allclose(ego_from_a, ego_from_b, atol=1e-9)
    start = invert_transform(original[0].global_from_reference)
    for found, expected in zip(back, original, strict=True):
        np.testing.assert_allclose(
            found.global_from_reference, start @ expected.global_from_reference, atol=1e-6
        )


def test_without_lidar_the_truth_is_the_reference(place, original, tmp_path):
    convert([place / "drive"], tmp_path / "set", topics(), ImportOptions())
    for found, expected in zip(samples(tmp_path / "set"), original, strict=True):
        assert not found.has_lidar
        assert found.stamp_ns == expected.stamp_ns
        check_boxes(found, expected)
        check_sensors(found, expected)


def test_boxes_nobody_counted_points_in_stay_trainable(place, original, tmp_path):
    bag = altered(place, tmp_path / "bag", without("/ground_truth/objects"))
    for name, lidar in (("with", LIDAR_TOPIC), ("blind", "")):
        convert([bag], tmp_path / name, topics(lidar=lidar), ImportOptions())
    for found, blind, expected in zip(
        samples(tmp_path / "with"), samples(tmp_path / "blind"), original, strict=True
    ):
        truth = expected.truth()
        assert np.isnan(found.truth().detections.velocity_mps).all(), "no table, no tracks"
        assert (blind.truth().num_lidar_points == 1).all()
        difference = found.truth().num_lidar_points - truth.num_lidar_points
        assert (np.abs(difference) <= 0.05 * truth.num_lidar_points).all()


def test_tracks_give_velocities_where_no_table_does(place, original, tmp_path):
    by_token = {
        token: instance
        for sample in original
        for token, instance in zip(
            sample.truth().annotation_tokens, sample.truth().instance_tokens, strict=True
        )
    }

    def name_tracks(topic, message):
        for item in message.detections if topic == "/ground_truth/boxes" else ():
            item.id = by_token[item.id]
        return without("objects")(topic, message)

    bag = altered(place, tmp_path / "bag", name_tracks)
    convert([bag], tmp_path / "set", topics(), ImportOptions())
    for found, expected in zip(samples(tmp_path / "set"), original, strict=True):
        a, b = found.truth().detections.velocity_mps, expected.truth().detections.velocity_mps
        np.testing.assert_allclose(a, b, atol=0.05)


def test_the_devkit_loads_the_data_set(place, tmp_path):
    devkit = pytest.importorskip("nuscenes")
    convert([place / "drive"], tmp_path / "set", topics(lidar=LIDAR_TOPIC), ImportOptions())
    loaded = devkit.NuScenes(VERSION, str(tmp_path / "set"), verbose=False)
    sample = loaded.sample[1]
    assert set(sample["data"]) == {*CAMERAS, *RADARS, "LIDAR_TOP"}
    assert len(loaded.get_boxes(sample["data"]["LIDAR_TOP"])) == len(sample["anns"]) > 5


def test_several_recordings_become_scenes_of_one_set(place, tmp_path):
    other = tmp_path / "elsewhere" / "drive"
    other.parent.mkdir()
    altered(place, other, lambda topic, message: message)
    made = convert([place / "drive", other], tmp_path / "set", topics(), ImportOptions())
    assert [item.scene for item in made] == ["drive", "drive-2"]
    nuscenes = NuScenes(tmp_path / "set", VERSION)
    assert nuscenes.scenes == ("drive", "drive-2")
    assert len(nuscenes.samples("drive-2")) == FRAMES


def raw_image(topic, message):
    """Send what is on a compressed topic of the front camera as a raw image."""
    from imkd_core.data.bags.messages import make

    if topic != "/sensing/cam_front/image/compressed":
        return message
    pixels = cv2.imdecode(message.data, cv2.IMREAD_COLOR)
    return make(
        "sensor_msgs/msg/Image",
        header=message.header,
        height=900,
        width=1600,
        encoding="bgr8",
        is_bigendian=0,
        step=4800,
        data=pixels.reshape(-1),
    )


def test_raw_images_are_stored_as_jpeg_or_without_loss(place, original, tmp_path):
    with open_bag(place / "drive") as bag, BagWriter(tmp_path / "bag") as copy:
        for message in bag.messages():
            decoded = raw_image(message.topic, bag.decode(message))
            is_raw = hasattr(decoded, "encoding")
            topic = message.topic.replace("/compressed", "") if is_raw else message.topic
            kind = "sensor_msgs/msg/Image" if is_raw else message.type_name
            copy.write(topic, kind, message.stamp_ns, decoded)
    raw = sensors(cameras=("CAM_FRONT",))
    raw["cameras"]["CAM_FRONT"]["image"] = "/sensing/cam_front/image"
    expected = original[0].readings["CAM_FRONT"].image().pixels.astype(int)
    for lossless, suffix in ((False, ".jpg"), (True, ".png")):
        root = tmp_path / suffix[1:]
        convert([tmp_path / "bag"], root, topics(raw), ImportOptions(lossless=lossless))
        reading = samples(root)[0].readings["CAM_FRONT"]
        assert reading.path.suffix == suffix
        error = np.abs(reading.image().pixels - expected)
        assert error.max() == 0 if lossless else error.mean() < 1.5


def test_a_distorted_lens_reaches_the_reader_as_it_is(place, tmp_path):
    lens = (-0.3, 0.1, 0.001, 0.0, 0.02)

    def distort(topic, message):
        if topic == "/sensing/cam_front/camera_info":
            message.d = np.array(lens)
        return message

    bag = altered(place, tmp_path / "bag", distort)
    convert([bag], tmp_path / "set", topics(), ImportOptions())
    cameras = samples(tmp_path / "set")[0].rig.cameras
    assert cameras["CAM_FRONT"].distortion == lens
    assert cameras["CAM_FRONT"].distortion_model == "plumb_bob"
    assert not any(cameras["CAM_BACK_LEFT"].distortion)


def test_radars_that_do_not_take_out_own_motion_are_read_as_by_the_node(place, original, tmp_path):
    fields = {"vx": "vx", "vy": "vy"}
    raw = sensors(velocity_is_compensated=False, fields=fields)
    convert([place / "drive"], tmp_path / "set", topics(raw), ImportOptions())
    for found, expected in zip(samples(tmp_path / "set")[1:], original[1:], strict=True):
        a, b = (
            s.frame(with_images=False).radars["RADAR_FRONT"][0].points for s in (found, expected)
        )
        near = np.hypot(b[:, 4], b[:, 5]) > 0.5  # real objects; clutter has no true velocity
        np.testing.assert_allclose(a[near, 4:6], b[near, 4:6], atol=0.4)


def test_sensors_may_have_names_and_numbers_of_returns_of_their_own(place, tmp_path):
    raw = sensors(cameras=(), radars=("RADAR_FRONT",), max_points=4000)
    raw["radars"]["bumper"] = raw["radars"].pop("RADAR_FRONT")
    raw["cameras"]["eye"] = sensors()["cameras"]["CAM_FRONT"]

    def many(topic, message):
        if topic == "/sensing/radar_front/points":
            message.data = np.tile(message.data, 40)
            message.width *= 40
            message.row_step *= 40
        return message

    bag = altered(place, tmp_path / "bag", many)
    convert([bag], tmp_path / "set", topics(raw), ImportOptions())
    record = samples(tmp_path / "set")[0]
    assert (list(record.rig.cameras), list(record.rig.radars)) == (["eye"], ["bumper"])
    assert len(record.frame().radars["bumper"][0].points) > 125


def test_broken_messages_are_left_out_and_counted(place, tmp_path):
    spoiled = []

    def spoil(topic, message):
        if topic == "/sensing/cam_front/image/compressed" and not spoiled:
            spoiled.append(topic)
            message.data = message.data[:-500]
        return message

    bag = altered(place, tmp_path / "bag", spoil)
    (made,) = convert([bag], tmp_path / "set", topics(), ImportOptions())
    assert dict(made.absent) == {"CAM_FRONT": 1}
    ((reason, count),) = made.dropped.items()
    assert (count, "truncated" in reason, "/sensing/cam_front" in reason) == (1, True, True)
    assert set(samples(tmp_path / "set")[0].readings) == {"CAM_BACK_LEFT", *RADARS}


def test_an_image_of_another_size_than_its_calibration_is_left_out(place, tmp_path):
    def shrink(topic, message):
        if topic == "/sensing/cam_front/camera_info":
            message.width, message.height = 800, 450
        return message

    text = refused(place, tmp_path, shrink)
    assert "CAM_FRONT" in text
    assert "1600 x 900" in text
    assert "800 x 450" in text


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("/sensing/radar_front/points", ["/sensing/radar_front/points", "--sensors"]),
        ("cam_front/image", ["/sensing/cam_front/image/compressed", "it has", "/tf"]),
        ("cam_back_left/camera_info", ["/sensing/cam_back_left/camera_info"]),
        ("/ground_truth/boxes", ["no true boxes", "/ground_truth/boxes", "--truth"]),
    ],
)
def test_a_missing_topic_is_named_with_the_remedy(place, tmp_path, missing, words):
    text = refused(place, tmp_path, without(missing))
    for word in words:
        assert word in text


def test_missing_transforms_are_named_with_the_remedy(place, tmp_path):
    text = refused(place, tmp_path, without("/tf_static"), error=CalibrationError)
    assert "cam_front_optical_frame" in text
    assert "/tf_static" in text


def test_missing_poses_are_named_and_odometry_is_a_way_out(place, original, tmp_path):
    def no_motion(topic, message):
        return None if topic == "/tf" else message

    (tmp_path / "a").mkdir()
    text = refused(place, tmp_path / "a", no_motion, error=CalibrationError)
    assert "odom <- base_link" in text
    assert "--odometry" in text
    bag = tmp_path / "a" / "bag"
    convert([bag], tmp_path / "set", topics(odometry="/odometry"), ImportOptions())
    check_boxes(samples(tmp_path / "set")[1], original[1])


def test_lidar_that_is_not_there_is_refused(place, tmp_path):
    text = refused(place, tmp_path, without("lidar"), topics(lidar=LIDAR_TOPIC))
    assert LIDAR_TOPIC in text


def rename_cars(topic, message):
    for item in message.detections if topic == "/ground_truth/boxes" else ():
        for result in item.results:
            if result.hypothesis.class_id == "car":
                result.hypothesis.class_id = "delivery van"
    return message


def test_an_unknown_class_is_refused_until_it_is_mapped_or_left_out(place, original, tmp_path):
    (tmp_path / "a").mkdir()
    text = refused(place, tmp_path / "a", rename_cars)
    assert "delivery van" in text
    assert "--class NAME=CLASS" in text
    bag = tmp_path / "a" / "bag"
    for wanted in ("truck", ""):
        root = tmp_path / f"as-{wanted}"
        convert([bag], root, topics(classes={"delivery van": wanted}), ImportOptions())
        found = samples(root)[0].truth().detections.names
        expected = original[0].truth().detections.names
        assert found == [wanted if n == "car" else n for n in expected if wanted or n != "car"]
    with pytest.raises(ConfigError, match="'lorry', which is no class"):
        class_map({"delivery van": "lorry"})


def test_a_table_of_other_objects_is_refused(place, tmp_path):
    def shuffle(topic, message):
        if topic == "/ground_truth/boxes":
            message.detections = message.detections[::-1]
        return message

    assert "in their order" in refused(place, tmp_path, shuffle)


def test_boxes_in_a_frame_that_moves_are_refused(place, tmp_path):
    def move(topic, message):
        if topic.startswith("/ground_truth"):
            message.header.frame_id = "map"
        return message

    text = refused(place, tmp_path, move)
    assert "'map'" in text
    assert "--ego-frame" in text


def test_boxes_may_be_in_the_frame_that_stands_still(place, original, tmp_path):
    def put(topic, message):
        if topic.startswith("/ground_truth"):
            message.header.frame_id = "odom"
        return message

    bag = altered(place, tmp_path / "bag", put)
    convert([bag], tmp_path / "set", topics(), ImportOptions())
    found, expected = samples(tmp_path / "set")[2], original[2]
    pose = found.global_from_reference
    boxes, was = found.truth().detections, expected.truth().detections
    center = boxes.center_m @ pose[:3, :3].T + pose[:3, 3]
    np.testing.assert_allclose(center, was.center_m, atol=1e-3)


def test_clocks_that_differ_are_named(place, tmp_path):
    def late(topic, message):
        if topic == "/sensing/cam_front/image/compressed":
            message.header.stamp.sec += 3600
        return message

    text = refused(place, tmp_path, late)
    assert "CAM_FRONT" in text
    assert "--tolerance-s" in text

    def truth_late(topic, message):
        if topic.startswith("/ground_truth"):
            message.header.stamp.sec += 3600
        return message

    (tmp_path / "b").mkdir()
    assert "one clock" in refused(place, tmp_path / "b", truth_late)


def test_calibration_that_changes_within_a_recording_is_refused(place, tmp_path):
    count = []

    def change(topic, message):
        if topic == "/sensing/cam_front/camera_info":
            count.append(topic)
            message.k = message.k + len(count) * (np.arange(9) == 0)
        return message

    text = refused(place, tmp_path, change, error=CalibrationError)
    assert "CAM_FRONT" in text
    assert "cut it" in text


def test_time_that_goes_back_is_refused(place, tmp_path):
    count = []

    def loop(topic, message):
        if topic == "/tf":
            count.append(topic)
            message.transforms[0].header.stamp.sec -= 10 * (len(count) > 8)
        return message

    text = refused(place, tmp_path, loop)
    assert "time goes back" in text
    assert "cut it" in text


def test_boxes_in_the_frame_of_a_sensor_are_brought_to_the_vehicle(place, original, tmp_path):
    def put(topic, message):
        if topic.startswith("/ground_truth"):
            message.header.frame_id = "radar_front"
        return message

    bag = altered(place, tmp_path / "bag", put)
    convert([bag], tmp_path / "set", topics(), ImportOptions())
    ego_from_radar = original[1].rig.radars["RADAR_FRONT"]
    found = samples(tmp_path / "set")[1].truth().detections.center_m
    was = original[1].truth().detections.center_m @ ego_from_radar[:3, :3].T
    np.testing.assert_allclose(found, was + ego_from_radar[:3, 3], atol=1e-3)


def test_a_damaged_bag_leaves_nothing_behind(place, tmp_path):
    bag = altered(place, tmp_path / "bag", lambda topic, message: message)
    (file,) = bag.glob("*.mcap")
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(DataError, match=r"(?s)cannot be read.*reindex"):
        convert([bag], tmp_path / "set", topics(), ImportOptions())
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]


def test_a_place_that_is_taken_is_left_alone(place, tmp_path):
    taken = tmp_path / "set"
    taken.mkdir()
    (taken / "mine").write_text("precious")
    with pytest.raises(DataError, match=r"is there already.*--output"):
        convert([place / "drive"], taken, topics(), ImportOptions())
    assert (taken / "mine").read_text() == "precious"


@pytest.mark.parametrize("values", [{"tolerance_s": -1}, {"intensity_scale": 0}])
def test_impossible_options_are_refused(values):
    with pytest.raises(ConfigError):
        ImportOptions(**values)
