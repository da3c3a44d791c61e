# SPDX-License-Identifier: Apache-2.0
"""Serialised messages with broken bytes: through the deserialisers to the core, and whole frames.

Both deserialisers are asked: the bag library's and, where ROS is installed, rclpy's. What they
refuse themselves never reaches this project; they must not fall over either.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from imkd_core.data.bags.bag_writer import reporting
from imkd_core.data.bags.box_messages import make_box_array
from imkd_core.data.bags.messages import (
    make,
    make_header,
    make_point_cloud,
    make_pose,
    make_transform,
    serialize,
    typestore,
)
from imkd_core.errors import SensorError
from imkd_core.preprocess import prepare_inputs
from imkd_core.runtime.slots import SyncSettings
from imkd_core.runtime.transform_tree import TransformTree
from imkd_core.types import Detections
from imkd_ros.bridge.calibration import intrinsics_from_camera_info
from imkd_ros.bridge.convert import to_camera_image, to_camera_image_compressed, to_radar_scan
from imkd_ros.bridge.convert_out import from_detection3d_array
from imkd_ros.bridge.motion import EgoMotion
from imkd_ros.bridge.pipeline import Pipeline
from imkd_ros.bridge.pipeline_settings import PipelineSettings
from imkd_ros.bridge.sensors import RadarSource, sensor_set_from_mapping
from tests.core.rigs import camera_of, spec_of
from tests.faults.fuzz_made import (
    STAMP_S,
    camera_info_of,
    cloud_of,
    image_of,
    transform_of,
)
from tests.faults.fuzz_messages import RADAR_NAMES, pictures
from tests.faults.fuzz_mutation import Tape, tapes
from tests.faults.fuzz_target import Attempt, Target, not_finite

STAMP_NS = STAMP_S * 1_000_000_000

TYPES = (
    "sensor_msgs/msg/Image",
    "sensor_msgs/msg/CompressedImage",
    "sensor_msgs/msg/CameraInfo",
    "sensor_msgs/msg/PointCloud2",
    "nav_msgs/msg/Odometry",
    "tf2_msgs/msg/TFMessage",
    "vision_msgs/msg/Detection3DArray",
)

#: Topic of each stream of the pipeline's small rig.
_TOPICS = {
    "image": "/a/image",
    "info": "/a/info",
    "points": "/r/points",
}


def bag_cdr(folder: Path) -> Attempt:
    """Bytes of one message, through the bag library's deserialiser."""
    store = typestore()

    def deserialise(data: bytes, name: str) -> Any:
        with reporting(f"no valid {name}", "record it again"):
            return store.deserialize_cdr(data, name)

    return _through(deserialise)


def ros_cdr(folder: Path) -> Attempt:
    """Bytes of one message, through rclpy's deserialiser."""
    from geometry_msgs.msg import TransformStamped  # noqa: F401 (its type support is needed)
    from nav_msgs.msg import Odometry
    from rclpy.serialization import deserialize_message
    from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
    from tf2_msgs.msg import TFMessage
    from vision_msgs.msg import Detection3DArray

    classes = (Image, CompressedImage, CameraInfo, PointCloud2, Odometry, TFMessage)
    by_name = dict(zip(TYPES, (*classes, Detection3DArray), strict=True))

    def deserialise(data: bytes, name: str) -> Any:
        try:
            return deserialize_message(data, by_name[name])
        except Exception as error:  # the binding says of no exception that it is the only one
            raise SensorError(f"refused by the middleware: {error}") from error

    return _through(deserialise)


def _through(deserialise: Callable[[bytes, str], Any]) -> Attempt:
    """Return an attempt: the first byte says the type, the others are the message."""

    def attempt(data: bytes) -> str:
        number = (data[0] if data else 0) % len(TYPES)
        return _READERS[number](deserialise(data[1:], TYPES[number]))

    return attempt


def _picture(message: Any) -> str:
    return _is_rgb(to_camera_image(message, "CAM").pixels)


def _encoded(message: Any) -> str:
    return _is_rgb(to_camera_image_compressed(message, "CAM").pixels)


def _info(message: Any) -> str:
    return not_finite("K", intrinsics_from_camera_info(message, "CAM").model.pixel_from_cam)


def _points(message: Any) -> str:
    return not_finite("a return", to_radar_scan(message, "RADAR", RadarSource()).cloud.points)


def _motion(message: Any) -> str:
    ego = EgoMotion(TransformTree(), "odom", "base_link", True)
    ego.on_odometry(message, 0)
    return not_finite("a pose", ego.poses.pose_at(STAMP_NS))


def _transforms(message: Any) -> str:
    tree = TransformTree()
    ego = EgoMotion(tree, "odom", "base_link", False)
    for item in message.transforms:
        ego.on_transform(item, True, 0)
    return not_finite("a pose", tree.lookup("odom", "base_link"))


def _boxes(message: Any) -> str:
    found = from_detection3d_array(message, ("car", "bus"))
    return not_finite("a box", found.center_m, found.size_m, found.yaw_rad, found.scores)


_READERS: tuple[Callable[[Any], str], ...] = (
    _picture,
    _encoded,
    _info,
    _points,
    _motion,
    _transforms,
    _boxes,
)


def _is_rgb(pixels: np.ndarray) -> str:
    is_rgb = pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8
    return "" if is_rgb else f"range: no RGB image: {pixels.shape}"


