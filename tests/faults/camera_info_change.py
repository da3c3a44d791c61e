# SPDX-License-Identifier: Apache-2.0
"""CameraInfo changes while the node runs: its geometry must follow within a frame.

Two plays of the real graph: in one the focal lengths of all cameras change in mid-drive, in the
other they are the changed ones from the start. From the change on, a frame must give the boxes of a
fresh start, where both have the same readings. Not to the bit: the look-up table is kept while
poses move by less than a tolerance (`runtime.view_cache`), so it hangs a little on what came
before, and int8 makes more of it. The middle distance of the boxes tells new geometry from old.
"""

import statistics
from collections.abc import Sequence
from typing import Any

from imkd_core.data.bags.messages import typestore
from imkd_core.data.nuscenes.reader import CAMERAS
from imkd_core.health.degradation import ANSWERED
from tests.faults.injection import Fault
from tests.faults.judge import crashes
from tests.faults.live import Run, play
from tests.faults.plan import Due, Plan
from tests.faults.suite import Context, Figure, at_least, at_most, not_there, told

EVERY = 2
SECONDS, CHANGE_S = 12.0, 6.0

#: Focal lengths are multiplied by this.
SCALE = 0.9

#: Boxes of this score and more are compared; those of the same geometry are off by less, the
#: middle one of them.
LEAST_SCORE, SAME_M = 0.3, 0.02

#: A box that has no counterpart of its class counts as so far off.
_NOWHERE_M = 100.0


def run(context: Context) -> list[Figure]:
    """Play both, and compare."""
    changed = play(context, "changed", _plan(CHANGE_S), with_boxes=True)
    fresh = play(context, "fresh", _plan(0.0), with_boxes=True)
    first = [crashes("camera info changed", changed), crashes("camera info fresh", fresh)]
    if not (changed.boxes and fresh.boxes):
        return first
    change_ns = changed.stamp_ns(CHANGE_S)
    both = _alike(changed, fresh)
    after = [stamp for stamp in both if stamp >= change_ns]
    off_m = [_apart_m(changed.boxes[stamp], fresh.boxes[stamp]) for stamp in after]
    before_m = [_apart_m(changed.boxes[s], fresh.boxes[s]) for s in both if s < change_ns]
    same = [value <= SAME_M for value in off_m]
    stale = next((n for n in range(len(same)) if all(same[n:])), None)
    due = changed.due_between(CHANGE_S, SECONDS - 0.5)
    return [
        *first,
        _followed(stale, off_m),
        at_least(
            "camera info changes: frames answered after it", _percent(changed, due), 99.0, "%"
        ),
        told(
            "camera info changes: frames before it that differ",
            sum(value > SAME_M for value in before_m),
            "frames",
            f"of {len(before_m)}: the change matters; the middle box is off by "
            f"{statistics.median(before_m or [0.0]) * 100:.1f} cm",
        ),
    ]


def _alike(ours: Run, theirs: Run) -> list[int]:
    """Return the stamps of frames that both answered from the same readings, in order."""
    of_ours, of_theirs = _readings(ours), _readings(theirs)
    both = ours.boxes.keys() & theirs.boxes.keys() & of_ours.keys()
    return sorted(stamp for stamp in both if of_ours[stamp] == of_theirs.get(stamp))


def _readings(seen: Run) -> dict[int, dict[str, str]]:
    """Return stamp -> age of each sensor's reading, of the frames that were answered."""
    return {
        told.stamp_ns: {key: age for key, age in told.values.items() if key.startswith("age_ms/")}
        for told in seen.statuses
        if told.outcome == ANSWERED
    }


def _followed(stale: int | None, off_m: Sequence[float]) -> Figure:
    """Return after how many frames all further ones are the same."""
    name = "camera info changes: frames until boxes are those of a fresh start"
    if stale is None:
        return not_there(name, 1, "frames", f"of {len(off_m)} frames of the same readings, none")
    worst_cm = max(off_m[stale:]) * 100
    note = f"then {len(off_m) - stale} frames, the middle box off by at most {worst_cm:.1f} cm"
    return at_most(name, stale, 1, "frames", note)


def _apart_m(ours: bytes, theirs: bytes) -> float:
    """Return how far the middle box of theirs is from the nearest of ours of its class, metres."""
    mine, others = _places(ours), _places(theirs)
    apart_m = [
        min((abs(here - there) for one, here in mine if one == name), default=_NOWHERE_M)
        for name, there in others
    ]
    return statistics.median(apart_m) if apart_m else 0.0 if not mine else _NOWHERE_M


def _places(cdr: bytes) -> list[tuple[str, complex]]:
    """Return class and place, x + iy, of the boxes that count."""
    found = []
    array: Any = typestore().deserialize_cdr(cdr, "vision_msgs/msg/Detection3DArray")
    for box in array.detections:
        hypothesis, centre = box.results[0].hypothesis, box.bbox.center.position
        if hypothesis.score >= LEAST_SCORE:
            found.append((str(hypothesis.class_id), complex(centre.x, centre.y)))
    return found


def _plan(begin_s: float) -> Plan:
    fault = Fault(
        kind="camera_info", sensors=CAMERAS, amount=SCALE, begin_s=begin_s, end_s=SECONDS + 1.0
    )
    return Plan(seconds=SECONDS, every=EVERY, faults=(fault,))


def _percent(seen: Run, due: list[Due]) -> float:
    got = seen.with_one_of(due, [stamp for stamp, _ in seen.answers])
    return round(100 * len(got) / max(len(due), 1), 2)
