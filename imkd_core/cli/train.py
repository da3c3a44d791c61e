# SPDX-License-Identifier: Apache-2.0
"""Train a teacher, the label encoder or a student.

Three stages, each with a folder of its own: `teacher` learns from LiDAR, `labels` from true boxes
and a trained teacher, `student` from images, radar, true boxes and, with --teacher and --labels,
from both teachers, whose maps are written once to --cache. Without a stage: student.

A checkpoint (safetensors), log.jsonl and TensorBoard's events are kept in --output. Interrupt at
any time, also by force, and continue with --resume: the weights come out the same. The result
depends on configuration and seed alone, not on the number of workers. With several processes
(torchrun) --output must be a folder that all share.

Examples:
  imkd train teacher --config config/imkd_tiny.yaml --data DATA --output runs/teacher
  imkd train labels --config config/imkd_tiny.yaml --data DATA --teacher runs/teacher
      --output runs/labels
  imkd train student --config config/imkd_tiny.yaml --data DATA --teacher runs/teacher
      --labels runs/labels --preset ours --output runs/student
  imkd train --config config/imkd_tiny.yaml --data DATA --output runs/plain --set train.steps=300
  imkd train --config config/imkd_tiny.yaml --data DATA --output runs/recurrent --start runs/student
      --set train.steps=300 --set "inputs.memory={kind: recurrent, frames: 1, channels: 32}"
  torchrun --nproc_per_node 2 -m imkd_core train student ...
"""

import argparse
import sys
from pathlib import Path

#: What can be trained; the first is the default.
STAGES = ("student", "teacher", "labels")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("stage", nargs="?", choices=STAGES, default=STAGES[0], help="what to train")
    parser.add_argument("--config", type=Path, required=True, help="config/*.yaml")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one value of the configuration, e.g. train.steps=300; may be repeated",
    )
    parser.add_argument("--preset", help="how the student is taught: ours, paper_literal or none")
    _add_data(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder of checkpoint and logs")
    parser.add_argument("--resume", action="store_true", help="continue the run in --output")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument(
        "--pictures", type=int, default=500, help="steps between pictures in the log; 0 for none"
    )
    parser.add_argument(
        "--start",
        type=Path,
        metavar="RUN",
        help="begin a student with the weights of another run, as far as they fit",
    )
    teachers = parser.add_argument_group("teachers")
    teachers.add_argument("--teacher", type=Path, help="run of the LiDAR teacher")
    teachers.add_argument("--labels", type=Path, help="run of the label encoder")
    teachers.add_argument(
        "--cache", type=Path, help="teachers' maps (default: teacher_cache beside --output)"
    )
    teachers.add_argument(
        "--init", type=Path, help="torchvision's ImageNet weights for the student's backbone"
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    data = parser.add_argument_group("data")
    data.add_argument("--data", type=Path, required=True, help="folder of the data set")
    data.add_argument("--format", default="nuscenes", help="nuscenes, vod or bag")
    data.add_argument("--version", help="nuScenes' table folder, or View-of-Delft's split")
    data.add_argument("--scene", "--scenes", nargs="+", default=[], help="scenes (default: all)")
    data.add_argument(
        "--workers", type=int, default=0, help="processes that prepare data; 0 is a thread"
    )
    data.add_argument(
        "--memory",
        type=float,
        default=0.5,
        metavar="GIB",
        help="for decoded samples, in each process that prepares data (default: %(default)s)",
    )
    data.add_argument(
        "--skip-bad",
        type=int,
        default=0,
        metavar="N",
        help="replace up to N unreadable samples, and teach samples without LiDAR by labels alone",
    )


def run(arguments: argparse.Namespace) -> int:
    """Train; print where the checkpoint is."""
    from imkd_core.cli.common import parse_overrides, progress
    from imkd_core.cli.data_sets import open_samples
    from imkd_core.cli.stages import after_stage, prepare_stage
    from imkd_core.presets import preset_overrides
    from imkd_core.recipe import load_config
    from imkd_core.training.distributed import join_world
    from imkd_core.training.engine import StepReport
    from imkd_core.training.fit_check import check_fits
    from imkd_core.training.train import Run, stage_train, train

    preset = preset_overrides(arguments.preset) if arguments.preset else {}
    config = load_config(arguments.config, {**preset, **parse_overrides(arguments.set)})
    how = Run(
        directory=arguments.output,
        stage=arguments.stage,
        resume=arguments.resume,
        device=arguments.device,
        workers=arguments.workers,
        skip_bad=arguments.skip_bad,
        picture_every_steps=arguments.pictures,
    )
    samples = open_samples(
        arguments.format, arguments.data, arguments.version, tuple(arguments.scene)
    )
    check_fits(samples, config, arguments.stage)
    with join_world(arguments.device) as world:
        stage = prepare_stage(arguments, config, samples, world)
        skipped: dict[int, str] = {}
        steps = stage_train(config, arguments.stage).steps
        with progress(f"{config.name} {arguments.stage}", steps) as update:

            def on_step(report: StepReport) -> None:
                skipped.update(report.skipped)
                update(report.step, " ".join(f"{k} {v:.3f}" for k, v in report.terms.items()))

            path = train(stage.make_task, stage.source, config, how, on_step, world)
        if world.is_first:
            after_stage(arguments, config, samples)
            _tell(path, arguments.stage, skipped)
    return 0


def _tell(path: Path, stage: str, skipped: dict[int, str]) -> None:
    """Say what was left out, where the weights are and what can be done with them."""
    for index, reason in skipped.items():
        sys.stdout.write(f"skipped sample {index}: {reason}\n")
    following = {
        "teacher": f"imkd train labels --teacher {path.parent} ...",
        "labels": f"imkd train student --teacher ... --labels {path.parent} ...",
        "student": f"imkd export --checkpoint {path} --output DIR",
    }
    sys.stdout.write(f"checkpoint: {path}\nnext: {following[stage]}\n")
