# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from imkd_core.simulation.ranging import lidar
from imkd_core.simulation.world.scene import Face, Surface
from tests.core.simulation.ranging.made_up_scenes import (
    box_body,
    box_solid,
    placed,
    pose,
    random_snapshot,
    shape_body,
    snapshot,
)

FOG = {"condition": "fog"}
RAIN = {"condition": "rain", "rain_mmph": 15.0, "visibility_m": 4000.0, "wet": 1.0}


def lidar_pose(ego=None):
    """x right, y forward, on the roof."""
    mounted = pose(0.94, 0.0, 1.84, -np.pi / 2)
    return mounted if ego is None else ego @ mounted


def sweep(scene, seed=0):
    return lidar.scan(scene, lidar_pose(scene.global_from_ego), np.random.default_rng(seed))


def in_global(scene, points):
    to_global = lidar_pose(scene.global_from_ego)
    return points[:, :3] @ to_global[:3, :3].T + to_global[:3, 3]


def inside(thing, points, margin=0.08):
    local = (points - thing.global_from_body[:3, 3]) @ thing.global_from_body[:3, :3]
    return (np.abs(local) <= np.asarray(thing.body.shape.size_m) / 2 + margin).all(axis=1)


def plain(thing, reflectance):
    return box_body(thing, surface=Surface(albedo=(0.2, 0.2, 0.2), reflectance=reflectance))


def test_points_lie_on_the_ground_or_on_a_body():
    scene = random_snapshot(np.random.default_rng(4))
    points = in_global(scene, sweep(scene))
    explained = np.abs(points[:, 2]) < 0.08
    for thing in scene.placed:
        explained |= inside(thing, points)
    assert explained.all()
    assert len(points) > 10_000


def test_a_body_ahead_lies_on_the_y_axis_of_the_lidar():
    scene = snapshot(placed(box_body(), 15, 0))
    points = sweep(scene)
    on_body = points[inside(scene.placed[0], in_global(scene, points), 0.05)]
    on_body = on_body[on_body[:, 2] > -1.5]
    assert len(on_body) > 20
    assert abs(on_body[:, 0].mean()) < 0.2
    assert on_body[:, 1].min() == pytest.approx(15 - 2.25 - 0.94, abs=0.1)


def test_a_body_behind_a_wall_gets_no_points():
    wall = placed(box_body((0.4, 12, 4)), 10, 0)
    hidden = placed(box_body(), 20, 0)
    scene = snapshot(wall, hidden)
    assert not inside(hidden, in_global(scene, sweep(scene)), 0.0)[:].any()
    alone = snapshot(hidden)
    assert inside(hidden, in_global(alone, sweep(alone)), 0.0).any()


def test_rings_and_intensities_are_those_of_the_files():
    points = sweep(random_snapshot(np.random.default_rng(1)))
    assert points.dtype == np.float32
    assert points.shape[1] == 5
    assert len(points) <= 32 * lidar.AZIMUTHS
    assert set(np.unique(points[:, 4])) <= set(range(32))
    assert points[:, 3].min() >= 0
    assert points[:, 3].max() <= 255
    elevation = np.arcsin(points[:, 2] / np.linalg.norm(points[:, :3], axis=1))
    rings = points[:, 4].astype(int)
    np.testing.assert_allclose(elevation, lidar.BEAM_ELEVATION_RAD[rings], atol=1e-4)


def test_brighter_surfaces_give_brighter_and_no_fewer_points():
    found = []
    for reflectance in (0.02, 0.1, 0.5):
        scene = snapshot(placed(plain((0.5, 8, 3), reflectance), 40, 0))
        points = sweep(scene)
        on_wall = points[inside(scene.placed[0], in_global(scene, points))]
        found.append((len(on_wall), on_wall[:, 3].mean()))
    counts, brightness = zip(*found, strict=True)
    assert counts[0] < 0.6 * counts[1] <= 0.75 * counts[2]
    assert brightness[0] < brightness[1] < brightness[2] <= 100


def test_a_retro_reflector_is_brighter_than_any_diffuse_thing():
    plate = Surface(albedo=(1, 1, 1), reflectance=0.8, retro=1.0)
    corners = np.array(
        [[-2.25, y, z] for y, z in ((0.8, -0.6), (-0.8, -0.6), (-0.8, 0.6), (0.8, 0.6))]
    )
    solid = box_solid(4.5, 1.9, 1.6, decals=[(1, Face(corners_m=corners, surface=plate))])
    scene = snapshot(placed(shape_body(solid, (4.5, 1.9, 1.6)), 15, 0))
    intensity = sweep(scene)[:, 3]
    assert (intensity > 200).any()
    assert (intensity[intensity <= 100]).max() <= 100


