# SPDX-License-Identifier: Apache-2.0
"""A made-up drive that the tests of the engine share."""

import pytest

from imkd_core.data.learning.dataset import DetectionDataset
from tests.core.training.small_stage import drive, write_drive


@pytest.fixture(scope="session")
def drive_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("drive")
    write_drive(root)
    return root


@pytest.fixture(scope="session")
def dataset(drive_root) -> DetectionDataset:
    return drive(drive_root)
