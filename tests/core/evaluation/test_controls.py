# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from imkd_core.evaluation.controls import (
    standard_controls,
    with_mirrored_images,
    with_permuted_cameras,
    with_shifted_radar,
    without_cameras,
    without_radar,
)
from imkd_core.types import CameraImage, Frame, RadarCloud

NAMES = ("front", "right", "back")


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    images = {
        name: CameraImage(
            sensor=name,
            stamp_ns=10 + number,
            pixels=rng.integers(0, 256, (4, 6, 3), dtype=np.uint8),
        )
        for number, name in enumerate(NAMES)
    }
    points = rng.normal(size=(5, 7)).astype(np.float32)
    cloud = RadarCloud(sensor="radar", stamp_ns=20, points=points)
    return Frame(
        stamp_ns=12,
        cameras=images,
        radars={"radar": (cloud,)},
        reference_from_ego={10: np.eye(4)},
    )


def test_cameras_are_taken_away_by_name_or_all(frame):
    assert list(without_cameras(frame, "right").cameras) == ["front", "back"]
    assert not without_cameras(frame).cameras
    assert without_cameras(frame).radars == frame.radars


@pytest.mark.parametrize("step", [1, 2])
def test_permuted_cameras_show_another_picture_at_their_own_time(frame, step):
    permuted = with_permuted_cameras(frame, step)
    for number, name in enumerate(NAMES):
        other = NAMES[(number + step) % 3]
        np.testing.assert_array_equal(permuted.cameras[name].pixels, frame.cameras[other].pixels)
        assert permuted.cameras[name].stamp_ns == frame.cameras[name].stamp_ns


def test_mirroring_twice_gives_the_picture_back(frame):
    once = with_mirrored_images(frame)
    twice = with_mirrored_images(once)
    for name in NAMES:
        assert (once.cameras[name].pixels != frame.cameras[name].pixels).any()
        np.testing.assert_array_equal(twice.cameras[name].pixels, frame.cameras[name].pixels)


def test_radar_is_taken_away_or_moved_to_its_right(frame):
    assert not without_radar(frame).radars
    before = frame.radars["radar"][0].points
    after = with_shifted_radar(frame, 5.0).radars["radar"][0].points
    np.testing.assert_allclose(after[:, 1], before[:, 1] - 5, atol=1e-6)
    np.testing.assert_array_equal(np.delete(after, 1, axis=1), np.delete(before, 1, axis=1))


def test_every_standard_control_changes_the_frame_and_keeps_its_time(frame):
    controls = standard_controls("back", 3)
    assert len({control.description for control in controls}) == len(controls)
    for control in controls:
        changed = control.change(frame)
        assert changed.stamp_ns == frame.stamp_ns
        same_cameras = changed.cameras.keys() == frame.cameras.keys() and all(
            np.array_equal(changed.cameras[n].pixels, frame.cameras[n].pixels) for n in NAMES
        )
        same_radar = changed.radars.keys() == frame.radars.keys() and all(
            np.array_equal(changed.radars[n][0].points, frame.radars[n][0].points)
            for n in frame.radars
        )
        assert not (same_cameras and same_radar), control.name
