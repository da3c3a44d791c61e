# SPDX-License-Identifier: Apache-2.0
"""Made-up rigs, specs and frames that tests of the vehicle side share."""

import numpy as np

from imkd_core.bev_grid import BevGrid
from imkd_core.config import DepthBins, InputSpec
from imkd_core.geometry import rigid_transform
from imkd_core.types import CameraImage, CameraModel, Frame, RadarCloud, SensorRig

#: Optical axes (x right, y down, z forward) seen from a body (x forward, y left, z up).
BODY_FROM_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])

STAMP_NS = 1_700_000_000_000_000_000


def spec_of(**changes) -> InputSpec:
    """A small spec on a rectangular grid (40 rows, 64 columns)."""
    values = {
        "image_height_px": 64,
        "image_width_px": 160,
        "bev": BevGrid(x_min_m=-12.8, x_max_m=38.4, y_min_m=-19.2, y_max_m=12.8, cell_m=0.8),
        "depth": DepthBins(min_m=1.0, max_m=33.0, step_m=0.5),
        "lut_taps": 16,
    }
    return InputSpec(**{**values, **changes})


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Body rotation: roll about x, then pitch about y, then yaw about z; radians."""
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return about_z @ about_y @ about_x


def camera_of(
    yaw: float = 0.0,
    pitch: float = 0.0,
    roll: float = 0.0,
    position=(1.5, 0.2, 1.5),
    focal_px: float = 110.0,
    size_px=(160, 64),
    **changes,
) -> CameraModel:
    """A camera that looks along `yaw`; its image has the size of the small spec's input."""
    width, height = size_px
    k = np.array([[focal_px, 0, width / 2 - 3.0], [0, focal_px, height / 2 - 8.0], [0, 0, 1.0]])
    pose = rigid_transform(rotation(yaw, pitch, roll) @ BODY_FROM_OPTICAL, position)
    return CameraModel(
        width_px=width, height_px=height, pixel_from_cam=k, ego_from_cam=pose, **changes
    )


def ring(count: int, tilt_deg: float, rng: np.random.Generator) -> list[CameraModel]:
    """Cameras around the vehicle, each tilted at random."""
    start = rng.uniform(-np.pi, np.pi)
    return [
        camera_of(
            start + 2 * np.pi * i / count + rng.uniform(-0.2, 0.2),
            *np.deg2rad(rng.uniform(-tilt_deg, tilt_deg, 2)),
            position=(*rng.uniform(-1.5, 1.5, 2), rng.uniform(1.2, 2.0)),
            focal_px=rng.uniform(90, 140),
        )
        for i in range(count)
    ]


def rig_of(cameras: int = 3, radars: int = 1) -> SensorRig:
    """A level rig with cameras CAM_0... and radars RADAR_0..."""
    return SensorRig(
        cameras={f"CAM_{i}": camera_of(2 * np.pi * i / cameras) for i in range(cameras)},
        radars={f"RADAR_{i}": rigid_transform(np.eye(3), (3.0, i, 0.5)) for i in range(radars)},
    )


def frame_of(rig: SensorRig, seed: int = 0, **changes) -> Frame:
    """A frame in which every sensor of a rig measured noise."""
    rng = np.random.default_rng(seed)
    cameras = {
        name: CameraImage(
            sensor=name,
            stamp_ns=STAMP_NS,
            pixels=rng.integers(0, 256, (model.height_px, model.width_px, 3), dtype=np.uint8),
        )
        for name, model in rig.cameras.items()
    }
    radars = {name: (cloud_of(name, rng.uniform(-10, 10, (20, 7))),) for name in rig.radars}
    return Frame(**{"stamp_ns": STAMP_NS, "cameras": cameras, "radars": radars, **changes})


def cloud_of(sensor: str, points, stamp_ns: int = STAMP_NS) -> RadarCloud:
    """A radar cloud of (N, 7) points."""
    points = np.asarray(points, dtype=np.float32).reshape(-1, 7)
    return RadarCloud(sensor=sensor, stamp_ns=stamp_ns, points=points)
