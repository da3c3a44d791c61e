# SPDX-License-Identifier: Apache-2.0
"""A detector node over real DDS, and somebody who feeds it and listens."""

import gc
import random
import threading
import time
from array import array
from contextlib import contextmanager

import cv2
import numpy as np
import rclpy
import yaml
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TransformStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from nav_msgs.msg import Odometry
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray

from imkd_ros.detector_node import DetectorNode
from imkd_ros.graph.stream_executor import StreamExecutor

#: Two cameras and a radar; CAM_B is compressed.
SENSORS = {
    "cameras": {
        "CAM_A": {"image": "/a/image", "camera_info": "/a/info", "transport": "raw"},
        "CAM_B": {"image": "/b/image/compressed", "camera_info": "/b/info"},
    },
    "radars": {"RADAR": {"points": "/radar/points", "fields": {"vx": "vx", "vy": "vy"}}},
}
WIDTH, HEIGHT = 128, 64
LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)

CONFIGURE = Transition.TRANSITION_CONFIGURE
ACTIVATE = Transition.TRANSITION_ACTIVATE
DEACTIVATE = Transition.TRANSITION_DEACTIVATE
CLEANUP = Transition.TRANSITION_CLEANUP


def write_sensors(path, sensors=None):
    path.write_text(yaml.safe_dump(sensors or SENSORS), encoding="utf-8")
    return path


def to_time(stamp_ns):
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    return Time(sec=seconds, nanosec=nanoseconds)


def picture(stamp_ns, grey):
    """A grey picture with a mark that changes: one that repeats is that of a frozen camera."""
    pixels = np.full((HEIGHT, WIDTH, 3), grey, np.uint8)
    if grey:
        pixels[:8, :8] = grey + random.Random(stamp_ns).randrange(-40, 40)
    return pixels


def image(stamp_ns, grey=51, frame="cam_a"):
    message = Image(height=HEIGHT, width=WIDTH, step=WIDTH * 3, encoding="rgb8")
    message.header.stamp, message.header.frame_id = to_time(stamp_ns), frame
    message.data = array("B", picture(stamp_ns, grey).tobytes())
    return message


def compressed(stamp_ns, grey=51, frame="cam_b"):
    pixels = picture(stamp_ns, grey)
    message = CompressedImage(format="jpeg")
    message.header.stamp, message.header.frame_id = to_time(stamp_ns), frame
    message.data = array("B", cv2.imencode(".jpg", pixels)[1].tobytes())
    return message


def camera_info(stamp_ns, frame, focal_px=60.0):
    message = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model="plumb_bob")
    message.header.stamp, message.header.frame_id = to_time(stamp_ns), frame
    message.d = [0.0] * 5
    message.k = [focal_px, 0.0, 63.5, 0.0, focal_px, 31.5, 0.0, 0.0, 1.0]
    return message


def scan(stamp_ns, points=((5.0, 1.0, 0.0, 10.0, 1.0, 0.0),), frame="radar"):
    table = np.asarray(points, dtype="<f4").reshape(-1, 6)
    message = PointCloud2(height=1, width=len(table), point_step=24, row_step=24 * len(table))
    message.header.stamp, message.header.frame_id = to_time(stamp_ns), frame
    names = ("x", "y", "z", "rcs", "vx", "vy")
    message.fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate(names)
    ]
    message.data = array("B", table.tobytes())
    return message


def transform(parent, child, stamp_ns=0, xyz=(0.0, 0.0, 0.0), wxyz=(1.0, 0.0, 0.0, 0.0)):
    item = TransformStamped(child_frame_id=child)
    item.header.frame_id, item.header.stamp = parent, to_time(stamp_ns)
    moved, turned = item.transform.translation, item.transform.rotation
    moved.x, moved.y, moved.z = xyz
    turned.w, turned.x, turned.y, turned.z = wxyz
    return item


