# SPDX-License-Identifier: Apache-2.0
"""Which answers of a live detector belong to the key frames of a drive."""

from types import SimpleNamespace

import numpy as np

from imkd_core.cli.proof.key_frames import nearest_answers
from imkd_core.types import Detections

MS = 1_000_000


def answer(stamp_ms):
    return Detections(
        stamp_ns=stamp_ms * MS,
        class_names=("car",),
        center_m=np.zeros((0, 3), np.float32),
        size_m=np.zeros((0, 3), np.float32),
        yaw_rad=np.zeros(0, np.float32),
        velocity_mps=np.zeros((0, 2), np.float32),
        scores=np.zeros(0, np.float32),
        labels=np.zeros(0, np.int64),
    )


def records(*stamps_ms):
    return [SimpleNamespace(stamp_ns=stamp_ms * MS) for stamp_ms in stamps_ms]


def stamps_ms(answers):
    return [found.stamp_ns // MS for found in answers]


def test_readings_behind_the_last_key_frame_are_not_judged():
    answers = [answer(t) for t in (1015, 1515, 2015, 2029)]
    assert stamps_ms(nearest_answers(records(1000, 1500, 2000), answers)) == [1015, 1515, 2015]


def test_a_key_frame_without_an_answer_makes_fewer_of_them():
    answers = [answer(t) for t in (1015, 2015)]
    assert stamps_ms(nearest_answers(records(1000, 1500, 2000), answers)) == [1015, 2015]


def test_silence_stays_silence():
    assert nearest_answers(records(1000), []) == ()
