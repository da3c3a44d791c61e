# SPDX-License-Identifier: Apache-2.0
"""Answers at the stamps of sensors are judged by a truth that has stamps of its own."""

from dataclasses import replace

import numpy as np
import pytest

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.errors import ConfigError, DataError
from imkd_core.evaluation.nuscenes_metrics import evaluate
from imkd_core.evaluation.replay_figures import drive_figures, replayed_drive, write_replay_figures
from imkd_core.evaluation.replay_frames import FrameRecord, TrueFrame
from imkd_core.evaluation.replay_judgement import hits_of, joined, judge, judged_drive
from imkd_core.evaluation.replay_tables import figure_lines
from imkd_core.geometry import invert_transform, rigid_transform, transform_points
from imkd_core.types import Detections

START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 500_000_000
LAG_NS = 80_000_000
EGO_SPEED_MPS = 10.0
#: Of the objects, in the frame that stands still: one stands, one drives.
SPEEDS_MPS = np.array([[0.0, 0.0], [6.0, 2.0]])
LABELS = [NUSCENES_CLASSES.index(name) for name in ("car", "truck")]


def ego_pose(stamp_ns):
    turn = 0.3
    c, s = np.cos(turn), np.sin(turn)
    rotation = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    return rigid_transform(rotation, [EGO_SPEED_MPS * (stamp_ns - START_NS) * 1e-9, 3.0, 0.0])


def boxes_at(stamp_ns, scores=(1.0, 1.0)):
    """The two objects as the vehicle sees them then."""
    pose = ego_pose(stamp_ns)
    seconds = (stamp_ns - START_NS) * 1e-9
    odom_m = np.array([[18.0, 2.0, 1.0], [9.0, -6.0, 1.0]])
    odom_m[:, :2] += SPEEDS_MPS * seconds
    return Detections(
        stamp_ns=stamp_ns,
        class_names=NUSCENES_CLASSES,
        center_m=transform_points(invert_transform(pose), odom_m),
        size_m=np.tile([4.0, 2.0, 1.5], (2, 1)),
        yaw_rad=np.full(2, -0.3),
        velocity_mps=SPEEDS_MPS @ pose[:2, :2],
        scores=np.array(scores),
        labels=np.array(LABELS),
    )


def truths(count=6):
    stamps_ns = [START_NS + i * PERIOD_NS for i in range(count)]
    return [
        TrueFrame(
            boxes=boxes_at(stamp_ns),
            attributes=np.array([6, 5]),
            points=np.array([3, -1]),
            odom_from_ego=ego_pose(stamp_ns),
        )
        for stamp_ns in stamps_ns
    ]


def frames(count=6, lag_ns=LAG_NS, gone=()):
    made = []
    for i in range(count):
        stamp_ns = START_NS + i * PERIOD_NS + lag_ns
        made.append(
            FrameRecord(
                stamp_ns=stamp_ns,
                level="degraded" if i < 2 else "full",
                missing={"CAM_BACK": "silent", "CAM_FRONT": "silent"} if i < 2 else {},
                outcome="not answered: x" if i in gone else "answered",
                odom_from_ego=ego_pose(stamp_ns),
                detections=None if i in gone else boxes_at(stamp_ns, (0.9, 0.8)),
            )
        )
    return made


def present_error(judgement, name="translation_m"):
    return judgement.metrics.present_errors[name]


def test_answers_that_lag_behind_are_moved_to_the_true_moment():
    judgement = judge([judged_drive("one", frames(), truths())])
    assert judgement.metrics.present_mean_ap == pytest.approx(1.0)
    for name in ("translation_m", "scale", "orientation_rad", "velocity_mps", "attribute"):
        assert present_error(judgement, name) == pytest.approx(0.0, abs=1e-4)
    assert judgement.unanswered == 0


def test_an_answer_that_is_not_moved_would_be_wrong():
    """The check above can fail: the boxes are elsewhere at the answer's stamp."""
    late = [replace(one, stamp_ns=one.stamp_ns - LAG_NS) for one in frames()]
    late = [replace(one, detections=replace(one.detections, stamp_ns=one.stamp_ns)) for one in late]
    assert present_error(judge([judged_drive("one", late, truths())])) > 0.2


