# SPDX-License-Identifier: Apache-2.0
"""Runs a module as a program that does not outlive the process that started it.

    python -m imkd_ros.graph.supervised imkd_ros.recorder out/run --topics /tf

On Linux the kernel sends SIGTERM to this process when its parent is gone, however it went. A
program that has not ended some seconds later (shared memory of killed neighbours can hold DDS up)
is killed.
"""

import ctypes
import os
import runpy
import signal
import sys
import threading
import time

#: An orphan has so long to end by itself, seconds.
ORPHAN_GRACE_S = 5.0

#: How often the parent is looked for, seconds.
_LOOK_S = 0.5

#: PR_SET_PDEATHSIG of linux/prctl.h.
_PARENT_DEATH_SIGNAL = 1


def follow_parent() -> None:
    """Ask for SIGTERM when the parent dies; end at once where it is gone already."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.environ.get("IMKD_SUPERVISOR_PID", "")
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if parent and parent != str(os.getppid()):
        sys.exit(1)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """Kill this process some seconds after its parent has gone."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    time.sleep(ORPHAN_GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run the module named by the first argument with the rest of the arguments."""
    follow_parent()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
