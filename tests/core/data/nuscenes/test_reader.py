# SPDX-License-Identifier: Apache-2.0
import json
import shutil
from collections import Counter
from functools import reduce

import cv2
import numpy as np
import pytest

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.data.nuscenes.reader import CAMERAS, LIDAR, RADARS, NuScenes
from imkd_core.data.nuscenes.truth import DETECTION_CLASS_OF_CATEGORY, velocity_global_mps
from imkd_core.data.point_clouds import RadarFilter
from imkd_core.data.samples import HasPose
from imkd_core.errors import DataError
from imkd_core.geometry import (
    box_corners,
    invert_transform,
    points_in_box,
    project_points,
    transform_points,
    wrap_angle,
)
from tests.core.data.made_up import OBJECTS, START_US, token_of, write_dataroot

FRONT = "CAM_FRONT"


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    """Three key frames of everything, with two sweeps between each; not to be changed."""
    return write_dataroot(tmp_path_factory.mktemp("drive"), camera_sweeps=1)


@pytest.fixture(scope="module")
def reader(drive):
    return NuScenes(drive.root)


@pytest.fixture(scope="module")
def last(reader):
    return reader.samples()[-1]


@pytest.fixture
def small(tmp_path):
    """Two key frames of one camera, one radar and LiDAR, for a test to spoil."""
    return write_dataroot(tmp_path, 2, cameras=(FRONT,), radars=("RADAR_FRONT",), lidar_points=20)


@pytest.fixture(scope="module")
def devkit(drive):
    return _devkit(drive.root)


@pytest.fixture(scope="module")
def real(nuscenes_one):
    return NuScenes(nuscenes_one).samples("scene-0061")[0]


@pytest.fixture(scope="module")
def real_devkit(nuscenes_one):
    return _devkit(nuscenes_one)


def _devkit(root):
    module = pytest.importorskip("nuscenes")
    return module.NuScenes(version="v1.0-mini", dataroot=str(root), verbose=False)


def _devkit_pose(devkit, sample_data):
    """Return ego_from_sensor and global_from_ego by the devkit's own functions."""
    geometry = pytest.importorskip("nuscenes.utils.geometry_utils")
    quaternion = pytest.importorskip("pyquaternion").Quaternion
    tables = ("calibrated_sensor", "ego_pose")
    records = [devkit.get(name, sample_data[f"{name}_token"]) for name in tables]
    return tuple(
        geometry.transform_matrix(row["translation"], quaternion(row["rotation"]))
        for row in records
    )


# --- a made-up drive -----------------------------------------------------------------------------


def test_scenes_and_samples_come_in_time_order(tmp_path):
    drive = write_dataroot(tmp_path, 2, scenes=3, cameras=(), radars=(), lidar_points=5)
    reader = NuScenes(tmp_path)
    assert reader.scenes == drive.scene_names
    assert reader.sample_tokens() == drive.sample_tokens
    assert reader.sample_tokens("made-up-1") == drive.sample_tokens[2:4]
    stamps = [record.stamp_ns for record in reader.samples("made-up-2")]
    assert stamps == [(START_US + 200_000_000) * 1000, (START_US + 200_500_000) * 1000]
    with pytest.raises(DataError, match=r"no scene 'x'.*made-up-0"):
        reader.sample_tokens("x")


def test_a_record_names_its_sensors_in_the_fixed_order(last, drive):
    assert tuple(last.rig.cameras) == CAMERAS
    assert tuple(last.rig.radars) == RADARS
    assert tuple(last.readings) == (*CAMERAS, *RADARS, LIDAR)
    assert last.token == drive.sample_tokens[-1]
    assert last.scene == "made-up-0"
    assert last.stamp_ns == (START_US + 1_000_000) * 1000
    camera = last.rig.cameras[FRONT]
    assert (camera.width_px, camera.height_px) == (1600, 900)
    assert camera.pixel_from_cam[0].tolist() == [1250, 0, 805]


def test_a_frame_holds_images_scans_and_the_motion_of_each_stamp(last):
    frame = last.frame()
    assert frame.stamp_ns == last.stamp_ns
    assert tuple(frame.cameras) == CAMERAS
    assert tuple(frame.radars) == RADARS
    assert {image.pixels.shape for image in frame.cameras.values()} == {(900, 1600, 3)}
    assert set(frame.reference_from_ego) == {r.stamp_ns for r in last.readings.values()}
    np.testing.assert_allclose(frame.motion_at(last.stamp_ns), np.eye(4), atol=1e-9)
    for reading in last.readings.values():
        pose = last.global_from_reference @ frame.reference_from_ego[reading.stamp_ns]
        np.testing.assert_allclose(pose, reading.global_from_ego, atol=1e-9)


