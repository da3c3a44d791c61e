# SPDX-License-Identifier: Apache-2.0
"""ROS messages built from a tape: whole where it is empty, anything that fits the types else."""

import math
from array import array
from types import SimpleNamespace
from typing import Any

import numpy as np

from imkd_ros.bridge.convert import ENCODINGS
from tests.faults.fuzz_mutation import Tape

STAMP_S = 1_700_000_000

_ENCODINGS = (*ENCODINGS, "16UC1", "mono16", "32FC1", "RGB8", "bayer_rggb16", "", "jpeg", "nv12")
_MODELS = ("", "none", "rational_polynomial", "equidistant", "fisheye", "thin_prism", "Plumb_Bob")
_LENGTHS = (0, 1, 3, 4, 6, 8, 12, 14, 15, 100)

#: Bytes that a field of each PointField datatype takes; 0 for those that do not exist.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 8: 8}

#: No message that is built here holds more.
_MOST_BYTES = 1 << 14


def header_of(tape: Tape, stamp_ns: int = 0, frame_id: str = "sensor") -> SimpleNamespace:
    """A std_msgs/Header, `stamp_ns` after `STAMP_S`."""
    seconds, nanoseconds = divmod(STAMP_S * 1_000_000_000 + stamp_ns, 1_000_000_000)
    stamp = SimpleNamespace(
        sec=tape.whole(seconds, 32, signed=True), nanosec=tape.whole(nanoseconds, 32)
    )
    return SimpleNamespace(stamp=stamp, frame_id=tape.text(frame_id))


def clothed(data: bytes, tape: Tape) -> Any:
    """Bytes as rclpy, as the bag library, or as nobody gives them."""
    views = (np.frombuffer(data, np.uint8), data, list(data[:64]), np.zeros(3), "text")
    return tape.pick(array("B", data), views)


def image_of(tape: Tape, stamp_ns: int = 0) -> SimpleNamespace:
    """A sensor_msgs/Image."""
    encoding = tape.pick("rgb8", _ENCODINGS)
    pixel_bytes = ENCODINGS.get(encoding, (3, None))[0]
    width, height = tape.whole(8), tape.whole(6)
    step = tape.whole(width * pixel_bytes & 0xFFFFFFFF)
    size = min(tape.whole(min(step * height, _MOST_BYTES)), _MOST_BYTES)
    return SimpleNamespace(
        header=header_of(tape, stamp_ns, "a_optical"),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=tape.byte(),
        step=step,
        data=clothed(bytes(size), tape),
    )


def camera_info_of(tape: Tape, width: int = 160, height: int = 64) -> SimpleNamespace:
    """A sensor_msgs/CameraInfo."""
    k = [110.0, 0.0, width / 2, 0.0, 110.0, height / 2, 0.0, 0.0, 1.0]
    p = [110.0, 0.0, width / 2, 0.0, 0.0, 110.0, height / 2, 0.0, 0.0, 0.0, 1.0, 0.0]
    length = tape.pick(5, _LENGTHS)
    roi = {name: tape.whole(0) for name in ("x_offset", "y_offset", "height", "width")}
    return SimpleNamespace(
        header=header_of(tape, 0, "a_optical"),
        height=tape.whole(height),
        width=tape.whole(width),
        distortion_model=tape.pick("plumb_bob", _MODELS),
        d=np.array(tape.reals([-0.1, 0.01, 0.001, 0.0, 0.0][:length] + [0.0] * (length - 5))),
        k=np.array(tape.reals(k)),
        p=np.array(tape.reals(p)),
        binning_x=tape.whole(0),
        binning_y=tape.whole(0),
        roi=SimpleNamespace(**roi, do_rectify=False),
    )


