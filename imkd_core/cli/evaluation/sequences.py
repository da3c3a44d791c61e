# SPDX-License-Identifier: Apache-2.0
"""Which samples are run for those that are judged: a model with a memory wants the ones before."""

from collections.abc import Mapping, Sequence

from imkd_core.config import MemorySpec
from imkd_core.data.nuscenes.reader import NuScenes

#: Intervals that a recurrent memory is given before a sample is judged; it looks back further yet
#: where samples are judged one after the other.
RECURRENT_INTERVALS = 6

#: Key frames do not come on the dot.
_SLACK = 0.1


def sequences_of(
    reader: NuScenes, tokens: Mapping[str, Sequence[str]], memory: MemorySpec
) -> dict[str, tuple[str, ...]]:
    """Return scene -> samples to run in the order of time, judged or only remembered.

    A limit leaves out samples between those that are judged. So that a memory is as full as on a
    whole drive, each is preceded by those of the time that a window spans, or of
    `RECURRENT_INTERVALS`, as far as the scene has them.

    Args:
        reader: of the folder.
        tokens: scene -> samples to judge, in the order of time.
        memory: of the model; with kind "none" the samples to judge are returned.
    """
    intervals = RECURRENT_INTERVALS if memory.kind == "recurrent" else memory.frames
    span_s = (intervals + _SLACK) * memory.interval_s if memory.frames else 0.0
    return {
        scene: _with_those_before(reader, scene, frozenset(judged), span_s)
        for scene, judged in tokens.items()
    }


def _with_those_before(
    reader: NuScenes, scene: str, judged: frozenset[str], span_s: float
) -> tuple[str, ...]:
    chosen = []
    next_us = float("inf")  # of the judged sample that comes next
    for token in reversed(reader.sample_tokens(scene)):
        stamp_us = float(reader.tables.get("sample", token)["timestamp"])
        if token in judged:
            next_us = stamp_us
        if next_us - stamp_us <= span_s * 1e6:
            chosen.append(token)
    return tuple(reversed(chosen))
