# SPDX-License-Identifier: Apache-2.0
"""What arrives: six cameras at 12 Hz between two processes, over the real DDS.

    python -m benchmarks.delivery [--seconds 8]

JPEG (what the node listens to by default) and raw rgb8, each with the middleware's own settings
and with the profile that ships, best effort as sensor drivers publish; all six cameras fire at the
same moment, which is the hardest for buffers. Then raw images with reliable QoS, which is what
saves them without a profile, and what it costs in time. Images are of a made-up drive.

Where the Python binding of Cyclone DDS is installed (`cyclonedds`), JPEG goes over that too, with
and without `config/cyclonedds.xml`: the same library that rmw_cyclonedds_cpp uses, without ROS
above it.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import Figure, Report, run_benchmark
from benchmarks.live_drive import live_bag, quick_bag
from benchmarks.live_graph import CORES
from benchmarks.machine import idle_warnings
from benchmarks.process_stats import keep_to_cores
from imkd_core.data.bags.recording import open_bag
from imkd_core.errors import DataError
from imkd_ros.graph.dds_profile import (
    CYCLONEDDS_VARIABLE,
    FASTDDS_VARIABLES,
    choose_profile,
)
from imkd_ros.graph.environment import graph_environment

RATE_HZ = 12.0

#: What chooses the profile for Cyclone DDS.
CYCLONE = {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}

#: Longest wait for the other process, seconds.
READY_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run.

    Attributes:
        middleware: "ros" (rclpy over the RMW in use) or "cyclone".
        kind: "jpeg" or "raw".
        has_profile: with the profile that ships.
        is_reliable: instead of best effort.
    """

    middleware: str
    kind: str
    has_profile: bool
    is_reliable: bool = False

    @property
    def name(self) -> str:
        """For the table."""
        words = "JPEG" if self.kind == "jpeg" else "raw"
        quality = ", reliable" if self.is_reliable else ""
        profile = "with our profile" if self.has_profile else "without profile"
        over = " over Cyclone DDS" if self.middleware == "cyclone" else ""
        return f"{words}{over}{quality}, {profile}"


CASES = (
    Case(middleware="ros", kind="jpeg", has_profile=False),
    Case(middleware="ros", kind="jpeg", has_profile=True),
    Case(middleware="ros", kind="raw", has_profile=False),
    Case(middleware="ros", kind="raw", has_profile=True),
    Case(middleware="ros", kind="raw", has_profile=False, is_reliable=True),
    Case(middleware="cyclone", kind="jpeg", has_profile=False),
    Case(middleware="cyclone", kind="jpeg", has_profile=True),
)


def measure(options: argparse.Namespace) -> Report:
    """Run all cases, one after the other.

    Raises:
        DataError: a process failed.
    """
    keep_to_cores(CORES)
    busy = idle_warnings()
    seconds = 2.0 if options.quick else options.seconds
    has_cyclone = importlib.util.find_spec("cyclonedds") is not None
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="imkd_delivery_") as name:
        folder = Path(name)
        bag = quick_bag() if options.quick else live_bag(options.drive_seconds)
        write_images(bag, folder / "images")
        for case in CASES:
            if case.middleware == "cyclone" and not has_cyclone:
                continue
            found = run_case(case, seconds, folder)
            figures += case_figures(case, found)
    remark = choose_profile(Path(), CYCLONE).remark
    notes = [remark] if remark else []
    if not has_cyclone:
        notes = ["Cyclone DDS was not measured: its Python binding is not installed"]
    return Report(
        name="delivery",
        figures=tuple(figures),
        facts={
            "seconds_a_case": seconds,
            "middleware": os.environ.get("RMW_IMPLEMENTATION") or "the default",
            "warnings": [*busy, *notes],
        },
    )


def write_images(bag: Path, folder: Path, count: int = 6) -> None:
    """Write the first JPEG of each camera of a bag.

    Raises:
        DataError: it has fewer cameras.
    """
    folder.mkdir()
    with open_bag(bag) as opened:
        topics = sorted(t for t in opened.topics if t.endswith("/image/compressed"))[:count]
        if len(topics) < count:
            raise DataError(f"{bag} has {len(topics)} cameras, and {count} are wanted")
        for number, topic in enumerate(topics):
            message = opened.decode(next(iter(opened.messages([topic]))))
            (folder / f"{number}.jpg").write_bytes(bytes(message.data))


def run_case(case: Case, seconds: float, folder: Path) -> dict[str, Any]:
    """Run a receiver and a sender; return what both report.

    Raises:
        DataError: one of them failed, or hangs.
    """
    command = [sys.executable, "-m", "benchmarks.delivery_processes"]
    given = [case.middleware, case.kind, str(int(case.is_reliable)), str(seconds)]
    with graph_environment(folder, None) as base:
        environment = case_environment(case, base, folder)
        processes = [
            subprocess.Popen(
                [*command, role, *given, str(folder / "images")],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for role in ("receive", "send")
        ]
        try:
            return _reports(processes, seconds)
        finally:
            for process in processes:
                process.kill()
                process.wait()


def case_environment(case: Case, base: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return an environment with the profile of a case, and with no other."""
    profiles = (*FASTDDS_VARIABLES, CYCLONEDDS_VARIABLE)
    bare = {name: value for name, value in base.items() if name not in profiles}
    if not case.has_profile:
        return bare
    asked = CYCLONE if case.middleware == "cyclone" else {}
    return {**bare, **choose_profile(folder, {**bare, **asked}).variables}


def case_figures(case: Case, found: Mapping[str, Any]) -> list[Figure]:
    """Return the rows of one case.

    Args:
        case: which.
        found: "sent", "received" (messages), "bytes", "seconds", "p50_ms", "p95_ms".
    """
    delivered = 100 * found["received"] / found["sent"] if found["sent"] else 0.0
    rate = found["bytes"] / found["seconds"] / 1e6 if found["seconds"] else 0.0
    rows = [
        Figure(name=f"{case.name}: delivered", value=delivered, unit="%"),
        Figure(name=f"{case.name}: rate", value=rate, unit="MB/s"),
    ]
    for key in ("p50_ms", "p95_ms"):
        value = found[key]
        note = "nothing arrived" if value is None else ""
        rows.append(Figure(name=f"{case.name}: {key[:3]}", value=value, unit="ms", note=note))
    return rows


def _reports(processes: list[subprocess.Popen[str]], seconds: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    give_up_s = time.monotonic() + seconds + 2 * READY_S
    for process in processes:
        try:
            output, errors = process.communicate(timeout=max(1.0, give_up_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise DataError("a process of the delivery benchmark hangs; run it again") from None
        if process.returncode:
            raise DataError(f"a process of the delivery benchmark failed: {errors.strip()[-500:]}")
        found |= json.loads(output.strip().splitlines()[-1])
    return found


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what this benchmark has beside --quick and --json."""
    parser.add_argument("--seconds", type=float, default=8.0, help="of each case (default: 8)")
    parser.add_argument(
        "--drive-seconds", type=float, default=10.0, help="drive the images are of (default: 10)"
    )


def main() -> int:
    """Measure and report."""
    return run_benchmark("delivery", __doc__, measure, add_options)


if __name__ == "__main__":
    sys.exit(main())
