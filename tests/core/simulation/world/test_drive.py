# SPDX-License-Identifier: Apache-2.0
"""A drive: nothing overlaps, speeds are slopes of positions, everybody behaves."""

import numpy as np
import pytest

from imkd_core.errors import ConfigError
from imkd_core.geometry import yaw_of
from imkd_core.simulation.rig import EGO_MIDDLE_M, EGO_SIZE_M
from imkd_core.simulation.world.actors import Footprint, overlaps
from imkd_core.simulation.world.drive import NEAR_M, plan_drive

TIMES_S = np.arange(0.03, 20.0, 0.47)


def _footprints(snapshot):
    """Return the footprints of all bodies at one moment, the own vehicle first."""
    ego = snapshot.global_from_ego
    middle = (ego[:3, :3] @ (EGO_MIDDLE_M, 0, 0) + ego[:3, 3])[:2]
    found = [_footprint(middle, yaw_of(ego), EGO_SIZE_M)]
    for placed in snapshot.placed:
        pose = placed.global_from_body
        found.append(_footprint(pose[:2, 3], yaw_of(pose), placed.body.shape.size_m))
    return found


def _footprint(center, yaw, size):
    half = np.asarray(size[:2]) / 2
    return Footprint(center_m=np.asarray(center)[None], yaw_rad=np.array([yaw]), half_m=half)


def test_nothing_overlaps_at_any_time(drives):
    for drive in drives:
        for time_s in TIMES_S[::3]:
            snapshot = drive.snapshot(float(time_s))
            found = _footprints(snapshot)
            centers = np.array([f.center_m[0] for f in found])
            radius = np.array([f.radius_m for f in found])
            apart = np.linalg.norm(centers[:, None] - centers[None], axis=-1)
            near = np.argwhere(np.triu(apart < radius[:, None] + radius[None], 1))
            assert not [(i, j) for i, j in near if overlaps(found[i], found[j])]


def test_velocities_are_the_slopes_of_positions(drives):
    step_s = 0.02
    for drive in drives:
        for time_s in TIMES_S[::4]:
            before, now, after = (
                {p.body.number: p for p in drive.snapshot(float(time_s) + shift).placed}
                for shift in (-step_s, 0.0, step_s)
            )
            for number in set(before) & set(after) & set(now):
                moved = (after[number].global_from_body - before[number].global_from_body)[:3, 3]
                slope = moved / (2 * step_s)
                np.testing.assert_allclose(slope, now[number].velocity_mps, atol=0.3)


def test_moving_bodies_face_where_they_go_and_none_jumps(drives):
    for drive in drives:
        last = {}
        for time_s in np.arange(0.0, 20.0, 0.25):
            snapshot = drive.snapshot(float(time_s))
            for placed in snapshot.placed:
                position = placed.global_from_body[:2, 3]
                if placed.body.number in last:
                    assert np.linalg.norm(position - last[placed.body.number]) < 0.25 * 20
                speed = np.linalg.norm(placed.velocity_mps)
                if speed > 0.3:
                    forward = placed.global_from_body[:3, 0]
                    assert forward @ placed.velocity_mps > 0.99 * speed
            last = {p.body.number: p.global_from_body[:2, 3] for p in snapshot.placed}


def _first_word(category):
    if category in ("vehicle.bicycle", "vehicle.motorcycle"):
        return "cycle"
    return {"human": "pedestrian", "vehicle": "vehicle"}.get(category.split(".")[0], "")


def test_attributes_fit_category_and_speed(drives):
    for drive in drives:
        snapshots = [drive.snapshot(float(time_s)) for time_s in TIMES_S[::6]]
        for placed in (placed for snapshot in snapshots for placed in snapshot.placed):
            speed, attribute = float(np.linalg.norm(placed.velocity_mps)), placed.attribute
            assert attribute.split(".")[0] == _first_word(placed.body.category)
            if attribute.endswith("moving"):
                assert speed > 0.1
            elif attribute != "cycle.with_rider":
                assert speed < 0.2