def test_the_poses_of_two_frames_say_how_the_vehicle_moved_between_them(reader):
    first, second = (sample.frame(with_images=False) for sample in reader.samples()[-2:])
    moved = invert_transform(first.odom_from_ego) @ second.odom_from_ego
    samples = reader.samples()[-2:]
    expected = samples[0].reference_from_ego(samples[1].readings[LIDAR])
    np.testing.assert_allclose(moved, expected, atol=1e-9)
    assert np.linalg.norm(moved[:2, 3]) > 0.1
    assert all(isinstance(sample, HasPose) for sample in samples)


def test_motion_between_sensors_is_that_of_a_vehicle_that_drives_forward(last):
    frame = last.frame(with_images=False)
    newest = frame.radars["RADAR_FRONT"][0]
    assert newest.stamp_ns - frame.stamp_ns == 15_000_000
    assert frame.motion_at(newest.stamp_ns)[0, 3] == pytest.approx(8 * 0.015, rel=0.01)


def test_images_are_the_files_and_come_raw_or_decoded_or_reduced(last):
    reading = last.readings[FRONT]
    data = reading.read_bytes()
    assert data == reading.path.read_bytes()
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(last.frame().cameras[FRONT].pixels, expected)
    assert last.frame(target_width_px=352).cameras[FRONT].pixels.shape == (225, 400, 3)
    assert last.frame(with_images=False).cameras == {}


def test_boxes_project_onto_their_silhouettes(last):
    frame, truth = last.frame(), last.truth()
    seen = 0
    for center, category in zip(truth.detections.center_m, truth.detections.names, strict=True):
        color = next(
            o.color_rgb for o in OBJECTS if DETECTION_CLASS_OF_CATEGORY.get(o.category) == category
        )
        for name, camera in last.rig.cameras.items():
            motion = frame.motion_at(frame.cameras[name].stamp_ns)
            center_cam = transform_points(
                invert_transform(motion @ camera.ego_from_cam), center[None]
            )
            pixels, depth_m = project_points(camera.pixel_from_cam, center_cam)
            if depth_m[0] < 1 or not (0 <= pixels[0, 0] < 1600 and 0 <= pixels[0, 1] < 900):
                continue
            column, row = pixels[0].astype(int)
            drawn = frame.cameras[name].pixels[row, column].astype(int)
            seen += np.abs(drawn - color).max() < 40
    assert seen >= 8


def test_radar_sweeps_come_newest_first_and_end_at_the_first(reader, last):
    frame = last.frame(radar_sweeps=4, with_images=False)
    for name in RADARS:
        stamps = [cloud.stamp_ns for cloud in frame.radars[name]]
        assert len(stamps) == 4
        assert stamps == sorted(stamps, reverse=True)
        assert set(stamps) <= set(frame.reference_from_ego)
    first = reader.samples()[0].frame(radar_sweeps=6, with_images=False)
    assert [len(clouds) for clouds in first.radars.values()] == [1] * 5


@pytest.mark.parametrize("sweeps", [1, 3, 7])
def test_merged_radar_scans_equal_the_devkits_multisweep(devkit, drive, sweeps):
    radar_cloud = pytest.importorskip("nuscenes.utils.data_classes").RadarPointCloud
    last = NuScenes(drive.root, radar_filter=RadarFilter(min_distance_m=1.0)).samples()[-1]
    frame = last.frame(radar_sweeps=sweeps, with_images=False)
    lidar_from_ego = invert_transform(last.readings[LIDAR].ego_from_sensor)
    for name, ego_from_radar in last.rig.radars.items():
        sample = devkit.get("sample", last.token)
        expected, lag_s = radar_cloud.from_file_multisweep(devkit, sample, name, LIDAR, sweeps)
        points, ages_s = [], []
        for cloud in frame.radars[name]:
            lidar_from_radar = lidar_from_ego @ frame.motion_at(cloud.stamp_ns) @ ego_from_radar
            points.append(transform_points(lidar_from_radar, cloud.points[:, :3]))
            ages_s += [(frame.stamp_ns - cloud.stamp_ns) * 1e-9] * len(cloud.points)
        np.testing.assert_allclose(np.concatenate(points), expected.points[:3].T, atol=1e-4)
        np.testing.assert_allclose(ages_s, lag_s[0], atol=1e-6)
        velocity = np.concatenate([cloud.points[:, 4:6] for cloud in frame.radars[name]])
        np.testing.assert_allclose(velocity, expected.points[8:10].T, atol=1e-5)


