# SPDX-License-Identifier: Apache-2.0
"""Silence never lasts, and Ctrl-C never passes through TensorRT."""

import time
from types import SimpleNamespace

import pytest

from imkd_core.runtime.tensorrt.progress import PERIOD_S, Progress, progress_monitor


def wait_for(lines, count):
    deadline_s = time.monotonic() + 10
    while len(lines) < count and time.monotonic() < deadline_s:
        time.sleep(0.002)


def monitor_of(progress):
    return progress_monitor(SimpleNamespace(IProgressMonitor=object), progress)


def test_it_speaks_at_once_and_again_and_again_with_the_newest_note():
    lines = []
    with Progress("builds", lines.append, period_s=0.01) as progress:
        assert lines == ["builds (0 s)"]
        progress.note("phase 2")
        wait_for(lines, 4)
    assert set(lines[1:]) == {"builds: phase 2 (0 s)"}
    count = len(lines)
    time.sleep(0.05)
    assert len(lines) == count


def test_people_wait_at_most_five_seconds_for_a_line():
    assert PERIOD_S < 5


def test_it_falls_silent_when_the_work_fails():
    lines = []
    with pytest.raises(ValueError, match="failed"), Progress("x", lines.append, 0.01):
        raise ValueError("failed")
    count = len(lines)
    time.sleep(0.05)
    assert len(lines) == count


def test_nobody_has_to_listen():
    with Progress("x", None, period_s=0.001) as progress:
        time.sleep(0.01)
    assert progress.seconds > 0


def test_a_monitor_notes_phase_and_step():
    notes = []
    monitor = monitor_of(SimpleNamespace(note=notes.append))
    monitor.phase_start("Optimizing", None, 3)
    assert monitor.step_complete("Optimizing", 1)
    monitor.phase_finish("Optimizing")
    assert notes == ["Optimizing", "Optimizing, 2 of 3"]


def test_ctrl_c_in_a_phase_stops_at_the_next_step():
    def interrupt(text):
        raise KeyboardInterrupt

    monitor = monitor_of(SimpleNamespace(note=interrupt))
    assert not monitor.is_interrupted
    monitor.phase_start("Optimizing", None, 3)
    assert monitor.is_interrupted
    assert not monitor.step_complete("Optimizing", 0)
