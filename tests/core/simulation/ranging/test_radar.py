# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from imkd_core.data.point_clouds import (
    MAX_RADAR_POINTS,
    RADAR_FILE_FIELDS,
    RADAR_RECORD,
    RadarFilter,
)
from imkd_core.simulation.ranging import radar, radar_returns
from tests.core.simulation.ranging.made_up_scenes import (
    box_body,
    placed,
    pose,
    random_snapshot,
    snapshot,
)

FRONT = pose(3.4, 0.0, 0.5)
WALL = box_body((0.4, 12, 4), category="", rcs=15.0)


@pytest.fixture
def no_clutter(monkeypatch):
    for name in ("AHEAD", "BACK", "LEFT", "RIGHT"):
        monkeypatch.setattr(radar, f"_CLUTTER_{name}", 0.0)
    monkeypatch.setattr(radar_returns, "_MIRROR_CHANCE", 0.0)
    monkeypatch.setattr(radar_returns, "_TWICE_CHANCE", 0.0)


def scans(scene, count=40, mounted=FRONT, **options):
    to_global = scene.global_from_ego @ mounted
    rng = np.random.default_rng(0)
    return np.concatenate([radar.scan(scene, to_global, rng, **options) for _ in range(count)])


def xy(records):
    return np.column_stack([records["x"], records["y"]]).astype(np.float64)


def line_of_sight(records):
    position = xy(records)
    return position / np.linalg.norm(position, axis=1, keepdims=True)


def box_distance(thing, points_global):
    """Distance of (N, 2) points to the box seen from above, 0 inside."""
    local = (points_global - thing.global_from_body[:2, 3]) @ thing.global_from_body[:2, :2]
    outside = np.abs(local) - np.asarray(thing.body.shape.size_m[:2]) / 2
    return np.linalg.norm(np.maximum(outside, 0), axis=1)


def in_global(scene, records, mounted=FRONT):
    to_global = scene.global_from_ego @ mounted
    return xy(records) @ to_global[:2, :2].T + to_global[:2, 3]


def test_a_scan_is_records_of_the_file_sorted_by_range_and_capped():
    scene = random_snapshot(np.random.default_rng(0), 250, 60.0)
    records = radar.scan(scene, FRONT, np.random.default_rng(0))
    assert records.dtype == RADAR_RECORD
    assert len(records) == MAX_RADAR_POINTS
    range_m = np.linalg.norm(xy(records), axis=1)
    assert (np.diff(range_m) > -2.0).all()  # up to the noise of the measurement
    assert (records["z"] == 0).all()


def test_numbers_are_quantised_as_in_nuscenes():
    records = scans(random_snapshot(np.random.default_rng(0)), 5)
    for name, step in (("x", 0.2), ("y", 0.1), ("vx", 0.25), ("vy", 0.25), ("rcs", 0.5)):
        steps = records[name].astype(np.float64) / step
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
    assert records["rcs"].min() >= -5


@pytest.mark.usefixtures("no_clutter")
def test_returns_lie_on_the_near_faces_of_a_vehicle():
    car = placed(box_body(), 25, 2, yaw=0.3)
    scene = snapshot(car)
    points = in_global(scene, scans(scene))
    assert len(points) > 60
    assert (box_distance(car, points) < 1.2).all()
    assert np.median(box_distance(car, points)) < 0.25
    ahead = (points - car.global_from_body[:2, 3]) @ car.global_from_body[:2, 0]
    assert np.median(ahead) < -1.0  # the rear is nearer


@pytest.mark.usefixtures("no_clutter")
@pytest.mark.parametrize("own_speed", [0.0, 9.0])
def test_the_radial_speed_is_that_of_the_true_relative_motion(own_speed):
    truck = placed(box_body((9, 2.5, 3)), 22, 6, 0.5, velocity=(6.0, 3.0, 0.0))
    scene = snapshot(truck, velocity=(own_speed, 0.0, 0.0))
    records = scans(scene)
    line = line_of_sight(records)
    relative = np.column_stack([records["vx"], records["vy"]])
    measured = (relative * line).sum(axis=1)
    expected = line @ (6.0 - own_speed, 3.0)
    assert abs(np.median(measured - expected)) < 0.1
    assert np.std(measured - expected) < 0.35
    over_ground = (np.column_stack([records["vx_comp"], records["vy_comp"]]) * line).sum(axis=1)
    np.testing.assert_allclose(over_ground, line @ (6.0, 3.0), atol=1.2)


