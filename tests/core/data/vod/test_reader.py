# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from imkd_core.config import HeadSpec
from imkd_core.data.vod.reader import CAMERA, RADAR, VOD_CLASSES, ViewOfDelft
from imkd_core.errors import DataError
from imkd_core.geometry import invert_transform, project_points, transform_points
from tests.core.data.vod.vod_folder import LIDAR_CAM, RADAR_CAM, label_line, write_vod

CAR = ((12.0, 3.0, -1.8), (4.2, 1.8, 1.5), 0.4)
RETURNS = np.array(
    [
        [10.0, 0.0, 0.0, 5.0, -7.0, -2.0, 0],
        [0.0, 20.0, 0.0, -3.0, 1.0, 3.0, 0],
        [3.0, 0.0, 4.0, 8.0, 0.5, 5.0, -2],
        [9.0, 9.0, 0.0, 1.0, 0.0, 0.0, -4],
    ]
)


@pytest.fixture(scope="module")
def vod(tmp_path_factory):
    lines = (
        label_line("Car", *CAR),
        label_line("bicycle", (5.0, 0.0, -1.8), (1.8, 0.6, 1.2), 0.0),
        label_line("Pedestrian", (8.0, -2.0, -1.8), (0.6, 0.6, 1.8), -3.0, occlusion=2),
    )
    root = write_vod(tmp_path_factory.mktemp("vod"), labels=lines, radar=RETURNS)
    return ViewOfDelft(root, lidar_height_m=1.8)


def test_boxes_come_back_in_the_ego_frame_from_a_tilted_camera(vod):
    truth = vod.samples()[1].truth()
    boxes = truth.detections
    assert boxes.names == ["Car", "Pedestrian"]
    np.testing.assert_allclose(boxes.center_m[0], (12.0, 3.0, 0.75), atol=1e-4)
    np.testing.assert_allclose(boxes.size_m[0], CAR[1], atol=1e-5)
    np.testing.assert_allclose(boxes.yaw_rad, (0.4, -3.0), atol=1e-5)
    assert np.isnan(boxes.velocity_mps).all()
    assert dict(truth.dropped_categories) == {"bicycle": 1}
    assert truth.annotation_tokens == ("00001-0", "00001-2")


def test_a_box_lands_where_the_label_file_has_it_in_the_camera(vod):
    sample = vod.samples()[0]
    camera = sample.rig.cameras[CAMERA]
    label = sample.labels()[0]
    bottom_ego = sample.truth().detections.center_m[0] - (0, 0, CAR[1][2] / 2)
    bottom_cam = transform_points(invert_transform(camera.ego_from_cam), bottom_ego[None])
    np.testing.assert_allclose(bottom_cam[0], label.bottom_cam_m, atol=1e-4)
    pixels, depth_m = project_points(camera.pixel_from_cam, bottom_cam)
    assert depth_m[0] > 0
    assert (pixels[0] > 0).all()
    assert (pixels[0] < (1936, 1216)).all()


def test_lidar_and_radar_meet_through_the_camera(vod):
    rig = vod.samples()[0].rig
    lidar_from_radar = invert_transform(LIDAR_CAM) @ RADAR_CAM
    expected = vod.ego_from_lidar @ lidar_from_radar
    np.testing.assert_allclose(rig.radars[RADAR], expected, atol=1e-6)


@pytest.mark.parametrize(("sweeps", "returns"), [(1, 2), (2, 2), (3, 3), (5, 4), (9, 4)])
def test_radar_scans_are_those_of_the_fitting_file(vod, sweeps, returns):
    (cloud,) = vod.samples()[0].frame(sweeps, with_images=False).radars[RADAR]
    assert len(cloud.points) == returns


def test_radial_speeds_become_vectors_over_ground(vod):
    (cloud,) = vod.samples()[0].frame(5, with_images=False).radars[RADAR]
    np.testing.assert_allclose(cloud.points[0, 4:6], (-2.0, 0.0), atol=1e-6)
    np.testing.assert_allclose(cloud.points[1, 4:6], (0.0, 3.0), atol=1e-6)
    np.testing.assert_allclose(cloud.points[2, 4:6], (5.0 * 0.6, 0.0), atol=1e-6)
    np.testing.assert_allclose(cloud.points[:, 6], np.array([0, 0, 2, 4]) / 13, atol=1e-6)


def test_past_lidar_frames_are_moved_by_the_cars_own_motion(vod):
    cloud, ego_from_lidar = vod.samples()[2].lidar(sweeps=10)
    np.testing.assert_allclose(cloud.points[:, 0], (10, 20, 9.5, 19.5, 9, 19), atol=1e-4)
    np.testing.assert_allclose(cloud.points[:, 5], (0, 0, 0.1, 0.1, 0.2, 0.2), atol=1e-6)
    np.testing.assert_allclose(ego_from_lidar, vod.ego_from_lidar)


