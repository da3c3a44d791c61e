# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.bev_grid import BevGrid
from imkd_core.config import InputSpec
from imkd_core.data.augmentation import (
    CameraChange,
    FrameChange,
    apply_change,
    sample_change,
    seen_only_by,
    visible_in,
)
from imkd_core.geometry import rigid_transform
from imkd_core.recipe import TrainConfig
from imkd_core.types import CameraImage, CameraModel, Detections, Frame, RadarCloud, SensorRig

SPEC = InputSpec(
    image_height_px=64,
    image_width_px=96,
    bev=BevGrid(x_min_m=-16.0, x_max_m=32.0, y_min_m=-8.0, y_max_m=8.0, cell_m=0.5),
)
FORWARD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # optical axes seen from the ego
TURN = np.array([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]])


def camera(rotation):
    return CameraModel(
        width_px=192,
        height_px=128,
        pixel_from_cam=np.array([[96.0, 0, 95.5], [0, 96.0, 63.5], [0, 0, 1]]),
        ego_from_cam=rigid_transform(rotation, (0, 0, 1.5)),
    )


RIG = SensorRig(
    cameras={"front": camera(FORWARD), "back": camera(TURN @ FORWARD)},
    radars={"radar": np.eye(4)},
)


def frame(seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (128, 192, 3), dtype=np.uint8)
    images = {n: CameraImage(sensor=n, stamp_ns=5, pixels=pixels) for n in ("front", "back")}
    cloud = RadarCloud(sensor="radar", stamp_ns=5, points=np.zeros((3, 7), np.float32))
    return Frame(stamp_ns=5, cameras=images, radars={"radar": (cloud,)})


def boxes(centers):
    n = len(centers)
    return Detections(
        stamp_ns=5,
        class_names=("car",),
        center_m=np.asarray(centers, np.float32),
        size_m=np.ones((n, 3), np.float32),
        yaw_rad=np.zeros(n, np.float32),
        velocity_mps=np.zeros((n, 2), np.float32),
        scores=np.ones(n, np.float32),
        labels=np.zeros(n, np.int64),
    )


def change(drop_radar=False, **front):
    return FrameChange(cameras={"front": CameraChange(**front)}, drop_radar=drop_radar)


def test_no_change_is_the_identity():
    before = frame()
    after = apply_change(before, change(), SPEC)
    for name in before.cameras:
        np.testing.assert_array_equal(after.cameras[name].pixels, before.cameras[name].pixels)
    assert after.radars["radar"] is before.radars["radar"]


@pytest.mark.parametrize("blank", ["plain", "noise", "scrambled"])
def test_a_covered_camera_still_delivers_but_not_its_scene(blank):
    before = frame()
    after = apply_change(before, change(blank=blank, noise_seed=3), SPEC)
    pixels, original = after.cameras["front"].pixels, before.cameras["front"].pixels
    assert pixels.shape == original.shape
    assert (pixels == original).all(axis=2).mean() < 0.2
    np.testing.assert_array_equal(after.cameras["back"].pixels, before.cameras["back"].pixels)


def test_a_scrambled_image_keeps_its_tiles():
    before = frame()
    pixels = apply_change(before, change(blank="scrambled", noise_seed=1), SPEC).cameras["front"]
    np.testing.assert_array_equal(
        np.sort(pixels.pixels.reshape(-1)), np.sort(before.cameras["front"].pixels.reshape(-1))
    )


def test_a_masked_camera_and_a_dropped_radar_are_not_in_the_frame():
    after = apply_change(frame(), change(drop_radar=True, blank="masked"), SPEC)
    assert list(after.cameras) == ["back"]
    assert not after.radars


@given(right=st.integers(-5, 5), down=st.integers(-5, 5))
def test_a_shift_moves_the_picture_by_network_pixels(right, down):
    before, after = frame(), apply_change(frame(), change(shift_px=(right, down)), SPEC)
    moved = np.roll(before.cameras["front"].pixels, (2 * down, 2 * right), axis=(0, 1))
    inner = (slice(12, -12), slice(12, -12))
    np.testing.assert_array_equal(after.cameras["front"].pixels[inner], moved[inner])


def test_brightness_and_noise_act_and_stay_within_a_byte():
    bright = apply_change(frame(), change(gain=1.5), SPEC).cameras["front"].pixels
    original = frame().cameras["front"].pixels
    np.testing.assert_array_equal(bright, np.clip(np.rint(original * 1.5), 0, 255))
    noisy = apply_change(frame(), change(noise=10.0), SPEC).cameras["front"].pixels
    assert 3 < np.abs(noisy.astype(int) - original).mean() < 15


def test_the_same_generator_state_draws_the_same_change():
    train = TrainConfig(pixel_shift_px=3, brightness=0.3, noise=4, blank_camera=0.5, drop_radar=0.5)
    draws = [
        sample_change(np.random.default_rng((1, step)), ("front", "back"), train)
        for step in (7, 7, 8)
    ]
    assert draws[0] == draws[1] != draws[2]


def test_the_default_configuration_changes_nothing():
    drawn = sample_change(np.random.default_rng(0), ("front", "back"), TrainConfig())
    assert not drawn.blanked
    assert not drawn.drop_radar
    assert {(c.shift_px, c.gain, c.noise) for c in drawn.cameras.values()} == {((0, 0), 1.0, 0.0)}


def test_blanking_happens_as_often_as_configured():
    train = TrainConfig(blank_camera=0.4)
    rng = np.random.default_rng(0)
    blanked = [len(sample_change(rng, ("front", "back"), train).blanked) for _ in range(2000)]
    assert np.mean(blanked) / 2 == pytest.approx(0.95 * 0.4 + 0.05, abs=0.03)


def test_a_box_is_seen_by_the_camera_that_looks_at_it():
    seen = visible_in(boxes([(10, 0, 1), (-10, 0, 1), (0, 10, 1), (1, 0, 1)]), frame(), RIG, SPEC)
    np.testing.assert_array_equal(seen["front"], [True, False, False, False])
    np.testing.assert_array_equal(seen["back"], [False, True, False, False])


def test_only_boxes_that_no_other_camera_sees_are_lost():
    visible = {
        "a": np.array([True, True, False, False]),
        "b": np.array([False, True, True, False]),
    }
    np.testing.assert_array_equal(seen_only_by(visible, frozenset("a")), [1, 0, 0, 0])
    np.testing.assert_array_equal(seen_only_by(visible, frozenset("ab")), [1, 1, 1, 0])
    assert not seen_only_by(visible, frozenset()).any()
