# SPDX-License-Identifier: Apache-2.0
"""Boxes as the bytes of a `vision_msgs/Detection3DArray`, written without making message objects.

Two hundred boxes as Python objects, and their way through the type support, cost several
milliseconds a frame, all of them under Python's lock. Here the numbers of all boxes are one
array, and the little that varies in length between them is made once for each class.

The layout is that of CDR version 1, little endian: a number stands at a multiple of its size from
the end of the four-byte encapsulation header, a string is its length with the final NUL, its
bytes, NUL. The tests compare with the type support of ROS itself.
"""

import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from imkd_core.geometry import Float64
from imkd_core.types import Detections
from imkd_ros.bridge.convert_out import COVARIANCE_DIAGONAL

#: The fields of the messages that this module knows; another version is not written.
_LAYOUT: Mapping[str, Mapping[str, str]] = {
    "Detection3DArray": {
        "header": "std_msgs/Header",
        "detections": "sequence<vision_msgs/Detection3D>",
    },
    "Detection3D": {
        "header": "std_msgs/Header",
        "results": "sequence<vision_msgs/ObjectHypothesisWithPose>",
        "bbox": "vision_msgs/BoundingBox3D",
        "id": "string",
    },
    "ObjectHypothesisWithPose": {
        "hypothesis": "vision_msgs/ObjectHypothesis",
        "pose": "geometry_msgs/PoseWithCovariance",
    },
}

_ENCAPSULATION = b"\x00\x01\x00\x00"

#: score; position, orientation, covariance; position, orientation, size.
_NUMBERS = 1 + 7 + 36 + 7 + 3

#: The id of a box, which is not tracked: an empty string.
_NO_ID = struct.pack("<I", 1) + b"\x00"


def can_write(classes: Any) -> bool:
    """Return whether message classes have the layout that is written here.

    Args:
        classes: what `convert_out.ros_messages` gives.
    """
    return all(
        dict(getattr(classes, name).get_fields_and_field_types()) == dict(fields)
        for name, fields in _LAYOUT.items()
    )


def detection3d_array_cdr(detections: Detections, frame_id: str) -> bytes:
    """Return what `to_detection3d_array` gives, serialised.

    Args:
        detections: in the frame `frame_id` at their stamp.
        frame_id: of the array and of each box.
    """
    seconds, nanoseconds = divmod(detections.stamp_ns, 1_000_000_000)
    header = struct.pack("<iI", seconds, nanoseconds) + _string(frame_id)
    parts = [header, bytes(-len(header) % 4), struct.pack("<I", len(detections))]
    place = sum(map(len, parts))
    numbers = _numbers(detections).astype("<f8").tobytes()
    step = 8 * _NUMBERS
    beginnings: dict[tuple[int, str], bytes] = {}
    for row, name in enumerate(detections.names):
        key = (place % 8, name)
        if key not in beginnings:
            beginnings[key] = _beginning(place, header, name)
        box = (beginnings[key], numbers[row * step : (row + 1) * step], _NO_ID)
        parts += box
        place += sum(map(len, box))
    return _ENCAPSULATION + b"".join(parts)


def _numbers(detections: Detections) -> Float64:
    """Return (N, _NUMBERS) in the order of the message."""
    count = len(detections)
    pose = np.zeros((count, 7))
    pose[:, :3] = detections.center_m
    half_rad = [yaw / 2 for yaw in detections.yaw_rad.tolist()]
    pose[:, 5] = [math.sin(half) for half in half_rad]
    pose[:, 6] = [math.cos(half) for half in half_rad]
    covariance = np.broadcast_to(np.diag(COVARIANCE_DIAGONAL).reshape(-1), (count, 36))
    score = np.asarray(detections.scores, np.float64)[:, None]
    return np.hstack([score, pose, covariance, pose, np.asarray(detections.size_m, np.float64)])


def _beginning(place: int, header: bytes, name: str) -> bytes:
    """Return what stands before the numbers of a box that may begin at a place."""
    text = bytes(-place % 4) + header
    text += bytes(-(place + len(text)) % 4) + struct.pack("<I", 1) + _string(name)
    return text + bytes(-(place + len(text)) % 8)


def _string(text: str) -> bytes:
    data = text.encode("utf-8") + b"\x00"
    return struct.pack("<I", len(data)) + data
