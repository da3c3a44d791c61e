# SPDX-License-Identifier: Apache-2.0
"""The sensors of the made-up vehicle: places and fields of view like those of nuScenes' cars.

Numbers are round. Six cameras of 1600 x 900 px (70 degrees; the rear one 90 degrees), five radars,
one LiDAR whose x axis points to the right. Other image sizes are made as the detector makes them:
scaled to the width, cut off at the top.
"""

import numpy as np

from imkd_core.errors import ConfigError
from imkd_core.geometry import Float64, rigid_transform
from imkd_core.types import CameraModel

#: Size for which the intrinsic numbers below hold.
FULL_SIZE_PX = (1600, 900)

#: channel -> x, y, z (metres), yaw (degrees), focal length (px at full size)
CAMERA_MOUNTS: dict[str, tuple[float, float, float, float, float]] = {
    "CAM_FRONT": (1.70, 0.0, 1.51, 0.0, 1266.0),
    "CAM_FRONT_RIGHT": (1.55, -0.49, 1.50, -55.0, 1266.0),
    "CAM_BACK_RIGHT": (1.02, -0.48, 1.56, -110.0, 1266.0),
    "CAM_BACK": (0.03, 0.0, 1.58, 180.0, 809.0),
    "CAM_BACK_LEFT": (1.02, 0.48, 1.56, 110.0, 1266.0),
    "CAM_FRONT_LEFT": (1.55, 0.49, 1.50, 55.0, 1266.0),
}

#: Principal point at full size.
PRINCIPAL_POINT_PX = (808.0, 490.0)

#: channel -> x, y, z (metres), yaw (degrees)
RADAR_MOUNTS: dict[str, tuple[float, float, float, float]] = {
    "RADAR_FRONT": (3.41, 0.0, 0.50, 0.0),
    "RADAR_FRONT_LEFT": (2.42, 0.80, 0.78, 90.0),
    "RADAR_FRONT_RIGHT": (2.42, -0.80, 0.78, -90.0),
    "RADAR_BACK_LEFT": (-0.56, 0.62, 0.53, 175.0),
    "RADAR_BACK_RIGHT": (-0.56, -0.62, 0.53, -175.0),
}

LIDAR_POSITION_M = (0.94, 0.0, 1.84)

#: Length, width and height of the own vehicle, and how far its middle lies before the rear axle.
EGO_SIZE_M = (4.08, 1.73, 1.56)
EGO_MIDDLE_M = 1.36

_BODY_FROM_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def make_cameras(size_px: tuple[int, int] = FULL_SIZE_PX) -> dict[str, CameraModel]:
    """Return the cameras for images of (width, height).

    Raises:
        ConfigError: the images would be higher than the cameras see.
    """
    width, height = size_px
    scale = width / FULL_SIZE_PX[0]
    cut_px = round(FULL_SIZE_PX[1] * scale) - height
    if width < 64 or height < 32 or cut_px < 0:
        raise ConfigError(
            f"images of {width} x {height} px cannot be cut from those of 1600 x 900 px; give a "
            "width of 64 or more and at most 9/16 of it as height, for example 704x256"
        )
    cameras = {}
    for channel, (x, y, z, yaw_deg, focal_px) in CAMERA_MOUNTS.items():
        cx, cy = (scale * (value + 0.5) - 0.5 for value in PRINCIPAL_POINT_PX)
        focal = scale * focal_px
        pixel_from_cam = np.array([[focal, 0.0, cx], [0.0, focal, cy - cut_px], [0.0, 0.0, 1.0]])
        rotation = _turn_z(np.radians(yaw_deg)) @ _BODY_FROM_OPTICAL
        cameras[channel] = CameraModel(
            width_px=width,
            height_px=height,
            pixel_from_cam=pixel_from_cam,
            ego_from_cam=rigid_transform(rotation, (x, y, z)),
        )
    return cameras


def make_radars() -> dict[str, Float64]:
    """Return channel -> (4, 4) `ego_from_radar`."""
    return {
        channel: rigid_transform(_turn_z(np.radians(yaw_deg)), (x, y, z))
        for channel, (x, y, z, yaw_deg) in RADAR_MOUNTS.items()
    }


def lidar_mount() -> Float64:
    """Return (4, 4) `ego_from_lidar`: x right, y forward, z up."""
    return rigid_transform(_turn_z(-np.pi / 2), LIDAR_POSITION_M)


def _turn_z(angle_rad: float) -> Float64:
    c, s = float(np.cos(angle_rad)), float(np.sin(angle_rad))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
