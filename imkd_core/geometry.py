# SPDX-License-Identifier: Apache-2.0
"""Rigid transforms, pinhole projection and boxes, in REP-103 frames.

A transform `dst_from_src` is a (4, 4) float64 matrix that takes homogeneous points of frame `src`
to frame `dst`, so names cancel: `global_from_ego @ ego_from_lidar`. Ego and sensor bodies are
x forward, y left, z up; camera frames are optical (x right, y down, z forward).
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imkd_core.errors import CalibrationError

Float64 = NDArray[np.float64]

#: Largest deviation of R @ R.T from the identity that a rigid transform may show.
RIGID_TOLERANCE = 1e-4

#: Rounding that the last row of a transform may show.
_EXACT = 1e-6

#: A translation may have no larger component: no two places on Earth are that far apart.
MAX_TRANSLATION_M = 1e8

#: A longer quaternion is a mistake, not one that was not normalised.
_LONGEST_QUATERNION = 1e6

_LAST_ROW = (0.0, 0.0, 0.0, 1.0)


def numbers(values: ArrayLike, name: str) -> Float64:
    """Return a float64 copy of `values`, or refuse by `name` what are no numbers.

    Raises:
        CalibrationError: texts, rows of unequal length, or whole numbers beyond all floats.
    """
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise CalibrationError(f"{name}: expected an array of numbers, got {values!r}") from None


def rotation_from_quaternion(wxyz: ArrayLike) -> Float64:
    """Return the (3, 3) rotation of a quaternion (w, x, y, z), normalised here.

    Raises:
        CalibrationError: the quaternion is not finite, has no length, or an absurd one.
    """
    quaternion = numbers(wxyz, "quaternion")
    is_sound = quaternion.shape == (4,) and bool((np.abs(quaternion) < _LONGEST_QUATERNION).all())
    norm = math.sqrt(quaternion.dot(quaternion)) if is_sound else 0.0
    if norm < 1e-9:
        raise CalibrationError(f"expected a quaternion (w, x, y, z) of length 1, got {wxyz!r}")
    w, x, y, z = (quaternion / norm).tolist()
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion_from_rotation(rotation: ArrayLike) -> Float64:
    """Return the quaternion (w, x, y, z), w >= 0, of a (3, 3) rotation.

    Shepperd's method: the largest of the four components is taken from the diagonal, so nothing
    is divided by a small number.
    """
    r = np.asarray(rotation, dtype=np.float64)
    squares = np.array(
        [
            1 + r[0, 0] + r[1, 1] + r[2, 2],
            1 + r[0, 0] - r[1, 1] - r[2, 2],
            1 - r[0, 0] + r[1, 1] - r[2, 2],
            1 - r[0, 0] - r[1, 1] + r[2, 2],
        ]
    )
    largest = int(np.argmax(squares))
    scale = 2 * np.sqrt(squares[largest])
    sums = {
        (0, 1): r[2, 1] - r[1, 2],
        (0, 2): r[0, 2] - r[2, 0],
        (0, 3): r[1, 0] - r[0, 1],
        (1, 2): r[0, 1] + r[1, 0],
        (1, 3): r[0, 2] + r[2, 0],
        (2, 3): r[1, 2] + r[2, 1],
    }
    quaternion = np.array(
        [
            squares[largest] / scale
            if i == largest
            else sums[min(i, largest), max(i, largest)] / scale
            for i in range(4)
        ]
    )
    return quaternion if quaternion[0] >= 0 else -quaternion


def transform_from_quaternion(translation_m: ArrayLike, wxyz: ArrayLike) -> Float64:
    """Return the (4, 4) transform `dst_from_src` of a translation (metres) and quaternion.

    `translation_m` is the origin of `src` in `dst`; the quaternion turns `src` axes into `dst`.

    Raises:
        CalibrationError: a number is not finite, or the quaternion has no length.
    """
    return rigid_transform(rotation_from_quaternion(wxyz), translation_m)


def rigid_transform(rotation: ArrayLike, translation_m: ArrayLike) -> Float64:
    """Return the (4, 4) transform of a (3, 3) rotation and a translation in metres.

    Raises:
        CalibrationError: the rotation is not one, or a number is not finite.
    """
    turn, shift_m = numbers(rotation, "rotation"), numbers(translation_m, "translation")
    if turn.shape != (3, 3) or shift_m.shape != (3,):
        raise CalibrationError(
            f"expected a (3, 3) rotation and a (3,) translation, got {turn.shape}, {shift_m.shape}"
        )
    dst_from_src = np.eye(4)
    dst_from_src[:3, :3] = turn
    dst_from_src[:3, 3] = shift_m
    return checked_transform(dst_from_src, "transform")


def checked_transform(dst_from_src: ArrayLike, name: str) -> Float64:
    """Return a read-only (4, 4) float64 copy of a rigid transform, or refuse it by `name`.

    Raises:
        CalibrationError: wrong shape, not finite, not rigid (scaled, sheared or mirrored), or
            farther away than `MAX_TRANSLATION_M`.
    """
    matrix = numbers(dst_from_src, name)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise CalibrationError(f"{name}: expected a finite (4, 4) transform, got {dst_from_src!r}")
    rows = matrix.tolist()
    if max(abs(row[3]) for row in rows[:3]) > MAX_TRANSLATION_M:
        raise CalibrationError(
            f"{name}: a translation of {matrix[:3, 3].tolist()} m is beyond {MAX_TRANSLATION_M:g} "
            "m; check its units and its publisher"
        )
    is_affine = max(map(_distance, rows[3], _LAST_ROW)) <= _EXACT
    if not is_affine or not _is_rotation([row[:3] for row in rows[:3]]):
        raise CalibrationError(f"{name}: not a rigid transform (rotation and translation only)")
    matrix.flags.writeable = False
    return matrix


def _is_rotation(rows: list[list[float]]) -> bool:
    """Whether finite rows are those of a rotation, within `RIGID_TOLERANCE`.

    In plain numbers: every pose of a recording comes through here several times, and NumPy takes
    three times as long for nine of them.
    """
    # Products of larger numbers would overflow; entries of a rotation are at most 1.
    if max(abs(value) for row in rows for value in row) > 1 + RIGID_TOLERANCE:
        return False
    (a, b, c), (d, e, f), (g, h, i) = rows
    lengths = (a * a + b * b + c * c, d * d + e * e + f * f, g * g + h * h + i * i)
    angles = (a * d + b * e + c * f, a * g + b * h + c * i, d * g + e * h + f * i)
    is_orthonormal = (
        max(abs(square - 1.0) for square in lengths) <= RIGID_TOLERANCE
        and max(map(abs, angles)) <= RIGID_TOLERANCE
    )
    return is_orthonormal and a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) > 0


def _distance(one: float, other: float) -> float:
    return abs(one - other)


def invert_transform(dst_from_src: ArrayLike) -> Float64:
    """Return `src_from_dst` of a rigid (4, 4) transform, without a matrix inversion."""
    matrix = np.asarray(dst_from_src, dtype=np.float64)
    inverse = np.eye(4)
    inverse[:3, :3] = matrix[:3, :3].T
    inverse[:3, 3] = -matrix[:3, :3].T @ matrix[:3, 3]
    return inverse


def transform_points(dst_from_src: ArrayLike, points_src: ArrayLike) -> Float64:
    """Return (..., 3) points of frame `src` in frame `dst`; metres."""
    matrix = np.asarray(dst_from_src, dtype=np.float64)
    return np.asarray(points_src, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]


def rotate_vectors(dst_from_src: ArrayLike, vectors_src: ArrayLike) -> Float64:
    """Return (..., 3) or (..., 2) free vectors (velocities) of frame `src` in frame `dst`.

    Two-component vectors lie in the xy plane of `src`; their x and y in `dst` are returned.
    """
    vectors = np.asarray(vectors_src, dtype=np.float64)
    n = vectors.shape[-1]
    return vectors @ np.asarray(dst_from_src, dtype=np.float64)[:n, :n].T


def yaw_of(dst_from_src: ArrayLike) -> float:
    """Return the heading of the x axis of `src` in the xy plane of `dst`, radians (-pi, pi]."""
    matrix = np.asarray(dst_from_src, dtype=np.float64)
    return float(np.arctan2(matrix[1, 0], matrix[0, 0]))


def planar_transform(dst_from_src: ArrayLike) -> Float64:
    """Return (2, 3) SE(2) of a (4, 4) transform: rotation by its yaw, and x, y of its translation.

    A point p (x, y) of `src` lies at `T[:, :2] @ p + T[:, 2]` in `dst`; roll, pitch and height are
    left out, so that the rotation stays one.
    """
    yaw_rad, matrix = yaw_of(dst_from_src), np.asarray(dst_from_src, dtype=np.float64)
    cosine, sine = np.cos(yaw_rad), np.sin(yaw_rad)
    return np.array([[cosine, -sine, matrix[0, 3]], [sine, cosine, matrix[1, 3]]])


def wrap_angle(angle_rad: ArrayLike) -> Float64:
    """Return angles wrapped to [-pi, pi)."""
    wrapped = (np.asarray(angle_rad, dtype=np.float64) + np.pi) % (2 * np.pi) - np.pi
    return np.asarray(np.where(wrapped >= np.pi, -np.pi, wrapped))  # % may round up to 2 pi


def interpolate_transform(first: ArrayLike, second: ArrayLike, fraction: float) -> Float64:
    """Return the transform `fraction` (0..1) of the way from `first` to `second`.

    Translation is linear, rotation follows the shorter great circle (slerp).
    """
    start, end = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    q0, q1 = quaternion_from_rotation(start[:3, :3]), quaternion_from_rotation(end[:3, :3])
    dot = float(q0 @ q1)
    if dot < 0:
        q1, dot = -q1, -dot
    angle = np.arccos(min(dot, 1.0))
    if angle < 1e-6:
        quaternion = q0 + fraction * (q1 - q0)
    else:
        quaternion = np.sin((1 - fraction) * angle) * q0 + np.sin(fraction * angle) * q1
    translation_m = start[:3, 3] + fraction * (end[:3, 3] - start[:3, 3])
    return transform_from_quaternion(translation_m, quaternion)


def project_points(pixel_from_cam: ArrayLike, points_cam: ArrayLike) -> tuple[Float64, Float64]:
    """Project (N, 3) points of an optical camera frame with a (3, 3) intrinsic matrix.

    Returns:
        pixels (N, 2) as (u, v), where the centre of the top-left pixel is (0, 0) as in OpenCV
        and sensor_msgs/CameraInfo; and depth_m (N,). Pixels of points at or behind the image
        plane (depth <= 0) are NaN.
    """
    points = np.asarray(points_cam, dtype=np.float64).reshape(-1, 3)
    depth_m = points[:, 2]
    in_front = depth_m > 0
    homogeneous = points @ np.asarray(pixel_from_cam, dtype=np.float64)[:3, :3].T
    pixels = np.full((len(points), 2), np.nan)
    pixels[in_front] = homogeneous[in_front, :2] / depth_m[in_front, None]
    return pixels, depth_m


#: Corner signs (x, y, z): the front face first (4), then the rear face (4), each counter-clockwise
#: seen from the front, starting at the upper left.
_FACE_SIGNS = [(1, 1), (-1, 1), (-1, -1), (1, -1)]
_CORNER_SIGNS = np.array([(x, y, z) for x in (1, -1) for y, z in _FACE_SIGNS], dtype=np.float64)

#: Pairs of corner indices that are the twelve edges of a box.
BOX_EDGES = tuple(
    [(i, (i + 1) % 4) for i in range(4)]
    + [(4 + i, 4 + (i + 1) % 4) for i in range(4)]
    + [(i, i + 4) for i in range(4)]
)


def box_corners(center_m: ArrayLike, size_m: ArrayLike, yaw_rad: ArrayLike) -> Float64:
    """Return the (N, 8, 3) corners of upright boxes, in the frame of their centres.

    Args:
        center_m: (N, 3) geometric centres x, y, z.
        size_m: (N, 3) length (along heading), width, height.
        yaw_rad: (N,) heading, counter-clockwise from x.

    Corners 0-3 are the front face, 4-7 the rear face; `BOX_EDGES` joins them.
    """
    center = np.asarray(center_m, dtype=np.float64).reshape(-1, 3)
    size = np.asarray(size_m, dtype=np.float64).reshape(-1, 3)
    yaw = np.asarray(yaw_rad, dtype=np.float64).reshape(-1)
    local = _CORNER_SIGNS[None] * size[:, None] / 2
    cos, sin = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    x = cos * local[..., 0] - sin * local[..., 1]
    y = sin * local[..., 0] + cos * local[..., 1]
    return np.stack([x, y, local[..., 2]], axis=-1) + center[:, None]


def points_in_box(
    points: ArrayLike, center_m: ArrayLike, size_m: ArrayLike, yaw_rad: float
) -> NDArray[np.bool_]:
    """Return which of (N, 3) points lie in one upright box (borders included)."""
    offset = np.asarray(points, dtype=np.float64)[:, :3] - np.asarray(center_m, dtype=np.float64)
    cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
    x = cos * offset[:, 0] + sin * offset[:, 1]
    y = -sin * offset[:, 0] + cos * offset[:, 1]
    half = np.asarray(size_m, dtype=np.float64) / 2
    return (np.abs(x) <= half[0]) & (np.abs(y) <= half[1]) & (np.abs(offset[:, 2]) <= half[2])
