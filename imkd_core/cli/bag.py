# SPDX-License-Identifier: Apache-2.0
"""Recordings (rosbag2): write one from nuScenes data, make a training set of some, look into one.

A bag holds what a vehicle would have published: compressed images, CameraInfo, radar points with
all fields, TF, odometry; and the true boxes. Play it with 'ros2 bag play', with our bag_player,
or run 'imkd replay' on it.

A recording of your own, with true boxes in it, becomes a data set in the nuScenes layout, by the
sensor file that the node runs with. Every message of true boxes is a key frame. Without a LiDAR
the samples teach by their labels alone.

Examples:
  imkd bag nuscenes DATA out/scene-0061 --scene scene-0061
  imkd bag nuscenes DATA out/frame --repeat 20 --period-s 0.5
  imkd bag info out/frame
  imkd bag dataset drive-1 drive-2 --output data/mine --sensors my_sensors.yaml
"""

import argparse
import sys
from pathlib import Path

from imkd_core.cli import bag_dataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    write = actions.add_parser("nuscenes", help="write one scene of a nuScenes folder")
    write.add_argument("data", type=Path, help="nuScenes folder (with v1.0-*)")
    write.add_argument("output", type=Path, help="folder of the new bag")
    write.add_argument("--version", help="table folder (default: the only v1.0-* there is)")
    write.add_argument("--scene", help="name of the scene (default: the first)")
    write.add_argument("--sweeps", action="store_true", help="readings between key frames too")
    write.add_argument("--lidar", action="store_true", help="the LiDAR's points too")
    write.add_argument("--key-frames", type=int, help="the first so many (default: all)")
    write.add_argument("--repeat", type=int, default=1, help="the scene so many times in a row")
    write.add_argument("--period-s", type=float, help="time from one repetition to the next")
    write.add_argument("--overwrite", action="store_true", help="replace a bag that is there")
    dataset = actions.add_parser("dataset", help="make a training set of recordings")
    bag_dataset.add_arguments(dataset)
    info = actions.add_parser("info", help="show topics, types, counts and duration")
    info.add_argument("bag", type=Path, help="folder of the bag, or its file")


def run(arguments: argparse.Namespace) -> int:
    """Write, convert or show a bag."""
    if arguments.action == "dataset":
        return bag_dataset.run(arguments)
    return _write(arguments) if arguments.action == "nuscenes" else _show(arguments.bag)


def _write(arguments: argparse.Namespace) -> int:
    from imkd_core.cli.common import open_nuscenes, progress
    from imkd_core.data.bags.bag_writer import BagWriter
    from imkd_core.data.bags.nuscenes_to_bag import (
        SceneOptions,
        description_of,
        provenance,
        write_scene,
    )
    from imkd_core.errors import DataError

    reader = open_nuscenes(arguments.data, arguments.version)
    if not reader.scenes:
        raise DataError(f"{arguments.data} has no scene")
    scene = arguments.scene or reader.scenes[0]
    options = SceneOptions(
        with_sweeps=arguments.sweeps,
        with_lidar=arguments.lidar,
        key_frames=arguments.key_frames,
        repeat=arguments.repeat,
        period_s=arguments.period_s,
    )
    about = provenance(scene, description=description_of(reader, scene))
    writer = BagWriter(arguments.output, overwrite=arguments.overwrite, custom_data=about)
    with progress(scene) as update, writer:

        def on_progress(written: int, total: int) -> None:
            update(written, "messages", total)

        frames = write_scene(reader, scene, writer, options, on_progress)
    sys.stdout.write(
        f"{arguments.output}: {sum(writer.counts.values())} messages, {frames} key frames\n"
        f"next: imkd replay {arguments.output} --model BUNDLE\n"
    )
    return 0


def _show(path: Path) -> int:
    from imkd_core.data.bags.recording import open_bag

    with open_bag(path) as bag:
        seconds = (bag.end_ns - bag.start_ns) * 1e-9
        sys.stdout.write(f"{path}: {bag.message_count} messages, {seconds:.2f} s\n")
        for topic, facts in sorted(bag.topics.items()):
            sys.stdout.write(f"{facts.count:>8}  {topic}  {facts.type_name}\n")
        for key, value in bag.custom_data.items():
            sys.stdout.write(f"{key}: {value}\n")
    return 0
