# SPDX-License-Identifier: Apache-2.0
"""Cameras and radars are lost in mid-drive and come back: gap, status, recovery.

The real graph, cameras at 6 Hz so that two cores have headroom. Each case is played `ROUNDS` times
in one drive; the worst counts. The gap is what an output came later than a frame period after the
one before it, from the loss to a second after the return.
"""

from dataclasses import dataclass

from imkd_core.data.nuscenes.reader import CAMERAS, RADARS
from imkd_core.health.degradation import Level
from tests.faults.injection import Fault
from tests.faults.judge import NO_STATUS, crashes, frames_to_full, gap_periods, right_after_s, worst
from tests.faults.live import Run, play
from tests.faults.plan import Plan
from tests.faults.suite import Context, Figure, told

#: Case -> sensors that are lost, and the level that must be told.
CASES: dict[str, tuple[tuple[str, ...], Level]] = {
    "one camera lost": (CAMERAS[:1], Level.DEGRADED),
    "three cameras lost": (CAMERAS[1:4], Level.DEGRADED),
    "all cameras lost": (CAMERAS, Level.RADAR_ONLY),
    "one radar lost": (RADARS[:1], Level.DEGRADED),
    "all radars lost": (RADARS, Level.CAMERA_ONLY),
}

#: Every second image of 12 Hz.
EVERY = 2

ROUNDS = 3

#: Before the first loss; of a loss; from a return to the next loss. Seconds.
WARM_UP_S, LOST_S, WELL_S = 4.0, 3.0, 3.0


@dataclass(frozen=True, kw_only=True)
class Loss:
    """One loss of a play: the case, and when."""

    case: str
    begin_s: float
    end_s: float


def losses(rounds: int = ROUNDS) -> list[Loss]:
    """Return all losses of the play, by time."""
    cases = [case for _ in range(rounds) for case in CASES]
    begins = [WARM_UP_S + number * (LOST_S + WELL_S) for number in range(len(cases))]
    return [
        Loss(case=case, begin_s=begin_s, end_s=begin_s + LOST_S)
        for case, begin_s in zip(cases, begins, strict=True)
    ]


def run(context: Context) -> list[Figure]:
    """Play, and judge each case by its worst round."""
    found = losses()
    plan = Plan(
        seconds=found[-1].end_s + WELL_S,
        every=EVERY,
        faults=tuple(
            Fault(kind="lost", sensors=CASES[one.case][0], begin_s=one.begin_s, end_s=one.end_s)
            for one in found
        ),
    )
    seen = play(context, "run", plan)
    first = crashes("sensor loss", seen)
    if not seen.sent:
        return [first]
    calm = [gap_periods(seen, WARM_UP_S - 2.0, WARM_UP_S - 0.1)]
    calm += [gap_periods(seen, one.end_s + 1.2, one.end_s + WELL_S - 0.1) for one in found]
    figures = [figure for case in CASES for figure in judge(seen, case, found)]
    note = "the same pauses between the losses: what is the machine's, not the loss's"
    return [
        first,
        *figures,
        told("no loss: output gap", round(max(calm), 3), "frame periods", note),
    ]


def judge(seen: Run, case: str, found: list[Loss]) -> list[Figure]:
    """Return the figures of one case, each of its worst round."""
    mine = [one for one in found if one.case == case]
    sensors, level = CASES[case]
    gaps = [gap_periods(seen, one.begin_s, one.end_s + 1.0) for one in mine]
    right_s = [right_after_s(seen, level, sensors, one.begin_s, one.end_s) for one in mine]
    frames = [
        frames_to_full(seen, seen.stamp_ns(one.end_s), seen.stamp_ns(one.end_s + WELL_S))
        for one in mine
    ]
    absent = f"never right to the end of the loss: level {level}" if seen.statuses else NO_STATUS
    never = "never full again" if seen.statuses else NO_STATUS
    rounds = f"worst of {len(mine)}, cameras at {12 / EVERY:g} Hz"
    return [
        worst(f"{case}: output gap", gaps, 1.0, "frame periods", rounds, ""),
        worst(f"{case}: status right after", right_s, 0.5, "s", rounds, absent),
        worst(f"{case}: frames to recovery", frames, 3, "frames", rounds, never),
    ]
