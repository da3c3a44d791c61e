# SPDX-License-Identifier: Apache-2.0
"""What all tests share: the hypothesis profile, the data folder, ROS kept to one process tree."""

import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs deaf to Ctrl-C, and children inherit that; users' are not deaf.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by the fixtures they use; skip with a reason what this machine cannot run."""
    has_ros = importlib.util.find_spec("rclpy") is not None
    for item in items:
        names = getattr(item, "fixturenames", ())
        if "nuscenes_one" in names:
            item.add_marker("data")
        if "ros_environment" in names:
            item.add_marker("ros")
        if item.get_closest_marker("ros") and not has_ros:
            item.add_marker(pytest.mark.skip(reason="rclpy is not installed"))
        if item.get_closest_marker("gpu") and not _has_cuda():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def _has_cuda() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


@pytest.fixture(scope="session")
def project_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def nuscenes_one() -> Path:
    """The folder with one real nuScenes key frame (v1.0-mini layout)."""
    given = os.environ.get("IMKD_NUSCENES")
    folder = Path(given) if given else ROOT.parent / "shared" / "data" / "nuscenes_one"
    if not (folder / "v1.0-mini").is_dir():
        pytest.skip(f"no nuScenes key frame in {folder}; set IMKD_NUSCENES to a v1.0-mini folder")
    return folder


@pytest.fixture(scope="session")
def ros_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A ROS graph of this test run's own: a free domain, this machine only, temporary logs.

    The variables are set in this process before a context is made; child processes inherit them.
    """
    domain_coordinator = pytest.importorskip("domain_coordinator")
    with domain_coordinator.domain_id() as domain, pytest.MonkeyPatch.context() as patch:
        variables = {
            "ROS_DOMAIN_ID": str(domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "ROS_LOG_DIR": str(tmp_path_factory.mktemp("ros_log")),
        }
        for name, value in variables.items():
            patch.setenv(name, value)
        yield variables
