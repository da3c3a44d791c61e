# SPDX-License-Identifier: Apache-2.0
"""Two replays of one recording are compared frame by frame, and a difference has a reason."""

from dataclasses import replace

import numpy as np
import pytest

from imkd_core.evaluation.replay_agreement import (
    NOT_THERE,
    OTHER_BOXES,
    OTHER_READINGS,
    OTHER_SENSORS,
    agreement_of,
)
from imkd_core.evaluation.replay_frames import FrameRecord
from imkd_core.types import Detections

AGES_MS = {"CAM_FRONT": 0.0, "RADAR_FRONT": 31.26}


def frame(stamp_ns, x_m=1.0, outcome="answered", ages_ms=AGES_MS):
    found = Detections(
        stamp_ns=stamp_ns,
        class_names=("car",),
        center_m=np.array([[x_m, 0.0, 0.0]]),
        size_m=np.ones((1, 3)),
        yaw_rad=np.zeros(1),
        velocity_mps=np.zeros((1, 2)),
        scores=np.ones(1),
        labels=np.zeros(1, np.int64),
    )
    is_given = outcome == "answered"
    return FrameRecord(
        stamp_ns=stamp_ns,
        level="full",
        outcome=outcome,
        age_ms=ages_ms,
        detections=found if is_given else None,
    )


def test_a_replay_agrees_with_itself():
    frames = [frame(stamp) for stamp in range(5)]
    agreement = agreement_of(frames, frames)
    assert (agreement.frames, agreement.same, agreement.largest) == (5, 5, 0.0)
    assert dict(agreement.differences) == {}
    assert agreement_of([], []).frames == 0


def test_rounding_is_no_difference_and_is_told():
    agreement = agreement_of([frame(1)], [frame(1, x_m=1.00005)])
    assert agreement.same == 1
    assert agreement.largest == pytest.approx(5e-5, rel=0.01)


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ([], NOT_THERE),
        ([frame(1, outcome="no frame: never seen")], NOT_THERE),
        ([frame(1, outcome="replaced by a newer frame")], "replaced by a newer frame"),
        ([frame(1, x_m=1.01)], OTHER_BOXES),
        ([frame(1, x_m=1.01, ages_ms={**AGES_MS, "RADAR_FRONT": 31.3})], OTHER_BOXES),
        ([frame(1, x_m=1.01, ages_ms={**AGES_MS, "RADAR_FRONT": 108.0})], OTHER_READINGS),
        ([frame(1, x_m=1.01, ages_ms={"CAM_FRONT": 0.0})], OTHER_SENSORS),
        ([frame(1, x_m=1.01, ages_ms={})], OTHER_BOXES),
    ],
)
def test_a_difference_has_a_reason(second, why):
    agreement = agreement_of([frame(1)], second)
    assert (agreement.same, dict(agreement.differences)) == (0, {why: 1})
    assert f"0 of 1 frames the same as offline; 1 x {why}" in agreement.line("one")


def test_frames_that_only_the_second_has_are_counted():
    gone = replace(frame(7), outcome="not answered: x", detections=None)
    agreement = agreement_of([frame(1), gone], [frame(1), frame(7), frame(9)])
    assert (agreement.frames, agreement.same, agreement.added) == (1, 1, 2)
    assert agreement.line("one").endswith("2 that offline has not")
