# SPDX-License-Identifier: Apache-2.0
"""The view transform's look-up table: which image column and depth feeds which BEV cell.

The network collapses every image column over its height into rows `P[camera, w, d]` and gathers
`BEV[cell] = sum_k weight[cell, k] * P[index[cell, k]]` (runtime.md 2). This module computes index
and weight from the calibration alone, so a recalibration never touches the network.

It pulls: sub-samples of each BEV cell are projected into each camera and read the rows around
them bilinearly, where column w stands for the centre of the feature cell and d for the centre of
the depth bin (method.md 12.6). Collapsing over height needs one height at which a BEV position is
projected. `REFERENCE_HEIGHT_M` is the middle of cars and people; with a camera tilted by one
degree a point 1 m above or below it is off by under 2 cm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from imkd_core.config import InputSpec
from imkd_core.geometry import Float64, invert_transform
from imkd_core.imaging import fit_window
from imkd_core.types import CameraModel
from imkd_core.view_taps import REFERENCE_HEIGHT_M, CameraTaps, Float32, Int32, camera_taps

__all__ = [
    "REFERENCE_HEIGHT_M",
    "CameraPart",
    "ViewGeometry",
    "build_camera_part",
    "build_view_geometry",
    "join_parts",
]


@dataclass(frozen=True, kw_only=True)
class ViewGeometry:
    """Everything in the network's input that depends on the calibration alone.

    Attributes:
        lut_index: (Y*X, K) int32 rows into P flattened as [N, Wf, D]; 0 where the weight is 0.
        lut_weight: (Y*X, K) float32; sums to 1 over a cell that some camera sees, else 0.
        tap_camera: (Y*X, K) int32 camera of each tap.
        frustum_mask: (N, D, Hf, Wf) float32; 1 where the bin's centre lies at a height that counts.
        camera_params: (N, 16) float32; fx/W, fy/H, cx/W, cy/H, `ego_from_cam[:3, :4]` by rows.
        cameras: calibration and effective pose `ego_from_cam` it was built for.
    """

    lut_index: Int32
    lut_weight: Float32
    tap_camera: Int32
    frustum_mask: Float32
    camera_params: Float32
    cameras: tuple[tuple[CameraModel, Float64], ...]

    @property
    def nbytes(self) -> int:
        """Size of all arrays in memory."""
        arrays = (self.lut_index, self.lut_weight, self.tap_camera, self.frustum_mask)
        return sum(array.nbytes for array in (*arrays, self.camera_params))

    def masked(self, camera_mask: Float32) -> tuple[Int32, Float32]:
        """Return (index, weight) with the weights renormalised over the live cameras.

        Args:
            camera_mask: (N,) 1 for a live camera, 0 for a missing one.
        """
        mask = np.asarray(camera_mask, dtype=np.float32)
        if mask.all():
            return self.lut_index, self.lut_weight
        weight = _normalised(self.lut_weight * mask[self.tap_camera])
        return np.where(weight > 0, self.lut_index, 0).astype(np.int32), weight


class CameraPart(NamedTuple):
    """What the table needs of one camera, as long as its effective pose holds.

    Attributes:
        camera: its calibration.
        ego_from_cam: (4, 4) effective pose it was built for.
        taps: of the cells that it sees.
        frustum_mask: (D, Hf, Wf) float32.
        params: (16,) float64, see `ViewGeometry.camera_params`.
    """

    camera: CameraModel
    ego_from_cam: Float64
    taps: CameraTaps
    frustum_mask: Float32
    params: Float64


def build_view_geometry(
    cameras: Sequence[tuple[CameraModel, Float64]],
    spec: InputSpec,
    pixel_from_cams: Sequence[Float64] | None = None,
    changed_from_ego: Float64 | None = None,
) -> ViewGeometry:
    """Build the look-up table of a set of cameras.

    Within about 6 m a cell spans more columns and bins than K taps can hold; the lightest are
    left out, which thins the table there and leaves no cell unseen.

    The last two arguments are for training alone. A network image that is rotated by a few
    degrees bends the collapse: a column then stands for the plane through its crossing of the
    reference height, and what lies above or below it in the picture is off by the angle times its
    distance in pixels.

    Args:
        cameras: (calibration, effective `ego_from_cam`) in the order of the network's input; the
            pose includes own motion between the exposure and the reference time, and is used
            instead of the calibration's.
        spec: what the network expects.
        pixel_from_cams: (3, 3) projection into each network image where images were zoomed, turned
            or mirrored; that of `imaging.fit_window` when None.
        changed_from_ego: (4, 4) similarity, mirrored or not, of the whole scene; BEV cells then
            lie in the changed frame, and depth stays that of the real camera.
    """
    lenses = pixel_from_cams if pixel_from_cams is not None else [None] * len(cameras)
    parts = [
        build_camera_part(number, camera, pose, spec, lens, changed_from_ego)
        for number, ((camera, pose), lens) in enumerate(zip(cameras, lenses, strict=True))
    ]
    return join_parts(parts, spec)


def build_camera_part(
    number: int,
    camera: CameraModel,
    ego_from_cam: Float64,
    spec: InputSpec,
    pixel_from_cam: Float64 | None = None,
    changed_from_ego: Float64 | None = None,
) -> CameraPart:
    """Return what the table needs of one camera; no other camera matters for it.

    Args:
        number: of the camera in the network's input.
        camera: its calibration.
        ego_from_cam: (4, 4) effective pose.
        spec: what the network expects.
        pixel_from_cam: see `build_view_geometry`, for this camera.
        changed_from_ego: see `build_view_geometry`.
    """
    k = fit_window(camera, spec).pixel_from_cam if pixel_from_cam is None else pixel_from_cam
    to_pixel, pose = k @ invert_transform(ego_from_cam)[:3], ego_from_cam
    if changed_from_ego is not None:
        to_pixel = to_pixel @ np.linalg.inv(changed_from_ego)
        pose = changed_from_ego @ ego_from_cam
    return CameraPart(
        camera=camera,
        ego_from_cam=ego_from_cam,
        taps=camera_taps(number, to_pixel, spec),
        frustum_mask=_frustum_mask(k, pose, spec),
        params=_camera_params(k, pose, spec),
    )


def join_parts(parts: Sequence[CameraPart], spec: InputSpec) -> ViewGeometry:
    """Return the table of all cameras from their parts, which stand in the network's order."""
    index, weight = _combine([part.taps for part in parts], spec)
    height, width = spec.feature_shape
    frustum = np.array([part.frustum_mask for part in parts], np.float32)
    return ViewGeometry(
        lut_index=index,
        lut_weight=weight,
        tap_camera=index // np.int32(width * spec.depth.count),
        frustum_mask=frustum.reshape(-1, spec.depth.count, height, width),
        camera_params=np.array([part.params for part in parts], np.float32).reshape(-1, 16),
        cameras=tuple((part.camera, part.ego_from_cam) for part in parts),
    )


