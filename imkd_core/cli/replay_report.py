# SPDX-License-Identifier: Apache-2.0
"""`imkd replay --report`: recordings become a folder of figures and pages."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from imkd_core.errors import ConfigError

if TYPE_CHECKING:
    from imkd_core.cli.replaying.fleet import FleetResult, Workers
    from imkd_core.cli.replaying.one_bag import Runner
    from imkd_core.cli.replaying.plan import ReplayPlan
    from imkd_ros.bridge.parameters import NodeSettings

#: As many boxes of a frame as the metrics look at, where --score asks for those of low score.
MOST_BOXES = 500

#: Options that mean nothing without --report -> their defaults.
_OF_REPORTS: Mapping[str, object] = {
    "truth": None,
    "online": False,
    "ray": None,
    "score": None,
    "workers": None,
    "pictures_every": 0,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of reports."""
    group = parser.add_argument_group("evaluation of one recording or many")
    add = group.add_argument
    add("--report", type=Path, metavar="FOLDER", help="evaluate; figures and pages go there")
    add("--truth", type=Path, help="true boxes beside the bags: nuScenes folder, bag, or bags")
    add("--version", help="table folder of a nuScenes folder (default: the only v1.0-* there is)")
    add("--truth-topic", default="/ground_truth/boxes", help="true boxes (Detection3DArray)")
    add("--objects-topic", default="/ground_truth/objects", help="their velocities (objects table)")
    add(
        "--class",
        dest="classes",
        action="append",
        default=[],
        metavar="NAME=CLASS",
        help="what a class of the truth is here, e.g. van=car; NAME= leaves it out; repeatable",
    )
    add("--score", type=float, help="least score of a box (default: the node's parameters)")
    add("--workers", type=int, metavar="N", help=_WORKERS)
    add(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="replay on Ray: here, or on the cluster at ADDRESS, which must see the same files",
    )
    add(
        "--pictures-every",
        type=int,
        default=0,
        metavar="K",
        help="pictures of every K-th frame (default: none)",
    )
    add("--online", action="store_true", help="through the ROS graph, into FOLDER/online")
    add("--rate", type=float, default=1.0, help="playing speed of --online (default: 1)")


_WORKERS = (
    "recordings at once (default: 1); where there are many, one for each core of the machine is a "
    "good number, as far as its memory has about 0.5 GB for each"
)


def refuse_alone(arguments: argparse.Namespace) -> None:
    """Refuse options of reports where none is asked for.

    Raises:
        ConfigError: naming the option.
    """
    for name, default in _OF_REPORTS.items():
        if getattr(arguments, name) != default:
            option = name.replace("_", "-")
            raise ConfigError(f"--{option} needs --report FOLDER: the folder of the evaluation")


def run(arguments: argparse.Namespace, settings: "NodeSettings") -> int:
    """Replay into the folder; print the figures and where the page is."""
    from imkd_core.cli.common import progress
    from imkd_core.cli.replaying.figures import (
        failed_lines,
        speed_line,
        write_agreement,
        write_fleet,
        write_pages,
    )
    from imkd_core.cli.replaying.fleet import replay_fleet
    from imkd_core.cli.replaying.plan import refuse_names
    from imkd_core.cli.replaying.recordings import recordings_of
    from imkd_core.evaluation.replay_figures import drive_names

    if arguments.jsonl or arguments.output:
        raise ConfigError("--jsonl and --output are without --report, whose frames.jsonl has all")
    found = recordings_of(arguments.bag)
    bags = dict(zip(drive_names(found), found, strict=True))
    refuse_names(bags)
    plan = _plan(arguments, settings)
    with progress("recordings", len(bags)) as update:
        result = replay_fleet(
            plan, bags, _workers(arguments), lambda name, done, total: update(done, name, total)
        )
    done = [name for name in bags if name not in result.failed]
    if done:
        lines = write_fleet(plan, done, result.failed)
        lines += ["", *write_agreement(plan, done)] if arguments.online else []
        sys.stdout.write("\n".join(lines) + "\n")
        page = write_pages(plan.output)
        sys.stdout.write(f"figures: {plan.output / 'figures.json'}\n")
        sys.stdout.write(f"page: {page}\n" if page else _NO_PAGE)
    _tell(result, speed_line(plan, result.replayed, result.wall_s))
    for line in failed_lines(result.failed):
        sys.stderr.write(f"{line}\n")
    return 1 if result.failed else 0


