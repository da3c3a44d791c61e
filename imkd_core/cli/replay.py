# SPDX-License-Identifier: Apache-2.0
"""Run the detector over recordings, offline and deterministic.

The same converters, synchroniser and detector as in the node, without ROS and DDS: arrival times
are the bag's log times, so the same bag gives the same boxes every time, as fast as the machine
goes.

--figures writes how steady the boxes are (flicker, jitter, track length, count drift; see
`imkd compare --help`), each recording a drive, for two models or settings to be compared.

Examples:
  imkd replay out/real/bag --model out/real/bundle
  imkd replay drive --model models/mine --sensors my_sensors.yaml --jsonl boxes.jsonl
  imkd replay drive --model models/mine --params my.param.yaml --output answers
  imkd replay monday tuesday --model models/mine --figures out/mine
"""

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from imkd_core.evaluation.replay_figures import Answer, ReplayedDrive
    from imkd_core.types import Detections
    from imkd_ros.replay import Replay


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument(
        "bag", type=Path, nargs="+", help="folder of a bag (MCAP or SQLite), or its file"
    )
    parser.add_argument("--model", type=Path, help="bundle (default: the one of the package)")
    parser.add_argument("--sensors", type=Path, help="sensor file (default: config/sensors.yaml)")
    parser.add_argument("--params", type=Path, help="parameter file of the node")
    parser.add_argument("--jsonl", type=Path, help="write boxes to this file, a line a frame")
    parser.add_argument("--output", type=Path, help="write boxes to this bag, as the node would")
    parser.add_argument("--figures", type=Path, help="write how steady boxes are to this folder")
    parser.add_argument("--overwrite", action="store_true", help="replace --output if it is there")


def run(arguments: argparse.Namespace) -> int:
    """Replay; print frames, boxes, speed, and what was dropped and why."""
    from imkd_core.errors import ConfigError
    from imkd_core.evaluation.replay_figures import drive_names, replayed_drive
    from imkd_ros.bridge.parameter_file import read_settings
    from imkd_ros.replay import Replay, write_bag, write_jsonl

    names = drive_names(arguments.bag) if arguments.figures is not None else []
    if len(arguments.bag) > 1 and (arguments.jsonl or arguments.output):
        raise ConfigError("--jsonl and --output take the boxes of one bag; replay one by one")
    overrides = {"model.bundle": arguments.model, "sensors_file": arguments.sensors}
    given = {key: str(value) for key, value in overrides.items() if value is not None}
    settings = read_settings(arguments.params, given)
    drives = []
    with Replay(settings, _say) as replay:
        for number, path in enumerate(arguments.bag):
            answers = list(_shown(replay, path))
            _tell(replay, path, [found for found, _ in answers])
            if names:
                drives.append(replayed_drive(names[number], answers))
    if arguments.jsonl is not None:
        write_jsonl([found for found, _ in answers], arguments.jsonl)
    if arguments.output is not None:
        found_only = [found for found, _ in answers]
        write_bag(found_only, arguments.output, overwrite=arguments.overwrite)
    if drives:
        _write_figures(arguments.figures, drives, settings.text("model.bundle"))
    return 0


def _tell(replay: "Replay", path: Path, answers: list["Detections"]) -> None:
    """Print what became of a bag."""
    for sensor, reasons in replay.counters.items():
        for reason, count in reasons.items():
            sys.stdout.write(f"dropped: {sensor}: {count} x {reason}\n")
    for topic, count in replay.unreadable.items():
        sys.stdout.write(f"unreadable: {topic}: {count} messages\n")
    boxes = sum(len(found) for found in answers)
    sys.stdout.write(f"{path}: {len(answers)} frames, {boxes} boxes\n")
    for stage in answers[0].stage_ms if answers else ():
        p50, p95, p99 = np.percentile([a.stage_ms[stage] for a in answers], (50, 95, 99))
        sys.stdout.write(f"{stage:<12} ms: p50 {p50:.1f}  p95 {p95:.1f}  p99 {p99:.1f}\n")


def _write_figures(folder: Path, drives: list["ReplayedDrive"], model: str) -> None:
    """Write the figures of all bags, and print them."""
    from imkd_core.evaluation.replay_figures import write_replay_figures
    from imkd_core.evaluation.steadiness import FIGURES

    lost = sum(drive.without_pose for drive in drives)
    if lost:
        sys.stdout.write(
            f"left out of the figures: {lost} frames, of which the vehicle's pose is not known "
            "(no odometry or TF)\n"
        )
    figures = write_replay_figures(folder, drives, {"model": Path(model).name or "the shipped one"})
    for name, value in figures.items():
        text = "-" if math.isnan(value) else f"{value:.3f}"
        sys.stdout.write(f"{name:<26}{text:>9}  {FIGURES[name]}\n")
    sys.stdout.write(f"figures: {folder / 'figures.json'}\n")


def _say(text: str) -> None:
    """Tell what runs the model, and what instead of what."""
    sys.stderr.write(f"{text}\n")


def _shown(replay: "Replay", bag: Path) -> Iterator["Answer"]:
    """Yield the answers with the vehicle's poses, showing their count."""
    from imkd_core.cli.common import progress

    with progress("replay") as update:
        for done, (frame, found) in enumerate(replay.run(bag), start=1):
            update(done, f"frames, {len(found)} boxes in the last")
            yield found, frame.odom_from_ego