@pytest.mark.parametrize("sweeps", [1, 4])
def test_merged_lidar_sweeps_equal_the_devkits_multisweep(devkit, last, sweeps):
    lidar_cloud = pytest.importorskip("nuscenes.utils.data_classes").LidarPointCloud
    sample = devkit.get("sample", last.token)
    expected, lag_s = lidar_cloud.from_file_multisweep(devkit, sample, LIDAR, LIDAR, sweeps)
    cloud, ego_from_lidar = last.lidar(sweeps, min_distance_m=1.0)
    np.testing.assert_allclose(cloud.points[:, :3], expected.points[:3].T, atol=1e-4)
    np.testing.assert_array_equal(cloud.points[:, 3], expected.points[3])
    np.testing.assert_allclose(cloud.points[:, 5], lag_s[0], atol=1e-6)
    pose, _ = _devkit_pose(devkit, devkit.get("sample_data", sample["data"][LIDAR]))
    np.testing.assert_allclose(ego_from_lidar, pose, atol=1e-12)


def test_the_radar_filter_of_the_reader_is_used(drive, last):
    everything = NuScenes(drive.root, radar_filter=RadarFilter.none()).samples()[-1]
    kept, all_of = (record.frame(with_images=False).radars for record in (last, everything))
    for name in RADARS:
        assert len(kept[name][0].points) == len(all_of[name][0].points) - 3


def test_truth_equals_the_devkits_boxes_in_the_ego_frame(devkit, reader):
    for record in reader.samples():
        _check_boxes(devkit, record, devkit.box_velocity)


def _check_boxes(devkit, record, velocity_of):
    """Compare `record.truth()` with the devkit's boxes, moved to the ego frame by the devkit."""
    quaternion = pytest.importorskip("pyquaternion").Quaternion
    reference = devkit.get("sample_data", record.readings[LIDAR].token)
    pose = devkit.get("ego_pose", reference["ego_pose_token"])
    truth = record.truth()
    expected = {}
    for box in devkit.get_boxes(reference["token"]):
        box.velocity = np.asarray(velocity_of(box.token))
        box.translate(-np.array(pose["translation"]))
        box.rotate(quaternion(pose["rotation"]).inverse)
        expected[box.token] = box
    names = pytest.importorskip("nuscenes.eval.detection.utils").category_to_detection_name
    assert set(truth.annotation_tokens) == {t for t, b in expected.items() if names(b.name)}
    for i, token in enumerate(truth.annotation_tokens):
        box, boxes = expected[token], truth.detections
        assert boxes.names[i] == names(box.name)
        np.testing.assert_allclose(boxes.center_m[i], box.center, atol=1e-4)
        np.testing.assert_allclose(boxes.size_m[i], box.wlh[[1, 0, 2]], rtol=1e-6)
        forward = box.orientation.rotation_matrix[:, 0]
        turn = boxes.yaw_rad[i] - np.arctan2(forward[1], forward[0])
        assert wrap_angle(turn) == pytest.approx(0, abs=1e-5)
        np.testing.assert_allclose(boxes.velocity_mps[i], box.velocity[:2], atol=1e-4)


def test_velocities_follow_the_devkits_time_rules(tmp_path):
    drive = write_dataroot(tmp_path, 4, cameras=(), radars=(), sweeps=0, lidar_points=5)
    gaps_us = [0, 1_400_000, 2_900_000, 4_600_000]
    for row, gap_us in zip(drive.tables["sample"], gaps_us, strict=True):
        row["timestamp"] = START_US + gap_us
    drive.rewrite("sample")
    devkit, reader = _devkit(tmp_path), NuScenes(tmp_path)
    known = []
    for token in reader.tables.tokens("sample_annotation"):
        annotation = reader.tables.get("sample_annotation", token)
        velocity = velocity_global_mps(reader.tables, annotation)
        np.testing.assert_allclose(velocity, devkit.box_velocity(token), atol=1e-6)
        known.append(bool(np.isfinite(velocity).all()))
    # first 1.4 s: yes; both neighbours 2.9 s: yes; 3.2 s: no; last 1.7 s: no
    of_car = [token_of("annotation", 0, 0, k) for k in range(4)]
    tokens = reader.tables.tokens("sample_annotation")
    assert [known[tokens.index(token)] for token in of_car] == [True, True, False, False]


def test_equal_or_reversed_times_give_no_velocity(small):
    for row in small.tables["sample"]:
        row["timestamp"] = START_US
    small.rewrite("sample")
    truth = NuScenes(small.root).samples()[0].truth()
    assert np.isnan(truth.detections.velocity_mps).all()


