# SPDX-License-Identifier: Apache-2.0
from dataclasses import dataclass, replace

import numpy as np
import pytest

from imkd_core.bev_grid import BevGrid
from imkd_core.config import MemorySpec
from imkd_core.data.changes.augmentation import SampleChange
from imkd_core.data.changes.bev_change import BevChange
from imkd_core.data.changes.image_change import ImageChange
from imkd_core.data.changes.sensor_dropout import RadarChange
from imkd_core.data.learning.history import (
    Drives,
    disturbed_motion,
    draw_gaps,
    past_change,
    stack_past,
    static_mask,
)
from imkd_core.errors import DataError
from imkd_core.recipe import AugmentConfig
from tests.core.rigs import rotation

WINDOW = MemorySpec(kind="window", frames=3, channels=4)
RECURRENT = MemorySpec(kind="recurrent", frames=1, channels=4)
GRID = BevGrid(x_min_m=-10.0, x_max_m=22.0, y_min_m=-8.0, y_max_m=8.0, cell_m=0.5)


@dataclass(frozen=True)
class Record:
    scene: str
    stamp_ns: int
    odom_from_ego: np.ndarray
    token: str = "t"


@dataclass(frozen=True)
class Lost:
    scene: str
    stamp_ns: int
    token: str = "lost"


def pose(x, y, yaw):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:2, 3] = rotation(yaw, 0.0, 0.0), (x, y)
    return matrix


def drive(scene, times_s, offset=0.0):
    return [Record(scene, round(t * 1e9), pose(5 * t + offset, t**2, 0.3 * t)) for t in times_s]


def test_the_key_frames_before_are_of_the_same_drive_and_nearest_in_time():
    records = drive("a", [0.0, 0.5, 1.0, 1.5, 2.0]) + drive("b", [0.4, 0.9, 1.4])
    drives = Drives(records[::-1])
    order = {id(record): len(records) - 1 - i for i, record in enumerate(records)}
    at = [order[id(record)] for record in records]
    assert drives.before(at[4], [0.5, 0.5, 0.5]) == [at[3], at[2], at[1]]
    assert drives.before(at[4], [1.0, 1.0]) == [at[2], at[0]]
    assert drives.before(at[1], [0.5, 0.5]) == [at[0]]
    assert drives.before(at[0], [0.5]) == []
    assert drives.before(at[7], [0.45, 0.55]) == [at[6], at[5]]


def test_a_gap_in_the_drive_ends_the_row():
    drives = Drives(drive("a", [0.0, 0.5, 3.0, 3.5]))
    assert drives.before(3, [0.5, 0.5, 0.5]) == [2]


@pytest.mark.parametrize("memory", [WINDOW, RECURRENT])
def test_a_standing_point_is_found_where_the_past_frame_saw_it(memory):
    records = drive("a", [0.0, 0.5, 1.0, 1.5])
    frames = Drives(records).past_frames(3, [0.5] * 3, memory)
    assert [frame.index for frame in frames] == [2, 1, 0]
    point = np.array([30.0, 4.0, 0.0, 1.0])
    for place, frame in enumerate(frames):
        newer = [3, 2, 1][place] if memory.kind == "recurrent" else 3
        now = (np.linalg.inv(records[newer].odom_from_ego) @ point)[:2]
        then = (np.linalg.inv(records[frame.index].odom_from_ego) @ point)[:2]
        motion = frame.past_from_newer
        np.testing.assert_allclose(motion[:, :2] @ now + motion[:, 2], then, atol=1e-9)
        assert frame.age_s == pytest.approx((newer - frame.index) * 0.5)


def test_a_drive_without_poses_is_refused_by_name():
    records = [Lost("a", 0), Lost("a", 500_000_000)]
    with pytest.raises(DataError, match=r"'lost'.*memory\.kind to none"):
        Drives(records).past_frames(1, [0.5], WINDOW)


def test_gaps_are_usual_without_chance_and_longer_or_fewer_with_it():
    rng = np.random.default_rng(0)
    assert draw_gaps(WINDOW, 3, AugmentConfig(drop_history=1.0), None) == [0.5] * 3
    assert draw_gaps(WINDOW, 3, AugmentConfig(), rng) == [0.5] * 3
    counts = {len(draw_gaps(WINDOW, 3, AugmentConfig(drop_history=1.0), rng)) for _ in range(60)}
    assert counts == {0, 1, 2}
    assert draw_gaps(WINDOW, 2, AugmentConfig(history_jitter=1.0), rng) == [1.0, 1.0]
    short = replace(WINDOW, max_gap_s=0.7)
    assert draw_gaps(short, 2, AugmentConfig(history_jitter=1.0), rng) == [0.7, 0.7]


