# SPDX-License-Identifier: Apache-2.0
"""Boxes as visualization_msgs markers: edges, velocity arrows, labels; lines over images.

Each array begins with DELETEALL, so that boxes of the frame before vanish with it, also where a
frame was lost on the way.
"""

import math
from typing import Any

import numpy as np
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import ImageMarker, Marker, MarkerArray

from imkd_core.camera_view import ImageLines
from imkd_core.drawing import class_color
from imkd_core.geometry import BOX_EDGES, box_corners
from imkd_core.types import Detections

#: Seconds of driving that a velocity arrow spans.
ARROW_S = 1.0

#: Slower objects get no arrow, metres a second.
MIN_SPEED_MPS = 0.3

#: Width of the lines over an image, in its pixels.
IMAGE_LINE_PX = 2.0


def marker_color(label: int, alpha: float = 1.0) -> Any:
    """Return the colour of a class, that of the reports' pictures, as `std_msgs/ColorRGBA`."""
    red, green, blue = (value / 255 for value in class_color(label))
    return ColorRGBA(r=red, g=green, b=blue, a=alpha)


def detection_markers(detections: Detections, frame_id: str, stamp: Any) -> Any:
    """Return a `visualization_msgs/MarkerArray` of one frame's boxes.

    Args:
        detections: boxes, in the frame `frame_id`.
        frame_id: of the header.
        stamp: `builtin_interfaces/Time` of the header.
    """
    markers = [Marker(action=Marker.DELETEALL)]
    if len(detections):
        corners = box_corners(detections.center_m, detections.size_m, detections.yaw_rad)
        for index in range(len(detections)):
            markers.append(_edges(index, detections, corners[index]))
            markers.append(_label(index, detections))
            if _speed(detections, index) >= MIN_SPEED_MPS:
                markers.append(_arrow(index, detections))
    for marker in markers:
        marker.header.frame_id = frame_id
        marker.header.stamp = stamp
        marker.frame_locked = False
    return MarkerArray(markers=markers)


def image_marker(lines: ImageLines, camera: str, stamp: Any) -> Any:
    """Return a `visualization_msgs/ImageMarker` of the lines over one image; none too.

    One list of lines, each with the colour of its class: a viewer that keeps the newest message of
    a topic shows all of an image, and nothing of the one before.

    Args:
        lines: in the pixels of the image.
        camera: name of the camera, which becomes the namespace.
        stamp: `builtin_interfaces/Time` of the image's header.
    """
    colors = {label: marker_color(label) for label in set(lines.labels.tolist())}
    marker = ImageMarker(ns=camera, type=ImageMarker.LINE_LIST, action=ImageMarker.ADD)
    marker.header.stamp = stamp
    marker.scale = IMAGE_LINE_PX
    marker.outline_color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
    marker.points = [Point(x=u, y=v) for u, v in lines.ends_px.reshape(-1, 2).tolist()]
    marker.outline_colors = [colors[label] for label in lines.labels.tolist()]
    return marker


def _speed(detections: Detections, index: int) -> float:
    speed = float(np.linalg.norm(detections.velocity_mps[index]))
    return speed if math.isfinite(speed) else 0.0


def _point(xyz: Any) -> Any:
    return Point(x=float(xyz[0]), y=float(xyz[1]), z=float(xyz[2]))


def _marker(namespace: str, index: int, kind: int, label: int) -> Any:
    marker = Marker(ns=namespace, id=index, type=kind, action=Marker.ADD)
    marker.pose.orientation.w = 1.0
    marker.color = marker_color(label)
    return marker


def _edges(index: int, detections: Detections, corners: Any) -> Any:
    marker = _marker("boxes", index, Marker.LINE_LIST, int(detections.labels[index]))
    marker.scale.x = 0.08
    marker.points = [_point(corners[i]) for edge in BOX_EDGES for i in edge]
    return marker


def _label(index: int, detections: Detections) -> Any:
    marker = _marker("labels", index, Marker.TEXT_VIEW_FACING, int(detections.labels[index]))
    center = detections.center_m[index]
    top_m = float(center[2]) + float(detections.size_m[index, 2]) / 2 + 0.5
    marker.pose.position = _point((center[0], center[1], top_m))
    marker.scale.z = 0.6
    marker.text = f"{detections.names[index]} {detections.scores[index]:.2f}"
    return marker


def _arrow(index: int, detections: Detections) -> Any:
    marker = _marker("velocities", index, Marker.ARROW, int(detections.labels[index]))
    start = np.asarray(detections.center_m[index], dtype=np.float64)
    end = start.copy()
    end[:2] += detections.velocity_mps[index] * ARROW_S
    marker.points = [_point(start), _point(end)]
    marker.scale.x, marker.scale.y, marker.scale.z = 0.15, 0.35, 0.4
    return marker
