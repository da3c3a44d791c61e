# SPDX-License-Identifier: Apache-2.0
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.errors import CalibrationError, SensorError
from imkd_core.types import (
    LIDAR_FIELDS,
    MAX_STAMP_NS,
    RADAR_FIELDS,
    CameraImage,
    Detections,
    Frame,
    LidarCloud,
    RadarCloud,
)

STAMP_NS = 1_600_000_000_123_456_789
BAD_STAMPS = [0, -1, MAX_STAMP_NS, 1.5e18, True, "now", None, np.float64(1e18)]


def image(sensor="front", stamp_ns=STAMP_NS, shape=(4, 6, 3)):
    return CameraImage(sensor=sensor, stamp_ns=stamp_ns, pixels=np.zeros(shape, np.uint8))


def radar(sensor="radar", stamp_ns=STAMP_NS, n=2):
    return RadarCloud(sensor=sensor, stamp_ns=stamp_ns, points=np.zeros((n, 7), np.float32))


def detections(n=3, **changes):
    values = {
        "stamp_ns": STAMP_NS,
        "class_names": ("car", "pedestrian"),
        "center_m": np.arange(3 * n, dtype=np.float32).reshape(n, 3),
        "size_m": np.ones((n, 3), np.float32),
        "yaw_rad": np.arange(n, dtype=np.float32),
        "velocity_mps": np.full((n, 2), np.nan, np.float32),
        "scores": np.linspace(1, 0, n, dtype=np.float32),
        "labels": np.arange(n) % 2,
    }
    return Detections(**{**values, **changes})


@pytest.mark.parametrize("stamp_ns", BAD_STAMPS)
@pytest.mark.parametrize("make", [image, radar, lambda **k: Frame(cameras={}, radars={}, **k)])
def test_impossible_stamps_are_refused(make, stamp_ns):
    with pytest.raises(SensorError, match="stamp"):
        make(stamp_ns=stamp_ns)


@given(st.integers(1, MAX_STAMP_NS - 1))
def test_possible_stamps_are_kept_exactly(stamp_ns):
    assert image(stamp_ns=stamp_ns).stamp_ns == stamp_ns


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 4), (0, 6, 3), (4, 0, 3), (1, 4, 6, 3)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(SensorError, match="camera 'front'"):
        image(shape=shape)


def test_images_that_are_not_bytes_are_refused():
    with pytest.raises(SensorError, match="float32"):
        CameraImage(sensor="c", stamp_ns=STAMP_NS, pixels=np.zeros((2, 2, 3), np.float32))
    with pytest.raises(SensorError, match="uint8"):
        CameraImage(sensor="c", stamp_ns=STAMP_NS, pixels=[[[1, 2, 3]]])


def test_values_cannot_be_changed_and_do_not_copy_large_arrays():
    pixels = np.zeros((4, 6, 3), np.uint8)
    value = CameraImage(sensor="c", stamp_ns=STAMP_NS, pixels=pixels)
    assert np.shares_memory(value.pixels, pixels)
    with pytest.raises(ValueError, match="read-only"):
        value.pixels[0, 0, 0] = 1
    with pytest.raises(FrozenInstanceError):
        value.sensor = "other"
    assert pixels.flags.writeable


@pytest.mark.parametrize(
    ("kind", "fields"), [(RadarCloud, RADAR_FIELDS), (LidarCloud, LIDAR_FIELDS)]
)
def test_clouds_check_columns_and_finiteness(kind, fields):
    columns = len(fields)
    empty = kind(sensor="s", stamp_ns=STAMP_NS, points=np.zeros((0, columns)))
    assert empty.points.shape == (0, columns)
    assert empty.points.dtype == np.float32
    for shape in [(3, columns + 1), (3, columns - 1), (columns,), (0,), (1, 1, columns)]:
        with pytest.raises(SensorError, match=fields[0]):
            kind(sensor="s", stamp_ns=STAMP_NS, points=np.zeros(shape))
    for bad in (np.nan, np.inf, -np.inf, 1e300):
        points = np.zeros((3, columns))
        points[1, -1] = bad
        with pytest.raises(SensorError, match=r"1 of 3 points are not finite \(first: row 1\)"):
            kind(sensor="s", stamp_ns=STAMP_NS, points=points)
    signalling = np.zeros((3, columns))
    signalling.view(np.uint64)[1, -1] = 0x7FF0_0000_0000_0001
    with pytest.raises(SensorError, match=r"1 of 3 points are not finite \(first: row 1\)"):
        kind(sensor="s", stamp_ns=STAMP_NS, points=signalling)


