# SPDX-License-Identifier: Apache-2.0
"""From finished recordings to figures of all of them, and the pages that show them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from imkd_core.cli.replaying.one_bag import TRUTH, finished_key, write_json
from imkd_core.cli.replaying.plan import SUMMARY, ReplayPlan
from imkd_core.cli.replaying.summary import drive_of, judged
from imkd_core.errors import DataError
from imkd_core.evaluation.replay_agreement import Agreement, agreement_of
from imkd_core.evaluation.replay_figures import ReplayedDrive, write_replay_figures
from imkd_core.evaluation.replay_frames import read_frames, read_truth
from imkd_core.evaluation.replay_judgement import JudgedDrive
from imkd_core.evaluation.replay_report_files import FRAMES
from imkd_core.evaluation.replay_tables import figure_lines
from imkd_core.evaluation.results import write_atomic


@dataclass(frozen=True, kw_only=True, eq=False)
class Finished:
    """The results of one recording, as they were read back.

    Attributes:
        summary: of the recording.
        drive: sums of its answers.
        judged: against its truth; None where that is not known.
    """

    summary: Mapping[str, Any]
    drive: ReplayedDrive
    judged: JudgedDrive | None


def read_finished(plan: ReplayPlan, name: str) -> Finished:
    """Return the results of a recording.

    Raises:
        DataError: they are damaged.
    """
    folder, summary = plan.folder(name), _summary(plan, name)
    classes, description = summary["class_names"], summary["description"]
    frames = read_frames(folder / FRAMES, classes)
    truths = read_truth(folder / TRUTH) if (folder / TRUTH).is_file() else []
    return Finished(
        summary=summary,
        drive=drive_of(name, frames),
        judged=judged(name, frames, truths, description),
    )


def _summary(plan: ReplayPlan, name: str) -> dict[str, Any]:
    path = plan.folder(name) / SUMMARY
    try:
        summary: dict[str, Any] = json.loads(path.read_bytes())
        lacking = {"class_names", "description", "seconds", "frames"} - set(summary)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); remove {path.parent}") from None
    if lacking:
        raise DataError(f"{path} is damaged (no {min(lacking)}); remove {path.parent}")
    return summary


def write_fleet(plan: ReplayPlan, names: Sequence[str], failed: Mapping[str, str]) -> list[str]:
    """Write figures.json, drives/, tables.txt and failed.json; return the tables' lines.

    Args:
        plan: how recordings were replayed.
        names: of those with results; at least one.
        failed: name -> why there is no result.

    Raises:
        DataError: results are damaged, or a file cannot be written.
    """
    found = [read_finished(plan, name) for name in names]
    figures = write_replay_figures(
        plan.output,
        [one.drive for one in found],
        found[0].summary["about"],
        [one.judged for one in found],
    )
    score = f"score {found[0].summary['about']['least score']}"
    lines = figure_lines(figures, len(found), score)
    text = "\n".join([*lines, *failed_lines(failed)])
    write_atomic(plan.output / "tables.txt", f"{text}\n".encode())
    _write_failed(plan.output / "failed.json", failed)
    return lines


def write_agreement(plan: ReplayPlan, names: Sequence[str]) -> list[str]:
    """Write agreement.json of an online replay beside its offline one; return its lines.

    Args:
        plan: of the online replay, whose folder lies in that of the offline one.
        names: of recordings with results.

    Raises:
        DataError: results are damaged, or the file cannot be written.
    """
    found: dict[str, Agreement] = {}
    for name in names:
        online, offline = plan.folder(name), plan.output.parent / name
        key = finished_key(online, "boxes_key")
        if not key or key != finished_key(offline, "boxes_key"):
            continue
        classes = json.loads((online / SUMMARY).read_bytes())["class_names"]
        pair = [read_frames(folder / FRAMES, classes) for folder in (offline, online)]
        found[name] = agreement_of(*pair)
    write_json(plan.output / "agreement.json", {name: asdict(one) for name, one in found.items()})
    lines = [one.line(name) for name, one in found.items()]
    if len(found) < len(names):
        lines.append(
            "not compared with an offline replay: "
            + ", ".join(name for name in names if name not in found)
            + "; give the same command without --online"
        )
    return lines


def speed_line(plan: ReplayPlan, names: Sequence[str], wall_s: float) -> str:
    """Return how fast recordings were replayed, in words; "" where none was.

    Args:
        plan: how they were replayed.
        names: of those that were replayed now; results that were there already took no time.
        wall_s: that all of them took together, on the clock of whoever waited.

    Raises:
        DataError: results are damaged.
    """
    if not names or wall_s <= 0:
        return ""
    summaries = [_summary(plan, name) for name in names]
    drive_s = sum(float(one["seconds"]) for one in summaries)
    frames = sum(int(one["frames"]) for one in summaries)
    return (
        f"{drive_s:.1f} s of recordings, {frames} frames, in {wall_s:.1f} s: "
        f"{drive_s / wall_s:.2f} times real time, {frames / wall_s:.1f} frames/s"
    )


def failed_lines(failed: Mapping[str, str]) -> list[str]:
    """Return a line a recording without results."""
    return [f"failed: {name}: {why}" for name, why in sorted(failed.items())]


def _write_failed(path: Path, failed: Mapping[str, str]) -> None:
    if failed:
        write_json(path, dict(sorted(failed.items())))
    else:
        path.unlink(missing_ok=True)


def write_pages(output: Path) -> Path | None:
    """Write the pages that show a replay; return the first, None where jinja2 is not installed."""
    if find_spec("jinja2") is None:
        return None
    from imkd_core.evaluation.replay_report import write_replay_report

    write_replay_report(output)
    return output / "index.html"
