# SPDX-License-Identifier: Apache-2.0
"""What a message costs the thread that takes it: our executor beside rclpy's.

    python -m benchmarks.executor [--seconds 10]

One process publishes what a vehicle does, over the real DDS: six JPEG images of 100 kB and their
CameraInfo at 12 Hz, five radar scans at 13 Hz, transforms at 50 Hz. Another listens through the
node's own subscriptions (`imkd_ros.node.inputs`) and does nothing with what comes, so what is left
is taking, converting and waiting. The executors listen one after the other, and the figure is the
processor time of the listening thread for each message.
"""

import argparse
import array
import multiprocessing
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.harness import Figure, Report, run_benchmark
from benchmarks.machine import idle_warnings
from imkd_core.errors import DataError
from imkd_core.resources import sensors_file

#: Bytes of an image, of a scan.
IMAGE_BYTES, SCAN_BYTES = 100_000, 5_000

#: Messages a second: images and their CameraInfo, scans, transforms.
CAMERA_HZ, RADAR_HZ, TF_HZ = 12.0, 13.0, 50.0

#: Time for discovery before anything is counted, seconds.
READY_S = 3.0


def publish(stop: Any) -> None:
    """Publish at the rates of a vehicle until told to stop; in a process of its own."""
    import rclpy
    from rclpy.qos import QoSProfile
    from sensor_msgs.msg import CameraInfo, CompressedImage, PointCloud2
    from tf2_msgs.msg import TFMessage

    from imkd_ros.bridge.sensors import load_sensor_set

    rclpy.init()
    node = rclpy.create_node("vehicle")
    sensors = load_sensor_set(sensors_file(""))
    due: list[tuple[float, float, Any, Any]] = []

    def add(topic: str, rate_hz: float, message: Any) -> None:
        publisher = node.create_publisher(type(message), topic, QoSProfile(depth=5))
        due.append((time.monotonic(), 1 / rate_hz, publisher, message))

    for camera in sensors.cameras.values():
        data = array.array("B", bytes(IMAGE_BYTES))
        add(camera.compressed_topic, CAMERA_HZ, CompressedImage(data=data))
        add(camera.camera_info, CAMERA_HZ, CameraInfo())
    for radar in sensors.radars.values():
        add(radar.points, RADAR_HZ, PointCloud2(data=array.array("B", bytes(SCAN_BYTES))))
    add("/tf", TF_HZ, TFMessage())
    while not stop.is_set():
        due.sort(key=lambda item: item[0])
        at_s, period_s, publisher, message = due[0]
        time.sleep(max(0.0, at_s - time.monotonic()))
        publisher.publish(message)
        due[0] = (at_s + period_s, period_s, publisher, message)
    rclpy.shutdown()


def listen(make: Callable[[], Any], seconds: float) -> tuple[int, float]:
    """Listen with an executor; return (messages, processor seconds of this thread)."""
    import rclpy
    from rclpy.node import Node

    from imkd_ros.bridge.sensors import load_sensor_set
    from imkd_ros.node.inputs import Inputs

    rclpy.init()
    node, count = Node("listener"), [0]

    def on_message(topic: str, message: Any) -> None:
        del topic, message
        count[0] += 1

    def on_qos(name: str, text: str) -> None:
        raise DataError(f"{name}: {text}")

    sensors = load_sensor_set(sensors_file(""))
    inputs = Inputs(node, sensors, 5, "", on_message, on_qos)
    inputs.open_calibration()
    inputs.open_sensors()
    executor = make()
    executor.add_node(node)
    try:
        spin(executor, READY_S)
        before, begin_s = count[0], time.thread_time()
        spin(executor, seconds)
        return count[0] - before, time.thread_time() - begin_s
    finally:
        executor.shutdown()
        inputs.close()
        node.destroy_node()
        rclpy.shutdown()


def spin(executor: Any, seconds: float) -> None:
    """Call back for so long."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        executor.spin_once(timeout_sec=0.1)


def measure(options: argparse.Namespace) -> Report:
    """Listen with each executor."""
    from rclpy.executors import SingleThreadedExecutor

    from imkd_ros.graph.stream_executor import StreamExecutor

    warned = idle_warnings()
    seconds = 3.0 if options.quick else options.seconds
    spawn = multiprocessing.get_context("spawn")
    stop = spawn.Event()
    vehicle = spawn.Process(target=publish, args=(stop,), daemon=True)
    vehicle.start()
    try:
        found = {
            "rclpy": listen(SingleThreadedExecutor, seconds),
            "ours": listen(StreamExecutor, seconds),
        }
    finally:
        stop.set()
        vehicle.join()
    us = {name: 1e6 * cpu_s / max(count, 1) for name, (count, cpu_s) in found.items()}
    figures = [
        Figure(
            name=f"{name}: processor time of a message",
            value=us[name],
            unit="us",
            note=f"{us['rclpy'] / us[name]:.1f} times less than rclpy" if name == "ours" else "",
        )
        for name in found
    ]
    rates = [
        Figure(name=f"{name}: messages", value=count / seconds, unit="1/s")
        for name, (count, _) in found.items()
    ]
    return Report(name="executor", figures=(*figures, *rates), goals=(), facts={"warnings": warned})


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--seconds", type=float, default=10.0, help="to listen (default: 10)")


def main() -> int:
    """Measure and print."""
    return run_benchmark("executor", __doc__, measure, add_options)


if __name__ == "__main__":
    sys.exit(main())
