# SPDX-License-Identifier: Apache-2.0
"""Runs a module as a program that does not outlive the process that started it.

    python -m imkd_ros.graph.supervised imkd_ros.recorder out/run --topics /tf

On Linux the kernel sends SIGTERM to this process when its parent is gone, however it went.
"""

import ctypes
import os
import runpy
import signal
import sys

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


def main() -> None:
    """Run the module named by the first argument with the rest of the arguments."""
    follow_parent()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
