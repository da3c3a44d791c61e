# SPDX-License-Identifier: Apache-2.0
"""Detector nodes as processes, and a peer in this one that drives, feeds and hears them.

Over the real DDS in a domain of its own. The sensors are made-up pictures and scans of two cameras
and a radar: these scenarios ask what the middleware does, not what the boxes are worth.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray

from benchmarks.process_stats import ProcessStats, read_stats
from imkd_core.errors import DataError
from imkd_ros.graph.environment import graph_environment, remove_dead_segments
from imkd_ros.graph.processes import Processes
from tests.faults.suite import Context
from tests.ros.node_bench import LATCHED, STATIC, camera_info, compressed, image, scan

NODE = "imkd_detector"

CONFIGURE = Transition.TRANSITION_CONFIGURE
ACTIVATE = Transition.TRANSITION_ACTIVATE
DEACTIVATE = Transition.TRANSITION_DEACTIVATE
CLEANUP = Transition.TRANSITION_CLEANUP

#: The rig; its topics are relative, so that a namespace moves them.
SENSORS = {
    "cameras": {
        "CAM_A": {"image": "a/image", "camera_info": "a/info", "transport": "raw"},
        "CAM_B": {"image": "b/image/compressed", "camera_info": "b/info"},
    },
    "radars": {"RADAR": {"points": "radar/points", "fields": {"vx": "vx", "vy": "vy"}}},
}

#: For one transition, and for topics to be connected, on a busy machine; seconds.
PATIENCE_S = 60.0

#: Between two frames that are fed, seconds.
PERIOD_S = 0.1


class Nodes:
    """Starts detector nodes; `graph` makes one and ends them all."""

    def __init__(self, context: Context, processes: Processes) -> None:
        self._context = context
        self._processes = processes

    def start(self, name: str, *arguments: str, **parameters: Any) -> None:
        """Start a node.

        Args:
            name: of the process.
            arguments: after `--ros-args`.
            parameters: by name, `__` for a dot; others than the rig, the model, no ego motion.
        """
        arguments = (*parameter_arguments(self._context, name, parameters), *arguments)
        self._processes.start(name, "imkd_ros.detector_node", ["--ros-args", *arguments])

    def start_module(self, name: str, module: str, *arguments: str) -> int:
        """Start another process of the graph; return its id."""
        self._processes.start(name, module, arguments)
        return self.process_id(name)

    def stats(self, name: str) -> ProcessStats:
        """Return what a node's process uses.

        Raises:
            DataError: it is gone.
        """
        found = read_stats(self.process_id(name))
        if found is None:
            raise DataError(f"the node '{name}' is gone:\n{self._processes.tail(name)}")
        return found

    def process_id(self, name: str) -> int:
        """Return the id of a node's process."""
        return int(self._processes.pids[name])

    def log(self, name: str) -> str:
        """Return the end of a node's log."""
        return self._processes.tail(name)

    def stop(self, name: str) -> None:
        """End a node as Ctrl-C would."""
        self._processes.stop([name])


def parameter_arguments(
    context: Context, name: str, parameters: Mapping[str, Any]
) -> tuple[str, str]:
    """Return the arguments that give a node its parameters; the file is in the folder."""
    sensors = context.folder / f"{name}.sensors.yaml"
    sensors.write_text(yaml.safe_dump(SENSORS), encoding="utf-8")
    values = {
        "model.bundle": str(context.bundle),
        "model.threads": 1,
        "sensors_file": str(sensors),
        "ego_motion.frame": "",
        **{key.replace("__", "."): value for key, value in parameters.items()},
    }
    path = context.folder / f"{name}.param.yaml"
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}), encoding="utf-8")
    return "--params-file", str(path)


