# SPDX-License-Identifier: Apache-2.0
"""The whole job on a real key frame: fit, export, play through a real ROS 2 graph, judge.

A wiring proof, no accuracy claim: the student is fitted to the one frame that it is judged on.
What it proves is that sensor topics become the right boxes through the real path, that online and
offline agree, and (by the controls) that the boxes come from what the sensors show.

Fits the student (about six minutes on two cores; an interrupted fit is continued), exports it,
writes a bag in which the frame repeats, starts player, node and recorder as processes over DDS,
replays the bag offline, and leaves report.html, pictures and summary.json in --output. The exit
code is 0 when every goal is met and 1 otherwise.

Examples:
  imkd prove-real --data DATA --output out/real
  imkd prove-real --data DATA --output out/real --frames 60 --rate 2
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from imkd_core.errors import ConfigError

#: Time between repetitions of the frame in the bag: nuScenes' key frame rate.
PERIOD_S = 0.5

#: How the frame is fitted. Shifts, brightness and noise so that the pictures are read and not
#: recognised; cameras blanked, and the objects they alone saw removed, so that each box hangs on
#: the camera that sees it. Chosen by trial on the key frame; the controls judge it.
FIT: dict[str, Any] = {
    "train": {
        "steps": 900,
        "batch_size": 1,
        "learning_rate": 1e-3,
        "backbone_rate_factor": 1.0,
        "freeze_norm_from": 0.6,
        "checkpoint_every_steps": 100,
    },
    "augment": {
        "pixel_shift_px": 2,
        "brightness": 0.2,
        "noise": 4.0,
        "blank_camera": 0.4,
        "radar_keeps": False,
        "drop_radar": 0.2,
    },
    "distill": {},
}

CAVEAT = (
    "A wiring proof: the student was fitted to the very frame that it is judged on. The figures "
    "say that topics become boxes through the real path, and that the boxes follow what the "
    "sensors show. They say nothing about accuracy on any other frame."
)

LICENCE = (
    "Made from nuScenes data, (c) Motional: non-commercial use only, CC BY-NC-SA 4.0 and the "
    "nuScenes terms of use, with attribution. Do not ship it."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("--data", type=Path, required=True, help="nuScenes folder (with v1.0-*)")
    parser.add_argument("--version", help="table folder (default: the only v1.0-* there is)")
    parser.add_argument("--output", type=Path, default=Path("out/real"), help="where all goes")
    parser.add_argument("--config", type=Path, help="student (default: config/imkd_tiny.yaml)")
    parser.add_argument("--frames", type=int, default=24, help="frames of the bag (default: 24)")
    parser.add_argument("--rate", type=float, default=1.0, help="playing speed (default: 1)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override the fit"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the proof; say where the report is, and which goals are missed."""
    from imkd_core.cli.common import open_nuscenes, parse_overrides
    from imkd_core.cli.proof import graph, judge, report, truth
    from imkd_core.data.bags.nuscenes_to_bag import NUSCENES_LICENCE
    from imkd_core.recipe import load_config
    from imkd_core.resources import share_folder

    if arguments.frames < 1:
        raise ConfigError(f"--frames must be 1 or more, got {arguments.frames}")
    reader = open_nuscenes(arguments.data, arguments.version)
    record = reader.sample(reader.sample_tokens(reader.scenes[0])[0])
    path = arguments.config or share_folder() / "config" / "imkd_tiny.yaml"
    config = load_config(path, {**FIT, **parse_overrides(arguments.set)})
    output = arguments.output

    _say(1, f"fitting {config.name} to key frame {record.token}")
    bundle = graph.fit_and_export(config, record, output, LICENCE)
    _say(2, f"playing the frame {arguments.frames} times through the ROS 2 graph")
    bag = output / "bag"
    graph.write_repeated(record, bag, arguments.frames, PERIOD_S)
    recording = graph.play(bundle, bag, output, PERIOD_S, arguments.rate)
    _say(3, "replaying the same bag offline, and the controls")
    source = f"nuScenes {record.scene}, key frame {record.token}"
    truth_at = truth.of_repeated_frame(record, PERIOD_S, config.inputs.bev)
    verdict = judge.judge(bundle, truth_at, (bag, recording), arguments.frames, source)
    _say(4, "writing the report")
    words = report.Words(
        title="IMKD on a real key frame",
        subtitle=f"nuScenes {record.scene}, sample {record.token}",
        caveat=CAVEAT,
        data_notice=NUSCENES_LICENCE,
    )
    report.write(output, verdict, words, config.inputs.bev)
    return report.finish(output, verdict.summary, verdict.missed)


def _say(step: int, what: str) -> None:
    sys.stdout.write(f"[{step}/4] {what}\n")
    sys.stdout.flush()
