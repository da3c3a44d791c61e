# SPDX-License-Identifier: Apache-2.0
"""Drives that faults are planted into: those that are named, or made-up ones with all pictures."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imkd_core.cli.common import open_nuscenes
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.simulation.simulate import SimulationOptions, simulate

#: Width that images are decoded for on a vehicle with the shipped student.
NODE_WIDTH_PX = 352


@dataclass(frozen=True, kw_only=True)
class FaultDrives:
    """Made-up drives of 704 x 256 with images at 12 Hz; the same ones each time.

    Attributes:
        name: of what they are for; that of a folder.
        seed: of the first.
        conditions: weathers and lights, in turn.
        count: of drives, and duration_s: of each.
        duration_s: see `count`.
        quick_s: duration of the one drive of a quick run.
    """

    name: str
    seed: int
    conditions: tuple[str, ...]
    count: int
    duration_s: float
    quick_s: float

    def made(self, folder: Path, *, is_quick: bool = False, workers: int = 1) -> Path:
        """Return the folder of the drives in a folder for drives; made where they are not there.

        Args:
            folder: for drives of all kinds.
            is_quick: a single short one.
            workers: processes that make them.

        Raises:
            DataError: the folder cannot be written.
        """
        count, seconds = (1, self.quick_s) if is_quick else (self.count, self.duration_s)
        root = folder / f"{self.name}-{count}x{seconds:g}s"
        options = SimulationOptions(
            seed=self.seed,
            size_px=(704, 256),
            with_camera_sweeps=True,
            conditions=self.conditions,
            duration_s=seconds,
        )
        simulate(root, count, options, workers=workers)
        return root

    def scenes(self, options: argparse.Namespace, folder: Path) -> Iterator[tuple[NuScenes, str]]:
        """Yield the reader and the token of each drive.

        Args:
            options: as `add_options` and `--quick` give them.
            folder: where drives are made, if none are named.

        Raises:
            DataError: a named folder holds no drives.
        """
        for root in options.data or [self.made(folder, is_quick=options.quick)]:
            reader = open_nuscenes(root, None)
            for scene in reader.scenes[: 1 if options.quick else options.drives]:
                yield reader, scene


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name drives."""
    parser.add_argument(
        "--data", type=Path, nargs="+", metavar="FOLDER", help="drives in the nuScenes layout"
    )
    parser.add_argument("--drives", type=int, default=100, help="of each folder, at most")
