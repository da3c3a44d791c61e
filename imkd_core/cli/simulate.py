# SPDX-License-Identifier: Apache-2.0
"""Make drives through made-up towns: images, radar, LiDAR and true boxes in the nuScenes layout.

The same options give the same bytes. Interrupt it at any time and give the same command again: it
goes on with the drives that are missing. More --drives make a data set longer.

Examples:
  imkd simulate --output data/made-up --drives 40 --seed 7 --image-size 704x256 --workers 2
  imkd simulate --output data/rain --drives 4 --seed 8 --conditions rain,night
  imkd simulate --output out/drive --drives 1 --seed 9 --camera-sweeps --bag
"""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("--output", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--drives", type=int, required=True, help="how many drives")
    parser.add_argument("--seed", type=int, default=0, help="of the data set (default: 0)")
    parser.add_argument(
        "--image-size",
        type=_size,
        default=(1600, 900),
        metavar="WxH",
        help="scaled to the width, cut off at the top (default: 1600x900)",
    )
    parser.add_argument(
        "--camera-sweeps", action="store_true", help="images between key frames too (12 Hz)"
    )
    parser.add_argument(
        "--conditions",
        help="weather and light of the drives in turn, from clear, rain, fog, night, low_sun "
        "(default: every second drive clear, the others in turn)",
    )
    parser.add_argument("--duration", type=float, default=20.0, help="of a drive, s (default: 20)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--bag", action="store_true", help="each drive also as rosbag2, in bags/")


def run(arguments: argparse.Namespace) -> int:
    """Make the drives; print where they are."""
    from imkd_core.cli.common import progress
    from imkd_core.simulation.simulate import SimulationOptions, simulate, write_bags
    from imkd_core.simulation.tables import VERSION
    from imkd_core.simulation.world.conditions import DEFAULT_CYCLE

    chosen = arguments.conditions
    options = SimulationOptions(
        seed=arguments.seed,
        size_px=arguments.image_size,
        with_camera_sweeps=arguments.camera_sweeps,
        conditions=tuple(chosen.split(",")) if chosen else DEFAULT_CYCLE,
        duration_s=arguments.duration,
    )
    with progress("drives", arguments.drives) as update:

        def on_drive(done: int, total: int, scene: str) -> None:
            update(done, scene, total)

        scenes = simulate(arguments.output, arguments.drives, options, arguments.workers, on_drive)
    if arguments.bag:
        with progress("bags", len(scenes)) as update:
            write_bags(arguments.output, scenes, update)
    sys.stdout.write(
        f"{arguments.output}: {len(scenes)} drives, tables in {VERSION}\n"
        f"next: imkd train teacher --config CONFIG --data {arguments.output} --output DIR\n"
    )
    return 0


def _size(text: str) -> tuple[int, int]:
    width, separator, height = text.partition("x")
    if not separator or not width.isdigit() or not height.isdigit():
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 704x256, got '{text}'")
    return int(width), int(height)
