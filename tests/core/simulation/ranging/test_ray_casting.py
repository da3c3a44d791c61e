# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from imkd_core.simulation.ranging.ray_casting import (
    GROUND,
    NOTHING,
    cast,
    cast_sweep,
    sweep_directions,
)
from imkd_core.simulation.world.scene import Body, Face, Shape, Surface
from tests.core.simulation.ranging.made_up_scenes import (
    box_body,
    box_solid,
    placed,
    pose,
    random_snapshot,
    snapshot,
)

AHEAD = np.array([[1.0, 0.0, 0.0]])


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def brute_force(scene, origins, directions, max_range_m):
    """Slab test of every box by every ray, in float64."""
    best = np.full(len(directions), np.inf)
    index = np.full(len(directions), NOTHING)
    with np.errstate(divide="ignore"):
        floor = np.where(directions[:, 2] < 0, origins[:, 2] / -directions[:, 2], np.inf)
        hit = floor <= max_range_m
        best[hit], index[hit] = floor[hit], GROUND
        for number, thing in enumerate(scene.placed):
            turn, center = thing.global_from_body[:3, :3], thing.global_from_body[:3, 3]
            start, ray = (origins - center) @ turn, directions @ turn
            half = np.asarray(thing.body.shape.size_m) / 2
            a, b = (-half - start) / ray, (half - start) / ray
            enter, leave = np.minimum(a, b).max(axis=1), np.maximum(a, b).min(axis=1)
            hit = (enter < leave) & (enter > 0) & (enter < np.minimum(best, max_range_m))
            best[hit], index[hit] = enter[hit], number
    return best, index


def assert_same(hits, best, index):
    same = hits.placed_index == index
    assert same.mean() > 0.999  # a ray along an edge may fall to either side
    both = same & np.isfinite(best)
    np.testing.assert_allclose(hits.range_m[both], best[both], rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize("seed", range(3))
def test_rays_from_many_origins_agree_with_brute_force(seed):
    rng = np.random.default_rng(seed)
    scene = random_snapshot(rng)
    origins = rng.uniform((-9, -9, 0.2), (9, 9, 3), (4000, 3))
    directions = unit(rng.normal(size=(4000, 3)) * (1, 1, 0.2))
    hits = cast(scene, origins, directions, 60.0)
    assert_same(hits, *brute_force(scene, origins, directions, 60.0))


@pytest.mark.parametrize("seed", range(3))
def test_a_sweep_agrees_with_brute_force(seed):
    rng = np.random.default_rng(seed)
    scene = random_snapshot(rng)
    elevation = np.radians(np.linspace(-30, 11, 13))
    tilted = pose(1.0, 2.0, 1.8, rng.uniform(-3, 3))
    c, s = np.cos(0.03), np.sin(0.03)
    tilted[:3, :3] = tilted[:3, :3] @ [[c, 0, s], [0, 1, 0], [-s, 0, c]]
    hits = cast_sweep(scene, tilted, elevation, 360, 60.0)
    directions = sweep_directions(tuple(elevation), 360) @ tilted[:3, :3].T
    origins = np.broadcast_to(tilted[:3, 3], directions.shape)
    assert_same(hits, *brute_force(scene, origins, directions, 60.0))


def test_a_box_ahead_is_hit_on_its_near_face():
    hits = cast(snapshot(placed(box_body((4, 2, 2)), 20, 0)), np.array([0, 0, 1.0]), AHEAD, 100)
    assert hits.range_m[0] == pytest.approx(18.0)
    assert hits.placed_index[0] == 0
    assert hits.incidence[0] == pytest.approx(1.0)
    assert hits.reflectance[0] == pytest.approx(0.4)


def test_the_ground_is_hit_where_the_ray_meets_it_with_the_rasters_reflectance():
    down = unit(np.array([[1.0, 0.0, -0.5]]))
    hits = cast(snapshot(floor=51), np.array([0, 0, 2.0]), down, 100)
    assert hits.range_m[0] == pytest.approx(2 * np.sqrt(5), rel=1e-6)
    assert hits.placed_index[0] == GROUND
    assert hits.incidence[0] == pytest.approx(-down[0, 2])
    assert hits.reflectance[0] == pytest.approx(0.2)


def test_a_ray_into_the_sky_hits_nothing():
    hits = cast(snapshot(), np.array([0, 0, 2.0]), unit(np.array([[1.0, 0.0, 0.5]])), 100)
    assert hits.placed_index[0] == NOTHING
    assert np.isinf(hits.range_m[0])


def test_what_lies_beyond_the_largest_range_is_not_hit():
    scene = snapshot(placed(box_body(), 60, 0))
    assert cast(scene, np.array([0, 0, 1.0]), AHEAD, 50).placed_index[0] == NOTHING


def test_the_nearer_of_two_bodies_hides_the_other_in_either_order():
    near, far = placed(box_body(number=1), 15, 0), placed(box_body(number=2), 30, 0)
    for bodies, expected in (((near, far), 0), ((far, near), 1)):
        assert cast(snapshot(*bodies), np.array([0, 0, 1.0]), AHEAD).placed_index[0] == expected


def test_incidence_falls_with_the_angle_to_the_face():
    scene = snapshot(placed(box_body((4, 60, 4)), 20, 0))
    directions = unit(np.array([[1.0, t, 0.0] for t in (0.0, 0.5, 1.0)]))
    np.testing.assert_allclose(
        cast(scene, np.array([0, 0, 1.0]), directions).incidence, directions[:, 0], rtol=1e-5
    )


def test_a_decal_is_seen_where_it_is_painted_and_only_there():
    plate = Surface(albedo=(1, 1, 1), reflectance=0.9, retro=1.0)
    corners = np.array([[-2, 0.3, -0.2], [-2, -0.3, -0.2], [-2, -0.3, 0.2], [-2, 0.3, 0.2]])
    solid = box_solid(4, 2, 2, decals=[(1, Face(corners_m=corners, surface=plate))])
    body = Body(
        number=0, category="", shape=Shape(solids=(solid,), size_m=(4, 2, 2)), rcs_dbsm=10.0
    )
    origins = np.array([[0, 0, 1.0], [0, 0.5, 1.0], [0, 0, 1.5], [0, -0.29, 0.81]])
    hits = cast(snapshot(placed(body, 20, 0)), origins, np.repeat(AHEAD, 4, axis=0))
    np.testing.assert_array_equal(hits.retro, [1, 0, 0, 1])
    np.testing.assert_allclose(hits.reflectance, [0.9, 0.4, 0.4, 0.9], rtol=1e-6)


def test_the_gap_between_two_solids_of_a_body_lets_rays_through():
    solids = (box_solid(1, 4, 1, center=(0, 0, 1)), box_solid(1, 4, 0.5, center=(0, 0, -1.25)))
    body = Body(number=0, category="", shape=Shape(solids=solids, size_m=(1, 4, 3)), rcs_dbsm=0.0)
    origins = np.array([[0, 0, 2.6], [0, 0, 1.0], [0, 0, 0.3]])
    hits = cast(snapshot(placed(body, 10, 0)), origins, np.repeat(AHEAD, 3, axis=0))
    np.testing.assert_array_equal(hits.placed_index, [0, NOTHING, 0])


def test_an_empty_world_and_no_rays_are_fine():
    scene = snapshot()
    assert len(cast(scene, np.zeros(3), np.zeros((0, 3))).range_m) == 0
    assert len(cast(scene, np.zeros((0, 3)), np.zeros((0, 3))).range_m) == 0
    assert len(cast_sweep(scene, pose(0, 0, 1.8), np.array([-0.1, 0.1]), 8).range_m) == 16