def _camera_params(pixel_from_cam: Float64, ego_from_cam: Float64, spec: InputSpec) -> Float64:
    """Return the (16,) parameters of a camera.

    A mirrored network image (fx < 0) is the same as a camera whose x axis points the other way,
    so the sign goes into the pose: the network never sees a negative focal length.
    """
    k, pose = pixel_from_cam, np.asarray(ego_from_cam)[:3]
    if k[0, 0] < 0:
        k, pose = k * (-1.0, 1.0, 1.0), pose * (-1.0, 1.0, 1.0, 1.0)
    width, height = spec.image_width_px, spec.image_height_px
    lens = (k[0, 0] / width, k[1, 1] / height, k[0, 2] / width, k[1, 2] / height)
    return np.concatenate([lens, pose.ravel()])


def _frustum_mask(pixel_from_cam: Float64, ego_from_cam: Float64, spec: InputSpec) -> Float32:
    """Return (D, Hf, Wf): whether the centre of bin and feature cell has a height that counts."""
    stride = spec.feature_stride_px
    v, u = (stride * (np.arange(n) + 0.5) - 0.5 for n in spec.feature_shape)
    up_from_pixel = ego_from_cam[2, :3] @ np.linalg.inv(pixel_from_cam)
    rise = up_from_pixel[0] * u[None, :] + up_from_pixel[1] * v[:, None] + up_from_pixel[2]
    depth_m = spec.depth.min_m + spec.depth.step_m * (np.arange(spec.depth.count) + 0.5)
    z_ego = depth_m[:, None, None] * rise + ego_from_cam[2, 3]
    return ((z_ego >= spec.z_min_m) & (z_ego <= spec.z_max_m)).astype(np.float32)


def _combine(cameras: list[CameraTaps], spec: InputSpec) -> tuple[Int32, Float32]:
    """Return (index, weight), each (Y*X, K), of all cameras together.

    Where n cameras see a cell each gets K // n of its taps, so that a cell stays seen as long as
    one of its cameras lives.
    """
    taps = spec.lut_taps
    index = np.zeros((spec.bev.cells, taps), np.int32)
    weight = np.zeros((spec.bev.cells, taps), np.float32)
    count = np.zeros(spec.bev.cells, np.int64)
    for camera in cameras:
        count[camera.cell] += 1
    rank = np.zeros(spec.bev.cells, np.int64)
    for camera in cameras:
        is_alone = count[camera.cell] == 1
        index[camera.cell[is_alone]] = camera.row[is_alone]
        weight[camera.cell[is_alone]] = camera.weight[is_alone]
        shared = CameraTaps(*(value[~is_alone] for value in camera))
        quota = np.maximum(1, taps // count[shared.cell])[:, None]
        slot = rank[shared.cell][:, None] * quota + np.arange(taps)
        pair, tap = np.nonzero((np.arange(taps) < quota) & (slot < taps))
        index[shared.cell[pair], slot[pair, tap]] = shared.row[pair, tap]
        weight[shared.cell[pair], slot[pair, tap]] = shared.weight[pair, tap]
        rank[shared.cell] += 1
    return index, _normalised(weight)


def _normalised(weight: Float32) -> Float32:
    """Return weights (cells, K) that sum to 1 over each cell that has any."""
    total = np.einsum("ck->c", weight)[:, None]
    return np.asarray(weight / np.where(total > 0, total, np.float32(1)), dtype=np.float32)
