# SPDX-License-Identifier: Apache-2.0
"""Small bags and real processes for the tests of player, recorder and supervisor."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from imkd_core.data.bags.bag_writer import BagWriter
from imkd_core.data.bags.messages import make, make_header, make_transform
from imkd_core.data.bags.nuscenes_to_bag import SceneOptions, write_scene
from imkd_core.data.bags.recording import BagMessage, open_bag
from imkd_core.data.nuscenes.reader import NuScenes
from tests.core.data.made_up import write_dataroot

START_NS = 1_700_000_000_000_000_000


def write_bag(path: Path, count: int = 20, period_ns: int = 100_000_000) -> Path:
    """Write a bag with a latched topic, two small ones and one of 150 KB, at uneven times."""
    rng = np.random.default_rng(3)
    static = make_transform(START_NS, "base_link", "cam", np.eye(4))
    with BagWriter(path) as bag:
        bag.write(
            "/tf_static",
            "tf2_msgs/msg/TFMessage",
            START_NS,
            make("tf2_msgs/msg/TFMessage", transforms=[static]),
        )
        for i in range(count):
            stamp_ns = START_NS + i * period_ns + int(rng.integers(0, period_ns // 2))
            header = make_header(stamp_ns, "späť" * i)
            bag.write("/header", "std_msgs/msg/Header", stamp_ns, header)
            bag.write(
                "/text", "std_msgs/msg/String", stamp_ns, make("std_msgs/msg/String", data="x" * i)
            )
            image = make(
                "sensor_msgs/msg/CompressedImage",
                header=header,
                format="jpeg",
                data=rng.integers(0, 256, 150_000 + i, dtype=np.uint8),
            )
            bag.write("/image/compressed", "sensor_msgs/msg/CompressedImage", stamp_ns, image)
    return path


def write_drive(folder: Path, frames: int) -> Path:
    """Write a bag of a made-up drive of two frames, repeated; return it.

    Args:
        folder: below it `root`, the drive in the nuScenes layout, and `drive`, the bag.
        frames: an even number.
    """
    drive = write_dataroot(folder / "root", frames=2, lidar_points=10)
    nuscenes = NuScenes(drive.root)
    with BagWriter(folder / "drive") as bag:
        write_scene(nuscenes, nuscenes.scenes[0], bag, SceneOptions(repeat=frames // 2))
    return folder / "drive"


def read_all(path: Path) -> dict[str, list[BagMessage]]:
    """Return the messages of a bag by topic."""
    found: dict[str, list[BagMessage]] = {}
    with open_bag(path) as bag:
        for message in bag.messages():
            found.setdefault(message.topic, []).append(message)
    return found


def run(module: str, *arguments: object, timeout_s: float = 60) -> subprocess.CompletedProcess:
    """Run `python -m module` to its end."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


@contextmanager
def started(module: str, *arguments: object) -> Iterator[subprocess.Popen]:
    """Start `python -m module`; whatever happens, it does not outlive the block."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen, timeout_s: float = 30) -> tuple[int, dict, str]:
    """Wait for a process; return its exit code, its JSON report and its standard error."""
    output, errors = process.communicate(timeout=timeout_s)
    lines = output.strip().splitlines()
    return process.returncode, json.loads(lines[-1]) if lines else {}, errors