class Peer:
    """Drives, feeds and hears nodes; its callbacks run while it waits."""

    def __init__(self) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node("imkd_peer", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._publishers: dict[str, Any] = {}
        self._clients: dict[str, Any] = {}
        self.sensor_qos: Any = 10
        self.diagnostics: list[tuple[float, DiagnosticArray]] = []
        self.listen(DiagnosticArray, "/diagnostics", self._on_diagnostics)

    def close(self) -> None:
        """Close node and context."""
        self._executor.shutdown(timeout_sec=1.0)
        self.node.destroy_node()
        self._context.try_shutdown()

    def wait(self, condition: Callable[[], Any], seconds: float = PATIENCE_S) -> bool:
        """Take in messages until a condition holds; return whether it did."""
        end_s = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end_s:
                return False
            self._executor.spin_once(timeout_sec=0.02)
        return True

    def pause(self, seconds: float) -> None:
        """Take in messages for a time."""
        self.wait(lambda: False, seconds)

    def need(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE_S) -> None:
        """Wait for a condition.

        Raises:
            DataError: it does not come; `what` says what was waited for.
        """
        if not self.wait(condition, seconds):
            raise DataError(f"waited {seconds:g} s in vain: {what}")

    def call(self, kind: Any, service: str, request: Any) -> Any:
        """Return a service's answer; the client is kept, as a manager of nodes keeps its own.

        Raises:
            DataError: nobody answers.
        """
        if service not in self._clients:
            self._clients[service] = self.node.create_client(kind, service)
        client = self._clients[service]
        self.need(client.service_is_ready, f"nobody serves {service}")
        future = client.call_async(request)
        self.need(future.done, f"{service} does not answer")
        return future.result()

    def change(self, transition: int, node: str = f"/{NODE}") -> bool:
        """Ask a node for a transition; return whether it was made."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self.call(ChangeState, f"{node}/change_state", request).success)

    def bring_up(self, node: str = f"/{NODE}") -> None:
        """Configure and activate a node.

        Raises:
            DataError: it refuses.
        """
        for transition in (CONFIGURE, ACTIVATE):
            if not self.change(transition, node):
                raise DataError(f"{node} refused transition {transition}")

    def listen(self, kind: Any, topic: str, callback: Callable[[Any], None], qos: Any = 10) -> Any:
        """Subscribe; return the subscription."""
        return self.node.create_subscription(kind, topic, callback, qos)

    def listen_to_boxes(self, node: str = f"/{NODE}") -> list[tuple[float, int]]:
        """Return a list that gets (arrival in steady s, stamp in ns) of each frame's boxes."""
        heard: list[tuple[float, int]] = []

        def take(message: Detection3DArray) -> None:
            stamp = message.header.stamp
            heard.append((time.monotonic(), stamp.sec * 1_000_000_000 + stamp.nanosec))

        self.listen(Detection3DArray, f"{node}/output/detections", take)
        return heard

    def publisher(self, kind: Any, topic: str, qos: Any = 10) -> Any:
        """Return the publisher of a topic, made with the first call."""
        if topic not in self._publishers:
            self._publishers[topic] = self.node.create_publisher(kind, topic, qos)
        return self._publishers[topic]

    def forget_publishers(self) -> None:
        """Destroy all publishers; the next message of a topic makes a new one."""
        for publisher in self._publishers.values():
            self.node.destroy_publisher(publisher)
        self._publishers.clear()

    def publish_frame(self, namespace: str = "", stamp_ns: int | None = None) -> int:
        """Publish one reading of every sensor, calibration too; return the stamp in ns."""
        stamp_ns = time.time_ns() if stamp_ns is None else stamp_ns
        frames = (
            (CameraInfo, "a/info", camera_info(stamp_ns, "cam_a")),
            (CameraInfo, "b/info", camera_info(stamp_ns, "cam_b")),
            (Image, "a/image", image(stamp_ns)),
            (CompressedImage, "b/image/compressed", compressed(stamp_ns)),
            (PointCloud2, "radar/points", scan(stamp_ns)),
        )
        for kind, topic, message in frames:
            self.publisher(kind, f"{namespace}/{topic}", self.sensor_qos).publish(message)
        return stamp_ns

    def publish_transforms(self) -> None:
        """Publish where the sensors are, latched."""
        publisher = self.publisher(TFMessage, "/tf_static", LATCHED)
        publisher.publish(TFMessage(transforms=list(STATIC)))

    def feed(
        self,
        condition: Callable[[], Any],
        seconds: float = PATIENCE_S,
        namespaces: Sequence[str] = ("",),
    ) -> bool:
        """Publish frames at 10 Hz until a condition holds; return whether it did."""
        end_s = due_s = time.monotonic()
        end_s += seconds
        while not condition():
            if time.monotonic() > end_s:
                return False
            for namespace in namespaces:
                self.publish_frame(namespace)
            due_s = max(due_s + PERIOD_S, time.monotonic() - PERIOD_S)
            self.wait(condition, max(due_s - time.monotonic(), 0.0))
        return True

    def said(
        self, since_s: float, node: str, part: str = "", words: Sequence[str] = ()
    ) -> float | None:
        """Return when a node first said some words of a part after a time; None if it did not.

        Args:
            since_s: steady seconds.
            node: its full name without the first slash.
            part: of the status, such as "frames"; "" = any.
            words: all of which its message has.
        """
        for arrived_s, array in self.diagnostics:
            for status in array.status:
                owner, _, name = status.name.partition(": ")
                is_it = owner == node and part in ("", name)
                if arrived_s >= since_s and is_it and all(w in status.message for w in words):
                    return arrived_s
        return None

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.diagnostics.append((time.monotonic(), message))


@contextlib.contextmanager
def graph(context: Context) -> Iterator[tuple[Nodes, Peer]]:
    """Yield what starts nodes, and the peer, in a ROS domain of their own; all end with it."""
    logs = context.folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with (
        graph_environment(Path(logs), None) as environment,
        Processes(logs, environment) as processes,
    ):
        peer = Peer()
        try:
            yield Nodes(context, processes), peer
        finally:
            peer.close()
    remove_dead_segments()