@pytest.mark.usefixtures("no_clutter")
def test_a_turning_target_shows_different_speeds_at_its_ends():
    bus = placed(box_body((12, 2.9, 3.4)), 20, 0, np.pi / 2, yaw_rate=0.5)
    records = scans(snapshot(bus))
    # A left-turning body whose front points left: that end comes towards the radar.
    slope = np.polyfit(records["y"], records["vx_comp"], 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.12)


@pytest.mark.parametrize(
    "mounted", [FRONT, pose(2.4, 0.8, 0.5, np.pi / 2), pose(-0.6, -0.6, 0.5, 3.0)]
)
def test_standing_things_have_no_speed_over_ground_while_we_drive_a_curve(mounted):
    scene = random_snapshot(np.random.default_rng(3), velocity=(9.0, 0.0, 0.0))
    still = [placed(t.body, *t.global_from_body[:2, 3]) for t in scene.placed]
    scene = snapshot(*still, velocity=(9.0, 0.0, 0.0))
    records = scans(scene, 10, mounted, ego_yaw_rate_radps=0.4)
    speed = np.hypot(records["vx_comp"], records["vy_comp"])
    relative = np.hypot(records["vx"], records["vy"])
    assert np.median(speed) < 0.2
    assert np.percentile(speed, 90) < 0.7
    assert np.median(relative) > 8.0
    assert np.isin(records["dyn_prop"][speed < 0.4], (1, 3, 5, 7)).all()


def test_the_lever_arm_adds_the_own_turning():
    scene = snapshot(velocity=(5.0, 0.0, 0.0))
    side = pose(2.0, 0.8, 0.5, np.pi / 2)
    still = radar.own_velocity(scene, side, 0.0)
    turning = radar.own_velocity(scene, side, 0.5)
    np.testing.assert_allclose(still, (0.0, -5.0), atol=1e-12)
    np.testing.assert_allclose(turning, (1.0, -4.6), atol=1e-12)


@pytest.mark.usefixtures("no_clutter")
def test_what_a_wall_hides_is_not_seen_and_what_a_car_hides_hardly():
    hidden = placed(box_body(number=2), 30, 0)
    found = {}
    for name, cover in (("wall", WALL), ("car", box_body((4.5, 4, 1.6)))):
        scene = snapshot(placed(cover, 15, 0), hidden)
        found[name] = (in_global(scene, scans(scene))[:, 0] > 26).sum()
    alone = snapshot(hidden)
    found["nothing"] = (in_global(alone, scans(alone))[:, 0] > 26).sum()
    assert found["wall"] == 0
    assert 0 < found["car"] < 0.6 * found["nothing"]


@pytest.mark.usefixtures("no_clutter")
def test_large_vehicles_give_more_returns_than_cars_than_people_than_cones():
    counts = []
    for size, rcs in (
        ((12, 2.9, 3.4), 22),
        ((4.5, 1.9, 1.6), 12),
        ((0.7, 0.7, 1.75), -3),
        ((0.4, 0.4, 0.7), -10),
    ):
        scene = snapshot(placed(box_body(size, rcs=rcs), 25, 4, 0.4))
        counts.append(len(scans(scene, 100)) / 100)
    assert counts[0] > 1.5 * counts[1]
    assert counts[1] > counts[2] > counts[3]
    assert counts[0] < 16
    assert 0.2 < counts[2] < 3
    assert counts[3] < 1


@pytest.mark.usefixtures("no_clutter")
def test_weak_things_fade_with_range_before_strong_ones():
    seen = {
        (rcs, range_m): len(scans(snapshot(placed(box_body((1, 1, 1.7), rcs=rcs), range_m, 0))))
        for rcs in (-3, 15)
        for range_m in (20, 100)
    }
    assert seen[-3, 100] < 0.5 * seen[-3, 20]
    assert seen[15, 100] > 0.6 * seen[15, 20]