def test_velocities_json_speaks_only_where_neighbours_are_silent(tmp_path):
    lone = write_dataroot(tmp_path / "a", 1, cameras=(), radars=(), velocities=True)
    path = lone.root / "v1.0-mini" / "velocities.json"
    raw = json.loads(path.read_text())
    unknown = token_of("annotation", 0, 1, 0)
    path.write_text(json.dumps({**raw, unknown: None}))
    record = NuScenes(lone.root).samples()[0]
    truth = record.truth()
    expected = [np.nan if t == unknown else np.hypot(*raw[t]) for t in truth.annotation_tokens]
    speed_mps = np.linalg.norm(truth.detections.velocity_mps, axis=1)
    np.testing.assert_allclose(speed_mps, expected, rtol=1e-3)
    pair = write_dataroot(tmp_path / "b", 2, cameras=(), radars=(), velocities=True)
    path = pair.root / "v1.0-mini" / "velocities.json"
    path.write_text(json.dumps({key: [99.0, 0.0] for key in json.loads(path.read_text())}))
    speed_mps = np.linalg.norm(
        NuScenes(pair.root).samples()[0].truth().detections.velocity_mps, axis=1
    )
    assert speed_mps.max() < 12


def test_truth_tells_counts_attributes_and_what_it_dropped(last):
    truth = last.truth()
    assert len(truth) == len(OBJECTS) - 1
    assert truth.dropped_categories == {"movable_object.pushable_pullable": 1}
    assert truth.detections.class_names == NUSCENES_CLASSES
    assert set(truth.detections.names) == set(NUSCENES_CLASSES)
    assert set(truth.visibility.tolist()) == {1, 2, 3, 4}
    assert truth.attributes[0] == "vehicle.moving"
    assert truth.attributes[truth.detections.names.index("barrier")] == ""
    assert (truth.detections.scores == 1).all()
    chosen = truth.select(truth.num_lidar_points >= 40)
    assert 0 < len(chosen) < len(truth)
    assert chosen.num_lidar_points.min() >= 40
    assert chosen.annotation_tokens == tuple(
        t for t, n in zip(truth.annotation_tokens, truth.num_lidar_points, strict=True) if n >= 40
    )


def test_lidar_points_in_boxes_are_counted_right(reader):
    for record in reader.samples():
        counted, expected = _count_points(record)
        assert counted == expected


def _count_points(record):
    """Count LiDAR points in all annotated boxes, level in the global frame, in a second way."""
    cloud, ego_from_lidar = record.lidar()
    pose = record.global_from_reference @ ego_from_lidar
    points = transform_points(pose, cloud.points[:, :3])
    counted, expected = [], []
    for row in record.source.tables.annotations(record.token):
        w, x, y, z = row["rotation"]
        assert abs(x) + abs(y) < 1e-9
        width, length, height = row["size"]
        inside = points_in_box(
            points, row["translation"], [length, width, height], 2 * np.arctan2(z, w)
        )
        counted.append(int(inside.sum()))
        expected.append(row["num_lidar_pts"])
    return counted, expected


def test_poses_equal_the_devkits(devkit, reader):
    for row in devkit.sample_data:
        reading = reader.reading(row["token"])
        ego_from_sensor, global_from_ego = _devkit_pose(devkit, row)
        np.testing.assert_allclose(reading.ego_from_sensor, ego_from_sensor, atol=1e-12)
        np.testing.assert_allclose(reading.global_from_ego, global_from_ego, atol=1e-12)
        assert reading.stamp_ns == row["timestamp"] * 1000
        assert str(reading.path) == devkit.get_sample_data_path(row["token"])


def test_all_readings_of_a_scene_come_in_time_order(drive, reader):
    readings = reader.readings("made-up-0")
    stamps = [reading.stamp_ns for reading in readings]
    assert stamps == sorted(stamps)
    assert len(readings) == len(drive.tables["sample_data"]) == 5 * 6 + 7 * 6
    assert sum(reading.is_key_frame for reading in readings) == 12 * 3
    assert Counter(reading.sensor for reading in readings)[LIDAR] == 7
    assert all(reading.read_bytes() for reading in readings)


def test_missing_cameras_and_radars_are_simply_not_there(tmp_path):
    write_dataroot(tmp_path, 1, cameras=("CAM_BACK",), radars=(), lidar_points=5)
    record = NuScenes(tmp_path).samples()[0]
    frame = record.frame(radar_sweeps=3)
    assert list(frame.cameras) == list(record.rig.cameras) == ["CAM_BACK"]
    assert frame.radars == record.rig.radars == {}


# --- broken dataroots ----------------------------------------------------------------------------