@cache
def messages() -> tuple[bytes, ...]:
    """Return one serialised message of each type (two of the images), its number before it."""
    camera, header = camera_of(), make_header(STAMP_NS, "a_optical")
    raw = make(
        "sensor_msgs/msg/Image",
        header=header,
        height=4,
        width=6,
        encoding="bgr8",
        is_bigendian=0,
        step=20,
        data=np.arange(80, dtype=np.uint8),
    )
    info = camera_info_of(Tape(b""))
    roi = {"x_offset": 0, "y_offset": 0, "height": 0, "width": 0, "do_rectify": False}
    calibration = make(
        "sensor_msgs/msg/CameraInfo",
        header=header,
        height=camera.height_px,
        width=camera.width_px,
        distortion_model="plumb_bob",
        d=info.d,
        k=info.k,
        r=np.eye(3).reshape(-1),
        p=info.p,
        binning_x=0,
        binning_y=0,
        roi=make("sensor_msgs/msg/RegionOfInterest", **roi),
    )
    columns = {name: np.arange(3, dtype=np.float32) for name in RADAR_NAMES}
    made = [
        (TYPES[0], raw),
        *((TYPES[1], _compressed(header, data)) for data in pictures()[:4:3]),
        (TYPES[2], calibration),
        (TYPES[3], make_point_cloud(STAMP_NS, "radar", columns)),
        (TYPES[4], _odometry()),
        (TYPES[5], _tf()),
        (TYPES[6], make_box_array(_detections(), "base_link")),
    ]
    return tuple(bytes([TYPES.index(name)]) + serialize(name, message) for name, message in made)


def _compressed(header: Any, data: bytes) -> Any:
    values = np.frombuffer(data, np.uint8)
    return make("sensor_msgs/msg/CompressedImage", header=header, format="jpeg", data=values)


def _odometry() -> Any:
    zero = make("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0)
    twist = make("geometry_msgs/msg/Twist", linear=zero, angular=zero)
    return make(
        "nav_msgs/msg/Odometry",
        header=make_header(STAMP_NS, "odom"),
        child_frame_id="base_link",
        pose=make(
            "geometry_msgs/msg/PoseWithCovariance",
            pose=make_pose(np.eye(4)),
            covariance=np.zeros(36),
        ),
        twist=make("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=np.zeros(36)),
    )


def _tf() -> Any:
    links = [("odom", "map_local"), ("map_local", "base_link")]
    transforms = [make_transform(STAMP_NS, *link, np.eye(4)) for link in links]
    return make("tf2_msgs/msg/TFMessage", transforms=transforms)


def _detections() -> Detections:
    return Detections(
        stamp_ns=STAMP_NS,
        class_names=("car", "bus"),
        center_m=np.float32([[1, 2, 3], [4, 5, 6]]),
        size_m=np.float32([[4, 2, 1.5], [10, 3, 3]]),
        yaw_rad=np.float32([0.1, -2]),
        velocity_mps=np.zeros((2, 2), np.float32),
        scores=np.float32([0.9, 0.3]),
        labels=np.array([0, 1]),
    )


def pipeline(folder: Path) -> Attempt:
    """A camera, a radar, TF and calibration, any field of any message broken: finite tensors.

    The pipeline itself must raise nothing at all: what it cannot use it drops and counts.
    """
    spec = spec_of()
    sensors = sensor_set_from_mapping(
        {
            "cameras": {
                "A": {"image": "/a/image", "camera_info": "/a/info", "transport": "raw"},
            },
            "radars": {"R": {"points": "/r/points", "velocity_is_compensated": False}},
        }
    )
    sync = SyncSettings(cameras=("A",), radars=("R",))
    settings = PipelineSettings(sync=sync)

    def attempt(data: bytes) -> str:
        tape = Tape(data)
        flow = Pipeline(sensors, settings)
        frames = []
        for topic, message, at_ns in _drive(tape):
            frames += flow.on_message(topic, message, STAMP_NS + at_ns)
        for pending in [*frames, *flow.flush()]:
            frame = pending.finish()
            if frame is not None:
                inputs = prepare_inputs(frame, flow.rig, spec)
                wrong = not_finite("a tensor", *inputs.values())
                if wrong:
                    return wrong
        flow.close()
        return ""

    return attempt


def _drive(tape: Tape) -> list[tuple[str, Any, int]]:
    """Return (topic, message, arrival) of a quarter of a second."""
    optical = camera_of().ego_from_cam
    mount = transform_of(tape, 0, "base_link", "radar", 3.0)
    static = make_transform(STAMP_NS, "base_link", "a_optical", optical)
    found = [("/tf_static", make("tf2_msgs/msg/TFMessage", transforms=[static, mount]), 0)]
    found.append((_TOPICS["info"], camera_info_of(tape, 8, 6), 0))
    for i in range(2):
        at_ns = i * 100_000_000
        link = transform_of(tape, at_ns, "odom", "base_link", 0.4 * i)
        found.append(("/tf", make("tf2_msgs/msg/TFMessage", transforms=[link]), at_ns))
        cloud = cloud_of(tape, RADAR_NAMES, at_ns + 5_000_000)
        found.append((_TOPICS["points"], cloud, at_ns + 5_000_000))
        found.append((_TOPICS["image"], image_of(tape, at_ns), at_ns + 9_000_000))
    return found


CDR = (
    Target(name="CDR of bags", share=90, open=bag_cdr, seeds=messages),
    Target(
        name="CDR of rclpy",
        share=12,
        open=ros_cdr,
        seeds=messages,
        needs=("rclpy", "vision_msgs", "nav_msgs", "tf2_msgs"),
        is_foreign=True,
    ),
    Target(name="pipeline", share=6, open=pipeline, seeds=lambda: tapes(40, 400)),
)