@pytest.mark.usefixtures("no_clutter")
def test_the_field_of_view_is_wide_near_and_narrow_far():
    def count(range_m, bearing_deg):
        bearing = np.radians(bearing_deg)
        x, y = 3.4 + range_m * np.cos(bearing), range_m * np.sin(bearing)
        return len(scans(snapshot(placed(box_body(rcs=20.0), x, y)), 10))

    assert count(15, 50) > 0
    assert count(150, 3) > 0
    assert count(100, 30) == 0
    assert count(15, 75) == 0
    assert count(15, 180) == 0


@pytest.mark.usefixtures("no_clutter")
def test_sideways_error_grows_with_range_and_angle():
    def spread(range_m, bearing):
        post = box_body((0.2, 0.2, 3), category="", rcs=20.0)
        scene = snapshot(placed(post, 3.4 + range_m * np.cos(bearing), range_m * np.sin(bearing)))
        records = scans(scene, 150)
        return np.std(xy(records) @ (-np.sin(bearing), np.cos(bearing)))

    assert spread(15, 0.5) < 0.6 * spread(50, 0.5)
    assert spread(30, 0.25) < 0.8 * spread(30, 0.75)
    assert spread(60, 0.5) > 0.6  # metres


def test_the_devkits_filter_keeps_about_three_fifths():
    records = scans(random_snapshot(np.random.default_rng(1), 60, 70.0), 20)
    points = np.column_stack([records[n].astype(np.float32) for n in RADAR_FILE_FIELDS])
    assert 0.5 < RadarFilter().mask(points).mean() < 0.72


@pytest.mark.usefixtures("no_clutter")
def test_ghosts_in_a_wall_move_as_mirror_images_do(monkeypatch):
    monkeypatch.setattr(radar_returns, "_MIRROR_CHANCE", 1.0)
    wall = placed(box_body((60, 0.4, 6), category="", rcs=-60.0), 30, 8)
    car = placed(box_body(rcs=20.0), 20, 2, velocity=(-5.0, 2.0, 0.0))
    scene = snapshot(wall, car)
    records = scans(scene)
    ghosts = records[in_global(scene, records)[:, 1] > 10]
    assert len(ghosts) > 5
    assert np.median(in_global(scene, ghosts)[:, 1]) == pytest.approx(2 * 7.8 - 2, abs=1.2)
    line = line_of_sight(ghosts)
    speed = (np.column_stack([ghosts["vx_comp"], ghosts["vy_comp"]]) * line).sum(axis=1)
    np.testing.assert_allclose(speed, line @ (-5.0, -2.0), atol=0.8)


def test_rain_adds_clutter_and_takes_a_little_range():
    dry, wet = (snapshot(condition="rain", rain_mmph=r) for r in (0.0, 20.0))
    assert len(scans(wet, 30)) > 1.2 * len(scans(dry, 30))


@pytest.mark.parametrize("condition", ["fog", "night", "low_sun"])
def test_light_and_fog_change_nothing(condition):
    scenes = [
        random_snapshot(np.random.default_rng(2), condition=c, visibility_m=v)
        for c, v in (("clear", 20_000.0), (condition, 60.0))
    ]
    np.testing.assert_array_equal(*(scans(scene, 3) for scene in scenes))


def test_the_same_chance_gives_the_same_bytes_and_another_does_not():
    scene = random_snapshot(np.random.default_rng(2))
    first, again, other = (
        radar.scan(scene, FRONT, np.random.default_rng(seed)).tobytes() for seed in (1, 1, 2)
    )
    assert first == again != other


@pytest.mark.usefixtures("no_clutter")
def test_an_empty_world_gives_an_empty_scan():
    assert len(radar.scan(snapshot(), FRONT, np.random.default_rng(0))) == 0


def test_an_empty_road_gives_clutter_alone_and_less_of_it_sideways():
    counts = [len(scans(snapshot(), 20, pose(0, 0, 0.5, yaw))) for yaw in (0, np.pi / 2, np.pi)]
    assert counts[1] < 0.6 * counts[0]
    assert counts[2] > 0
