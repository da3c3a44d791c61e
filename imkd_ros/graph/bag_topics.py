# SPDX-License-Identifier: Apache-2.0
"""What the player and the recorder share: message classes by name, QoS by topic, reports."""

import argparse
import importlib
import json
import signal
import struct
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
)

from imkd_core.errors import DataError


def message_class(type_name: str) -> Any:
    """Return the installed Python class of a type such as "sensor_msgs/msg/Image".

    Raises:
        DataError: the name is no message type, or its package is not installed.
    """
    parts = type_name.split("/")
    if len(parts) != 3 or parts[1] != "msg":
        raise DataError(f"'{type_name}' is no message type; write package/msg/Name")
    try:
        return getattr(importlib.import_module(f"{parts[0]}.msg"), parts[2])
    except (ImportError, AttributeError) as error:
        raise DataError(
            f"the message type {type_name} is not installed ({error}); install the ROS package "
            f"'{parts[0]}', or leave its topics out with --topics"
        ) from error


def qos_profile(*, depth: int, is_reliable: bool, is_latched: bool) -> QoSProfile:
    """Return a keep-last profile."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if is_latched else DurabilityPolicy.VOLATILE,
    )


def header_stamp_ns(cdr: bytes) -> int:
    """Return the stamp of a serialised message that begins with a `std_msgs/Header`."""
    order = "<" if cdr[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(f"{order}iI", cdr, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def positive(text: str) -> float:
    """Read a number above 0, for argparse."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text}")
    return value


def not_negative(text: str) -> float:
    """Read a number of 0 or more, for argparse."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of 0 or more, got {text}")
    return value


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set, so that nothing is broken off in the middle.

    Use it with `SignalHandlerOptions.NO`; without effect on signals outside the main thread.
    """
    stop = threading.Event()

    def on_signal(_number: int, _frame: object) -> None:
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.signal(number, on_signal) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)


def report(values: Mapping[str, Any]) -> None:
    """Write one line of JSON to stdout, for the program that started this one."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()
