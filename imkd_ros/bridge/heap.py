# SPDX-License-Identifier: Apache-2.0
"""What glibc does with freed memory: kept while a node works, given back when it is cleaned up."""

import ctypes
import gc
import sys
from typing import Any

#: glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD, and the sizes to keep: an image is 4 MB.
_MALLOPT = ((-1, 1 << 29), (-3, 1 << 26))


def keep_heap() -> bool:
    """Tell glibc to keep freed memory; return whether there is a glibc that took it."""
    mallopt = _of_glibc("mallopt")
    return mallopt is not None and all(mallopt(option, size) == 1 for option, size in _MALLOPT)


def trim_heap() -> bool:
    """Give freed memory back to the system; return whether there was a glibc, and some to give."""
    gc.collect()
    trim = _of_glibc("malloc_trim")
    return trim is not None and trim(0) == 1


def _of_glibc(name: str) -> Any:
    """Return a function of glibc; None on other systems and with other C libraries."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return getattr(ctypes.CDLL("libc.so.6"), name)
    except (OSError, AttributeError):
        return None