def test_without_poses_the_vehicle_is_taken_to_stand():
    still = [replace(one, odom_from_ego=None) for one in frames(lag_ns=0)]
    judgement = judge([judged_drive("one", still, truths())])
    assert present_error(judgement) == pytest.approx(0.0, abs=1e-4)
    unknown = [replace(one, odom_from_ego=None) for one in truths()]
    judgement = judge([judged_drive("one", frames(lag_ns=0), unknown)])
    assert present_error(judgement) == pytest.approx(0.0, abs=1e-4)


def test_a_true_moment_without_an_answer_is_one_where_nothing_was_found():
    judgement = judge([judged_drive("one", frames(gone={4, 5}), truths())])
    assert judgement.unanswered == 2
    assert judgement.metrics.truth == 12
    assert judgement.metrics.found == 8
    nothing = judge([judged_drive("one", [], truths())])
    assert nothing.metrics.present_mean_ap == 0.0
    assert nothing.unanswered == 6
    assert [part.name for part in nothing.by_level] == ["no frame"]


def test_parts_are_told_by_level_missing_sensors_and_weather():
    drives = [
        judged_drive("one", frames(), truths(), "a drive in the rain at night"),
        judged_drive("two", frames(), truths()),
    ]
    judgement = judge(drives)
    assert {part.name: part.samples for part in judgement.by_level} == {"full": 8, "degraded": 4}
    names = {part.name: part.samples for part in judgement.by_lost}
    assert names == {"none": 8, "CAM_BACK, CAM_FRONT": 4}
    assert {part.name for part in judgement.by_weather} == {"rain", "not told"}
    assert {part.name for part in judgement.by_light} == {"night", "not told"}
    assert [row.truth for row in judgement.by_speed] == [12, 0, 12, 0]


def test_a_level_is_that_of_the_nearest_frame_even_if_it_was_not_answered():
    drive = judged_drive("one", frames(gone={0}), truths())
    assert drive.levels[0] == "degraded"
    assert drive.unanswered == 1


def test_hits_of_drives_give_the_same_figures_and_drives_without_truth_count_for_nothing():
    one = judged_drive("one", frames(gone={1}), truths())
    two = judged_drive("two", frames(gone={0, 3}), truths())
    hits = hits_of([None, one, None, two, None])
    metrics = hits.metrics()
    expected = evaluate(*joined([one, two]), 12)
    assert metrics.nds == expected.nds
    assert metrics.samples == 12
    only_two = hits.metrics([1, 0, 1, 1, 1])
    assert only_two.nds == judge([two]).metrics.nds
    assert hits_of([None, None]) is None


def test_stamps_that_go_back_are_refused():
    looped = [*frames(), *frames()]
    with pytest.raises(DataError, match=r"monday: stamps go back .* cut it"):
        judged_drive("monday", looped, truths())


def test_classes_of_another_task_are_refused():
    other = replace(frames()[0], detections=replace(boxes_at(START_NS), class_names=("tree",) * 10))
    with pytest.raises(ConfigError, match="tree"):
        judged_drive("one", [other], truths())


def test_the_folder_of_a_replay_tells_what_is_right_beside_what_is_steady(tmp_path):
    pairs = {
        name: [(one.detections, one.odom_from_ego) for one in frames()] for name in ("one", "two")
    }
    drives = [replayed_drive(name, answers) for name, answers in pairs.items()]
    known = [judged_drive("one", frames(), truths()), None]
    figures = write_replay_figures(tmp_path, drives, {"model": "mine"}, known)
    assert figures.judged == 1
    lines = "\n".join(figure_lines(figures, 2, "score 0.1"))
    assert "1 of 2 recordings with truth, 6 true moments, 0 of them without an answer" in lines
    assert "CAM_BACK, CAM_FRONT" in lines
    alone = drive_figures(drives[0], known[0])
    assert alone["map"] == pytest.approx(1.0)
    assert "nds" not in drive_figures(drives[1], None)
    without = write_replay_figures(tmp_path, drives, {"model": "mine"})
    assert "No truth" in figure_lines(without, 2, "")[0]