def test_a_sample_without_lidar_is_read_with_the_reading_nearest_in_time_as_reference(tmp_path):
    radar = "RADAR_FRONT_LEFT"  # 6 ms after the sample's timestamp, the camera 40 ms before it
    write_dataroot(tmp_path, 1, cameras=(FRONT,), radars=(radar,), lidar=False)
    (record,) = NuScenes(tmp_path).samples()
    nearest = record.readings[radar]
    assert not record.has_lidar
    assert record.stamp_ns == nearest.stamp_ns
    np.testing.assert_array_equal(record.global_from_reference, nearest.global_from_ego)
    frame = record.frame()
    assert set(frame.cameras) == {FRONT}
    np.testing.assert_allclose(frame.motion_at(record.stamp_ns), np.eye(4), atol=1e-9)
    assert len(record.truth()) > 5
    with pytest.raises(DataError, match=r"no LIDAR_TOP.*labels alone"):
        record.lidar()


def test_a_sample_without_lidar_may_name_the_ego_pose_of_its_own_time(tmp_path):
    drive = write_dataroot(tmp_path, 1, cameras=(FRONT,), radars=(), lidar=False)
    pose = {**drive.tables["ego_pose"][0], "token": "mine", "translation": [1.0, 2.0, 3.0]}
    drive.tables["ego_pose"].append(pose)
    drive.tables["sample"][0]["ego_pose_token"] = "mine"
    drive.rewrite("ego_pose")
    drive.rewrite("sample")
    (record,) = NuScenes(tmp_path).samples()
    assert record.stamp_ns == drive.tables["sample"][0]["timestamp"] * 1000
    np.testing.assert_array_equal(record.global_from_reference[:3, 3], [1, 2, 3])
    np.testing.assert_allclose(record.frame().motion_at(record.stamp_ns), np.eye(4), atol=1e-9)


def test_names_and_lenses_that_nuscenes_does_not_have_are_understood(tmp_path):
    drive = write_dataroot(tmp_path, 1, cameras=(FRONT,), radars=("RADAR_FRONT",), lidar=False)
    names = {FRONT: "left_eye", "RADAR_FRONT": "bumper"}
    for row in drive.tables["sensor"]:
        row["channel"] = names[row["channel"]]
    calibration = drive.tables["calibrated_sensor"][0]
    calibration |= {"distortion_model": "plumb_bob", "distortion": [-0.3, 0.1, 0.0, 0.0, 0.0]}
    drive.rewrite("sensor")
    drive.rewrite("calibrated_sensor")
    rig = NuScenes(tmp_path).samples()[0].rig
    assert (set(rig.cameras), set(rig.radars)) == ({"left_eye"}, {"bumper"})
    assert rig.cameras["left_eye"].distortion == (-0.3, 0.1, 0.0, 0.0, 0.0)


def test_a_sensor_says_how_many_returns_its_scans_may_hold(tmp_path):
    drive = write_dataroot(tmp_path, 1, cameras=(), radars=("RADAR_FRONT",), lidar=False)
    drive.tables["sensor"][0]["max_points"] = 1
    drive.rewrite("sensor")
    with pytest.raises(DataError, match="from 0 to 1"):
        NuScenes(tmp_path).samples()[0].frame()
    drive.tables["sensor"][0]["max_points"] = "many"
    drive.rewrite("sensor")
    with pytest.raises(DataError, match=r"sensor\.json.*max_points.*whole number"):
        NuScenes(tmp_path).samples()


def test_a_sample_without_any_reading_is_refused(tmp_path):
    drive = write_dataroot(tmp_path, 1, cameras=(FRONT,), radars=(), lidar=False)
    drive.tables["sample_data"].clear()
    drive.rewrite("sample_data")
    with pytest.raises(DataError, match="at least one"):
        NuScenes(tmp_path).samples()


def test_two_key_frame_readings_of_one_channel_are_refused(small):
    row = next(r for r in small.tables["sample_data"] if not r["is_key_frame"])
    row["is_key_frame"] = True
    small.rewrite("sample_data")
    with pytest.raises(DataError, match="one key frame reading per channel"):
        NuScenes(small.root).samples()


