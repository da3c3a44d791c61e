# SPDX-License-Identifier: Apache-2.0
"""Whether two replays of one recording say the same of every frame.

    agreement = agreement_of(offline_frames, online_frames)
    agreement.same, agreement.frames

A live graph may skip a frame that a busy machine had no time for, and a message may be late or lost
on its way; whatever it answers from the same readings must be the same boxes. (A model that
remembers answers from the frames before, too: behind a skipped frame its boxes may differ.)
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from imkd_core.evaluation.proof import SAME_BOX, largest_difference
from imkd_core.evaluation.replay_frames import NO_FRAME, FrameRecord

#: Why the boxes of a frame are others, beside the outcomes of the second replay.
OTHER_SENSORS = "other sensors were used"
OTHER_READINGS = "other readings of the same sensors were used"
OTHER_BOXES = "the same readings, other boxes"
NOT_THERE = "no such frame"

#: Ages of readings that differ by less are of the same reading: they are told in tenths.
_SAME_AGE_MS = 0.11


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far a second replay says what a first one said.

    Attributes:
        frames: that the first one answered.
        same: of those the ones with the same boxes in the second.
        differences: why -> frames that are not the same.
        added: frames that only the second one answered.
        largest: difference of any number of any box among frames that are the same.
    """

    frames: int
    same: int
    differences: Mapping[str, int] = field(default_factory=dict)
    added: int = 0
    largest: float = 0.0

    def line(self, name: str) -> str:
        """Return a line for a terminal."""
        parts = [f"{name}: {self.same} of {self.frames} frames the same as offline"]
        parts += [f"{count} x {why}" for why, count in self.differences.items()]
        parts += [f"{self.added} that offline has not"] if self.added else []
        return "; ".join(parts)


def agreement_of(first: Sequence[FrameRecord], second: Sequence[FrameRecord]) -> Agreement:
    """Compare what two replays of a recording answered, frame by frame.

    Boxes are the same where no number differs by more than `proof.SAME_BOX`. Where a stamp stands
    twice (a recording that loops), its last frame counts.
    """
    answered, others = _answered(first), {frame.stamp_ns: frame for frame in second}
    differences: Counter[str] = Counter()
    largest = 0.0
    for stamp_ns, frame in answered.items():
        why, difference = _difference(frame, others.get(stamp_ns))
        if why:
            differences[why] += 1
        else:
            largest = max(largest, difference)
    return Agreement(
        frames=len(answered),
        same=len(answered) - differences.total(),
        differences=dict(sorted(differences.items())),
        added=len(set(_answered(second)) - set(answered)),
        largest=largest,
    )


def _answered(frames: Iterable[FrameRecord]) -> dict[int, FrameRecord]:
    return {frame.stamp_ns: frame for frame in frames if frame.detections is not None}


def _difference(first: FrameRecord, second: FrameRecord | None) -> tuple[str, float]:
    """Return why a frame is another ("" where it is the same), and by how much boxes differ."""
    if second is None or second.outcome.startswith(NO_FRAME):
        return NOT_THERE, 0.0
    if first.detections is None or second.detections is None:
        return second.outcome, 0.0
    difference = largest_difference(first.detections, second.detections)
    if difference <= SAME_BOX:
        return "", difference
    return _why(first.age_ms, second.age_ms), 0.0


def _why(first_ms: Mapping[str, float], second_ms: Mapping[str, float]) -> str:
    """Return why boxes differ, by the ages of the readings that were used; none = not told."""
    if not first_ms or not second_ms:
        return OTHER_BOXES
    if set(first_ms) != set(second_ms):
        return OTHER_SENSORS
    is_same = all(abs(first_ms[name] - second_ms[name]) < _SAME_AGE_MS for name in first_ms)
    return OTHER_BOXES if is_same else OTHER_READINGS
