# SPDX-License-Identifier: Apache-2.0
"""A configure that is refused is an ERROR on /diagnostics until one works."""

import time

import pytest

pytest.importorskip("rclpy")

from lifecycle_msgs.msg import Transition

from imkd_core.errors import BackendError
from imkd_ros.node import refusal, session
from tests.ros.node_bench import CLEANUP, CONFIGURE
from tests.ros.tiny_bundle import write_tiny_bundle

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]

SHUTDOWN = Transition.TRANSITION_UNCONFIGURED_SHUTDOWN


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(refusal, "REPEAT_S", 0.2)


def told(bench):
    """Every status of the refusal that was heard: (level, sentence)."""
    statuses = [status for message in bench.diagnostics for status in message.status]
    return [(s.level[0], s.message) for s in statuses if s.name == "imkd_detector: configure"]


def is_heard(bench):
    assert bench.wait(lambda: bench.level("configure") == 2)
    return bench.status("configure").message


def refuse(reason):
    def open_backend(*arguments):
        raise reason

    return open_backend


def test_what_keeps_the_backend_from_opening_is_told_until_a_configure_works(
    make_bench, monkeypatch
):
    bench = make_bench()
    real = session.open_backend
    error = BackendError("the GPU's memory is full; stop what else runs on it")
    monkeypatch.setattr(session, "open_backend", refuse(error))
    assert not bench.change(CONFIGURE)
    assert is_heard(bench) == f"configure was refused: {error}"
    assert bench.wait(lambda: len(told(bench)) >= 3), "it is repeated"

    monkeypatch.setattr(session, "open_backend", real)
    assert bench.change(CONFIGURE)
    assert bench.wait(lambda: bench.level("configure") == 0)
    assert bench.wait(lambda: bench.level("frames") == 0)
    count = len(told(bench))
    bench.wait(lambda: False, 1.0)
    assert len(told(bench)) == count, "it is gone"
    assert bench.change(CLEANUP)
    bench.wait(lambda: False, 0.5)
    assert len(told(bench)) == count


def test_the_reason_is_that_of_the_last_configure(make_bench, tmp_path):
    bundle = write_tiny_bundle(tmp_path / "damaged")
    bundle.path("fp32").write_bytes(b"no onnx")
    bench = make_bench(bundle=bundle.root)
    assert not bench.change(CONFIGURE)
    assert "model.onnx" in is_heard(bench)
    assert bench.set_parameter("model.bundle", str(tmp_path / "nothing")).successful
    assert not bench.change(CONFIGURE)
    assert bench.wait(lambda: "nothing" in bench.status("configure").message)


def test_a_bug_in_configure_is_told_as_one(make_bench, monkeypatch):
    bench = make_bench()
    monkeypatch.setattr(session, "open_backend", refuse(RuntimeError("not foreseen")))
    assert not bench.change(CONFIGURE)
    assert "a bug" in is_heard(bench)
    assert "not foreseen" in is_heard(bench)


def test_a_node_that_is_shut_down_says_no_more(make_bench, tmp_path):
    bench = make_bench(bundle=tmp_path / "nothing")
    assert not bench.change(CONFIGURE)
    is_heard(bench)
    assert bench.change(SHUTDOWN)
    count = len(told(bench))
    time.sleep(0.3)
    bench.wait(lambda: False, 0.5)
    assert len(told(bench)) <= count + 1


def test_without_a_refusal_there_is_no_such_status(make_bench):
    bench = make_bench()
    assert bench.change(CONFIGURE)
    assert bench.wait(lambda: bench.level("frames") == 0)
    assert told(bench) == []
