# SPDX-License-Identifier: Apache-2.0
"""Writes data sets of made-up drives in the nuScenes v1.0 layout.

    simulate(Path("data/made-up"), drives=100, seed=7)
    nuscenes = NuScenes(Path("data/made-up"), version="v1.0-simulated")

Drives are independent of each other: each follows from the seed and its number. One that is
finished is not made again, so an interrupted run goes on where it stopped, and a data set grows
when more drives are asked for.
"""

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2

from imkd_core.data.bags.bag_writer import BagWriter
from imkd_core.data.bags.nuscenes_to_bag import (
    SceneOptions,
    description_of,
    provenance,
    write_scene,
)
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.errors import ConfigError, DataError
from imkd_core.evaluation.results import write_atomic
from imkd_core.simulation.rig import FULL_SIZE_PX, make_cameras
from imkd_core.simulation.tables import VERSION, drive_rows_path, merge_tables
from imkd_core.simulation.world.conditions import DEFAULT_CYCLE
from imkd_core.simulation.world.drive import plan_drive
from imkd_core.simulation.world.scene import CONDITIONS
from imkd_core.simulation.writer import WriteOptions, write_drive

#: Raised whenever the same options give other bytes than before.
FORMAT = 2

LICENCE = "made by imkd simulate from nothing but a seed; free to use for any purpose"

#: Called with (drives done, drives in all, name of the last).
OnDrive = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True)
class SimulationOptions:
    """What a data set is made of; the same options and seed give the same bytes.

    Attributes:
        seed: of the whole data set.
        size_px: width and height of images.
        with_camera_sweeps: images between key frames too.
        conditions: weather and light of the drives, in turn.
        duration_s: of each drive.

    Raises:
        ConfigError: an impossible size, an unknown condition, a negative seed or no time.
    """

    seed: int = 0
    size_px: tuple[int, int] = FULL_SIZE_PX
    with_camera_sweeps: bool = False
    conditions: tuple[str, ...] = DEFAULT_CYCLE
    duration_s: float = 20.0

    def __post_init__(self) -> None:
        """Refuse what cannot be made."""
        make_cameras(self.size_px)
        unknown = sorted(set(self.conditions) - set(CONDITIONS))
        if unknown or not self.conditions:
            raise ConfigError(
                f"unknown conditions {', '.join(unknown) or '(none)'}; use {', '.join(CONDITIONS)}"
            )
        if self.seed < 0 or not 0.5 <= self.duration_s <= 120:
            raise ConfigError("a seed is 0 or more, a duration 0.5 to 120 s")

    def scene(self, number: int) -> str:
        """Return the name of a drive's scene."""
        return f"simulated-{self.seed}-{number:04d}"

    def drive_seed(self, number: int) -> int:
        """Return the seed of a drive."""
        digest = hashlib.blake2b(f"{self.seed}/{number}".encode(), digest_size=6).digest()
        return int.from_bytes(digest, "big")


def simulate(
    output: Path,
    drives: int,
    options: SimulationOptions,
    workers: int = 1,
    on_drive: OnDrive | None = None,
) -> list[str]:
    """Make a data set, or make it longer; return the names of its scenes.

    Args:
        output: the dataroot; made if it is not there.
        drives: how many.
        options: of what kind.
        workers: processes, one drive each.
        on_drive: called when a drive is finished.

    Raises:
        ConfigError: the folder holds drives made with other options.
        DataError: the folder cannot be written.
    """
    if drives < 1 or workers < 1:
        raise ConfigError(f"drives and workers must be 1 or more, got {drives} and {workers}")
    claim(output, options)
    scenes = [options.scene(number) for number in range(drives)]
    missing = [n for n in range(drives) if not drive_rows_path(output, scenes[n]).is_file()]
    done = drives - len(missing)
    if on_drive is not None:
        on_drive(done, drives, "")
    for number in _make(output, options, missing, workers):
        done += 1
        if on_drive is not None:
            on_drive(done, drives, scenes[number])
    known = _known_scenes(output, options, drives)
    merge_tables(output, known, options.size_px)
    return known


def write_bags(
    output: Path, scenes: Sequence[str], on_scene: Callable[[int, str], None] | None = None
) -> None:
    """Write each scene as a rosbag2 (MCAP) to `bags/<scene>`; those that are there stay.

    Raises:
        DataError: a bag cannot be written.
    """
    reader = NuScenes(output, VERSION)
    for number, scene in enumerate(scenes):
        path = output / "bags" / scene
        if not path.exists():
            about = provenance(scene, LICENCE, description_of(reader, scene))
            with BagWriter(path, custom_data=about) as bag:
                write_scene(reader, scene, bag, SceneOptions(with_sweeps=True))
        if on_scene is not None:
            on_scene(number + 1, scene)


def claim(output: Path, options: SimulationOptions) -> None:
    """Mark a folder as holding drives of these options.

    Raises:
        ConfigError: it holds something else.
        DataError: it cannot be written or read.
    """
    path = output / "simulation.json"
    wanted = json.loads(json.dumps({"format": FORMAT, **asdict(options)}))
    if path.is_file():
        try:
            found = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read {path} ({error}); choose another --output") from None
        if found != wanted:
            changed = sorted(
                k for k in wanted if not isinstance(found, dict) or found.get(k) != wanted[k]
            )
            raise ConfigError(
                f"{output} holds drives made with other options ({', '.join(changed)}); give the "
                "same options, or choose another --output"
            )
        return
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(f"{output} is there and was not made by imkd simulate; choose another")
    write_atomic(path, (json.dumps(wanted, indent=1) + "\n").encode())


def _make(
    output: Path, options: SimulationOptions, numbers: list[int], workers: int
) -> Iterator[int]:
    """Make drives, in this process or in several; yield the number of each that is finished."""
    if workers == 1 or len(numbers) < 2:
        for number in numbers:
            yield _make_drive(output, options, number)
        return
    for library in ("OMP", "OPENBLAS", "MKL"):  # read by numpy when a worker starts
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        min(workers, len(numbers)), mp_context=context, initializer=_use_one_thread
    )
    with pool:
        futures = [pool.submit(_make_drive, output, options, number) for number in numbers]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _make_drive(output: Path, options: SimulationOptions, number: int) -> int:
    condition = options.conditions[number % len(options.conditions)]
    drive = plan_drive(
        options.drive_seed(number), condition, options.scene(number), options.duration_s
    )
    writing = WriteOptions(size_px=options.size_px, with_camera_sweeps=options.with_camera_sweeps)
    write_drive(drive, output, writing, number)
    return number


def _use_one_thread() -> None:
    cv2.setNumThreads(1)


def _known_scenes(output: Path, options: SimulationOptions, at_least: int) -> list[str]:
    """Return all finished scenes, those beyond the number asked for as well."""
    scenes: list[str] = []
    while len(scenes) < at_least or drive_rows_path(output, options.scene(len(scenes))).is_file():
        scenes.append(options.scene(len(scenes)))
    return scenes
