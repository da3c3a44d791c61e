# SPDX-License-Identifier: Apache-2.0
"""Drives that several tests of the simulation look at; each is made once a session."""

import pytest

from imkd_core.simulation.world.drive import plan_drive
from tests.core.simulated import simulated_dataroot


@pytest.fixture(scope="session")
def dataroot(tmp_path_factory):
    return simulated_dataroot(tmp_path_factory.mktemp("dataroot"))


@pytest.fixture(scope="session")
def drives():
    """Two whole drives, each of its own kind of town."""
    return tuple(plan_drive(seed, "clear", duration_s=20.0) for seed in (1, 12))
