# SPDX-License-Identifier: Apache-2.0
"""A disk that is full, for the length of a block."""

import resource
from contextlib import contextmanager


@contextmanager
def full_disk(limit_bytes):
    """Let files grow to so many bytes only; pytest's own output must not be written in here."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
