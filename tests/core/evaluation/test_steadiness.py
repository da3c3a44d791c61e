# SPDX-License-Identifier: Apache-2.0
"""Tracks and their figures on drives that are made so that the answer is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imkd_core.errors import ConfigError, DataError
from imkd_core.evaluation.steadiness import FIGURES, SUMS, drive_sums, steady_figures
from imkd_core.evaluation.tracks import PlacedBoxes, TrackRules, join_tracks, placed
from imkd_core.geometry import rigid_transform, rotation_from_quaternion
from imkd_core.types import Detections

STEP_S = 0.5


def frame_of(index, boxes, step_s=STEP_S):
    """A frame of (class, x, y, yaw, vx, vy[, score]) rows."""
    rows = [(*box, 0.9)[:7] for box in boxes]
    columns = np.array([row[1:] for row in rows], np.float64).reshape(-1, 6)
    return PlacedBoxes(
        stamp_ns=10**18 + round(index * step_s * 1e9),
        names=np.array([row[0] for row in rows], np.str_),
        center_m=columns[:, :2],
        yaw_rad=columns[:, 2],
        velocity_mps=columns[:, 3:5],
        score=columns[:, 5],
    )


def car(t, x_m=0.0, speed_mps=8.0, yaw_rad=0.1):
    return ("car", x_m + speed_mps * STEP_S * t, 3.0, yaw_rad, speed_mps, 0.0)


def drive(count, gone=(), **changes):
    """One car that moves evenly, gone in some frames."""
    return [frame_of(t, [] if t in gone else [car(t, **changes)]) for t in range(count)]


def figures(frames, rules=None):
    return steady_figures(drive_sums(frames, rules))


def sums(frames):
    return dict(zip(SUMS, drive_sums(frames), strict=True))


def test_an_even_motion_is_steady_in_every_figure():
    found = figures(drive(9))
    assert found["boxes_per_frame"] == 1
    assert found["track_length_s"] == 8 * STEP_S
    for name in ("flicker", "count_change", "count_drift_per_min", "yaw_flips"):
        assert found[name] == 0, name
    for name in ("yaw_jitter_rad", "position_jitter_m", "velocity_jitter_mps"):
        assert found[name] == pytest.approx(0, abs=1e-9), name
    assert list(found) == list(FIGURES)


def test_a_box_that_vanishes_for_one_frame_and_comes_back_flickers_once():
    (track,) = join_tracks(drive(9, gone={4}))
    assert track.frame.tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    found = figures(drive(9, gone={4}))
    assert found["flicker"] == pytest.approx(1 / 7)
    assert found["track_length_s"] == 8 * STEP_S
    assert found["count_change"] == pytest.approx(2 / 7), "one off, one on, of 7 boxes before"


def test_a_box_gone_for_longer_than_allowed_is_another_object():
    frames = drive(9, gone={4, 5})
    assert [len(track.frame) for track in join_tracks(frames)] == [4, 3]
    assert figures(frames)["flicker"] == 0
    longer = join_tracks(frames, TrackRules(max_missed=2))
    assert [len(track.frame) for track in longer] == [7]


def test_a_gap_between_frames_ends_tracks_but_is_no_flicker():
    frames = drive(9)
    parted = [*frames[:4], *frames[6:]]  # 1.5 s between two frames
    assert [len(track.frame) for track in join_tracks(parted)] == [4, 3]
    assert figures(parted)["flicker"] == 0
    assert sums(parted)["inner"] == 0, "both are cut by the gap"


def test_a_fast_object_is_followed_by_its_velocity_alone():
    frames = drive(5, speed_mps=30.0)
    assert len(join_tracks(frames)) == 1
    still = [frame_of(t, [("car", 15.0 * t, 3.0, 0.1, 0.0, 0.0)]) for t in range(5)]
    assert len(join_tracks(still)) == 5
    unknown = [frame_of(t, [("car", 1.0 * t, 3.0, 0.1, math.nan, 0.0)]) for t in range(5)]
    assert len(join_tracks(unknown)) == 1
    assert sums(unknown)["motion_triples"] == 0


def test_classes_do_not_mix_and_faint_boxes_are_not_seen():
    frames = [frame_of(t, [("car" if t % 2 else "truck", 0, 0, 0, 0, 0)]) for t in range(4)]
    assert [(track.name, track.frame.tolist()) for track in join_tracks(frames)] == [
        ("truck", [0, 2]),
        ("car", [1, 3]),
    ]
    faint = [frame_of(t, [("car", 0, 0, 0, 0, 0, 0.29)]) for t in range(4)]
    assert join_tracks(faint) == []
    assert len(join_tracks(faint, TrackRules(min_score=0.2))) == 1


def test_the_nearest_pair_is_joined_first():
    frames = [
        frame_of(0, [("car", 0, 0, 0, 0, 0), ("car", 1.5, 0, 0, 0, 0)]),
        frame_of(1, [("car", 1.2, 0, 0, 0, 0), ("car", 2.5, 0, 0, 0, 0)]),
    ]
    tracks = join_tracks(frames)
    assert [track.row.tolist() for track in tracks] == [[0], [1, 0], [1]]


def test_a_flash_is_a_lone_track_unless_the_recording_cuts_it():
    flash = ("car", 50.0, 0.0, 0.0, 0.0, 0.0)
    frames = [frame_of(t, [car(t)] + ([flash] if t in (0, 3) else [])) for t in range(6)]
    total = sums(frames)
    assert (total["tracks"], total["inner"], total["lone"]) == (3, 1, 1)
    assert figures(frames)["lone_tracks"] == 1


def noisy(seed, step_s, **spread):
    """A long drive of a box that moves and turns evenly, with noise of a known spread."""
    rng = np.random.default_rng(seed)
    time_s = np.cumsum(rng.uniform(0.8, 1.2, 1500)) * step_s
    noise = {name: rng.normal(0, sigma, (1500, 2)) for name, sigma in spread.items()}
    zero = np.zeros((1500, 2))
    center = np.stack([2.0 * time_s, 0 * time_s], 1) + noise.get("center", zero)
    velocity = np.array([2.0, 0.0]) + noise.get("velocity", zero)
    yaw = 0.3 * time_s + noise.get("yaw", zero)[:, 0]
    rows = zip(time_s, center, np.mod(yaw, 2 * np.pi), velocity, strict=True)
    return [frame_of(t, [("car", *c, y, *v)], 1.0) for t, c, y, v in rows]


def test_jitter_is_the_standard_deviation_of_the_noise():
    found = figures(noisy(1, 0.1, center=0.2, velocity=0.4, yaw=0.05))
    assert found["position_jitter_m"] == pytest.approx(0.2, rel=0.06)
    assert found["velocity_jitter_mps"] == pytest.approx(0.4, rel=0.06)
    assert found["yaw_jitter_rad"] == pytest.approx(0.05, rel=0.06)
    assert found["yaw_flips"] == 0
    calm = figures(noisy(1, 0.1))
    assert calm["yaw_jitter_rad"] == pytest.approx(0, abs=1e-6), "an even turn is no jitter"


def test_a_heading_that_flips_is_counted_and_is_no_jitter():
    frames = [frame_of(t, [car(t, yaw_rad=0.1 + math.pi * (t == 4))]) for t in range(9)]
    found = figures(frames)
    assert found["yaw_flips"] == pytest.approx(2 / 8)
    assert found["yaw_jitter_rad"] == pytest.approx(0, abs=1e-9)


def test_a_barrier_that_flips_is_the_same_and_a_cone_has_no_heading():
    for name, triples in (("barrier", 3), ("traffic_cone", 0)):
        frames = [frame_of(t, [(name, 0, 0, math.pi * (t % 2), 0, 0)]) for t in range(5)]
        total = sums(frames)
        assert (total["turns"], total["flips"], total["yaw_triples"]) == (0, 0, triples)
        assert total["yaw_square"] == pytest.approx(0, abs=1e-12)


def test_ghosts_that_pile_up_are_a_drift():
    frames = [frame_of(t, [("car", 5.0 * k, 0, 0, 0, 0) for k in range(2 + t)]) for t in range(8)]
    found = figures(frames)
    assert found["count_drift_per_min"] == pytest.approx(60 / STEP_S)
    assert found["count_change"] == pytest.approx(7 / sum(range(2, 9)))


def test_sums_of_drives_add_up_and_drift_is_not_between_drives():
    few, many = drive(5), [frame_of(t, [car(t), car(t, 30.0)]) for t in range(5)]
    total = drive_sums(few) + drive_sums(many)
    assert steady_figures(total)["boxes_per_frame"] == 1.5
    assert steady_figures(total)["count_drift_per_min"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("frames", [[], [frame_of(0, [])], drive(1)], ids=["none", "empty", "one"])
def test_what_cannot_be_known_is_nan_and_no_error(frames):
    found = figures(frames)
    assert math.isnan(found["flicker"])
    assert math.isnan(found["yaw_jitter_rad"])
    assert math.isnan(found["count_drift_per_min"])


def test_frames_out_of_order_and_impossible_rules_are_refused():
    with pytest.raises(DataError, match="order of time"):
        join_tracks(drive(3)[::-1])
    for wrong in ({"min_score": 1.5}, {"max_distance_m": 0.0}, {"max_missed": -1}):
        with pytest.raises(ConfigError, match="tracks: m"):
            TrackRules(**wrong)


def test_boxes_are_laid_into_the_frame_that_stands_still():
    rotation = rotation_from_quaternion([math.cos(math.pi / 4), 0, 0, math.sin(math.pi / 4)])
    detections = Detections(
        stamp_ns=7,
        class_names=("car", "truck"),
        center_m=np.array([[10.0, 1.0, 0.5]]),
        size_m=np.ones((1, 3)),
        yaw_rad=np.array([0.2]),
        velocity_mps=np.array([[3.0, 0.0]]),
        scores=np.array([0.5]),
        labels=np.array([1]),
    )
    boxes = placed(detections, rigid_transform(rotation, [100.0, 50.0, 0.0]))
    np.testing.assert_allclose(boxes.center_m, [[99.0, 60.0]], atol=1e-9)
    np.testing.assert_allclose(boxes.yaw_rad, [0.2 + math.pi / 2])
    np.testing.assert_allclose(boxes.velocity_mps, [[0.0, 3.0]], atol=1e-9)
    assert (boxes.names.tolist(), boxes.stamp_ns) == (["truck"], 7)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 12), turn=st.floats(-3, 3))
def test_every_box_is_in_one_track_and_the_still_frame_does_not_matter(seed, count, turn):
    rng = np.random.default_rng(seed)
    classes = ("car", "pedestrian", "barrier")
    frames = [
        frame_of(t, [(classes[rng.integers(3)], *rng.normal(0, 3, 5)) for _ in range(count)])
        for t in range(6)
    ]
    tracks = join_tracks(frames)
    boxes = sorted((f, r) for t in tracks for f, r in zip(t.frame, t.row, strict=True))
    assert boxes == [(f, r) for f in range(6) for r in range(count)]
    c, s = math.cos(turn), math.sin(turn)
    turned = [
        PlacedBoxes(
            stamp_ns=frame.stamp_ns,
            names=frame.names,
            center_m=frame.center_m @ np.array([[c, s], [-s, c]]) + 7,
            yaw_rad=frame.yaw_rad + turn,
            velocity_mps=frame.velocity_mps @ np.array([[c, s], [-s, c]]),
            score=frame.score,
        )
        for frame in frames
    ]
    np.testing.assert_allclose(drive_sums(turned), drive_sums(frames), atol=1e-6)
