# SPDX-License-Identifier: Apache-2.0
"""When each sensor of a replayed recording was used, and what broke and when: pure, for the report.

line = timeline(bag)
line.levels, line.sensors         # rows of spans
line.events                       # what broke, and when, the first first
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise, takewhile

import numpy as np

from imkd_core.evaluation.replay_remedies import remedy_of
from imkd_core.evaluation.replay_report_files import ReplayedBag, ReplayedFrame
from imkd_core.geometry import Float64

#: States of a sensor in a frame, of an answer, and the level that is no trouble.
USED, MISSING, SUSPECT, UNKNOWN = "used", "missing", "suspect", "not told"
NOT_DUE = "not due"
ANSWERED, EMPTY, UNANSWERED = "answered", "empty", "unanswered"
FULL = "full"

#: Reasons of a sensor of which the end of a recording has no more.
_ENDED = ((MISSING, "silent"), (MISSING, "late"))

#: A sensor that was in a frame so shortly before the last one, in usual periods, was not due again.
_DUE_PERIODS = 0.5

#: Spans of several sensors with one cause are one event where they begin and end this near; so are
#: spans of one sensor with one cause and less than this between them.
_TOGETHER_S = 0.5

#: Reasons that are named of one event.
_REASONS = 3

#: Frames are said to be lacking where the next comes after this many usual periods.
_GAP_PERIODS = 3.0

#: Name of the row of what was given out, which is no sensor's.
ANSWERS = "Output"


@dataclass(frozen=True, kw_only=True)
class Span:
    """Frames that follow each other in one state.

    Attributes:
        first, end: index of the first frame, and of the one behind the last.
        start_s, end_s: times since the first frame.
        state: one of this module's states, or a level.
        reason: why, in a few words; empty where nothing is to be said.
        remedy: what to do; of spans that were joined, about the reason that held longest; empty
            where it is not told.
    """

    first: int
    end: int
    start_s: float
    end_s: float
    state: str
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the timeline.

    Attributes:
        name: of the sensor, or what the row shows.
        spans: they follow each other without a gap.
    """

    name: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that broke.

    Attributes:
        who: sensors, or (`ANSWERS`,).
        span: of it; the longest where several sensors share the event.
        levels: of the frames within, as far as they are not full.
        lasts: whether it was not over at the end of the recording.
        boxes_before, boxes_within: mean number of boxes a frame in as many frames before (20 at
            most), and within; None where there are none.
    """

    who: tuple[str, ...]
    span: Span
    levels: tuple[str, ...] = ()
    lasts: bool = False
    boxes_before: float | None = None
    boxes_within: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Timeline:
    """All rows of one recording.

    Attributes:
        times_s: (F,) time of each frame since the first; it rises also where the stamps go back.
        duration_s: to the end of the last frame.
        levels, answers: rows of all frames.
        sensors: a row each, cameras first.
        events: by time.
    """

    times_s: Float64
    duration_s: float
    levels: Row
    answers: Row
    sensors: tuple[Row, ...]
    events: tuple[Event, ...]


#: What is told of one frame in a row: state, reason, remedy.
_Told = tuple[str, str, str]


def timeline(bag: ReplayedBag) -> Timeline:
    """Return the rows and events of a recording."""
    frames = bag.frames
    times_s, period_s = frame_times(frames)
    ends_s = np.append(times_s[1:], times_s[-1:] + period_s)

    def row(name: str, tell: Callable[[ReplayedFrame], _Told], due_s: float = 0.0) -> Row:
        told = _to_the_end([tell(frame) for frame in frames], times_s, due_s)
        return Row(name=name, spans=_spans(told, times_s, ends_s))

    due_s = _DUE_PERIODS * period_s
    sensors = tuple(row(name, _telling(name), due_s) for name in sensor_names(bag))
    answers = row(ANSWERS, _answer)
    gaps = _gaps(times_s, period_s)
    told = [(one.name, span) for one in (*sensors, answers) for span in _troubles(one)]
    told += [(answers.name, span) for span in gaps]
    return Timeline(
        times_s=times_s,
        duration_s=float(ends_s[-1]) if len(ends_s) else 0.0,
        levels=row("Level", lambda frame: (frame.level or UNKNOWN, "", "")),
        answers=answers,
        sensors=sensors,
        events=tuple(_event(group, frames) for group in _grouped(told)),
    )


def sensor_names(bag: ReplayedBag) -> list[str]:
    """Return the sensors of a recording: those of its summary, and others that frames name."""
    named = [*bag.summary.get("cameras", ()), *bag.summary.get("radars", ())]
    seen = {
        name
        for frame in bag.frames
        for name in (*frame.age_ms, *frame.missing, *(one.sensor for one in frame.faults))
    }
    return [str(name) for name in named] + sorted(seen - set(named))


def frame_times(frames: Sequence[ReplayedFrame]) -> tuple[Float64, float]:
    """Return (F,) seconds since the first frame, and the usual period.

    Where stamps go back (a recording that loops), time goes on by one period.
    """
    stamps_ns = np.array([frame.stamp_ns for frame in frames], np.int64)
    steps_s = np.diff(stamps_ns) * 1e-9
    forward = steps_s[steps_s > 0]
    period_s = float(np.median(forward)) if len(forward) else 0.1
    steps_s = np.where(steps_s > 0, steps_s, period_s)
    start = np.zeros(min(len(frames), 1))
    return np.concatenate([start, np.cumsum(steps_s)]), period_s


def _telling(name: str) -> Callable[[ReplayedFrame], _Told]:
    """Return what tells the state of a sensor in a frame."""

    def tell(frame: ReplayedFrame) -> _Told:
        faults = [one for one in frame.faults if one.sensor == name]
        remedy = faults[0].remedy if faults else ""
        reason = frame.missing.get(name)
        if reason is not None:
            state = NOT_DUE if reason == NOT_DUE else MISSING
            return state, reason, remedy_of(reason) or remedy
        if faults:
            return SUSPECT, ", ".join(one.fault for one in faults), remedy
        return (USED if name in frame.age_ms else UNKNOWN), "", ""

    return tell


def _to_the_end(told: list[_Told], times_s: Float64, due_s: float) -> list[_Told]:
    """Return what is told of a sensor, where the end of the recording is no silence or delay.

    The last scans of the radars may make a frame that no camera had time for. What is told of a
    sensor before them holds to the end.

    Args:
        told: of each frame.
        times_s: (F,) of the frames.
        due_s: a sensor that was told otherwise so shortly before the last frame was not due.
    """
    count = len(list(takewhile(lambda one: one[:2] in _ENDED, reversed(told))))
    last = len(told) - count - 1
    if not count or last < 0 or times_s[-1] - times_s[last] >= due_s:
        return told
    before = told[last]
    return told[: last + 1] + [(NOT_DUE, "", "") if before[0] == USED else before] * count


def _answer(frame: ReplayedFrame) -> _Told:
    if frame.is_answered:
        return ANSWERED, "", ""
    state = EMPTY if frame.outcome.startswith(f"{EMPTY}:") else UNANSWERED
    return state, frame.outcome, ""


def _spans(told: Sequence[_Told], times_s: Float64, ends_s: Float64) -> tuple[Span, ...]:
    spans = []
    first = 0
    for (state, reason, remedy), same in groupby(told):
        end = first + sum(1 for _ in same)
        spans.append(
            Span(
                first=first,
                end=end,
                start_s=float(times_s[first]),
                end_s=float(ends_s[end - 1]),
                state=state,
                reason=reason,
                remedy=remedy,
            )
        )
        first = end
    return tuple(spans)


def _gaps(times_s: Float64, period_s: float) -> list[Span]:
    """Return where no frame came for several periods; the span's frame is the one behind."""
    return [
        Span(
            first=int(i) + 1,
            end=int(i) + 2,
            start_s=float(times_s[i]),
            end_s=float(times_s[i + 1]),
            state=UNANSWERED,
            reason="no frames",
        )
        for i in np.flatnonzero(np.diff(times_s) > _GAP_PERIODS * period_s)
    ]


