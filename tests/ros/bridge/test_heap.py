# SPDX-License-Identifier: Apache-2.0
"""Freed memory is kept while a node works, and given back at its clean-up."""

import platform
import subprocess
import sys

import pytest

#: Takes 100 MB in blocks that glibc keeps, frees them, and tells what the process has.
SCRIPT = """
import numpy as np, psutil
from imkd_ros.bridge.heap import keep_heap, trim_heap
def rss_mb(): return psutil.Process().memory_info().rss / 1e6
assert keep_heap()
blocks = [np.ones(1_000_000, np.uint8) for _ in range(100)]
last = np.ones(1000)  # above the blocks: the end of the heap cannot be cut off there
full = rss_mb()
del blocks
kept = rss_mb()
assert trim_heap()
print(full, kept, rss_mb(), last[0])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this is glibc's")
def test_memory_is_kept_until_it_is_given_back():
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    full, kept, given, _ = map(float, done.stdout.split())
    assert kept > full - 10
    assert given < full - 90
