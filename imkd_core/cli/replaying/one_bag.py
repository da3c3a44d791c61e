# SPDX-License-Identifier: Apache-2.0
"""One recording -> its folder of results, which appears when it is complete.

    replay_recording(plan, runner, "monday", Path("monday"), keys)

A `Runner` writes frames and timings; everything else is made of what was written, so that offline
and online runs are judged alike.
"""

import json
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from imkd_core.cli.replaying.plan import SUMMARY, Keys, ReplayPlan
from imkd_core.cli.replaying.summary import Ran, summary_of
from imkd_core.cli.replaying.truth import RecordingTruth, truth_of
from imkd_core.errors import DataError
from imkd_core.evaluation.replay_frames import read_frames, truth_line
from imkd_core.evaluation.replay_report_files import FRAMES
from imkd_core.evaluation.results import write_atomic
from imkd_core.runtime.bundle import Bundle
from imkd_ros.bridge.sensors import SensorSet

#: True boxes of a recording, and what its run took, in its folder of results.
TRUTH, RUN = "truth.jsonl", "run.json"


class Runner(Protocol):
    """Replays recordings, one after the other."""

    @property
    def bundle(self) -> Bundle:
        """The model."""

    @property
    def sensors(self) -> SensorSet:
        """The sensor set."""

    def produce(self, folder: Path, path: Path, truth: RecordingTruth) -> Ran:
        """Write frames.jsonl, timings.jsonl and pictures of a recording.

        Args:
            folder: where to.
            path: of the recording.
            truth: of the recording, for pictures and poses.

        Raises:
            ImkdError: the recording cannot be replayed.
        """

    def close(self) -> None:
        """Give the model back."""


def replay_recording(plan: ReplayPlan, runner: Runner, name: str, path: Path, keys: Keys) -> None:
    """Replay a recording into its folder of results.

    Args:
        plan: how.
        runner: that replays it.
        name: of the recording.
        path: of the recording.
        keys: of what the results hang on.

    Raises:
        ImkdError: the recording or its truth is damaged or missing; nothing is left behind.
    """
    folder = plan.partial(name)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
        _fill(folder, plan, runner, name, path, keys)
        _put_in_place(folder, plan.folder(name))
    except OSError as error:
        raise DataError(
            f"cannot write {error.filename or folder}: {error.strerror}; free some space, or "
            "choose another --report"
        ) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def finished_key(folder: Path, which: str = "key") -> str:
    """Return the key of the results in a folder; empty where there are none, or no whole ones.

    Args:
        folder: of results.
        which: "key" of the results, or "boxes_key".
    """
    try:
        return str(json.loads((folder / SUMMARY).read_bytes())[which])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def remove_results(folder: Path) -> None:
    """Remove a recording's results, if they are there.

    Raises:
        DataError: what is there is something else.
    """
    if not folder.exists():
        return
    if not folder.is_dir() or not (folder / FRAMES).is_file():
        raise DataError(
            f"{folder} is there and holds no results of a replay; choose another --report, or "
            "rename the recording"
        )
    shutil.rmtree(folder)


def _fill(
    folder: Path, plan: ReplayPlan, runner: Runner, name: str, path: Path, keys: Keys
) -> None:
    begin_s = time.monotonic()
    truth = truth_of(path, name, plan.truth)
    if truth.frames:
        write_lines(folder / TRUTH, (truth_line(one) for one in truth.frames))
    ran = runner.produce(folder, path, truth)
    wall_s = time.monotonic() - begin_s
    frames = read_frames(folder / FRAMES, runner.bundle.head.class_names)
    summary = summary_of(plan, name, keys, frames, truth, ran, runner.bundle, runner.sensors)
    run = {"wall_s": wall_s, "replay_s": ran.replay_s, "runs_on": ran.runs_on}
    write_json(folder / RUN, run)
    write_json(folder / SUMMARY, summary)


def write_json(path: Path, value: Any) -> None:
    """Write plain values, at once or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    write_atomic(path, f"{json.dumps(value, indent=2, allow_nan=False)}\n".encode())


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines of text as they come."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def _put_in_place(folder: Path, place: Path) -> None:
    remove_results(place)
    folder.replace(place)