def _troubles(row: Row) -> list[Span]:
    """Return what is wrong in a row; what follows at once, or is soon back, as one span."""
    groups: list[list[Span]] = []
    for span in row.spans:
        if span.state in (USED, ANSWERED, NOT_DUE, UNKNOWN):
            continue
        if groups and _goes_on(groups[-1][-1], span):
            groups[-1].append(span)
        else:
            groups.append([span])
    return [_joined(group) for group in groups]


def _goes_on(one: Span, other: Span) -> bool:
    """Whether a trouble is the same as the one before it in its row."""
    is_same = (one.state, one.reason) == (other.state, other.reason)
    return other.first == one.end or (is_same and other.start_s - one.end_s <= _TOGETHER_S)


def _joined(spans: Sequence[Span]) -> Span:
    reasons = list(dict.fromkeys(span.reason for span in spans))
    has_pauses = any(b.first > a.end for a, b in pairwise(spans))
    words = ", then ".join(reasons[:_REASONS]) + (", ..." if len(reasons) > _REASONS else "")
    worst = next((span.state for span in spans if span.state in (MISSING, UNANSWERED)), None)
    helped = [span for span in spans if span.remedy]
    longest = max(helped, key=lambda span: span.end_s - span.start_s, default=spans[0])
    return Span(
        first=spans[0].first,
        end=spans[-1].end,
        start_s=spans[0].start_s,
        end_s=spans[-1].end_s,
        state=worst or spans[0].state,
        reason=f"{words} (off and on)" if has_pauses else words,
        remedy=longest.remedy,
    )


