# SPDX-License-Identifier: Apache-2.0
"""CameraInfo and TF -> the rig: late, changed, impossible."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.errors import CalibrationError
from imkd_core.geometry import project_points, rigid_transform
from imkd_core.runtime.transform_tree import TransformTree
from imkd_ros.bridge.calibration import CalibrationStore, intrinsics_from_camera_info
from imkd_ros.bridge.sensors import sensor_set_from_mapping

WIDTH, HEIGHT = 640, 400
SENSORS = sensor_set_from_mapping({"cameras": {"A": {}, "B": {}}, "radars": {"R": {}}})


def info(**changes):
    """A CameraInfo as the bag library gives it: arrays, no methods."""
    values = {
        "header": SimpleNamespace(frame_id="a_optical"),
        "width": WIDTH,
        "height": HEIGHT,
        "distortion_model": "plumb_bob",
        "d": np.array([-0.1, 0.01, 0.0, 0.0, 0.0]),
        "k": np.array([500.0, 0, 310.0, 0, 510.0, 190.0, 0, 0, 1]),
        "p": np.array([480.0, 0, 300.0, 0, 0, 480.0, 180.0, 0, 0, 0, 1, 0]),
        "binning_x": 0,
        "binning_y": 0,
        "roi": SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
    }
    return SimpleNamespace(**{**values, **changes})


def roi(x, y, width, height):
    return SimpleNamespace(x_offset=x, y_offset=y, width=width, height=height)


def store_of(**sources):
    tree = TransformTree()
    sensors = sensor_set_from_mapping(sources) if sources else SENSORS
    return CalibrationStore(sensors, tree, "base_link"), tree


def pose(x=0.0):
    return rigid_transform(np.eye(3), (x, 0.0, 1.5))


def test_a_camera_info_is_read_number_by_number():
    camera = intrinsics_from_camera_info(info(), "A").model
    assert (camera.width_px, camera.height_px) == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(camera.pixel_from_cam, info().k.reshape(3, 3))
    assert camera.distortion_model == "plumb_bob"
    assert camera.distortion == (-0.1, 0.01, 0.0, 0.0, 0.0)


def test_a_rectified_camera_takes_p_and_no_distortion():
    camera = intrinsics_from_camera_info(info(), "A", is_rectified=True).model
    assert camera.pixel_from_cam[0, 0] == 480.0
    assert not camera.is_distorted


@given(
    binning=st.sampled_from([(2, 2), (4, 2), (1, 1)]),
    offset=st.tuples(st.integers(0, 100), st.integers(0, 60)),
    point=st.tuples(st.floats(-2, 2), st.floats(-1, 1), st.floats(2, 50)),
)
def test_binning_and_region_move_a_projection_as_they_move_the_pixels(binning, offset, point):
    region = roi(*offset, 480, 320)
    message = info(binning_x=binning[0], binning_y=binning[1], roi=region)
    camera = intrinsics_from_camera_info(message, "A").model
    assert (camera.width_px, camera.height_px) == (480 // binning[0], 320 // binning[1])
    full, _ = project_points(info().k.reshape(3, 3), [point])
    seen, _ = project_points(camera.pixel_from_cam, [point])
    expected = (full[0] - offset + 0.5) / binning - 0.5  # centres of merged pixels
    np.testing.assert_allclose(seen[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"k": np.zeros(9)}, "all zeros means uncalibrated"),
        ({"k": np.full(9, np.nan)}, "finite"),
        ({"k": np.ones(8)}, "CameraInfo of 'A' refused"),
        ({"width": 0}, "empty"),
        ({"d": np.zeros(3)}, "coefficients"),
        ({"d": np.full(5, np.inf)}, "finite"),
        ({"d": np.zeros(15), "distortion_model": "rational_polynomial"}, "coefficients"),
        ({"distortion_model": "bent"}, "unknown distortion model"),
        ({"roi": roi(600, 0, 100, 100)}, "region of interest"),
        ({"k": np.array([-500.0, 0, 310.0, 0, 510.0, 190.0, 0, 0, 1])}, "fx, fy > 0"),
        ({"k": np.array([500.0, 0, np.inf, 0, 510.0, 190.0, 0, 0, 1])}, "finite"),
        ({"k": np.array([1e300, 0, 310.0, 0, 510.0, 190.0, 0, 0, 1])}, "no camera's"),
        ({"d": np.zeros(6)}, "coefficients"),
        ({"d": np.zeros(15)}, "coefficients"),
        ({"width": 4_000_000_000}, "no camera's"),
    ],
)
def test_an_impossible_camera_info_is_refused_by_name(changes, words):
    with pytest.raises(CalibrationError, match="CameraInfo of 'A' refused") as raised:
        intrinsics_from_camera_info(info(**changes), "A")
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("name", "coefficients", "expected"),
    [
        ("", (), "none"),
        ("plumb_bob", (), "none"),
        ("fisheye", (0.1, 0.0, 0.0, 0.0), "equidistant"),
        ("rational_polynomial", (0.1,) * 8, "rational_polynomial"),
    ],
)
def test_names_of_distortion_models_are_understood(name, coefficients, expected):
    message = info(distortion_model=name, d=np.array(coefficients))
    assert intrinsics_from_camera_info(message, "A").model.distortion_model == expected


def test_the_rig_grows_as_calibration_arrives_and_says_what_lacks():
    store, tree = store_of()
    assert store.refresh() == ""
    assert "no usable CameraInfo on ~/input/a/camera_info" in store.missing["A"]
    assert "frame_id" in store.missing["R"]
    store.on_camera_info("B", info(header=SimpleNamespace(frame_id="b_optical")))
    store.on_radar_frame("R", "radar")
    tree.set_static("base_link", "b_optical", pose(1.0))
    assert store.refresh() == "rig rebuilt (calibrated: B)"
    assert "base_link <- radar" in store.missing["R"]
    assert "/tf_static" in store.missing["R"]
    store.on_camera_info("A", info())
    tree.set_static("base_link", "a_optical", pose(2.0))
    tree.set_static("base_link", "radar", pose(3.0))
    assert store.refresh() == "rig rebuilt (calibrated: A, R)"
    assert tuple(store.rig.cameras) == ("A", "B")  # the order of the sensor file
    assert store.rig.cameras["A"].ego_from_cam[0, 3] == 2.0
    assert not store.missing


def complete():
    store, tree = store_of()
    for name in ("a", "b"):
        store.on_camera_info(name.upper(), info(header=SimpleNamespace(frame_id=f"{name}_optical")))
        tree.set_static("base_link", f"{name}_optical", pose())
    store.on_radar_frame("R", "radar")
    tree.set_static("base_link", "radar", pose())
    store.refresh()
    return store, tree


def test_an_unchanged_calibration_keeps_the_very_same_rig():
    store, tree = complete()
    rig = store.rig
    store.on_camera_info("A", info())
    tree.set_static("base_link", "a_optical", pose())
    assert store.refresh() == ""
    assert store.rig is rig


class CountingTree(TransformTree):
    """Counts how often it is asked for a transform."""

    lookups = 0

    def lookup(self, *arguments):
        self.lookups += 1
        return super().lookup(*arguments)


def test_a_rig_on_fixed_links_is_looked_up_again_only_where_something_changed():
    tree = CountingTree()
    store = CalibrationStore(SENSORS, tree, "base_link")
    tree.set_static("base_link", "a_optical", pose())
    store.on_camera_info("A", info())
    assert store.refresh() == "rig rebuilt (calibrated: A)"
    asked = tree.lookups
    for _ in range(5):
        store.on_camera_info("A", info())
        tree.set_static("base_link", "a_optical", pose())
        assert store.refresh() == ""
    assert tree.lookups == asked
    tree.set_static("base_link", "a_optical", pose(0.5))
    assert store.refresh() == "rig rebuilt (changed: A)"


def test_a_camera_on_a_moving_mount_follows_it():
    store, tree = store_of()
    tree.push("base_link", "mount", 1_000, pose())
    tree.set_static("mount", "a_optical", pose())
    store.on_camera_info("A", info())
    store.refresh()
    tree.push("base_link", "mount", 2_000, pose(0.5))
    assert store.refresh() == "rig rebuilt (changed: A)"
    assert store.rig.cameras["A"].ego_from_cam[0, 3] == 0.5


def test_changed_numbers_make_a_new_rig_and_are_named():
    store, tree = complete()
    store.on_camera_info("A", info(k=info().k * np.array([2, 1, 1, 1, 1, 1, 1, 1, 1.0])))
    assert store.refresh() == "rig rebuilt (changed: A)"
    tree.set_static("base_link", "radar", pose(0.1))
    assert store.refresh() == "rig rebuilt (changed: R)"
    assert store.rig.radars["R"][0, 3] == 0.1


def test_a_refused_camera_info_leaves_the_last_good_one_in_force():
    store, _ = complete()
    rig = store.rig
    with pytest.raises(CalibrationError):
        store.on_camera_info("A", info(k=np.zeros(9)))
    assert store.refresh() == ""
    assert store.rig is rig


def test_a_frame_that_the_sensor_file_names_wins_over_the_messages():
    store, tree = store_of(cameras={"A": {"frame_id": "mine"}}, radars={"R": {"frame_id": "r"}})
    store.on_camera_info("A", info())
    store.on_radar_frame("R", "other")
    tree.set_static("base_link", "mine", pose(1.0))
    tree.set_static("base_link", "r", pose(2.0))
    store.refresh()
    assert not store.missing


def test_an_empty_frame_id_is_explained():
    store, _ = store_of()
    store.on_camera_info("A", info(header=SimpleNamespace(frame_id="")))
    store.refresh()
    assert "empty frame_id" in store.missing["A"]


def test_a_camera_whose_frame_changes_to_an_unknown_one_leaves_the_rig():
    store, _ = complete()
    store.on_camera_info("A", info(header=SimpleNamespace(frame_id="gone")))
    assert store.refresh() == "rig rebuilt (lost: A)"
    assert "gone" in store.missing["A"]
