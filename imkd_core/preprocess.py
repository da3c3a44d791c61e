# SPDX-License-Identifier: Apache-2.0
"""From a frame to the arrays a network takes: one implementation for training and vehicle."""

import numpy as np
from numpy.typing import NDArray

from imkd_core.config import InputSpec
from imkd_core.errors import SensorError
from imkd_core.geometry import Float64
from imkd_core.imaging import to_network_image
from imkd_core.radar_grid import merge_radars, radar_statistics
from imkd_core.types import RADAR_FIELDS, CameraModel, Frame, SensorRig
from imkd_core.view_lut import ViewGeometry, build_view_geometry

Arrays = dict[str, NDArray[np.generic]]


def effective_cameras(frame: Frame, rig: SensorRig) -> list[tuple[CameraModel, Float64]]:
    """Return each camera's calibration and its pose in the ego frame of the reference time.

    The pose includes own motion between the exposure and the reference. A camera that the frame
    lacks keeps its calibrated pose.
    """
    cameras = []
    for name, camera in rig.cameras.items():
        pose = camera.ego_from_cam
        if name in frame.cameras:
            pose = frame.motion_at(frame.cameras[name].stamp_ns) @ pose
        cameras.append((camera, pose))
    return cameras


def prepare_inputs(
    frame: Frame,
    rig: SensorRig,
    spec: InputSpec,
    geometry: ViewGeometry | None = None,
    images: NDArray[np.uint8] | None = None,
) -> Arrays:
    """Return the network's inputs, un-batched, by name.

    With N cameras of the rig, D depth bins, Hf x Wf image features, K taps, Y x X BEV cells and r
    radar cells per BEV cell: images uint8 [N, 3, H, W] RGB; camera_mask [N]; camera_params
    [N, 16]; frustum_mask [N, D, Hf, Wf]; lut_index int32 [Y*X, K]; lut_weight [Y*X, K]; radar_grid
    [12, r*Y, r*X]; radar_mask [1]; float32 where not said. A missing sensor has mask 0 and zeros.

    Args:
        frame: what the sensors saw.
        rig: their calibration; the order of its cameras is that of the images.
        spec: what the network expects.
        geometry: of `effective_cameras(frame, rig)`; built here when None.
        images: (N, 3, H, W) uint8, contiguous: written to and returned as the network's images,
            whatever it held; for a caller that is done with those of the frame before. A new
            array when None.

    Raises:
        ValueError: `images` has another shape or layout.
        SensorError: the frame holds a sensor that the rig does not know, or an image that does
            not fit its calibration.
    """
    _check_sensors(frame, rig)
    if geometry is None:
        geometry = build_view_geometry(effective_cameras(frame, rig), spec)
    camera_mask = np.array([name in frame.cameras for name in rig.cameras], dtype=np.float32)
    has_radar = any(len(clouds) > 0 for clouds in frame.radars.values())
    radar_points = merge_radars(frame, rig.radars, spec.radar_sweeps) if has_radar else None
    return assemble_inputs(
        _images(frame, rig, spec, images), camera_mask, geometry, radar_points, spec
    )


def assemble_inputs(
    images: NDArray[np.uint8],
    camera_mask: NDArray[np.float32],
    geometry: ViewGeometry,
    radar_points: NDArray[np.float32] | None,
    spec: InputSpec,
) -> Arrays:
    """Return the network's inputs, as `prepare_inputs` names them, from their parts.

    Args:
        images: (N, 3, H, W) network images, zeros where a camera is missing.
        camera_mask: (N,) 1 for a live camera.
        geometry: of all cameras.
        radar_points: (P, 7) returns in the ego frame; None when there is no radar.
        spec: what the network expects.
    """
    lut_index, lut_weight = geometry.masked(camera_mask)
    has_radar = radar_points is not None
    if radar_points is None:
        radar_points = np.zeros((0, len(RADAR_FIELDS)), np.float32)
    return {
        "images": images,
        "camera_mask": camera_mask,
        "camera_params": geometry.camera_params,
        "frustum_mask": geometry.frustum_mask,
        "lut_index": lut_index,
        "lut_weight": lut_weight,
        "radar_grid": radar_statistics(radar_points, spec.radar_grid),
        "radar_mask": np.array([has_radar], dtype=np.float32),
    }


def _check_sensors(frame: Frame, rig: SensorRig) -> None:
    unknown = sorted({*frame.cameras} - {*rig.cameras}) + sorted({*frame.radars} - {*rig.radars})
    if unknown:
        known = ", ".join([*rig.cameras, *rig.radars]) or "none"
        raise SensorError(
            f"the frame holds sensors without calibration: {', '.join(unknown)}; the rig knows "
            f"{known}. Add them to the rig or leave them out"
        )


def _images(
    frame: Frame, rig: SensorRig, spec: InputSpec, out: NDArray[np.uint8] | None
) -> NDArray[np.uint8]:
    """Return (N, 3, H, W) uint8; zeros where a camera is missing."""
    shape = (len(rig.cameras), 3, spec.image_height_px, spec.image_width_px)
    images = np.empty(shape, np.uint8) if out is None else out
    if images.shape != shape or images.dtype != np.uint8 or not images.flags.c_contiguous:
        raise ValueError(f"images must be contiguous uint8 {shape}, got {images.shape}")
    for planes, (name, camera) in zip(images, rig.cameras.items(), strict=True):
        if name in frame.cameras:
            to_network_image(frame.cameras[name], camera, spec, planes)
        else:
            planes[:] = 0
    return images
