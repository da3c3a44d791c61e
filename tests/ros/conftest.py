# SPDX-License-Identifier: Apache-2.0
"""What the tests of nodes share: a tiny model, and benches of it that are closed at the end."""

import pytest


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Folder of the tiny bundle."""
    from tests.ros.tiny_bundle import write_tiny_bundle

    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny").root


@pytest.fixture
def make_bench(tmp_path, bundle, ros_environment):
    """Make benches that are not started."""
    from tests.ros.node_bench import benches

    with benches(tmp_path, bundle=bundle) as make:
        yield make


@pytest.fixture
def make_told_bench(make_bench):
    """Make benches that are started, and whose statuses are in `bench.told`."""
    from tests.ros.status_bench import listen_to_status

    def started(**arguments):
        bench = make_bench(**arguments)
        listen_to_status(bench)
        bench.start()
        return bench

    return started


@pytest.fixture
def make_calibrated_bench(make_told_bench):
    """Make benches that are started and calibrated, and whose statuses are in `bench.told`."""

    def calibrated(**arguments):
        bench = make_told_bench(**arguments)
        bench.calibrate()
        return bench

    return calibrated
