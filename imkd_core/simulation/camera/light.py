# SPDX-License-Identifier: Apache-2.0
"""Light on faces and on the ground: sky, sun with its shadows, lamps in the dark.

Linear RGB; 1 is about what a white board gives back on a clear day.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from imkd_core.geometry import Float64
from imkd_core.simulation.camera.faces import FaceTable, Float32, Index, join, place_faces
from imkd_core.simulation.camera.lamps import (
    HEAD_LAMP_RGB,
    POOL_M,
    is_dark,
    lamps_on_ground,
    light_of_posts,
    own_beam,
)
from imkd_core.simulation.camera.shadows import Sunlight, draw_shadows
from imkd_core.simulation.camera.skyline import skyline
from imkd_core.simulation.camera.view import View
from imkd_core.simulation.world.scene import Condition, Snapshot

#: Half side and pixel of the raster of light around the own vehicle.
_REACH_M = 60.0
_PIXEL_M = 0.15

_SUN_RGB = np.array([1.0, 0.94, 0.84])
_LOW_SUN_RGB = np.array([1.35, 0.85, 0.45])
_SKY_RGB = np.array([0.40, 0.45, 0.53])
_GRAY_RGB = np.array([0.46, 0.47, 0.49])
_NIGHT_RGB = np.array([0.9, 1.0, 1.35])

#: Bodies shorter than this can lie wholly in the shade of others.
_SHADED_BELOW_M = 14.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Daylight:
    """The far lights of a scene.

    Attributes:
        to_sun: (3,) unit vector, global.
        sun_rgb: (3,) light on a board that faces the sun.
        sky_rgb: (3,) light of the whole sky on level ground.
    """

    to_sun: Float64
    sun_rgb: Float64
    sky_rgb: Float64


def daylight(condition: Condition) -> Daylight:
    """Return sun and sky of a condition."""
    elevation, azimuth = condition.sun_elevation_rad, condition.sun_azimuth_rad
    level = np.cos(elevation)
    to_sun = np.array([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)])
    low = float(np.clip((0.45 - elevation) / 0.35, 0, 1))
    sun_rgb = (1 - low) * _SUN_RGB + low * _LOW_SUN_RGB
    sun = condition.sun if elevation > 0 else 0.0
    base = _SKY_RGB if sun > 0.3 else _GRAY_RGB * 1.25
    if is_dark(condition):
        base = _GRAY_RGB * _NIGHT_RGB
    return Daylight(to_sun=to_sun, sun_rgb=sun * sun_rgb, sky_rgb=condition.ambient * base)


@dataclass(frozen=True, kw_only=True, eq=False)
class LitScene:
    """The faces that a camera may see, their light, and the light on the ground.

    Attributes:
        faces: of the bodies, global.
        light: (F, 3) float32 light on each face.
        own_beam: (F,) float32 light of the own head lamps on each face.
        ground: (N, M, 3) float32 light on the ground around the own vehicle.
        ground_origin_m: outer corner of its pixel (0, 0).
        open_ground_rgb: light on the ground elsewhere.
    """

    faces: FaceTable
    light: Float32
    own_beam: Float32
    ground: Float32
    ground_origin_m: tuple[float, float]
    ground_pixel_m: float
    open_ground_rgb: tuple[float, float, float]


def light_scene(snapshot: Snapshot, view: View | None = None) -> LitScene:
    """Return the lit faces and ground of a snapshot.

    Args:
        snapshot: the world.
        view: what it does not show, straight or mirrored in the ground, is left out; None: nothing
            is.
    """
    sun = daylight(snapshot.condition)
    chosen = np.arange(len(snapshot.placed)) if view is None else bodies_in_view(snapshot, view)
    faces = join(place_faces(snapshot.placed, chosen), skyline(snapshot.ground))
    beam = own_beam(snapshot, faces.center_m, faces.normal)
    light = face_light(faces, sun, sunlit(snapshot, sun, chosen)) + beam[:, None] * HEAD_LAMP_RGB
    origin_m, size = _raster(snapshot, view)
    open_ground = sun.sky_rgb + sun.sun_rgb * max(sun.to_sun[2], 0.0)
    if is_dark(snapshot.condition):
        light += light_of_posts(faces, snapshot.placed)
    return LitScene(
        faces=faces,
        light=light.astype(np.float32),
        own_beam=beam.astype(np.float32),
        ground=_ground_light(snapshot, sun, origin_m, size),
        ground_origin_m=origin_m,
        ground_pixel_m=_PIXEL_M,
        open_ground_rgb=(float(open_ground[0]), float(open_ground[1]), float(open_ground[2])),
    )


def bodies_in_view(snapshot: Snapshot, view: View) -> Index:
    """Return rows of the bodies that may be in the picture or in its mirror image, from above."""
    if not snapshot.placed:
        return np.zeros(0, dtype=np.int64)
    centers = np.array([item.global_from_body[:2, 3] for item in snapshot.placed])
    radius_m = np.linalg.norm([item.body.shape.size_m for item in snapshot.placed], axis=1) / 2
    away = centers - view.position_m[:2]
    left, right = _sides_of(view)
    inside = away[:, 0] * left[1] - away[:, 1] * left[0] > -radius_m
    inside &= away[:, 1] * right[0] - away[:, 0] * right[1] > -radius_m
    return np.flatnonzero(inside)


def _sides_of(view: View) -> tuple[Float64, Float64]:
    """Return level unit vectors (2,) along the left and the right border, a little outside."""
    k = view.pixel_from_cam
    borders = []
    for u in (-0.02 * view.width_px, 1.02 * view.width_px):
        ray = view.global_from_cam[:3, :3] @ np.array([(u - k[0, 2]) / k[0, 0], 0.0, 1.0])
        borders.append(ray[:2] / max(float(np.hypot(ray[0], ray[1])), 1e-9))
    return borders[0], borders[1]


def _raster(snapshot: Snapshot, view: View | None) -> tuple[tuple[float, float], tuple[int, int]]:
    """Return outer corner, and rows and columns, of a raster of the ground that is seen nearby."""
    x, y = snapshot.global_from_ego[:2, 3].tolist()
    low, high = np.array([x, y]) - _REACH_M, np.array([x, y]) + _REACH_M
    if view is not None:
        left, right = _sides_of(view)
        ahead = view.global_from_cam[:2, 2]
        corners = view.position_m[:2] + 1.5 * _REACH_M * np.array([0 * left, left, right, ahead])
        low, high = np.maximum(low, corners.min(axis=0)), np.minimum(high, corners.max(axis=0))
    start = np.floor(low / POOL_M)
    columns, rows = np.maximum(np.ceil(high / POOL_M) - start, 1).astype(int).tolist()
    scale = round(POOL_M / _PIXEL_M)
    origin = start * POOL_M
    return (float(origin[0]), float(origin[1])), (rows * scale, columns * scale)


def sunlit(snapshot: Snapshot, sun: Daylight, chosen: Index | None = None) -> Float64:
    """Return (B + 1,) which share of the sun reaches each body past the others; the last is 1.

    Only bodies up to `_SHADED_BELOW_M` long are asked: large ones lie partly in the shade.

    Args:
        snapshot: the bodies.
        sun: where it stands.
        chosen: rows of the bodies to ask for; all if None.
    """
    count = len(snapshot.placed)
    share = np.ones(count + 1)
    if not count or sun.sun_rgb.max() < 0.05 or sun.to_sun[2] <= 0:
        return share
    poses = np.array([item.global_from_body for item in snapshot.placed])
    half = np.array([item.body.shape.size_m for item in snapshot.placed]) / 2
    asked = np.arange(count) if chosen is None else chosen
    asked = asked[half[asked].max(axis=1, initial=0) * 2 < _SHADED_BELOW_M]
    turn = poses[:, :3, :3]
    direction = sun.to_sun @ turn
    safe = np.where(np.abs(direction) < 1e-9, 1e-9, direction)[:, None]
    center, reach = poses[:, None, :3, 3] @ turn, half[:, None] / np.abs(safe)
    for height in (-0.4, 0.7):
        points = poses[asked, :3, 3] + turn[asked, :, 2] * half[asked, 2:] * height
        middle = (center - points @ turn) / safe  # (B, A, 3)
        enter, leave = (middle - reach).max(axis=2), (middle + reach).min(axis=2)
        hidden = (leave > np.maximum(enter, 0)) & (np.arange(count)[:, None] != asked)
        share[asked] -= 0.5 * hidden.any(axis=0)
    return share


def face_light(faces: FaceTable, sun: Daylight, sun_share: Float64) -> Float64:
    """Return (F, 3) light of sun and sky on faces; the ground sends some back from below."""
    up = faces.normal[:, 2]
    near_ground = np.clip(0.55 + 0.3 * faces.center_m[:, 2], 0.55, 1.0)
    ground = sun.sky_rgb + sun.sun_rgb * max(sun.to_sun[2], 0.0)
    sky = (0.5 + 0.5 * up)[:, None] * sun.sky_rgb + 0.12 * (1 - up)[:, None] * ground
    direct = np.maximum(faces.normal @ sun.to_sun, 0)[:, None] * sun.sun_rgb
    direct *= sun_share[faces.owner][:, None]
    return np.asarray(sky * near_ground[:, None] + direct)


def _ground_light(
    snapshot: Snapshot, sun: Daylight, origin_m: tuple[float, float], size: tuple[int, int]
) -> Float32:
    under = np.full(size, 255, dtype=np.uint8)
    lit = np.full(size, 255, dtype=np.uint8)
    slope = sun.to_sun[:2] / max(float(sun.to_sun[2]), 0.05)
    casts = bool(sun.sun_rgb.max() > 0.02 and sun.to_sun[2] > 0)
    rays = Sunlight(slope=(float(slope[0]), float(slope[1])), casts=casts)
    draw_shadows(snapshot, rays, origin_m, _PIXEL_M, (under, lit))
    cv2.blur(under, (9, 9), dst=under)
    cv2.GaussianBlur(lit, (5, 5), 0, dst=lit)
    height = max(float(sun.to_sun[2]), 0.0)
    shade = np.linspace(0.35, 1, 256)[:, None] * sun.sky_rgb
    light = cv2.LUT(cv2.merge([under] * 3), shade.astype(np.float32)[:, None])
    if height * sun.sun_rgb.max() > 1e-3:
        direct = np.linspace(0, height, 256)[:, None] * sun.sun_rgb
        cv2.add(light, cv2.LUT(cv2.merge([lit] * 3), direct.astype(np.float32)[:, None]), dst=light)
    if is_dark(snapshot.condition):
        cv2.add(light, lamps_on_ground(snapshot, origin_m, size, _PIXEL_M), dst=light)
    return np.asarray(light)
