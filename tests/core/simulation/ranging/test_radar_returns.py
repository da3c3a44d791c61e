# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from imkd_core.simulation.ranging import radar_returns
from imkd_core.simulation.ranging.radar_returns import CLUTTER, GHOST, draw_echoes
from tests.core.simulation.ranging.made_up_scenes import (
    box_body,
    placed,
    pose,
    random_snapshot,
    snapshot,
)

RADAR = pose(0.0, 0.0, 0.5)


def echoes(scene, clutter=0.0, seed=0, own=(0.0, 0.0)):
    return draw_echoes(scene, RADAR, np.asarray(own), clutter, np.random.default_rng(seed))


def test_true_spots_lie_in_the_box_of_the_body_they_come_from():
    scene = random_snapshot(np.random.default_rng(1), 40)
    found = echoes(scene)
    assert (found.origin >= 0).sum() > 30
    for position, origin in zip(found.position, found.origin, strict=True):
        if origin >= 0:
            thing = scene.placed[origin]
            local = (position - thing.global_from_body[:2, 3]) @ thing.global_from_body[:2, :2]
            assert (np.abs(local) <= np.asarray(thing.body.shape.size_m[:2]) / 2 + 1e-6).all()


def test_true_spots_move_with_their_body_turning_included():
    thing = placed(box_body((12, 3, 3)), 20, 2, 0.6, velocity=(4.0, -1.0, 0.0), yaw_rate=0.3)
    found = echoes(snapshot(thing))
    true = found[found.origin == 0]
    arm = true.position - (20.0, 2.0)
    expected = np.array([4.0, -1.0]) + 0.3 * np.column_stack([-arm[:, 1], arm[:, 0]])
    np.testing.assert_allclose(true.velocity, expected, atol=1e-9)


def test_cross_sections_are_best_face_on_and_worst_at_the_corner():
    faces, corner = (
        echoes(snapshot(placed(box_body(rcs=12.0), 25, 0, yaw))).rcs_dbsm.mean()
        for yaw in (0.0, np.pi / 4)
    )
    assert faces == pytest.approx(12.0, abs=1.0)
    assert corner == pytest.approx(6.0, abs=0.5)


def test_clutter_stands_before_the_wall():
    wall = placed(box_body((0.5, 200, 5), category=""), 30, 0)
    found = echoes(snapshot(wall), clutter=200.0)
    clutter = found[found.origin == CLUTTER]
    assert 150 < len(clutter) < 250
    assert (clutter.position[:, 0] < 30.5).all()
    assert (clutter.velocity == 0).all()


def test_a_target_seen_twice_is_twice_as_far_and_closes_twice_as_fast(monkeypatch):
    monkeypatch.setattr(radar_returns, "_TWICE_CHANCE", 1.0)
    monkeypatch.setattr(radar_returns, "_MIRROR_CHANCE", 0.0)
    car = placed(box_body(rcs=20.0), 12, 0, velocity=(-4.0, 0.0, 0.0))
    found = echoes(snapshot(car), own=(6.0, 0.0))
    ghosts, true = found[found.origin == GHOST], found[found.origin == 0]
    np.testing.assert_allclose(ghosts.position, 2 * true.position)
    line = ghosts.position / np.linalg.norm(ghosts.position, axis=1, keepdims=True)
    closing = ((ghosts.velocity - (6.0, 0.0)) * line).sum(axis=1)
    np.testing.assert_allclose(closing, 2 * (line @ (-10.0, 0.0)))
    assert (ghosts.loss_db > true.loss_db).all()


def test_no_mirror_no_image(monkeypatch):
    monkeypatch.setattr(radar_returns, "_MIRROR_CHANCE", 1.0)
    monkeypatch.setattr(radar_returns, "_TWICE_CHANCE", 0.0)
    found = echoes(snapshot(placed(box_body((1, 1, 1.7)), 12, 0)))
    assert not (found.origin == GHOST).any()
