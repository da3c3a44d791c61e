# SPDX-License-Identifier: Apache-2.0
"""The report of a replay: a page of the fleet, and one of each recording with a frame scrubber.

    write_replay_report(Path("out/replay"))        # what `imkd replay` wrote there

`replay_report_files` says which files it reads. The pages are HTML with a small script of ours in
them and the pictures beside them; they work from the disk, and load nothing from elsewhere.
"""

import base64
import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.evaluation.charts import HEIGHT, WIDTH, css_color
from imkd_core.evaluation.evaluation_report import ERROR_HEADS, format_figure
from imkd_core.evaluation.frame_pictures import LEAST_SCORE
from imkd_core.evaluation.replay_report_files import PICTURE_KINDS, read_bags, read_failed
from imkd_core.evaluation.replay_report_page import (
    PAGE,
    BagPage,
    bag_page,
    curve_points,
    first_pictures,
    precision_chart,
    script_data,
    ticks,
    worst_first,
)
from imkd_core.evaluation.report import format_quantity, template_environment
from imkd_core.evaluation.results import write_atomic
from imkd_core.evaluation.steadiness import FIGURES

if TYPE_CHECKING:
    import jinja2

#: Page of all recordings.
INDEX = "index.html"

#: Figures that need the truth -> what each is.
TRUE_FIGURES: Mapping[str, str] = {
    "nds": "nuScenes detection score",
    "map": "mean average precision",
}

#: Figures that the fleet's table shows; the page of a recording has all.
_IN_FLEET = (*TRUE_FIGURES, "boxes_per_frame", "flicker")

#: Heads of columns whose names say too little.
_TITLES: Mapping[str, str] = {"nds": "NDS", "map": "mAP"}

#: End of a figure's name -> how its unit is written.
_UNITS: Mapping[str, str] = {
    "_per_min": ", 1/min",
    "_mps": ", m/s",
    "_rad": ", rad",
    "_m": ", m",
    "_s": ", s",
}

#: Said of both gates.
_WHITE = "White boxes: the true ones; where they are not known, those found."

#: What stands below the pictures of a kind.
_CAPTIONS: Mapping[str, str] = {
    "mosaic": "Cameras as a driver sees them: boxes in the colour of their class, the front shaded;"
    " arrows: way in 1 s; dots: radar returns, yellow near and dark far. True boxes are thin and "
    "white.",
    "bev": "Seen from above, forward is up: thick edge: front; arrow: way in 1 s; dots: radar "
    "returns, their lines: radial way in 1 s. True boxes are white.",
    "icam": f"I_cam: gate on the cameras' map before fusion, 1 lets it pass. {_WHITE}",
    "irad": f"I_rad: gate on the radars' map. {_WHITE} Stripes two cells wide are the "
    "network's own: it enlarges coarse maps with a weight for each place in them.",
}

#: Events that a page lists, and a line of the fleet; the timeline shows all.
_MOST_EVENTS, _MOST_IN_FLEET = 100, 4


def write_replay_report(folder: Path) -> Path:
    """Write the pages of a replay's folder; return that of the fleet.

    Raises:
        ConfigError: jinja2 is not installed.
        DataError: the folder holds no replay, a file is damaged, or a page cannot be written.
    """
    pages = [bag_page(bag) for bag in read_bags(folder)]
    for page in pages:
        write_atomic(page.bag.folder / PAGE, render_bag(page).encode())
    write_atomic(folder / INDEX, render_fleet(pages, read_failed(folder)).encode())
    return folder / INDEX


def render_fleet(pages: Sequence[BagPage], failed: Mapping[str, str] | None = None) -> str:
    """Return the page of all recordings as HTML.

    Args:
        pages: of recordings.
        failed: others -> why they could not be replayed.

    Raises:
        ConfigError: jinja2 is not installed.
    """
    known = [name for name in _IN_FLEET if any(math.isfinite(page.figure(name)) for page in pages)]
    frames = sum(len(page.bag.frames) for page in pages)
    answered = sum(one.is_answered for page in pages for one in page.bag.frames)
    seconds = sum(page.line.duration_s for page in pages)
    full_s = sum(page.full * page.line.duration_s for page in pages)
    calm = sum(not page.line.events for page in pages)
    return _template("replay_report_fleet.html.j2").render(
        pages=worst_first(pages),
        figures=known,
        words={**TRUE_FIGURES, **FIGURES},
        failed=failed or {},
        titles=_TITLES,
        most=_MOST_IN_FLEET,
        cards=[
            ("Recordings", len(pages), f"{_part(calm, len(pages))} without trouble"),
            ("Time", f"{seconds:,.1f} s", "of all recordings together"),
            ("Frames", f"{frames:,}", f"{_part(answered, frames)} answered"),
            ("All sensors", _part(full_s, seconds), "of the time"),
        ],
    )


