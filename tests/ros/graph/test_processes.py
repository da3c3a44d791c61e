# SPDX-License-Identifier: Apache-2.0
"""Child processes end with their supervisor, with all their descendants, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from imkd_ros.graph import processes as module
from imkd_ros.graph.processes import Processes, signals_ignored, terminated_is_an_exception

#: Prints a report, starts a grandchild, and lives for a minute; "deaf" ignores polite signals.
CHILD = """
import os, signal, subprocess, sys, time
if "deaf" in sys.argv:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
for name in ("MALLOC_ARENA_MAX", "OPENBLAS_NUM_THREADS"):
    print(name, os.environ.get(name), flush=True)
print('{"answer": 42}', flush=True)
print("a line of the log", file=sys.stderr, flush=True)
if "short" in sys.argv:
    sys.exit(7)
sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
child = subprocess.Popen(sleep, stderr=subprocess.DEVNULL)
open(sys.argv[1], "w").write(str(child.pid))
try:
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(0)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "stand_in.py").write_text(CHILD)
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def wait_for(condition, timeout_s: float = 10.0) -> bool:
    end_s = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < end_s:
        time.sleep(0.02)
    return condition()


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def grandchild(path: Path) -> int:
    assert wait_for(lambda: path.is_file() and path.read_text().isdigit())
    return int(path.read_text())


def test_leaving_the_block_ends_a_process_and_its_descendants(tmp_path, environment):
    with Processes(tmp_path, environment) as processes:
        processes.start("one", "stand_in", [str(tmp_path / "pid")])
        below = grandchild(tmp_path / "pid")
        pid = processes.pids["one"]
        assert is_running(pid)
        assert is_running(below)
        assert processes.exit_codes == {}
    assert wait_for(lambda: not is_running(pid) and not is_running(below))
    assert processes.exit_codes == {"one": 0}
    assert processes.report("one") == {"answer": 42}
    assert processes.tail("one") == "a line of the log"


def test_a_process_that_listens_to_nothing_is_killed(tmp_path, environment, monkeypatch):
    monkeypatch.setattr(module, "INTERRUPT_GRACE_S", 0.3)
    monkeypatch.setattr(module, "TERMINATE_GRACE_S", 0.3)
    with Processes(tmp_path, environment) as processes:
        processes.start("deaf", "stand_in", [str(tmp_path / "pid"), "deaf"])
        below = grandchild(tmp_path / "pid")
    assert processes.exit_codes == {"deaf": -signal.SIGKILL}
    assert wait_for(lambda: not is_running(below))


def test_an_exception_ends_them_too(tmp_path, environment):
    with pytest.raises(ValueError, match="oops"), Processes(tmp_path, environment) as processes:  # noqa: PT012
        processes.start("one", "stand_in", [str(tmp_path / "pid")])
        below = grandchild(tmp_path / "pid")
        raise ValueError("oops")
    assert wait_for(lambda: not is_running(below))


def test_an_early_end_is_seen_with_its_code(tmp_path, environment):
    with Processes(tmp_path, environment) as processes:
        processes.start("short", "stand_in", ["-", "short"])
        assert wait_for(lambda: processes.exit_codes == {"short": 7})
        processes.stop(["short"])
        processes.stop(["short"])
    assert processes.exit_codes == {"short": 7}


def test_output_that_is_no_report_is_none(tmp_path, environment):
    with Processes(tmp_path, environment) as processes:
        processes.start("none", "no_such_module", [])
        assert wait_for(lambda: processes.exit_codes == {"none": 1})
        assert processes.report("none") == {}
        assert "no_such_module" in processes.tail("none")
    (tmp_path / "none.out").write_text("hello\n")
    assert processes.report("none") == {}
    (tmp_path / "none.out").write_text("[1]\n")
    assert processes.report("none") == {}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the Linux kernel")
def test_a_killed_parent_takes_its_children_along(tmp_path, environment):
    parent = (
        "import os, time\nfrom pathlib import Path\n"
        "from imkd_ros.graph.processes import Processes\n"
        f"p = Processes(Path({str(tmp_path)!r}), dict(os.environ))\n"
        f"p.start('one', 'stand_in', [{str(tmp_path / 'pid')!r}])\n"
        "print(p.pids['one'], flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        pid = int(process.stdout.readline())
        below = grandchild(tmp_path / "pid")
        process.kill()
    try:
        assert wait_for(lambda: not is_running(pid)), "the child outlived its parent"
    finally:
        os.kill(below, signal.SIGKILL)  # a grandchild of a killed supervisor is not covered


def test_sigterm_becomes_an_exception_and_signals_can_be_put_aside():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as raised, terminated_is_an_exception():
        os.kill(os.getpid(), signal.SIGTERM)
    assert raised.value.code == 143
    with signals_ignored():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the Linux kernel")
def test_an_orphan_that_does_not_end_by_itself_is_killed(tmp_path):
    stubborn = tmp_path / "stubborn.py"
    stubborn.write_text(
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "pathlib.Path(sys.argv[1]).touch()\n"
        "time.sleep(60)\n"
    )
    parent = (
        "import os, subprocess, sys\n"
        "os.environ['IMKD_SUPERVISOR_PID'] = str(os.getpid())\n"
        "command = [sys.executable, '-m', 'imkd_ros.graph.supervised', 'stubborn', sys.argv[1]]\n"
        "print(subprocess.Popen(command).pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    ready = tmp_path / "ready"
    paths = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    process = subprocess.Popen(
        [sys.executable, "-c", parent, str(ready)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    child = psutil.Process(int(process.stdout.readline()))
    end_s = time.monotonic() + 30
    while not ready.exists() and time.monotonic() < end_s:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert child.is_running(), "it ignores the first signal"
    psutil.wait_procs([child], timeout=15)
    assert not child.is_running()


def test_a_name_may_be_used_again_and_a_killed_process_takes_its_children_along(
    tmp_path, environment
):
    with Processes(tmp_path, environment) as processes:
        processes.start("one", "stand_in", [str(tmp_path / "first"), "deaf"])
        child, before = grandchild(tmp_path / "first"), processes.pids["one"]
        processes.kill("one")
        assert processes.exit_codes == {"one": -signal.SIGKILL}
        assert wait_for(lambda: not is_running(child))
        processes.start("one", "stand_in", [str(tmp_path / "second")])
        assert processes.exit_codes == {}
        assert processes.pids["one"] != before
        child = grandchild(tmp_path / "second")
    assert wait_for(lambda: not is_running(child))


def test_without_a_folder_processes_write_where_this_one_does(environment, capfd):
    with Processes(None, environment) as processes:
        processes.start("one", "stand_in", ["nowhere", "short"])
        assert wait_for(lambda: "one" in processes.exit_codes)
        assert processes.tail("one") == ""
    out, errors = capfd.readouterr()
    assert "MALLOC_ARENA_MAX 1" in out
    assert "OPENBLAS_NUM_THREADS 1" in out
    assert "a line of the log" in errors
