# SPDX-License-Identifier: Apache-2.0
"""Keeps the view transform's table from frame to frame, and rebuilds what moved, camera by camera.

On the move the effective poses (own motion since the exposure included) change from frame to
frame. The camera exposed last stays, and so do the others while speed and stagger are steady; with
jitter their poses scatter over a few tolerances, and the parts of the last ones are kept.
"""

from collections.abc import Sequence

import numpy as np

from imkd_core.config import InputSpec
from imkd_core.geometry import Float64
from imkd_core.types import CameraModel
from imkd_core.view_lut import CameraPart, ViewGeometry, build_camera_part, join_parts

#: An effective camera pose (own motion included) that moved by less keeps the look-up table.
#: 1 cm is 1/80 of a cell of 0.8 m, and 0.02 degrees move a point at 58 m by 2 cm.
POSE_TOLERANCE_M = 0.01
POSE_TOLERANCE_RAD = np.deg2rad(0.02)

#: Parts kept of each camera, 0.4 MB each: with exposures that jitter, poses come again and again.
PARTS_KEPT = 6


class ViewCache:
    """The table in force, and the cameras' parts that it is made of.

    Whatever `geometry` returns equals, bit by bit, what `build_view_geometry` makes of the poses
    in its `cameras`; each live camera's is within the tolerance of the pose that was asked for.

    Args:
        spec: what the network expects.

    Attributes:
        tables: how often a table was put together.
        parts: how often a camera's part was built.
    """

    def __init__(self, spec: InputSpec) -> None:
        self._spec = spec
        self._kept: dict[int, list[CameraPart]] = {}
        self._used: tuple[CameraPart, ...] = ()
        self._geometry: ViewGeometry | None = None
        self.tables = 0
        self.parts = 0

    def geometry(
        self, cameras: Sequence[tuple[CameraModel, Float64]], is_live: Sequence[bool]
    ) -> ViewGeometry:
        """Return the table of some cameras.

        Args:
            cameras: (calibration, effective `ego_from_cam`) in the order of the network's input.
                Another `CameraModel` object rebuilds its camera, even an equal one.
            is_live: whether the camera's image is there; the pose of one that is masked anyway
                does not count.
        """
        pairs = enumerate(zip(cameras, is_live, strict=True))
        parts = tuple(self._part(n, camera, pose, live) for n, ((camera, pose), live) in pairs)
        if self._geometry is None or not _are_same(self._used, parts):
            self._geometry, self._used = join_parts(parts, self._spec), parts
            self.tables += 1
        return self._geometry

    def _part(self, number: int, camera: CameraModel, pose: Float64, live: bool) -> CameraPart:
        """Return a part that holds: that of the frame before, one of the last, or a new one."""
        kept = [part for part in self._kept.get(number, ()) if part.camera is camera]
        held = (part for part in kept if not live or holds(part.ego_from_cam, pose))
        found = next(held, None)
        if found is None:
            self.parts += 1
            found = build_camera_part(number, camera, pose, self._spec)
        others = [part for part in kept if part is not found]
        self._kept[number] = [found, *others][:PARTS_KEPT]
        return found


def holds(then: Float64, now: Float64) -> bool:
    """Whether two (4, 4) poses are within the tolerance of each other."""
    change = now - then
    distance_m = np.linalg.norm(change[:3, 3])
    # Two rotations that differ by a small angle differ by angle * sqrt(2) in Frobenius norm.
    angle_rad = np.linalg.norm(change[:3, :3]) / np.sqrt(2)
    return bool(distance_m <= POSE_TOLERANCE_M and angle_rad <= POSE_TOLERANCE_RAD)


def _are_same(old: Sequence[CameraPart], new: Sequence[CameraPart]) -> bool:
    return len(old) == len(new) and all(a is b for a, b in zip(old, new, strict=True))
