# SPDX-License-Identifier: Apache-2.0
"""Run the detector over recordings, offline and deterministic, or through a live ROS graph.

Offline: the same converters, synchroniser and detector as in the node, without ROS and DDS: arrival
times are the bag's log times, so the same bag gives the same boxes every time, as fast as the
machine goes. --online plays the bags to the real node over DDS and records what it answers. A
folder of bags stands for all bags right in it, each named by its folder or file.

--report evaluates: what became of every frame and why, faults of sensors, how steady the boxes are
and, where the truth is known, the nuScenes metrics by class, range, weather, light, speed, level of
degradation and missing sensors. The folder gets figures.json, tables.txt, a page to look at
(index.html), and of each recording frames.jsonl, timings.jsonl, summary.json and more; `imkd
compare` sets two such folders against each other, with limits for CI. Interrupt it at any time and
give the same command again: finished recordings are kept, until model, parameters or program
change. A recording that cannot be read does not stop the others.

True boxes are taken from the bag (--truth-topic) or from beside it (--truth: a nuScenes folder, a
bag, or a folder of bags of the same names). The node's own thresholds hide boxes that the metrics
want: --score 0.01 reports like `imkd evaluate`.

Exit code: 0 done, 1 a recording failed (the others are done), 2 nothing could be done.

Examples:
  imkd replay out/real/bag --model out/real/bundle
  imkd replay drive --model models/mine --sensors my_sensors.yaml --jsonl boxes.jsonl
  imkd replay drive --model models/mine --params my.param.yaml --output answers
  imkd replay monday tuesday --report out/mine --pictures-every 10
  imkd replay bags --report out/mine --workers 2 --score 0.01 --truth DATA
  imkd replay monday --report out/mine --online --rate 0.5
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from imkd_core.types import Detections
    from imkd_ros.bridge.parameters import NodeSettings
    from imkd_ros.replay import Replay


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    from imkd_core.cli import replay_report

    parser.add_argument(
        "bag",
        type=Path,
        nargs="+",
        help="folder of a bag (MCAP or SQLite), or its file; or a folder of bags",
    )
    parser.add_argument("--model", type=Path, help="bundle (default: the one of the package)")
    parser.add_argument("--sensors", type=Path, help="sensor file (default: config/sensors.yaml)")
    parser.add_argument("--params", type=Path, help="parameter file of the node")
    parser.add_argument("--jsonl", type=Path, help="write boxes to this file, a line a frame")
    parser.add_argument("--output", type=Path, help="write boxes to this bag, as the node would")
    parser.add_argument("--overwrite", action="store_true", help="replace --output if it is there")
    replay_report.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Replay; print frames, boxes, speed, and what was dropped and why."""
    from imkd_core.cli import replay_report
    from imkd_core.cli.replaying.recordings import recordings_of
    from imkd_core.errors import ConfigError
    from imkd_ros.replay import Replay, write_bag, write_jsonl

    if arguments.report is not None:
        return replay_report.run(arguments, _settings(arguments))
    replay_report.refuse_alone(arguments)
    bags = recordings_of(arguments.bag)
    if len(bags) > 1 and (arguments.jsonl or arguments.output):
        raise ConfigError("--jsonl and --output take the boxes of one bag; replay one by one")
    with Replay(_settings(arguments), _say) as replay:
        for path in bags:
            answers = list(_shown(replay, path))
            _tell(replay, path, answers)
    if arguments.jsonl is not None:
        write_jsonl(answers, arguments.jsonl)
    if arguments.output is not None:
        write_bag(answers, arguments.output, overwrite=arguments.overwrite)
    return 0


def _settings(arguments: argparse.Namespace) -> "NodeSettings":
    from imkd_ros.bridge.parameter_file import read_settings

    overrides = {"model.bundle": arguments.model, "sensors_file": arguments.sensors}
    given = {key: str(value) for key, value in overrides.items() if value is not None}
    return read_settings(arguments.params, given)


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


def _say(text: str) -> None:
    """Tell what runs the model, and what instead of what."""
    sys.stderr.write(f"{text}\n")


def _shown(replay: "Replay", bag: Path) -> Iterator["Detections"]:
    """Yield the answers, showing their count."""
    from imkd_core.cli.common import progress

    with progress("replay") as update:
        for done, (_, found) in enumerate(replay.run(bag), start=1):
            update(done, f"frames, {len(found)} boxes in the last")
            yield found
