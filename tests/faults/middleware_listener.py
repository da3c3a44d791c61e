# SPDX-License-Identifier: Apache-2.0
"""A listener to boxes that takes its time: `python -m tests.faults.middleware_listener TOPIC S`."""

import contextlib
import sys
import time
from collections.abc import Sequence

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import QoSProfile
from vision_msgs.msg import Detection3DArray


def main(arguments: Sequence[str] | None = None) -> int:
    """Take one message, sleep, and so on, until interrupted."""
    topic, delay_s = sys.argv[1:] if arguments is None else arguments
    rclpy.init(args=[])
    node = rclpy.create_node("imkd_slow_listener")
    node.create_subscription(
        Detection3DArray, topic, lambda _message: time.sleep(float(delay_s)), QoSProfile(depth=5)
    )
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)
    return 0


if __name__ == "__main__":
    sys.exit(main())
