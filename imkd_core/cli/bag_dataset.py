# SPDX-License-Identifier: Apache-2.0
"""`imkd bag dataset`: recordings with true boxes become a training set."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from imkd_core.errors import ConfigError

if TYPE_CHECKING:
    from imkd_ros.bag_dataset import Converted
    from imkd_ros.bridge.survey import Topics

#: So many kinds of dropped messages are listed.
_LISTED = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the action's options."""
    parser.add_argument("bags", type=Path, nargs="+", metavar="BAG", help="recordings (rosbag2)")
    parser.add_argument("--output", type=Path, required=True, help="folder of the new data set")
    parser.add_argument("--sensors", type=Path, help="sensor file (default: config/sensors.yaml)")
    parser.add_argument(
        "--truth", default="/ground_truth/boxes", help="topic of the true boxes (Detection3DArray)"
    )
    parser.add_argument(
        "--objects",
        default="/ground_truth/objects",
        help="topic of their velocities (objects table), used where it is there; '' for none",
    )
    parser.add_argument("--lidar", default="", help="topic of the LiDAR (default: no LiDAR)")
    parser.add_argument(
        "--intensity-scale", type=float, default=1.0, help="makes LiDAR intensities 0..255"
    )
    parser.add_argument(
        "--class",
        dest="classes",
        action="append",
        default=[],
        metavar="NAME=CLASS",
        help="what a class of the recording is here, e.g. van=car; NAME= leaves it out; repeatable",
    )
    parser.add_argument("--base-frame", default="base_link", help="TF frame of the vehicle")
    parser.add_argument("--ego-frame", default="odom", help="TF frame that stands still")
    parser.add_argument("--odometry", default="", help="topic of poses (default: from /tf)")
    parser.add_argument(
        "--tolerance-s", type=float, default=0.06, help="from a key frame to its readings, at most"
    )
    parser.add_argument("--camera-sweeps", action="store_true", help="images between key frames")
    parser.add_argument("--png", action="store_true", help="store raw images without loss")


def run(arguments: argparse.Namespace) -> int:
    """Convert; print what was made, what was left out and what to do next."""
    from imkd_core.cli.common import progress
    from imkd_core.data.bags.recorded_dataset import VERSION
    from imkd_ros.bag_dataset import ImportOptions, convert

    options = ImportOptions(
        tolerance_s=arguments.tolerance_s,
        with_camera_sweeps=arguments.camera_sweeps,
        lossless=arguments.png,
        intensity_scale=arguments.intensity_scale,
    )
    with progress("bags") as update:

        def on_message(done: int, total: int, name: str) -> None:
            update(done, f"messages of {name}", total)

        made = convert(arguments.bags, arguments.output, _topics(arguments), options, on_message)
    for item in made:
        _tell(item)
    sys.stdout.write(
        f"{arguments.output}: {sum(m.key_frames for m in made)} key frames, "
        f"{sum(m.objects for m in made)} boxes\n"
        f"next: imkd train --config CONFIG --data {arguments.output} --version {VERSION} "
        "--output RUN\n"
    )
    return 0


def _topics(arguments: argparse.Namespace) -> "Topics":
    from imkd_core.resources import sensors_file
    from imkd_ros.bridge.ground_truth import class_map
    from imkd_ros.bridge.sensors import load_sensor_set
    from imkd_ros.bridge.survey import Topics

    pairs = [text.partition("=") for text in arguments.classes]
    wrong = [text for text, sign, _ in pairs if not sign or not text]
    if wrong:
        raise ConfigError(f"--class takes NAME=CLASS, got '{wrong[0]}'")
    return Topics(
        sensors=load_sensor_set(sensors_file(str(arguments.sensors or ""))),
        truth=arguments.truth,
        objects=arguments.objects,
        lidar=arguments.lidar,
        base_frame=arguments.base_frame,
        ego_frame=arguments.ego_frame,
        odometry=arguments.odometry,
        classes=class_map({name.strip(): wanted.strip() for name, _, wanted in pairs}),
    )


def _tell(made: "Converted") -> None:
    sys.stdout.write(f"{made.scene}: {made.key_frames} key frames, {made.objects} boxes\n")
    for channel, count in made.absent.items():
        sys.stdout.write(f"  without {channel}: {count} key frames\n")
    for reason, count in list(made.dropped.items())[:_LISTED]:
        sys.stdout.write(f"  dropped: {count} x {reason}\n")
    if len(made.dropped) > _LISTED:
        sys.stdout.write(f"  and {len(made.dropped) - _LISTED} other reasons\n")