def _grouped(told: Iterable[tuple[str, Span]]) -> list[list[tuple[str, Span]]]:
    """Return groups of spans with one state and reason that begin and end together, by time."""
    groups: list[list[tuple[str, Span]]] = []
    for pair in sorted(told, key=lambda pair: pair[1].start_s):
        shared = _partners(groups, pair)
        if shared is None:
            groups.append([pair])
        else:
            shared.append(pair)
    return groups


def _partners(
    groups: Sequence[list[tuple[str, Span]]], pair: tuple[str, Span]
) -> list[tuple[str, Span]] | None:
    """Return the group, of those by time, that a span belongs to; None for one of its own."""
    recent = takewhile(lambda group: _is_near(group[0], pair), reversed(groups))
    return next((group for group in recent if _is_shared(group[0], pair)), None)


def _is_near(one: tuple[str, Span], other: tuple[str, Span]) -> bool:
    return abs(one[1].start_s - other[1].start_s) <= _TOGETHER_S


def _is_shared(one: tuple[str, Span], other: tuple[str, Span]) -> bool:
    (name, a), (other_name, b) = one, other
    return (
        name != other_name
        and ANSWERS not in (name, other_name)
        and (a.state, a.reason) == (b.state, b.reason)
        and _is_near(one, other)
        and abs(a.end_s - b.end_s) <= _TOGETHER_S
    )


def _event(group: Sequence[tuple[str, Span]], frames: Sequence[ReplayedFrame]) -> Event:
    span = max((one for _, one in group), key=lambda one: one.end_s - one.start_s)
    within = frames[span.first : span.end]
    before = frames[max(span.first - min(len(within), 20), 0) : span.first]
    levels = {frame.level: None for frame in within if frame.level not in ("", FULL)}
    return Event(
        who=tuple(dict.fromkeys(name for name, _ in group)),
        span=span,
        levels=tuple(levels),
        lasts=span.end >= len(frames),
        boxes_before=_mean_boxes(before),
        boxes_within=_mean_boxes(within),
    )


def _mean_boxes(frames: Sequence[ReplayedFrame]) -> float | None:
    return float(np.mean([len(frame.classes) for frame in frames])) if frames else None