#: Optical frames that look forward and backward, and the radar in front.
STATIC = (
    transform("base_link", "cam_a", xyz=(1.5, 0.0, 1.5), wxyz=(0.5, -0.5, 0.5, -0.5)),
    transform("base_link", "cam_b", xyz=(-1.0, 0.0, 1.5), wxyz=(0.5, -0.5, -0.5, 0.5)),
    transform("base_link", "radar", xyz=(3.0, 0.0, 0.5)),
)


class Bench:
    """The node in one thread, its publishers and listeners in this one; one ROS context."""

    def __init__(self, tmp_path, bundle, sensors=None, **parameters):
        values = {
            "model.bundle": str(bundle),
            "model.threads": 1,
            "sensors_file": str(write_sensors(tmp_path / "sensors.yaml", sensors)),
            "diagnostics.period_sec": 0.2,
            "ego_motion.frame": "",
            **parameters,
        }
        self.context = rclpy.Context()
        rclpy.init(context=self.context, args=[])
        self.node = DetectorNode(
            context=self.context,
            parameter_overrides=[Parameter(k, value=v) for k, v in values.items()],
        )
        self.peer = Node("bench", context=self.context)
        self._executor = StreamExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin)
        self._stopping = False
        self._peer_executor = SingleThreadedExecutor(context=self.context)
        self._peer_executor.add_node(self.peer)
        self.failure = None
        self.diagnostics = []
        self.boxes = []
        self._listen_health = self.listen(DiagnosticArray, "/diagnostics", self.diagnostics)
        self._publishers = {}
        self._thread.start()

    def _spin(self):
        try:
            while not self._stopping:
                self._executor.spin_once(timeout_sec=0.05)
        except Exception as error:  # noqa: BLE001 - raised again by close
            self.failure = error

    def close(self):
        self._stopping = True
        self._thread.join()
        self.node.release()
        for node in (self.node, self.peer):
            node.destroy_node()
        self._executor.shutdown()
        self._peer_executor.shutdown()
        rclpy.shutdown(context=self.context)
        # rclpy keeps the services of a destroyed lifecycle node until its last reference is gone:
        # the next test's client would find them and wait for an answer that never comes.
        del self.node, self._executor, self._thread
        gc.collect()
        if self.failure is not None:
            raise self.failure

    def listen(self, kind, topic, into, qos=10):
        return self.peer.create_subscription(kind, topic, into.append, qos)

    def listen_to_boxes(self):
        return self.listen(Detection3DArray, "/imkd_detector/output/detections", self.boxes)

    def publisher(self, kind, topic, qos=10):
        if topic not in self._publishers:
            self._publishers[topic] = self.peer.create_publisher(kind, topic, qos)
        return self._publishers[topic]

    def wait(self, condition, seconds=10.0):
        """Spin until the condition holds; return whether it did."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return True
            self._peer_executor.spin_once(timeout_sec=0.02)
        return bool(condition())

    def call(self, kind, name, request):
        client = self.peer.create_client(kind, f"/imkd_detector/{name}")
        assert client.wait_for_service(timeout_sec=10.0), name
        future = client.call_async(request)
        assert self.wait(future.done, 30.0), f"{name} does not answer"
        self.peer.destroy_client(client)
        return future.result()

    def set_parameter(self, name, value):
        parameter = Parameter(name, value=value).to_parameter_msg()
        request = SetParameters.Request(parameters=[parameter])
        return self.call(SetParameters, "set_parameters", request).results[0]

    def change(self, transition):
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.call(ChangeState, "change_state", request).success

    def state(self):
        return self.call(GetState, "get_state", GetState.Request()).current_state.label

    def start(self):
        """Bring the node to life and wait until its topics are connected."""
        assert self.change(CONFIGURE)
        assert self.change(ACTIVATE)
        self.open_topics()

    def open_topics(self):
        pairs = (
            (Image, "/a/image"),
            (CompressedImage, "/b/image/compressed"),
            (PointCloud2, "/radar/points"),
            (CameraInfo, "/a/info"),
            (CameraInfo, "/b/info"),
        )
        publishers = [self.publisher(*pair) for pair in pairs]
        assert self.wait(lambda: all(p.get_subscription_count() for p in publishers))

    def now_ns(self):
        return time.time_ns()

    def calibrate(self, focal_px=60.0, transforms=STATIC):
        """Publish CameraInfo and the extrinsics."""
        now_ns = self.now_ns()
        self.publisher(CameraInfo, "/a/info").publish(camera_info(now_ns, "cam_a", focal_px))
        self.publisher(CameraInfo, "/b/info").publish(camera_info(now_ns, "cam_b", focal_px))
        static = self.publisher(TFMessage, "/tf_static", LATCHED)
        assert self.wait(lambda: static.get_subscription_count() > 0)
        static.publish(TFMessage(transforms=list(transforms)))
        names = [item.child_frame_id for item in transforms]
        assert self.wait(lambda: self._is_calibrated(names)), (
            self.node._session._pipeline.uncalibrated
        )

    def _is_calibrated(self, frames):
        rig = self.node._session._pipeline.rig
        frames_of = {"cam_a": "CAM_A", "cam_b": "CAM_B"}
        return all(frames_of.get(f, "CAM_A") in rig.cameras for f in frames)

    def publish_frame(self, stamp_ns=None, skip=(), grey=51):
        """Publish one reading of every sensor but the skipped; return the stamp."""
        stamp_ns = stamp_ns or self.now_ns()
        if "CAM_A" not in skip:
            self.publisher(Image, "/a/image").publish(image(stamp_ns, grey))
        if "CAM_B" not in skip:
            self.publisher(CompressedImage, "/b/image/compressed").publish(
                compressed(stamp_ns, grey)
            )
        if "RADAR" not in skip:
            self.publisher(PointCloud2, "/radar/points").publish(scan(stamp_ns))
        return stamp_ns

    def feed(self, condition, seconds=10.0, period_s=0.1, **arguments):
        """Publish frames until the condition holds; return whether it did."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.publish_frame(**arguments)
            if self.wait(condition, period_s):
                return True
        return False

    def publish_odometry(self, stamp_ns, x):
        message = Odometry(child_frame_id="base_link")
        message.header.stamp, message.header.frame_id = to_time(stamp_ns), "odom"
        message.pose.pose.position.x = x
        message.pose.pose.orientation.w = 1.0
        self.publisher(Odometry, "/odometry").publish(message)

    def status(self, name):
        """Return the newest status of a part, or None."""
        for message in reversed(self.diagnostics):
            for status in message.status:
                if status.name == f"imkd_detector: {name}":
                    return status
        return None

    def level(self, name):
        """Return the newest level of a part: 0, 1 or 2; None while nothing was heard."""
        status = self.status(name)
        return None if status is None else status.level[0]

    def drops(self, sensor):
        """Return reason -> count of a sensor."""
        return self.node._session._pipeline.counters.get(sensor, {})


def drive(bench, condition, **arguments):
    """Feed frames and odometry, 2 m/s, until a condition holds; return whether it did.

    Poses are sent ahead of their time, so that a busy machine has them when it wants them.
    """
    publisher = bench.publisher(Odometry, "/odometry")
    assert bench.wait(publisher.get_subscription_count)
    begin_ns = bench.now_ns()

    def step():
        ahead_ns = bench.now_ns() + 300_000_000
        bench.publish_odometry(ahead_ns, 2e-9 * (ahead_ns - begin_ns))
        return condition()

    return bench.feed(step, period_s=0.05, **arguments)


@contextmanager
def benches(tmp_path, **given):
    """Yield what makes benches, of these arguments unless others are given; all are closed."""
    made = []

    def make(**arguments):
        made.append(Bench(tmp_path, **{**given, **arguments}))
        return made[-1]

    try:
        yield make
    finally:
        for bench in made:
            bench.close()
