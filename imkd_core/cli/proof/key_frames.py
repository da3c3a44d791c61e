# SPDX-License-Identifier: Apache-2.0
"""Answers of a live detector, which bear the stamps of sensors, as answers at key frames."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from imkd_core.data.nuscenes.reader import SampleRecord
from imkd_core.evaluation.proof import moved_boxes
from imkd_core.types import Detections

#: An answer farther from a key frame than this does not count for it.
MAX_GAP_NS = 200_000_000


def on_key_frames(
    records: Sequence[SampleRecord], answers: Sequence[Detections]
) -> dict[str, Detections]:
    """Return token -> the nearest answer, in the ego frame of the key frame's reference time.

    Boxes go on with their own velocity for the time between. A key frame without an answer within
    `MAX_GAP_NS` gets none of the boxes, so that silence counts as missing everything.
    """
    if not answers:
        return {}
    result = {}
    for record in records:
        answer = _nearest(record, answers)
        if abs(answer.stamp_ns - record.stamp_ns) > MAX_GAP_NS:
            answer = answer.select(np.zeros(len(answer), np.bool_))
        result[record.token] = _at_reference(record, answer)
    return result


def nearest_answers(
    records: Sequence[SampleRecord], answers: Sequence[Detections]
) -> tuple[Detections, ...]:
    """Return the answers that are some key frame's nearest, in the order of their stamps.

    A drive has readings behind its last key frame; a live detector rightly answers them, too.
    """
    if not answers:
        return ()
    near = {answer.stamp_ns: answer for answer in (_nearest(one, answers) for one in records)}
    return tuple(near[stamp_ns] for stamp_ns in sorted(near))


def _nearest(record: SampleRecord, answers: Sequence[Detections]) -> Detections:
    return min(answers, key=lambda answer: abs(answer.stamp_ns - record.stamp_ns))


def _at_reference(record: SampleRecord, answer: Detections) -> Detections:
    reading = min(record.readings.values(), key=lambda item: abs(item.stamp_ns - answer.stamp_ns))
    seconds = np.float32((record.stamp_ns - answer.stamp_ns) * 1e-9)
    center_m = answer.center_m.copy()
    center_m[:, :2] += answer.velocity_mps * seconds
    later = replace(answer, center_m=center_m)
    return moved_boxes(record.reference_from_ego(reading), later, record.stamp_ns)