def test_a_frame_keeps_its_readings_under_their_own_names():
    newer, older = radar(stamp_ns=STAMP_NS), radar(stamp_ns=STAMP_NS - 80_000_000)
    frame = Frame(stamp_ns=STAMP_NS, cameras={"front": image()}, radars={"radar": [newer, older]})
    assert frame.radars["radar"] == (newer, older)
    for cameras, radars in (({"back": image()}, {}), ({}, {"other": (newer,)})):
        with pytest.raises(SensorError, match="was filed under"):
            Frame(stamp_ns=STAMP_NS, cameras=cameras, radars=radars)
    assert Frame(stamp_ns=STAMP_NS, cameras={}, radars={}).cameras == {}


def test_a_frame_knows_the_motion_of_the_stamps_it_was_given():
    moved = np.eye(4)
    moved[0, 3] = -0.5
    frame = Frame(stamp_ns=STAMP_NS, cameras={}, radars={}, reference_from_ego={7: moved})
    np.testing.assert_array_equal(frame.motion_at(7), moved)
    np.testing.assert_array_equal(frame.motion_at(8), np.eye(4))
    with pytest.raises(CalibrationError, match="reference_from_ego at 7 ns"):
        Frame(stamp_ns=STAMP_NS, cameras={}, radars={}, reference_from_ego={7: np.zeros((4, 4))})


def test_a_frame_may_know_its_pose_and_refuses_one_that_is_none():
    pose = np.eye(4)
    pose[:3, 3] = (1e5, -2.0, 0.5)
    frame = Frame(stamp_ns=STAMP_NS, cameras={}, radars={}, odom_from_ego=pose)
    np.testing.assert_array_equal(frame.odom_from_ego, pose)
    assert frame.odom_from_ego is not pose
    assert not frame.odom_from_ego.flags.writeable
    assert Frame(stamp_ns=STAMP_NS, cameras={}, radars={}).odom_from_ego is None
    with pytest.raises(CalibrationError, match=f"odom_from_ego at {STAMP_NS} ns"):
        Frame(stamp_ns=STAMP_NS, cameras={}, radars={}, odom_from_ego=2 * np.eye(4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"center_m": np.zeros((3, 2))}, "center_m"),
        ({"yaw_rad": np.zeros((3, 1))}, "yaw_rad"),
        ({"labels": np.zeros(2, np.int64)}, "labels"),
        ({"center_m": np.full((3, 3), np.nan)}, "center_m"),
        ({"center_m": np.full((3, 3), 1e300)}, "center_m"),
        ({"velocity_mps": np.full((3, 2), np.inf)}, "velocity_mps"),
        ({"scores": np.array([0.1, np.nan, 0.2])}, "scores"),
        ({"size_m": np.zeros((3, 3))}, "positive"),
        ({"scores": np.array([0.1, 1.1, 0.2])}, "0..1"),
        ({"scores": np.array([0.1, -0.1, 0.2])}, "0..1"),
        ({"labels": np.array([0, 1, 2])}, "label"),
        ({"labels": np.array([0, -1, 1])}, "label"),
        ({"labels": np.array([0.5, 1.0, 0.0])}, "whole numbers"),
    ],
)
def test_impossible_detections_are_refused(change, message):
    with pytest.raises(SensorError, match=message):
        detections(**change)


def test_no_detections_are_detections():
    none = detections(0)
    assert len(none) == 0
    assert none.names == []
    assert len(none.select(np.zeros(0, np.bool_))) == 0


@given(st.lists(st.booleans(), min_size=5, max_size=5))
def test_selection_by_mask_and_by_indices_agree_and_keep_the_rest(mask):
    gate = {"camera": np.full((2, 3), 0.5, np.float32)}
    boxes = detections(5, reliability=gate, stage_ms={"decode": 1.0})
    by_mask = boxes.select(np.array(mask))
    by_index = boxes.select(np.flatnonzero(mask))
    for name in ("center_m", "size_m", "yaw_rad", "velocity_mps", "scores", "labels"):
        expected = getattr(boxes, name)[np.array(mask)]
        np.testing.assert_array_equal(getattr(by_mask, name), expected)
        np.testing.assert_array_equal(getattr(by_index, name), expected)
    assert by_mask.names == [n for n, keep in zip(boxes.names, mask, strict=True) if keep]
    assert by_mask.stage_ms == {"decode": 1.0}
    assert by_mask.reliability["camera"].shape == (2, 3)


def test_selection_can_reorder():
    boxes = detections(3)
    assert boxes.select(np.array([2, 0])).scores.tolist() == [0.0, 1.0]


def test_arrays_of_detections_are_read_only():
    gate = np.full((2, 3), 0.5, np.float32)
    boxes = replace(detections(), reliability={"radar": gate})
    for array in (boxes.center_m, boxes.labels, boxes.reliability["radar"]):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