_NO_PAGE = "no page: pip install jinja2, and give the same command again\n"


def _tell(result: "FleetResult", speed: str) -> None:
    counts = (len(result.replayed), len(result.kept), len(result.failed))
    sys.stdout.write("{} replayed, {} kept, {} failed\n".format(*counts))
    sys.stdout.write(f"{speed}\n" if speed else "")


def _plan(arguments: argparse.Namespace, settings: "NodeSettings") -> "ReplayPlan":
    from imkd_core.cli.replaying.plan import ReplayPlan, TruthChoice
    from imkd_ros.bridge.ground_truth import class_map
    from imkd_ros.bridge.recorded_truth import TruthTopics

    pairs = [text.partition("=") for text in arguments.classes]
    wrong = [text for text, sign, _ in pairs if not sign or not text]
    if wrong:
        raise ConfigError(f"--class takes NAME=CLASS, got '{wrong[0]}'")
    if arguments.score is not None:
        changes = {"post.score_threshold": arguments.score, "post.max_boxes": MOST_BOXES}
        settings = settings.replaced(changes)
    topics = TruthTopics(
        truth=arguments.truth_topic,
        objects=arguments.objects_topic,
        base_frame=settings.text("base_frame"),
        ego_frame=settings.text("ego_motion.frame"),
        odometry=settings.text("ego_motion.odometry_topic"),
        classes=class_map({name.strip(): wanted.strip() for name, _, wanted in pairs}),
    )
    beside = None if arguments.truth is None else arguments.truth.resolve()
    output: Path = arguments.report.resolve()
    return ReplayPlan(
        output=output / "online" if arguments.online else output,
        values=dict(settings.values),
        truth=TruthChoice(beside=beside, version=arguments.version, topics=topics),
        pictures_every=arguments.pictures_every,
        rate=arguments.rate if arguments.online else None,
    )


def _workers(arguments: argparse.Namespace) -> "Workers":
    """Return who replays.

    Raises:
        ConfigError: the options do not fit each other.
    """
    from imkd_core.cli.replaying.fleet import LocalWorkers, OneAfterTheOther

    count = 1 if arguments.workers is None else arguments.workers
    if count < 1:
        raise ConfigError(f"--workers must be 1 or more, got {count}")
    if arguments.online:
        if count > 1 or arguments.ray is not None:
            raise ConfigError(
                "--online plays in real time, one recording after the other, so that the machine "
                "is the node's alone; leave out --workers and --ray"
            )
        return OneAfterTheOther(_open_online)
    if arguments.ray is not None:
        from imkd_core.cli.replaying.ray_fleet import RayWorkers

        return RayWorkers(arguments.ray, arguments.workers)
    if count > 1:
        return LocalWorkers(count)
    return OneAfterTheOther(open_offline)


def open_offline(plan: "ReplayPlan") -> "Runner":
    """Return a runner for recordings one after the other, as `imkd replay` has it.

    Raises:
        ImkdError: the sensor file, the bundle or the backend is refused.
    """
    from imkd_core.cli.replaying.fleet import threads_of
    from imkd_core.cli.replaying.offline import OfflineRunner

    return OfflineRunner(plan, threads_of(plan, 1), _say)


def _open_online(plan: "ReplayPlan") -> "Runner":
    from imkd_core.cli.replaying.online import OnlineRunner

    return OnlineRunner(plan)


def _say(text: str) -> None:
    """Tell what runs the model, and what instead of what."""
    sys.stderr.write(f"{text}\n")