def test_noise_on_the_motion_is_as_large_as_configured_and_keeps_a_rotation():
    motion = pose(3.0, 1.0, 0.4)[:2, [0, 1, 3]]
    assert disturbed_motion(motion, AugmentConfig(history_noise_m=9.0), None) is motion
    rng, augment = np.random.default_rng(1), AugmentConfig(history_noise_m=0.1)
    np.testing.assert_allclose(disturbed_motion(motion, AugmentConfig(), rng), motion)
    drawn = np.stack([disturbed_motion(motion, augment, rng) for _ in range(500)])
    assert drawn[:, :, 2].std(axis=0) == pytest.approx(0.1, rel=0.15)
    np.testing.assert_allclose(drawn[:, :, :2], np.tile(motion[:, :2], (500, 1, 1)))
    turned = disturbed_motion(motion, AugmentConfig(history_noise_deg=5.0), rng)[:, :2]
    np.testing.assert_allclose(turned @ turned.T, np.eye(2), atol=1e-12)


def test_what_a_fault_takes_from_the_key_frame_it_took_before():
    own = SampleChange(
        cameras={"front": ImageChange(flip=True), "back": ImageChange(blank="noise")},
        radar=RadarChange(clutter=0.1),
    )
    key = SampleChange(
        cameras={"front": ImageChange(blank="masked"), "back": ImageChange(zoom=1.1)},
        radar=RadarChange(drop=True),
        bev=BevChange(flip_x=True),
    )
    change = past_change(own, key)
    assert change.bev == key.bev
    assert change.cameras["front"] == ImageChange(flip=True, blank="masked")
    assert change.cameras["back"] == own.cameras["back"]
    assert change.radar == RadarChange(drop=True, clutter=0.1)


def test_missing_frames_are_zero_and_other_sensors_end_the_row():
    present = {"images": np.ones((2, 3), np.uint8), "radar_mask": np.ones(1, np.float32)}
    other = {**present, "images": np.ones((1, 3), np.uint8)}
    motions = [np.full((2, 3), k, np.float64) for k in (1, 2, 3)]
    arrays = stack_past(present, [present, other, present], motions, [0.5, 1.0, 1.5], 4)
    assert arrays["past_mask"].tolist() == [1, 0, 0, 0]
    assert arrays["past_age_s"].tolist() == [0.5, 0, 0, 0]
    assert arrays["past_images"].dtype == np.uint8
    assert arrays["past_images"].any(axis=(1, 2)).tolist() == [True, False, False, False]
    assert (arrays["past_transform"][0] == 1).all()
    assert (arrays["past_transform"][1] == np.eye(2, 3)).all()
    assert {value.shape[0] for value in arrays.values()} == {4}


def mask_at(mask, x, y):
    cell, inside = GRID.cell_index(np.array([x, y]))
    assert inside
    return mask[cell[0], cell[1]]


def test_a_moving_object_hides_the_way_it_came_and_a_standing_one_nothing():
    center = np.array([[10.0, 0.0, 0.0], [0.0, 5.0, 0.0]])
    size = np.array([[2.0, 2.0, 2.0]] * 2)
    mask = static_mask(center, size, np.array([[6.0, 0.0], [0.0, 0.1]]), 1.0, GRID)
    assert mask_at(mask, 10.0, 0.0) == mask_at(mask, 7.0, 0.5) == mask_at(mask, 4.2, 0.0) == 0
    assert mask_at(mask, 13.0, 0.0) == mask_at(mask, 0.5, 0.0) == mask_at(mask, 7.0, 3.0) == 1
    assert mask_at(mask, 0.0, 5.0) == 1


def test_an_object_of_unknown_speed_counts_as_moving():
    center, size = np.array([[4.0, 1.0, 0.0]]), np.array([[2.0, 2.0, 2.0]])
    mask = static_mask(center, size, np.array([[np.nan, np.nan]]), 1.0, GRID)
    assert mask_at(mask, 4.0, 1.0) == 0
    assert mask.mean() > 0.9