@pytest.mark.parametrize("table", ["sensor", "ego_pose", "sample_data", "sample_annotation"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no table"),
        (b"[{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b"{}", "list of records"),
        (b"[1]", "no token"),
        (b'[{"token": 5}]', "no token"),
        (b'[{"token": "a"}, {"token": "a"}]', "'a' stands twice"),
    ],
)
def test_a_missing_or_malformed_table_is_refused_by_name(small, table, content, message):
    path = small.root / "v1.0-mini" / f"{table}.json"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        NuScenes(small.root)
    assert f"{table}.json" in str(caught.value)


@pytest.mark.parametrize(
    ("table", "field", "value"),
    [
        ("sample", "timestamp", 1.5),
        ("sample", "timestamp", True),
        ("sample_data", "filename", None),
        ("sample_data", "is_key_frame", 1),
        ("sample_data", "height", "900"),
        ("ego_pose", "translation", [0, 0]),
        ("ego_pose", "translation", [0, 0, None]),
        ("ego_pose", "translation", "abc"),
        ("ego_pose", "rotation", [float("nan"), 0, 0, 1]),
        ("ego_pose", "rotation", [0, 0, 0, 0]),
        ("calibrated_sensor", "rotation", [1, 0, 0, True]),
        ("calibrated_sensor", "camera_intrinsic", [[1, 2], [3]]),
        ("calibrated_sensor", "camera_intrinsic", [["a"] * 3] * 3),
        ("sensor", "channel", 7),
        ("scene", "name", None),
        ("sample_annotation", "size", [1, 2]),
        ("sample_annotation", "size", [1, 0, 2]),
        ("sample_annotation", "rotation", [0, 0, 0, 0]),
        ("sample_annotation", "num_lidar_pts", "5"),
        ("sample_annotation", "attribute_tokens", [["x"]]),
        ("instance", "category_token", 3),
        ("sample_annotation", "num_lidar_pts", 10**30),
        ("sample_annotation", "translation", [10**400, 0, 0]),
        ("sample_annotation", "translation", [1e300, 0, 0]),
        ("sample_annotation", "size", [float("nan"), 1, 1]),
        ("calibrated_sensor", "camera_intrinsic", [[10**400] * 3] * 3),
        ("calibrated_sensor", "distortion", [10**400]),
        ("sample_data", "timestamp", 10**400),
    ],
)
def test_a_broken_field_is_refused_with_its_table(small, table, field, value):
    for row in small.tables[table]:
        row[field] = value
    small.rewrite(table)
    with pytest.raises(DataError, match=rf"({table}|attribute)\.json"):
        NuScenes(small.root).samples()[0].truth()


@pytest.mark.parametrize(
    ("table", "field"),
    [
        ("sample", "scene_token"),
        ("sample", "next"),
        ("scene", "first_sample_token"),
        ("sample_data", "calibrated_sensor_token"),
        ("sample_data", "ego_pose_token"),
        ("calibrated_sensor", "sensor_token"),
        ("sample_annotation", "instance_token"),
        ("sample_annotation", "next"),
        ("instance", "category_token"),
    ],
)
def test_a_token_that_leads_nowhere_is_refused(small, table, field):
    small.tables[table][0][field] = "0" * 32
    small.rewrite(table)
    with pytest.raises(DataError, match=r"no record '0{32}' in \w+.json"):
        NuScenes(small.root).samples()[0].truth()


def test_a_ring_of_samples_is_refused(small):
    small.tables["sample"][1]["next"] = small.tables["sample"][0]["token"]
    small.rewrite("sample")
    with pytest.raises(DataError, match="ring"):
        NuScenes(small.root).sample_tokens()


@pytest.mark.parametrize(
    "filename",
    [
        "../outside.jpg",
        "samples/../../outside.jpg",
        "/etc/passwd",
        "",
        ".",
        "..",
        "C:\\data\\a.jpg",
        "samples\\..\\a.jpg",
        "C:/a.jpg",
        "file:///etc/passwd",
        "samples/a\0.jpg",
    ],
)
def test_a_file_name_that_leaves_the_dataroot_is_refused(small, filename):
    (small.root.parent / "outside.jpg").write_bytes(b"secret")
    small.tables["sample_data"][0]["filename"] = filename
    small.rewrite("sample_data")
    with pytest.raises(DataError, match="leaves the dataroot"):
        NuScenes(small.root).samples()


@pytest.mark.parametrize("channel", [FRONT, "RADAR_FRONT", LIDAR])
def test_missing_and_truncated_files_are_refused_by_path(small, channel):
    record = NuScenes(small.root).samples()[0]
    path = record.readings[channel].path

    def read():
        return record.lidar() if channel == LIDAR else record.frame()

    read()
    data = path.read_bytes()
    path.write_bytes(data[:377])
    with pytest.raises(DataError) as caught:
        read()
    assert str(path) in str(caught.value)
    path.unlink()
    with pytest.raises(DataError, match="incomplete") as caught:
        read()
    assert str(path) in str(caught.value)
    with pytest.raises(DataError, match="cannot read"):
        record.readings[channel].read_bytes()


@pytest.mark.parametrize("content", ["[]", '{"a": 5}', '{"a": [1]}', '{"a": [1, "b"]}', "{"])
def test_malformed_velocities_are_refused(small, content):
    (small.root / "v1.0-mini" / "velocities.json").write_text(content)
    with pytest.raises(DataError, match=r"velocities\.json"):
        NuScenes(small.root)


def test_a_missing_root_or_version_is_refused_with_what_there_is(small):
    with pytest.raises(DataError, match="no nuScenes dataroot"):
        NuScenes(small.root / "missing")
    with pytest.raises(DataError, match=r"no tables of v1.0-trainval; it holds v1.0-mini"):
        NuScenes(small.root, version="v1.0-trainval")
    for version in ("", "..", "../v1.0-mini", "a/b"):
        with pytest.raises(DataError, match="version"):
            NuScenes(small.root, version=version)


def test_the_folder_of_samples_may_be_a_link(small, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("disk") / "samples"
    shutil.move(small.root / "samples", elsewhere)
    (small.root / "samples").symlink_to(elsewhere)
    assert NuScenes(small.root).samples()[0].frame().cameras[FRONT].pixels.shape == (900, 1600, 3)


def test_the_ten_classes_are_the_devkits():
    names = pytest.importorskip("nuscenes.eval.detection.utils").category_to_detection_name
    for category, name in DETECTION_CLASS_OF_CATEGORY.items():
        assert names(category) == name
    assert set(DETECTION_CLASS_OF_CATEGORY.values()) == set(NUSCENES_CLASSES)
    assert names("vehicle.emergency.police") is None


# --- the real key frame ---------------------------------------------------------------------------


def test_real_files_have_the_known_sizes(real):
    frame = real.frame()
    assert real.token == "ca9a282c9e77460f8360f564131a8af5"
    assert tuple(frame.cameras) == CAMERAS
    assert {image.pixels.shape for image in frame.cameras.values()} == {(900, 1600, 3)}
    (cloud,) = frame.radars["RADAR_FRONT"]
    assert cloud.points.shape == (74, 7)
    assert list(frame.radars) == ["RADAR_FRONT"]
    assert real.lidar()[0].points.shape == (34_688, 6)
    assert frame.stamp_ns == 1_532_402_927_647_951_000
    offsets_ms = {n: (c.stamp_ns - frame.stamp_ns) / 1e6 for n, c in frame.cameras.items()}
    assert min(offsets_ms.values()) == pytest.approx(-43.1, abs=0.1)
    assert max(offsets_ms.values()) == pytest.approx(-0.5, abs=0.1)


def test_the_real_radar_equals_the_devkits_with_and_without_filters(
    nuscenes_one, real, real_devkit
):
    radar_cloud = pytest.importorskip("nuscenes.utils.data_classes").RadarPointCloud
    path = real.readings["RADAR_FRONT"].path
    every = {"invalid_states": range(18), "dynprop_states": range(18), "ambig_states": range(18)}
    unfiltered = NuScenes(nuscenes_one, radar_filter=RadarFilter.none()).sample(real.token)
    for record, keep in ((real, {}), (unfiltered, every)):
        expected = radar_cloud.from_file(str(path), **keep).points.T
        points = record.frame(with_images=False).radars["RADAR_FRONT"][0].points
        np.testing.assert_array_equal(points[:, :6], expected[:, [0, 1, 2, 5, 8, 9]])
        assert (points[:, 6] == 0).all()


def test_real_boxes_equal_the_devkits(real, real_devkit):
    velocities = real.source.tables.velocities
    _check_boxes(real_devkit, real, lambda token: (*velocities.get(token, (np.nan, np.nan)), 0.0))


def test_the_69_real_boxes_are_all_accounted_for(real):
    truth = real.truth()
    assert len(truth) == 68
    assert truth.dropped_categories == {"movable_object.pushable_pullable": 1}
    assert len(real.source.tables.annotations(real.token)) == 69
    assert int(np.isnan(truth.detections.velocity_mps).any(axis=1).sum()) in (1, 2)
    assert len(real.source.tables.velocities) == 67


def test_real_lidar_points_in_boxes_equal_the_table_for_69_of_69(real):
    counted, expected = _count_points(real)
    assert len(counted) == 69
    assert counted == expected


def _pixels_in_each_image(record, points_reference):
    """Count points (reference ego frame) in each image, deeper than 1 m, 1 px from its border."""
    counts = {}
    for name, camera in record.rig.cameras.items():
        motion = record.reference_from_ego(record.readings[name])
        points_cam = transform_points(
            invert_transform(motion @ camera.ego_from_cam), points_reference
        )
        pixels, depth_m = project_points(camera.pixel_from_cam, points_cam)
        inside = (pixels > 1).all(axis=1) & (pixels < [1599, 899]).all(axis=1)
        counts[name] = int((inside & (depth_m > 1)).sum())
    return counts


def test_real_lidar_points_fall_into_the_images_as_counted(real):
    cloud, ego_from_lidar = real.lidar()
    points = transform_points(ego_from_lidar, cloud.points[:, :3])
    assert _pixels_in_each_image(real, points) == {
        "CAM_FRONT": 3053,
        "CAM_FRONT_RIGHT": 3076,
        "CAM_BACK_RIGHT": 3369,
        "CAM_BACK": 4820,
        "CAM_BACK_LEFT": 4089,
        "CAM_FRONT_LEFT": 3696,
    }


def test_real_radar_returns_fall_into_the_images_as_counted(real):
    frame = real.frame(with_images=False)
    (cloud,) = frame.radars["RADAR_FRONT"]
    pose = frame.motion_at(cloud.stamp_ns) @ real.rig.radars["RADAR_FRONT"]
    counts = _pixels_in_each_image(real, transform_points(pose, cloud.points[:, :3]))
    assert counts == {
        "CAM_FRONT": 61,
        "CAM_FRONT_RIGHT": 5,
        "CAM_BACK_RIGHT": 0,
        "CAM_BACK": 0,
        "CAM_BACK_LEFT": 0,
        "CAM_FRONT_LEFT": 16,
    }


def test_real_boxes_show_in_the_images_as_counted(real):
    """The devkit's rule: a corner in the image deeper than 1 m, none nearer than 0.1 m."""
    rows = real.source.tables.annotations(real.token)
    yaw_rad = [2 * np.arctan2(row["rotation"][3], row["rotation"][0]) for row in rows]
    sizes = np.array([row["size"] for row in rows])[:, [1, 0, 2]]
    corners = box_corners([row["translation"] for row in rows], sizes, yaw_rad)
    shown = {}
    for name, camera in real.rig.cameras.items():
        reading = real.readings[name]
        global_from_cam = reading.global_from_ego @ camera.ego_from_cam
        points_cam = transform_points(invert_transform(global_from_cam), corners).reshape(-1, 3)
        pixels, depth_m = project_points(camera.pixel_from_cam, points_cam)
        inside = (pixels > 0).all(axis=1) & (pixels < [1600, 900]).all(axis=1) & (depth_m > 1)
        in_front = (depth_m > 0.1).reshape(-1, 8).all(axis=1)
        shown[name] = int((inside.reshape(-1, 8).any(axis=1) & in_front).sum())
    assert shown == {
        "CAM_FRONT": 48,
        "CAM_FRONT_RIGHT": 18,
        "CAM_BACK_RIGHT": 5,
        "CAM_BACK": 10,
        "CAM_BACK_LEFT": 2,
        "CAM_FRONT_LEFT": 2,
    }


def test_real_radar_speeds_agree_with_the_boxes_they_hit(real):
    frame, boxes = real.frame(with_images=False), real.truth().detections
    (cloud,) = frame.radars["RADAR_FRONT"]
    pose = frame.motion_at(cloud.stamp_ns) @ real.rig.radars["RADAR_FRONT"]
    points = transform_points(pose, cloud.points[:, :3])
    pairs = []
    for i in np.flatnonzero(np.linalg.norm(boxes.velocity_mps, axis=1) > 2):
        size_m = boxes.size_m[i] + [0.5, 0.5, 9]
        hits = points_in_box(points, boxes.center_m[i], size_m, float(boxes.yaw_rad[i]))
        if hits.any():
            measured = np.linalg.norm(cloud.points[hits, 4:6], axis=1).max()
            pairs.append((measured, float(np.linalg.norm(boxes.velocity_mps[i]))))
    for measured, of_box in ((11.12, 11.25), (4.89, 5.17), (2.38, 3.23)):
        nearest = min(abs(m - measured) + abs(v - of_box) for m, v in pairs)
        assert nearest < 0.05


def test_real_poses_across_sensors_equal_the_devkits_chain(real, real_devkit):
    for name, reading in real.readings.items():
        row = real_devkit.get("sample_data", reading.token)
        ego_from_sensor, global_from_ego = _devkit_pose(real_devkit, row)
        lidar = real_devkit.get("sample_data", real.readings[LIDAR].token)
        _, global_from_key = _devkit_pose(real_devkit, lidar)
        chain = [np.linalg.inv(global_from_key), global_from_ego, ego_from_sensor]
        expected = reduce(np.dot, chain)
        actual = real.reference_from_ego(reading) @ reading.ego_from_sensor
        np.testing.assert_allclose(actual, expected, atol=1e-8, err_msg=name)