def test_the_own_vehicle_drives_like_a_car(drives):
    for drive in drives:
        poses = [drive.ego_pose(t) for t in np.arange(0.0, 20.0, 0.1)]
        speed = np.linalg.norm(np.diff([p[:3, 3] for p in poses], axis=0), axis=1) / 0.1
        assert speed.max() < 17.0
        assert np.abs(np.diff(speed)).max() / 0.1 < 8.0
        yaw = np.unwrap([yaw_of(p) for p in poses])
        assert np.abs(np.diff(yaw)).max() / 0.1 < 1.0
        at = drive.snapshot(3.0)
        np.testing.assert_allclose(
            at.ego_velocity_mps[:2] @ at.global_from_ego[:2, 1], 0, atol=1e-9
        )


def test_numbers_are_unique_and_every_drive_is_full_of_life(drives):
    for drive in drives:
        numbers = [actor.body.number for actor in drive.actors]
        assert len(set(numbers)) == len(numbers)
        pose = drive.snapshot(5.0)
        near = [
            p.body.category
            for p in pose.placed
            if p.body.category
            and np.linalg.norm((p.global_from_body - pose.global_from_ego)[:2, 3]) < 50
        ]
        assert 10 < len(near) < 90
        assert len(set(near)) >= 4


def test_the_same_seed_gives_the_same_drive_and_another_seed_another():
    first, again, other = (plan_drive(seed, "fog", duration_s=2.0) for seed in (4, 4, 5))
    assert np.array_equal(first.ground.albedo, again.ground.albedo)
    one, two = first.snapshot(1.0), again.snapshot(1.0)
    assert [p.body.number for p in one.placed] == [p.body.number for p in two.placed]
    for a, b in zip(one.placed, two.placed, strict=True):
        assert np.array_equal(a.global_from_body, b.global_from_body)
    assert not np.array_equal(first.ego_pose(1.0), other.ego_pose(1.0))


def test_bodies_that_stand_are_the_same_objects_in_every_snapshot():
    drive = plan_drive(4, "clear", duration_s=2.0)
    first, second = ({p.body.number: p for p in drive.snapshot(t).placed} for t in (0.5, 0.6))
    standing = {a.body.number for a in drive.actors if a.motion is None} & set(first) & set(second)
    assert len(standing) > 20
    assert all(first[number] is second[number] for number in standing)


def test_impossible_wishes_are_refused():
    with pytest.raises(ConfigError, match="duration"):
        plan_drive(1, "clear", duration_s=0.1)
    with pytest.raises(ConfigError, match="clear, rain"):
        plan_drive(1, "hail", duration_s=1.0)


@pytest.mark.parametrize("condition", ["clear", "rain", "fog", "night", "low_sun"])
def test_the_description_begins_with_the_weather(condition):
    drive = plan_drive(4, condition, duration_s=1.0)
    assert drive.description.startswith(condition.replace("_", " ") + ", ")


def test_nobody_near_is_left_out_of_a_snapshot_and_nobody_far_is_in_it(drives):
    for drive in drives:
        for time_s in (0.0, 0.07, 7.31, 14.99, 19.96):
            ego = drive.ego_pose(time_s)[:2, 3]
            everybody = [actor.placed(time_s) for actor in drive.actors]
            near = {
                placed.body.number
                for placed in everybody
                if placed and np.hypot(*(placed.global_from_body[:2, 3] - ego)) < NEAR_M
            }
            found = [placed.body.number for placed in drive.snapshot(time_s).placed]
            assert len(found) == len(set(found))
            assert set(found) == near


def test_a_place_on_a_path_is_what_its_position_heading_and_curvature_say(drives):
    path = drives[0].ego.path
    for station in (-3.0, 0.0, 0.2, 17.77, path.length_m, path.length_m + 9):
        x, y, yaw, bend = path.place(station)
        np.testing.assert_allclose((x, y), path.position(station), atol=1e-9)
        np.testing.assert_allclose(
            (yaw, bend), (path.yaw(station), path.curvature(station)), atol=1e-9
        )
