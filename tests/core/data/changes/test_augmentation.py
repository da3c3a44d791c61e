# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from imkd_core.bev_grid import BevGrid
from imkd_core.config import InputSpec
from imkd_core.data.changes.augmentation import (
    SampleChange,
    lost_boxes,
    sample_change,
    seen_only_by,
    visible_in,
)
from imkd_core.data.changes.image_change import ImageChange
from imkd_core.geometry import rigid_transform
from imkd_core.recipe import AugmentConfig
from imkd_core.types import CameraModel, Detections, Frame, SensorRig

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
FRAME = Frame(stamp_ns=5, cameras={}, radars={})


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


def test_the_same_generator_state_draws_the_same_change():
    augment = AugmentConfig(
        pixel_shift_px=3, brightness=0.3, noise=4, blank_camera=0.5, drop_radar=0.5, zoom=0.1
    )
    draws = [sample_change(np.random.default_rng((1, step)), RIG, augment) for step in (7, 7, 8)]
    assert draws[0] == draws[1] != draws[2]


def test_the_default_configuration_changes_nothing():
    drawn = sample_change(np.random.default_rng(0), RIG, AugmentConfig(), 6)
    assert not drawn.blanked
    assert not drawn.stale
    assert drawn.keeps_geometry
    assert not drawn.radar.drop
    assert drawn.radar.missing_scans == drawn.radar.clutter == 0
    assert drawn.radar.dropped_sweeps == ()
    assert {(c.shift_px, c.gain, c.noise) for c in drawn.cameras.values()} == {((0, 0), 1.0, 0.0)}


def test_new_kinds_of_change_leave_the_draws_of_the_others_alone():
    old = {"pixel_shift_px": 3, "brightness": 0.3, "noise": 4.0, "blank_camera": 0.4}
    few = sample_change(np.random.default_rng(3), RIG, AugmentConfig(**old))
    many = sample_change(
        np.random.default_rng(3), RIG, AugmentConfig(**old, zoom=0.2, bev_yaw_deg=20, flip_y=0.5)
    )
    for name, change in few.cameras.items():
        other = many.cameras[name]
        for item in ("shift_px", "gain", "noise", "noise_seed", "blank"):
            assert getattr(change, item) == getattr(other, item)


def test_blanking_happens_as_often_as_configured():
    augment = AugmentConfig(blank_camera=0.4)
    rng = np.random.default_rng(0)
    blanked = [len(sample_change(rng, RIG, augment).blanked) for _ in range(2000)]
    assert np.mean(blanked) / 2 == pytest.approx(0.95 * 0.4 + 0.05, abs=0.03)


def test_a_side_and_all_cameras_are_masked_as_often_as_configured():
    rng = np.random.default_rng(0)
    sides = [sample_change(rng, RIG, AugmentConfig(drop_side=0.5)).blanked for _ in range(400)]
    assert np.mean([len(side) == 1 for side in sides]) == pytest.approx(0.5, abs=0.08)
    assert {*sides} == {frozenset(), frozenset({"front"}), frozenset({"back"})}
    assert sample_change(rng, RIG, AugmentConfig(drop_cameras=1.0)).blanked == {"front", "back"}


def test_cameras_are_stale_each_by_itself():
    rng = np.random.default_rng(0)
    stale = [sample_change(rng, RIG, AugmentConfig(stale_camera=0.5)).stale for _ in range(400)]
    assert np.mean([len(names) for names in stale]) == pytest.approx(1.0, abs=0.1)


def test_a_change_knows_whether_it_moves_the_projection():
    assert SampleChange().keeps_geometry
    assert SampleChange(cameras={"front": ImageChange(gain=2.0, blank="plain")}).keeps_geometry
    assert not SampleChange(cameras={"front": ImageChange(zoom=1.1)}).keeps_geometry


def test_a_box_is_seen_by_the_camera_that_looks_at_it():
    seen = visible_in(boxes([(10, 0, 1), (-10, 0, 1), (0, 10, 1), (1, 0, 1)]), FRAME, RIG, SPEC)
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


def test_a_box_is_lost_when_its_last_sensor_goes():
    visible = {"a": np.array([1, 1, 0, 0, 0], bool), "b": np.array([0, 1, 0, 0, 0], bool)}
    before = np.array([[1, 0], [0, 0], [0, 1], [0, 0], [1, 1]], bool)
    left = np.array([[0, 0], [0, 0], [0, 0], [0, 0], [0, 1]], bool)
    np.testing.assert_array_equal(
        lost_boxes(visible, frozenset("a"), left, before),
        [1, 0, 1, 0, 0],  # camera a and its return; b sees it; its return; never seen; one left
    )
    assert not lost_boxes(visible, frozenset(), before, before).any()
    np.testing.assert_array_equal(
        lost_boxes(visible, frozenset("a"), before, before), [0, 0, 0, 0, 0]
    )
