# SPDX-License-Identifier: Apache-2.0
"""Run the detector over a recording, offline and deterministic.

The same converters, synchroniser and detector as in the node, without ROS and DDS: arrival times
are the bag's log times, so the same bag gives the same boxes every time, as fast as the machine
goes.

Examples:
  imkd replay out/real/bag --model out/real/bundle
  imkd replay drive --model models/mine --sensors my_sensors.yaml --jsonl boxes.jsonl
  imkd replay drive --model models/mine --params my.param.yaml --output answers
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from imkd_core.types import Detections
    from imkd_ros.replay import Replay


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("bag", type=Path, help="folder of the bag (MCAP or SQLite), or its file")
    parser.add_argument("--model", type=Path, help="bundle (default: the one of the package)")
    parser.add_argument("--sensors", type=Path, help="sensor file (default: config/sensors.yaml)")
    parser.add_argument("--params", type=Path, help="parameter file of the node")
    parser.add_argument("--jsonl", type=Path, help="write boxes to this file, a line a frame")
    parser.add_argument("--output", type=Path, help="write boxes to this bag, as the node would")
    parser.add_argument("--overwrite", action="store_true", help="replace --output if it is there")


def run(arguments: argparse.Namespace) -> int:
    """Replay; print frames, boxes, speed, and what was dropped and why."""
    from imkd_ros.bridge.parameter_file import read_settings
    from imkd_ros.replay import Replay, write_bag, write_jsonl

    overrides = {"model.bundle": arguments.model, "sensors_file": arguments.sensors}
    given = {key: str(value) for key, value in overrides.items() if value is not None}
    with Replay(read_settings(arguments.params, given), _say) as replay:
        answers = list(_shown(replay, arguments.bag))
        for sensor, reasons in replay.counters.items():
            for reason, count in reasons.items():
                sys.stdout.write(f"dropped: {sensor}: {count} x {reason}\n")
        for topic, count in replay.unreadable.items():
            sys.stdout.write(f"unreadable: {topic}: {count} messages\n")
    if arguments.jsonl is not None:
        write_jsonl(answers, arguments.jsonl)
    if arguments.output is not None:
        write_bag(answers, arguments.output, overwrite=arguments.overwrite)
    boxes = sum(len(found) for found in answers)
    sys.stdout.write(f"{arguments.bag}: {len(answers)} frames, {boxes} boxes\n")
    for stage in answers[0].stage_ms if answers else ():
        p50, p95, p99 = np.percentile([a.stage_ms[stage] for a in answers], (50, 95, 99))
        sys.stdout.write(f"{stage:<12} ms: p50 {p50:.1f}  p95 {p95:.1f}  p99 {p99:.1f}\n")
    return 0


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
