# SPDX-License-Identifier: Apache-2.0
"""The backend that stands by takes over once, answers the frame at hand, and says why."""

import pytest

from imkd_core.errors import BackendError, BundleError, DeviceError
from imkd_core.runtime.standby import StandbyBackend

WORDS = "the GPU cannot run, the CPU takes over"


class MadeUp:
    """A backend that gives its name, or raises what it is told to."""

    def __init__(self, name, error=None, substitution=""):
        self.name, self.error, self.substitution = name, error, substitution
        self.closed = 0

    def run(self, inputs):
        if self.error is not None:
            raise self.error
        return {"from": self.name, **inputs}

    def close(self):
        self.closed += 1


class Bench:
    def __init__(self, first=None, second=None):
        self.first, self.second = first or MadeUp("gpu"), second or MadeUp("cpu")
        self.opened, self.lines = [], []
        self.backend = StandbyBackend(
            lambda: self._open(self.first), lambda: self._open(self.second), WORDS, self.say
        )

    def say(self, text):
        self.lines.append(text)

    def _open(self, backend):
        if isinstance(backend, Exception):
            raise backend
        self.opened.append(backend.name)
        return backend

    def run(self):
        return self.backend.run({"x": 1})


def test_while_the_first_works_the_second_is_not_even_opened():
    bench = Bench()
    assert bench.run() == {"from": "gpu", "x": 1}
    assert bench.opened == ["gpu"]
    assert (bench.backend.name, bench.backend.substitution, bench.lines) == ("gpu", "", [])


def test_the_frame_at_which_the_first_fails_is_answered_by_the_second_and_all_later_ones():
    bench = Bench()
    bench.first.error = DeviceError("error 700")
    assert bench.run()["from"] == "cpu"
    bench.first.error = None
    assert bench.run()["from"] == "cpu"
    assert bench.opened == ["gpu", "cpu"]
    assert bench.first.closed == 1
    assert bench.backend.name == "cpu"
    assert bench.backend.substitution == f"{WORDS}: error 700"
    assert bench.lines == [f"{WORDS}: error 700"]


@pytest.mark.parametrize("error", [BackendError("not finite"), BackendError("does not fit")])
def test_what_is_the_models_or_the_callers_fault_switches_nothing(error):
    bench = Bench()
    bench.first.error = error
    with pytest.raises(BackendError, match=str(error)):
        bench.run()
    assert bench.opened == ["gpu"]
    assert bench.backend.substitution == ""


@pytest.mark.parametrize("error", [BackendError("no GPU"), BundleError("parser refuses")])
def test_a_first_that_cannot_be_opened_is_replaced_at_once(error):
    bench = Bench(first=error)
    assert bench.run()["from"] == "cpu"
    assert bench.backend.substitution == f"{WORDS}: {error}"


def test_where_neither_opens_both_reasons_are_told():
    with pytest.raises(BackendError, match=r"no GPU; and nothing can take over: no file"):
        Bench(first=BackendError("no GPU"), second=BackendError("no file"))


def test_a_second_that_does_not_open_leaves_the_first_and_is_tried_again():
    bench = Bench()
    bench.first.error = DeviceError("error 700")
    second, bench.second = bench.second, BackendError("no memory")
    with pytest.raises(DeviceError, match=r"error 700; and nothing can take over: no memory"):
        bench.run()
    assert bench.first.closed == 0
    bench.second = second
    assert bench.run()["from"] == "cpu"


def test_a_second_that_fails_too_is_an_error_and_no_third_is_looked_for():
    bench = Bench()
    bench.first.error, bench.second.error = DeviceError("gpu"), DeviceError("cpu")
    for _ in range(2):
        with pytest.raises(DeviceError, match="cpu"):
            bench.run()
    assert bench.opened == ["gpu", "cpu"]


def test_what_the_second_says_of_itself_is_told_as_well():
    bench = Bench(first=BackendError("no GPU"), second=MadeUp("cpu", substitution="no plugin"))
    assert bench.backend.substitution == f"{WORDS}: no GPU; no plugin"


def test_a_first_that_cannot_even_be_closed_does_not_hinder_the_second():
    bench = Bench()

    def fail():
        raise DeviceError("cudaFree: error 700")

    bench.first.close, bench.first.error = fail, DeviceError("error 700")
    assert bench.run()["from"] == "cpu"


def test_closing_closes_what_runs_and_a_closed_one_refuses():
    bench = Bench()
    bench.backend.close()
    bench.backend.close()
    assert bench.first.closed == 1
    with pytest.raises(BackendError, match="closed"):
        bench.run()