def test_glass_loses_most_returns():
    counts = []
    for gloss in (0.0, 0.95):
        glass = Surface(albedo=(0.1, 0.1, 0.1), reflectance=0.1, gloss=gloss)
        scene = snapshot(placed(box_body((0.5, 8, 3), surface=glass), 30, 0, yaw=0.4))
        counts.append(inside(scene.placed[0], in_global(scene, sweep(scene)), 0.05).sum())
    assert counts[1] < 0.5 * counts[0]


def test_range_noise_is_two_centimetres():
    scene = snapshot(placed(box_body((0.5, 14, 4)), 15, 0))
    points = in_global(scene, sweep(scene))
    wall = points[inside(scene.placed[0], points) & (points[:, 2] > 0.3)]
    wall = wall[(np.abs(wall[:, 1]) < 3) & (wall[:, 0] < 15)]
    assert np.std(wall[:, 0]) == pytest.approx(0.02, rel=0.2)
    assert wall[:, 0].mean() == pytest.approx(14.75, abs=0.01)


def test_fog_shortens_the_reach_the_more_the_denser_it_is():
    reaches, near = [], []
    for visibility_m in (20_000.0, 200.0, 60.0):
        scene = random_snapshot(
            np.random.default_rng(5), 60, 90.0, visibility_m=visibility_m, **FOG
        )
        range_m = np.linalg.norm(sweep(scene)[:, :3], axis=1)
        reaches.append((range_m > 20).sum())
        near.append((range_m < 3).sum())
    assert reaches[0] > reaches[1] > 1.2 * reaches[2]
    assert near[0] < near[1] < near[2]


def test_rain_weakens_the_ground_and_adds_drops():
    clear, rain = snapshot(), snapshot(**RAIN)
    dry, wet = sweep(clear), sweep(rain)
    assert (wet[:, 4] > 24).sum() > (dry[:, 4] > 24).sum()  # drops in the sky
    far = [(np.linalg.norm(p[:, :3], axis=1) > 12).sum() for p in (dry, wet)]
    assert far[1] < 0.9 * far[0]
    assert np.median(wet[:, 3]) < np.median(dry[:, 3])


def test_the_night_changes_nothing():
    day, night = (
        random_snapshot(np.random.default_rng(2), condition=c) for c in ("clear", "night")
    )
    np.testing.assert_array_equal(sweep(day), sweep(night))


def test_a_low_sun_blinds_where_it_stands():
    sun = {"condition": "low_sun", "sun_elevation_rad": 0.1, "sun_azimuth_rad": np.pi / 2}
    wall = placed(box_body((60, 0.5, 8)), 0, 20)
    dark, lit = sweep(snapshot(wall)), sweep(snapshot(wall, **sun))
    left = [np.abs(np.arctan2(p[:, 1], -p[:, 0])) < 0.08 for p in (dark, lit)]
    high = [p[:, 4] > 24 for p in (dark, lit)]
    counts = [(a & b).sum() for a, b in zip(left, high, strict=True)]
    assert counts[1] < 0.85 * counts[0]
    true_range = np.linalg.norm(lit[left[1] & high[1], :3], axis=1)
    assert np.ptp(true_range) > 20  # false returns at any range


def test_the_own_roof_hides_the_ground_beneath_it():
    points = sweep(snapshot())
    ego = points[:, [1, 0]] * (1, -1) + (0.94, 0)
    assert not ((np.abs(ego[:, 1]) < 2.4) & (np.abs(ego[:, 0] - 0.94) < 3.8)).any()
    lost = [1 - (points[:, 4] == ring).sum() / lidar.AZIMUTHS for ring in (0, 4, 8)]
    assert lost[0] > 0.7 > lost[1] > 0.3 > 0.1 > lost[2]


def test_the_same_chance_gives_the_same_sweep_and_another_does_not():
    scene = random_snapshot(np.random.default_rng(3))
    np.testing.assert_array_equal(sweep(scene, 1), sweep(scene, 1))
    assert not np.array_equal(sweep(scene, 1)[:100], sweep(scene, 2)[:100])


def test_an_empty_world_gives_the_ground_alone():
    scene = snapshot()
    assert np.abs(in_global(scene, sweep(scene))[:, 2]).max() < 0.1
