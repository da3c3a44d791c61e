# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from imkd_core.simulation.ranging.ray_casting import cast, sweep_directions
from imkd_core.simulation.ranging.ray_windows import body_windows
from tests.core.simulation.ranging.made_up_scenes import (
    box_body,
    placed,
    pose,
    random_snapshot,
    snapshot,
)

ELEVATION = np.radians(np.linspace(-30, 11, 9))
AZIMUTHS = 120


@pytest.mark.parametrize("seed", range(4))
def test_no_ray_that_hits_a_body_is_outside_its_window(seed):
    rng = np.random.default_rng(seed)
    scene = random_snapshot(rng, 20, 25.0)
    sensor = pose(0.5, -0.3, 1.8, rng.uniform(-3, 3))
    windows = {
        i: set(rays.tolist()) for i, _, rays in body_windows(scene, sensor, ELEVATION, AZIMUTHS)
    }
    directions = sweep_directions(tuple(ELEVATION), AZIMUTHS) @ sensor[:3, :3].T
    for index, thing in enumerate(scene.placed):
        alone = snapshot(thing)
        hit = np.flatnonzero(cast(alone, sensor[:3, 3], directions).placed_index == 0)
        assert set(hit.tolist()) <= windows.get(index, set())


def test_a_window_is_much_smaller_than_a_turn_and_near_bodies_come_first():
    scene = snapshot(placed(box_body((4.5, 1.9, 6)), 30, 5), placed(box_body(), 10, -4))
    found = list(body_windows(scene, pose(0, 0, 1.8), ELEVATION, AZIMUTHS))
    assert [index for index, _, _ in found] == [1, 0]
    assert found[0][1] == pytest.approx(np.hypot(10 - 2.25, 4 - 0.95), abs=1e-6)
    assert all(len(rays) < 0.2 * len(ELEVATION) * AZIMUTHS for _, _, rays in found)


def test_a_body_all_around_the_sensor_is_tried_by_all_azimuths():
    scene = snapshot(placed(box_body((8, 8, 1)), 0, 0))
    ((_, _, rays),) = body_windows(scene, pose(0.5, 0.2, 1.8), ELEVATION, AZIMUTHS)
    assert len(set((rays % AZIMUTHS).tolist())) == AZIMUTHS
