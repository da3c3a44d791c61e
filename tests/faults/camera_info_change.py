# SPDX-License-Identifier: Apache-2.0
"""CameraInfo changes while the node runs: its geometry must follow within a frame.

Two plays of the real graph: in one the focal lengths of all cameras change in mid-drive, in the
other they are the changed ones from the start. From the change on, a frame of the same images must
give the same boxes to the bit: then the geometry is that of a fresh start.
"""

from imkd_core.data.nuscenes.reader import CAMERAS
from tests.faults.injection import Fault
from tests.faults.judge import crashes
from tests.faults.live import Run, play
from tests.faults.plan import Due, Plan
from tests.faults.suite import Context, Figure, at_least, at_most, not_there, told

EVERY = 2
SECONDS, CHANGE_S = 12.0, 6.0

#: Focal lengths are multiplied by this.
SCALE = 0.9


def run(context: Context) -> list[Figure]:
    """Play both, and compare."""
    changed = play(context, "changed", _plan(CHANGE_S), with_boxes=True)
    fresh = play(context, "fresh", _plan(0.0), with_boxes=True)
    first = [crashes("camera info changed", changed), crashes("camera info fresh", fresh)]
    if not (changed.boxes and fresh.boxes):
        return first
    change_ns = changed.stamp_ns(CHANGE_S)
    both = sorted(changed.boxes.keys() & fresh.boxes.keys())
    after = [stamp for stamp in both if stamp >= change_ns]
    same = [changed.boxes[stamp] == fresh.boxes[stamp] for stamp in after]
    before = [changed.boxes[s] == fresh.boxes[s] for s in both if s < change_ns]
    stale = next((n for n in range(len(same)) if all(same[n:])), None)
    due = changed.due_between(CHANGE_S, SECONDS - 0.5)
    return [
        *first,
        _followed(stale, len(same)),
        at_least(
            "camera info changes: frames answered after it", _percent(changed, due), 99.0, "%"
        ),
        told(
            "camera info changes: frames before it that differ",
            len(before) - sum(before),
            "frames",
            f"of {len(before)}: the change matters",
        ),
    ]


def _followed(stale: int | None, frames: int) -> Figure:
    """Return after how many frames all further ones are the same."""
    name = "camera info changes: frames until boxes are those of a fresh start"
    if stale is None:
        return not_there(name, 1, "frames", f"of {frames} frames that both answered, none")
    return at_most(name, stale, 1, "frames", f"then {frames - stale} frames the same to the bit")


def _plan(begin_s: float) -> Plan:
    fault = Fault(
        kind="camera_info", sensors=CAMERAS, amount=SCALE, begin_s=begin_s, end_s=SECONDS + 1.0
    )
    return Plan(seconds=SECONDS, every=EVERY, faults=(fault,))


def _percent(seen: Run, due: list[Due]) -> float:
    got = seen.with_one_of(due, [stamp for stamp, _ in seen.answers])
    return round(100 * len(got) / max(len(due), 1), 2)