def test_images_can_be_read_at_a_reduced_size(vod):
    frame = vod.samples()[0].frame(target_width_px=448)
    assert frame.cameras[CAMERA].pixels.shape == (304, 484, 3)


def test_the_classes_make_a_head(vod):
    head = HeadSpec(
        class_names=VOD_CLASSES,
        tasks=tuple((name,) for name in VOD_CLASSES),
        nms_radius_m={"Car": 2.0, "Pedestrian": 0.4, "Cyclist": 0.6},
    )
    assert vod.samples()[0].truth().detections.class_names == head.class_names


def test_a_frame_without_objects_has_none(tmp_path):
    truth = ViewOfDelft(write_vod(tmp_path)).samples()[0].truth()
    assert len(truth) == 0


def test_an_empty_radar_file_is_an_empty_scan(tmp_path):
    (cloud,) = ViewOfDelft(write_vod(tmp_path)).samples()[0].frame(with_images=False).radars[RADAR]
    assert len(cloud.points) == 0


def test_another_folder_and_an_unknown_split_are_refused(tmp_path, vod):
    with pytest.raises(DataError, match="lidar/training"):
        ViewOfDelft(tmp_path)
    with pytest.raises(DataError, match=r"'test'.*there are train"):
        vod.samples("test")


def test_a_split_with_a_broken_line_is_refused(tmp_path):
    root = write_vod(tmp_path)
    (root / "lidar/ImageSets/train.txt").write_text("00000\n../x\n")
    with pytest.raises(DataError, match=r"'\.\./x' is no frame number"):
        ViewOfDelft(root).samples()
    (root / "lidar/ImageSets/train.txt").write_text("9" * 5000)
    with pytest.raises(DataError, match="is no frame number"):
        ViewOfDelft(root).samples()


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("label_2/00000.txt", b"Car 0 0 1\n", "15 or 16 columns"),
        ("label_2/00000.txt", b"Car 0 0 0 1 1 2 2 0 1 1 1 1 1 0 1\n", "not positive"),
        ("label_2/00000.txt", b"Car 0 0 0 1 1 2 2 1 1 1 nan 1 1 0 1\n", "not finite"),
        ("label_2/00000.txt", b"Car 0 0 0 1 1 2 2 1 x 1 1 1 1 0 1\n", "no number"),
        ("label_2/00000.txt", b"\xff\xfe\n", "no text file"),
        ("calib/00000.txt", b"P2: 1 2 3\n", "P2 must be 12 numbers"),
        ("calib/00000.txt", None, "folder is incomplete"),
    ],
)
def test_broken_label_and_calibration_files_are_named(tmp_path, path, content, message):
    root = write_vod(tmp_path, frames=1)
    file = root / "lidar/training" / path
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        ViewOfDelft(root).samples()[0].truth()
    assert "00000" in str(caught.value)


def test_a_calibration_that_is_no_rotation_is_refused(tmp_path):
    root = write_vod(tmp_path, frames=1)
    file = root / "radar/training/calib/00000.txt"
    file.write_text(file.read_text().replace("Tr_velo_to_cam: ", "Tr_velo_to_cam: 9"))
    with pytest.raises(DataError, match="scaled, sheared or mirrored"):
        _ = ViewOfDelft(root).samples()[0].rig


@pytest.mark.parametrize("name", ["radar/training/velodyne", "lidar/training/velodyne"])
def test_cut_off_and_damaged_point_files_are_named(tmp_path, name):
    root = write_vod(tmp_path, frames=1, radar=RETURNS)
    path = root / name / "00000.bin"
    sample = ViewOfDelft(root).samples()[0]

    def read():
        return sample.lidar() if "lidar" in name else sample.frame(with_images=False)

    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with pytest.raises(DataError, match=r"00000\.bin.*cut off"):
        read()
    path.write_bytes(np.array([np.nan], "<f4").tobytes() + whole[4:])
    with pytest.raises(DataError, match=r"00000\.bin.*not finite"):
        read()


@pytest.mark.parametrize("content", ["{", '{"odomToCamera": [1, 2]}', "[1]", ""])
def test_a_broken_pose_is_named(tmp_path, content):
    root = write_vod(tmp_path, frames=2)
    (root / "lidar/training/pose/00000.json").write_text(content)
    with pytest.raises(DataError, match=r"00000\.json"):
        ViewOfDelft(root).samples()[1].lidar(sweeps=2)


def test_a_jump_of_the_pose_ends_the_history(tmp_path):
    root = write_vod(tmp_path, frames=3, speed_mps=80.0)
    cloud, _ = ViewOfDelft(root).samples()[2].lidar(sweeps=3)
    assert len(cloud.points) == 2
