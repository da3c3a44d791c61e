# SPDX-License-Identifier: Apache-2.0
"""What a report shows of a replayed recording: figures, curves, data of its script. Pure."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.evaluation.charts import Chart, Line, css_color, polyline
from imkd_core.evaluation.replay_report_files import (
    PICTURE_KINDS,
    PICTURES,
    ClassCurve,
    ReplayedBag,
)
from imkd_core.evaluation.replay_report_timeline import FULL, Event, Row, Timeline, timeline
from imkd_core.evaluation.report import StageLatency
from imkd_core.evaluation.waterfall import WHOLE

#: Page of a recording, in its folder.
PAGE = "report.html"

#: The levels, from all sensors to none; others come behind.
_LEVELS = (FULL, "degraded", "camera_only", "radar_only", "blind")


@dataclass(frozen=True, kw_only=True, eq=False)
class BagPage:
    """A recording with what follows from its files.

    Attributes:
        bag: as it was read.
        line: when each sensor was used, and what broke.
        level_shares: level -> part of the time.
        latency: stage by stage; the last is the whole.
        link: address of its page, seen from the fleet's.
    """

    bag: ReplayedBag
    line: Timeline
    level_shares: Mapping[str, float]
    latency: tuple[StageLatency, ...]
    link: str

    @property
    def answered(self) -> float:
        """Part of the frames that were answered; NaN without frames."""
        frames = self.bag.frames
        return sum(one.is_answered for one in frames) / len(frames) if frames else math.nan

    @property
    def full(self) -> float:
        """Part of the time with all sensors."""
        return self.level_shares.get(FULL, 0.0)

    def who(self, event: Event) -> str:
        """Return whose an event is: names, and "all 5 radars" for a whole kind."""
        left, words = list(event.who), []
        for kind in ("cameras", "radars"):
            of_kind = self.bag.summary.get(kind, ())
            if len(of_kind) > 1 and set(of_kind) <= set(left):
                left = [name for name in left if name not in of_kind]
                words.append(f"all {len(of_kind)} {kind}")
        return ", ".join([*words, *left])

    def figure(self, name: str) -> float:
        """Return a figure of the summary; NaN where there is none."""
        value = self.bag.summary.get("figures", {}).get(name)
        return math.nan if value is None else float(value)


def bag_page(bag: ReplayedBag) -> BagPage:
    """Return a recording with what follows from its files."""
    line = timeline(bag)
    return BagPage(
        bag=bag,
        line=line,
        level_shares=shares(line.levels),
        latency=latencies([frame.stage_ms for frame in bag.frames if frame.stage_ms]),
        link=f"{bag.folder.name}/{PAGE}",
    )


def latencies(stage_ms: Sequence[Mapping[str, float]]) -> tuple[StageLatency, ...]:
    """Return percentiles stage by stage, and of the whole, as far as they were measured."""
    names = list(dict.fromkeys(name for one in stage_ms for name in one if name != WHOLE))
    columns = {name: [one[name] for one in stage_ms if name in one] for name in names}
    if stage_ms:
        columns[WHOLE] = [one.get(WHOLE, sum(one.values())) for one in stage_ms]
    return tuple(
        StageLatency(stage=name, p50_ms=p50, p95_ms=p95, p99_ms=p99)
        for name, values in columns.items()
        for p50, p95, p99 in [np.percentile(values, (50, 95, 99)).tolist()]
    )


def worst_first(pages: Sequence[BagPage]) -> list[BagPage]:
    """Return the recordings with most frames unanswered first, then most time without a sensor.

    Of equal ones, that with the lower NDS comes first, then that with more flicker.
    """

    def rank(page: BagPage) -> tuple[float, ...]:
        answered, nds, flicker = page.answered, page.figure("nds"), page.figure("flicker")
        return (
            round(0.0 if math.isnan(answered) else answered, 3),
            round(page.full, 3),
            math.inf if math.isnan(nds) else nds,
            0.0 if math.isnan(flicker) else -flicker,
        )

    return sorted(pages, key=rank)


def script_data(page: BagPage) -> dict[str, Any]:
    """Return what the page's script needs, small: texts once, and indices to them."""
    texts: dict[str, int] = {}

    def text(words: str) -> int:
        return texts.setdefault(words, len(texts))

    kinds = list(PICTURE_KINDS)
    frames = [
        [
            str(frame.stamp_ns),
            round(float(time_s), 3),
            text(frame.level),
            text(frame.outcome),
            [[text(name), n] for name, n in Counter(frame.classes).most_common()],
            [[text(name), text(why)] for name, why in frame.missing.items()],
            [[text(one.sensor), text(one.fault)] for one in frame.faults],
            [kinds.index(kind) for kind in frame.pictures],
            round(sum(frame.stage_ms.values()), 1),
        ]
        for frame, time_s in zip(page.bag.frames, page.line.times_s, strict=True)
    ]
    return {
        "frames": frames,
        "texts": list(texts),
        "kinds": kinds,
        "folder": PICTURES,
        "duration": round(page.line.duration_s, 3),
    }


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One number over time.

    Attributes:
        name: of the number.
        most: its largest value.
        points: "x,y x,y ..." with x 0..1000 and y 0 (the largest) to 100 (zero).
    """

    name: str
    most: float
    points: str


def curve_points(values: Sequence[float], line: Timeline, name: str) -> Curve:
    """Return a number of every frame as a curve; a flat one where all are 0."""
    most = max(values, default=0.0)
    width = line.duration_s or 1.0
    points = [
        f"{1000 * time_s / width:.1f},{100 - 100 * value / (most or 1.0):.1f}"
        for time_s, value in zip(line.times_s, values, strict=True)
    ]
    return Curve(name=name, most=most, points=" ".join(points))


def ticks(duration_s: float, about: int = 10) -> list[float]:
    """Return round times from 0 to a duration, some ten of them."""
    if duration_s <= 0:
        return [0.0]
    rough = duration_s / about
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    return [i * step for i in range(int(duration_s / step + 1e-9) + 1)]


def precision_chart(curve: ClassCurve) -> Chart:
    """Return precision over recall of one class, a line a distance."""
    label = NUSCENES_CLASSES.index(curve.class_name) if curve.class_name in NUSCENES_CLASSES else 0
    lines = tuple(
        Line(
            name=f"{limit_m:g} m",
            color=css_color(label),
            opacity=0.35 + 0.65 * (i + 1) / len(curve.at_m),
            points=polyline(np.linspace(0, 1, len(values)), np.array(values), 1.0),
        )
        for i, (limit_m, values) in enumerate(curve.at_m.items())
    )
    note = f"AP {curve.ap:.3f}, {curve.truth} true boxes"
    return Chart(title=curve.class_name.replace("_", " "), note=note, y_max=1.0, lines=lines)


def first_pictures(bag: ReplayedBag) -> dict[str, str]:
    """Return kind -> address of the first picture, for a reader without scripts."""
    found: dict[str, str] = {}
    for frame in bag.frames:
        for kind, name in frame.pictures.items():
            found.setdefault(kind, f"{PICTURES}/{name}")
    return found


def shares(row: Row) -> Mapping[str, float]:
    """Return state -> part of the time that a row is in it; levels from all sensors to none."""
    spent: dict[str, float] = {}
    for span in row.spans:
        spent[span.state] = spent.get(span.state, 0.0) + span.end_s - span.start_s
    whole = sum(spent.values()) or 1.0
    ordered = [level for level in _LEVELS if level in spent]
    ordered += [state for state in spent if state not in _LEVELS]
    return {state: spent[state] / whole for state in ordered}