def render_bag(page: BagPage) -> str:
    """Return the page of one recording as HTML.

    Raises:
        ConfigError: jinja2 is not installed.
    """
    bag, line = page.bag, page.line
    template = _template("replay_report_bag.html.j2")
    script = template.environment.get_template("replay_report.js.j2").render()
    counts = Counter(name for frame in bag.frames for name in frame.classes)
    return template.render(
        page=page,
        bag=bag,
        line=line,
        events=line.events[:_MOST_EVENTS],
        more_events=max(len(line.events) - _MOST_EVENTS, 0),
        data=script_data(page),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        kinds=[kind for kind in PICTURE_KINDS if any(kind in one.pictures for one in bag.frames)],
        kind_words=PICTURE_KINDS,
        first_pictures=first_pictures(bag),
        counts=counts,
        colors={name: css_color(i) for i, name in enumerate(NUSCENES_CLASSES)},
        curves=[
            curve_points([len(frame.classes) for frame in bag.frames], line, "boxes"),
            curve_points([sum(f.stage_ms.values()) for f in bag.frames], line, "latency, ms"),
        ],
        ticks=ticks(line.duration_s),
        start=_moment(bag.frames[0].stamp_ns) if bag.frames else "",
        captions=_CAPTIONS,
        who=page.who,
        cards=_cards(page),
        dropped=_dropped(bag.summary),
        steady_words=FIGURES,
        truth=[
            (words, format_figure(page.figure(name)))
            for name, words in {"nds": "NDS", "map": "mAP", **ERROR_HEADS}.items()
            if math.isfinite(page.figure(name))
        ],
        precision=[precision_chart(curve) for curve in bag.curves],
        chart_size=(WIDTH, HEIGHT),
    )


def with_unit(name: str) -> str:
    """Return a figure's name in words: "track_length_s" is "track length, s"."""
    end = next((end for end in _UNITS if name.endswith(end)), "")
    return name.removesuffix(end).replace("_", " ") + _UNITS.get(end, "")


def _cards(page: BagPage) -> list[tuple[str, str, str]]:
    """Return (name, value, note) of the summary."""
    frames = page.bag.frames
    boxes = sum(len(frame.classes) for frame in frames)
    cards = [
        ("Answered", format_quantity(page.answered, "fraction"), f"of {len(frames)} frames"),
        ("All sensors", format_quantity(page.full, "fraction"), "of the time"),
        (
            "Boxes a frame",
            format_figure(boxes / len(frames) if frames else None, 1),
            f"scored {LEAST_SCORE} or more",
        ),
    ]
    if page.latency:
        p95_ms = page.latency[-1].p95_ms
        cards.append(("Latency", format_quantity(p95_ms, "ms"), "p95 of a frame"))
    for name, words in TRUE_FIGURES.items():
        if math.isfinite(page.figure(name)):
            cards.append((_TITLES[name], format_figure(page.figure(name)), words))
    return cards


def _dropped(summary: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Return (who, why, how many) of the messages that were not used, most first."""
    rows = [
        (str(who), str(why), int(count))
        for who, reasons in summary.get("dropped", {}).items()
        for why, count in reasons.items()
    ]
    rows += [
        (str(topic), "could not be decoded", int(count))
        for topic, count in summary.get("unreadable", {}).items()
    ]
    return sorted(rows, key=lambda row: -row[2])


def _part(count: float, whole: float) -> str:
    """Return a part in per cent; an en dash of nothing."""
    return format_quantity(count / whole if whole else None, "fraction")


def _moment(stamp_ns: int) -> str:
    """Return a stamp as UTC for a reader; a number of seconds where no calendar has it."""
    try:
        moment = datetime.fromtimestamp(stamp_ns // 1_000_000_000, tz=timezone.utc)
    except (OverflowError, OSError, ValueError):
        return f"{stamp_ns * 1e-9:.3f} s"
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _template(name: str) -> "jinja2.Template":
    environment = template_environment()
    environment.filters["figure"] = format_figure
    environment.filters["with_unit"] = with_unit
    environment.filters["shown"] = lambda text: str(text).replace("_", " ")
    environment.filters["slug"] = lambda text: re.sub(r"[^a-z]+", "-", str(text).lower())
    return environment.get_template(name)
