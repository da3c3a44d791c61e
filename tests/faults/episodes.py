# SPDX-License-Identifier: Apache-2.0
"""Faults one after the other in one play, each for a while, with the drive whole in between."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.faults.injection import Fault
from tests.faults.live import Run, Told
from tests.faults.plan import Plan

#: Diagnostics come once a second: counters are read so long after an episode.
_SETTLE_S = 1.3


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One fault of a play.

    Attributes:
        name: in words.
        fault: what happens, and when.
    """

    name: str
    fault: Fault


def episodes(
    cases: Mapping[str, tuple[str, tuple[str, ...], float]],
    lasts_s: float,
    pause_s: float = 2.0,
    warm_up_s: float = 4.0,
) -> list[Episode]:
    """Return cases one after the other.

    Args:
        cases: name -> kind, sensors, amount.
        lasts_s: each of them.
        pause_s: between two.
        warm_up_s: before the first.
    """
    return [
        Episode(
            name=name,
            fault=Fault(
                kind=kind,
                sensors=sensors,
                amount=amount,
                begin_s=(begin_s := warm_up_s + number * (lasts_s + pause_s)),
                end_s=begin_s + lasts_s,
            ),
        )
        for number, (name, (kind, sensors, amount)) in enumerate(cases.items())
    ]


def plan_of(found: Sequence[Episode], every: int, pause_s: float = 2.0) -> Plan:
    """Return the play of episodes."""
    return Plan(
        seconds=max(one.fault.end_s for one in found) + pause_s,
        every=every,
        faults=tuple(one.fault for one in found),
    )


def yield_percent(run: Run, episode: Episode) -> float:
    """Return how many of the frames that were due in an episode were answered, per cent."""
    due = run.due_between(episode.fault.begin_s, episode.fault.end_s)
    got = run.with_one_of(due, [stamp for stamp, _ in run.answers])
    return round(100 * len(got) / max(len(due), 1), 2)


def dropped(run: Run, episode: Episode, sensor: str) -> dict[str, int]:
    """Return how many messages of a sensor the node said that it dropped in an episode.

    Returns:
        Reason -> count, by its counters on /diagnostics.
    """
    before = _counts(run, sensor, run.steady_ns(episode.fault.begin_s))
    after = _counts(run, sensor, run.steady_ns(episode.fault.end_s + _SETTLE_S))
    grown = {reason: count - before.get(reason, 0) for reason, count in after.items()}
    return {reason: count for reason, count in grown.items() if count > 0}


def told_of(run: Run, episode: Episode, sensor: str) -> list[Told]:
    """Return what /diagnostics said of a sensor in an episode that was not well.

    What it said in the same words just before the episode is of another cause, and left out.
    """
    begin_ns = run.steady_ns(episode.fault.begin_s)
    end_ns = run.steady_ns(episode.fault.end_s + _SETTLE_S)
    before_ns = begin_ns - round(_SETTLE_S * 1e9)
    words = [one for one in run.diagnostics if one.level and one.name.endswith(f": {sensor}")]
    known = {_cause(one.message) for one in words if before_ns <= one.arrived_ns < begin_ns}
    inside = [one for one in words if begin_ns <= one.arrived_ns <= end_ns]
    return [one for one in inside if _is_news(one.message, known)]


def _cause(message: str) -> str:
    """Return a message without its end in brackets, which says what becomes of the sensor."""
    return message.rpartition(" (")[0] if message.endswith(")") else message


def _is_news(message: str, known: Iterable[str]) -> bool:
    """Whether a message says anything beside what is known; several causes stand in one."""
    rest = _cause(message)
    for text in known:
        rest = rest.replace(text, "")
    return bool(rest.strip("; "))


def sent_in(run: Run, episode: Episode, topic: str) -> int:
    """Return how many messages of a topic the player sent in an episode."""
    begin_ns, end_ns = (
        run.steady_ns(second) for second in (episode.fault.begin_s, episode.fault.end_s)
    )
    return sum(one.topic == topic and begin_ns <= one.sent_ns < end_ns for one in run.sent)


def stray_answers(run: Run) -> int:
    """Return the number of answers whose stamp is of no time of the play."""
    first_ns, last_ns = run.stamp_ns(0.0), run.stamp_ns(run.plan.seconds)
    return sum(not first_ns <= stamp <= last_ns for stamp, _ in run.answers)


def _counts(run: Run, sensor: str, until_ns: int) -> dict[str, int]:
    last: Told | None = None
    for one in run.diagnostics:
        if one.name.endswith(f": {sensor}") and one.arrived_ns <= until_ns:
            last = one
    values = {} if last is None else last.values
    return {
        key.removeprefix("dropped: "): int(value)
        for key, value in values.items()
        if key.startswith("dropped: ")
    }
