# SPDX-License-Identifier: Apache-2.0
"""The drive that the live benchmarks play: six JPEG cameras at 12 Hz, five radars at 13 Hz.

It is simulated once, by seed, and kept below `build/benchmarks/drives`.
"""

from pathlib import Path

from imkd_core.data.bags.bag_writer import BagWriter
from imkd_core.data.bags.nuscenes_to_bag import SceneOptions, provenance, write_scene
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.simulation.simulate import FORMAT, LICENCE, SimulationOptions, simulate
from imkd_core.simulation.tables import VERSION

DRIVES = Path(__file__).resolve().parents[1] / "build" / "benchmarks" / "drives"

#: No model was trained on a drive of this seed.
SEED = 9500

FULL_SIZE_PX, SMALL_SIZE_PX = (1600, 900), (704, 256)


def quick_bag(folder: Path = DRIVES) -> Path:
    """Return a bag of two seconds with small images, for `--quick`: made in seconds."""
    return live_bag(2.0, size_px=SMALL_SIZE_PX, folder=folder)


def live_bag(
    duration_s: float,
    repeat: int = 1,
    size_px: tuple[int, int] = FULL_SIZE_PX,
    folder: Path = DRIVES,
) -> Path:
    """Return a bag of a drive with all its images and scans; made if it is not there.

    Args:
        duration_s: of the drive.
        repeat: the drive, so many times; stamps run on, the vehicle jumps back.
        size_px: width and height of images.
        folder: where drives and bags are kept.

    Raises:
        ConfigError: an impossible size or duration.
        DataError: the folder cannot be written.
    """
    name = f"format{FORMAT}-{size_px[0]}x{size_px[1]}-{duration_s:g}s"
    bag = folder / f"{name}-x{repeat}"
    if bag.exists():
        return bag
    options = SimulationOptions(
        seed=SEED,
        size_px=size_px,
        with_camera_sweeps=True,
        conditions=("clear",),
        duration_s=duration_s,
    )
    (scene,) = simulate(folder / name, 1, options)
    with BagWriter(bag, custom_data=provenance(scene, LICENCE)) as writer:
        chosen = SceneOptions(with_sweeps=True, repeat=repeat)
        write_scene(NuScenes(folder / name, VERSION), scene, writer, chosen)
    return bag