def cloud_of(
    tape: Tape, names: tuple[str, ...], stamp_ns: int = 0, count: int = 3, frame_id: str = "radar"
) -> SimpleNamespace:
    """A sensor_msgs/PointCloud2 with float32 fields of these names."""
    fields, offset = [], 0
    for name in names:
        datatype = tape.pick(7, (0, 1, 2, 3, 4, 5, 6, 8, 9, 255))
        fields.append(
            SimpleNamespace(
                name=tape.text(name),
                offset=tape.whole(offset),
                datatype=datatype,
                count=tape.whole(1),
            )
        )
        offset += _SIZES.get(datatype, 4)
    if tape.is_odd():
        fields = fields[: tape.byte() % 9] + fields[-(tape.byte() % 3) :]
    width, height = tape.whole(count), tape.whole(1)
    point_step = tape.whole(offset)
    row_step = tape.whole(width * point_step & 0xFFFFFFFF)
    size = min(tape.whole(min(row_step * height, _MOST_BYTES)), _MOST_BYTES)
    return SimpleNamespace(
        header=header_of(tape, stamp_ns, frame_id),
        height=height,
        width=width,
        fields=fields,
        is_bigendian=bool(tape.pick(0, (1,))),
        point_step=point_step,
        row_step=row_step,
        is_dense=True,
        data=clothed(_numbers(tape, size), tape),
    )


def _numbers(tape: Tape, size: int) -> bytes:
    """Bytes of a table: ones as float32, or what the tape holds."""
    if not tape.is_odd():
        return (b"\x00\x00\x80\x3f" * (size // 4 + 1))[:size]
    data = tape.raw(min(size, 64))
    return (data * (size // max(len(data), 1) + 1))[:size]


def vector_of(tape: Tape, usual: tuple[float, float, float]) -> SimpleNamespace:
    """A geometry_msgs/Vector3 or Point."""
    return SimpleNamespace(**dict(zip("xyz", tape.reals(usual), strict=True)))


def quaternion_of(tape: Tape, yaw_rad: float = 0.0) -> SimpleNamespace:
    """A geometry_msgs/Quaternion."""
    usual = (0.0, 0.0, math.sin(yaw_rad / 2), math.cos(yaw_rad / 2))
    return SimpleNamespace(**dict(zip("xyzw", tape.reals(usual), strict=True)))


def transform_of(
    tape: Tape, stamp_ns: int, parent: str, child: str, x_m: float = 0.0
) -> SimpleNamespace:
    """A geometry_msgs/TransformStamped."""
    return SimpleNamespace(
        header=header_of(tape, stamp_ns, parent),
        child_frame_id=tape.text(child),
        transform=SimpleNamespace(
            translation=vector_of(tape, (x_m, 0.0, 1.0)), rotation=quaternion_of(tape, 0.1 * x_m)
        ),
    )


def odometry_of(tape: Tape, stamp_ns: int, x_m: float) -> SimpleNamespace:
    """A nav_msgs/Odometry."""
    pose = SimpleNamespace(
        position=vector_of(tape, (x_m, 0.0, 0.0)), orientation=quaternion_of(tape, 0.01 * x_m)
    )
    return SimpleNamespace(
        header=header_of(tape, stamp_ns, "odom"),
        child_frame_id=tape.text("base_link"),
        pose=SimpleNamespace(pose=pose, covariance=np.zeros(36)),
    )


def boxes_of(tape: Tape, count: int = 2) -> SimpleNamespace:
    """A vision_msgs/Detection3DArray."""
    count = tape.byte() % 5 if tape.is_odd() else count
    return SimpleNamespace(
        header=header_of(tape, 0, "base_link"), detections=[_box(tape, i) for i in range(count)]
    )


def _box(tape: Tape, i: int) -> SimpleNamespace:
    results = [
        SimpleNamespace(
            hypothesis=SimpleNamespace(class_id=tape.text("car"), score=tape.real(0.5)),
            pose=SimpleNamespace(pose=None),
        )
        for _ in range(tape.pick(1, (0, 2, 3)))
    ]
    center = SimpleNamespace(
        position=vector_of(tape, (1.0, 1.0, 1.0)), orientation=quaternion_of(tape, 0.3)
    )
    return SimpleNamespace(
        id=tape.text(f"track {i}"),
        results=results,
        bbox=SimpleNamespace(center=center, size=vector_of(tape, (4.0, 2.0, 1.5))),
    )
