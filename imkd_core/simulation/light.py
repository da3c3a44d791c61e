# SPDX-License-Identifier: Apache-2.0
"""Light on faces and on the ground: sky, sun with its shadows, lamps in the dark.

Linear RGB; 1 is about what a white board gives back on a clear day.
"""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import cv2
import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64, invert_transform
from imkd_core.simulation.faces import FaceTable, Float32, join, place_faces
from imkd_core.simulation.scene import Condition, Shape, Snapshot
from imkd_core.simulation.skyline import skyline

#: Half side and pixel of the raster of light around the own vehicle.
_REACH_M = 60.0
_PIXEL_M = 0.15

_SUN_RGB = np.array([1.0, 0.94, 0.84])
_LOW_SUN_RGB = np.array([1.35, 0.85, 0.45])
_SKY_RGB = np.array([0.40, 0.45, 0.53])
_GRAY_RGB = np.array([0.46, 0.47, 0.49])
_NIGHT_RGB = np.array([0.9, 1.0, 1.35])
_HEAD_LAMP_RGB = np.array([1.0, 0.93, 0.8])

#: Bodies nearer than this cast the shadow of each part, others that of their hull.
_FINE_SHADOWS_M = 22.0

#: A part whose lowest corner is below this keeps the sky from the ground.
_STANDS_BELOW_M = 0.6

#: Bodies shorter than this can lie wholly in the shade of others.
_SHADED_BELOW_M = 14.0

#: Where the own head lamps are (ego frame), and their light close by.
_HEAD_LAMPS_M = np.array([[3.6, 0.6, 0.7], [3.6, -0.6, 0.7]])
_HEAD_LAMP = 0.6


#: Strength of lamps that shine down from a post, and of all others.
_STREET_LAMP = 6.0
_SMALL_LAMP = 0.12


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


def is_dark(condition: Condition) -> bool:
    """Whether lamps matter more than the sky."""
    return condition.sun_elevation_rad < 0 or condition.ambient < 0.15


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
    """What does not depend on the camera: the faces, their light, and the light on the ground.

    Attributes:
        faces: of all bodies, global.
        light: (F, 3) float32 light on each face.
        own_beam: (F,) float32 light of the own head lamps on each face.
        ground: (N, N, 3) float32 light on the ground around the own vehicle.
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


_LIT: WeakKeyDictionary[Snapshot, LitScene] = WeakKeyDictionary()


def light_scene(snapshot: Snapshot) -> LitScene:
    """Return the lit faces and ground of a snapshot; made once for all its cameras."""
    scene = _LIT.get(snapshot)
    if scene is None:
        scene = _LIT[snapshot] = _light_scene(snapshot)
    return scene


def _light_scene(snapshot: Snapshot) -> LitScene:
    sun = daylight(snapshot.condition)
    bodies = place_faces(snapshot.placed)
    faces = join(bodies, skyline(snapshot.ground))
    beam = own_beam(snapshot, faces.center_m, faces.normal)
    light = face_light(faces, sun, sunlit(snapshot, sun)) + beam[:, None] * _HEAD_LAMP_RGB
    x, y = snapshot.global_from_ego[:2, 3]
    origin_m = (float(x) - _REACH_M, float(y) - _REACH_M)
    open_ground = sun.sky_rgb + sun.sun_rgb * max(sun.to_sun[2], 0.0)
    return LitScene(
        faces=faces,
        light=light.astype(np.float32),
        own_beam=beam.astype(np.float32),
        ground=_ground_light(snapshot, bodies, sun, origin_m),
        ground_origin_m=origin_m,
        ground_pixel_m=_PIXEL_M,
        open_ground_rgb=(float(open_ground[0]), float(open_ground[1]), float(open_ground[2])),
    )


def sunlit(snapshot: Snapshot, sun: Daylight) -> Float64:
    """Return (B + 1,) which share of the sun reaches each body past the others; the last is 1.

    Only bodies up to `_SHADED_BELOW_M` long are asked: large ones lie partly in the shade.
    """
    count = len(snapshot.placed)
    share = np.ones(count + 1)
    if not count or sun.sun_rgb.max() < 0.05 or sun.to_sun[2] <= 0:
        return share
    poses = np.array([item.global_from_body for item in snapshot.placed])
    half = np.array([item.body.shape.size_m for item in snapshot.placed]) / 2
    asked = np.flatnonzero(half.max(axis=1) * 2 < _SHADED_BELOW_M)
    rotation = poses[:, :3, :3]
    direction = np.einsum("brc,r->bc", rotation, sun.to_sun)
    safe = np.where(np.abs(direction) < 1e-9, 1e-9, direction)
    for height in (-0.4, 0.7):
        points = poses[asked, :3, 3] + rotation[asked, :, 2] * half[asked, 2:] * height
        local = np.einsum("brc,abr->abc", rotation, points[:, None] - poses[None, :, :3, 3])
        near, far = (-half - local) / safe, (half - local) / safe
        enter, leave = np.minimum(near, far).max(axis=2), np.maximum(near, far).min(axis=2)
        hidden = (leave > np.maximum(enter, 0)) & (np.arange(count) != asked[:, None])
        share[asked] -= 0.5 * hidden.any(axis=1)
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


def own_beam(snapshot: Snapshot, points_m: Float64, normal: Float64) -> Float64:
    """Return (N,) light of the own head lamps on points with normals; zero by day."""
    light = np.zeros(len(points_m))
    if not is_dark(snapshot.condition) or not len(points_m):
        return light
    ego_from_global = invert_transform(snapshot.global_from_ego)
    points = points_m @ ego_from_global[:3, :3].T + ego_from_global[:3, 3]
    normals = normal @ ego_from_global[:3, :3].T
    for lamp in _HEAD_LAMPS_M:
        ray = points - lamp
        range_m = np.maximum(np.linalg.norm(ray, axis=1), 1.0)
        yaw = np.arctan2(ray[:, 1], ray[:, 0])
        pitch = ray[:, 2] / range_m
        below = np.exp(-0.5 * (pitch / 0.12) ** 2)
        above = 0.07 + 0.93 * np.exp(-0.5 * (pitch / 0.025) ** 2)
        spread = np.exp(-0.5 * (yaw / 0.38) ** 2) * np.where(pitch > 0, above, below)
        facing = np.maximum(-np.einsum("nc,nc->n", ray, normals) / range_m, 0.0)
        near = _HEAD_LAMP / (1 + (range_m / 9.0) ** 2) * (ray[:, 0] > 0)
        light += near * spread * (facing + 0.02)
    return light


def _ground_light(
    snapshot: Snapshot, faces: FaceTable, sun: Daylight, origin_m: tuple[float, float]
) -> Float32:
    side = round(2 * _REACH_M / _PIXEL_M)
    under = np.full((side, side), 255, dtype=np.uint8)
    lit = np.full((side, side), 255, dtype=np.uint8)
    if len(faces):
        _draw_shadows(snapshot, sun, origin_m, (under, lit))
    cv2.blur(under, (9, 9), dst=under)
    cv2.GaussianBlur(lit, (5, 5), 0, dst=lit)
    shade = cv2.LUT(under, np.linspace(0.35, 1, 256).astype(np.float32))
    light = cv2.merge([shade * np.float32(channel) for channel in sun.sky_rgb])
    height = max(float(sun.to_sun[2]), 0.0)
    if height * sun.sun_rgb.max() > 1e-3:
        direct = cv2.LUT(lit, np.linspace(0, 1, 256).astype(np.float32))
        light += cv2.merge([direct * np.float32(channel * height) for channel in sun.sun_rgb])
    if is_dark(snapshot.condition):
        light += _lamp_light(snapshot, faces, origin_m, side)
    return light


def _draw_shadows(
    snapshot: Snapshot,
    sun: Daylight,
    origin_m: tuple[float, float],
    rasters: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    """Darken what stands under bodies, and where solids keep the sun away."""
    under, lit = rasters
    slope = sun.to_sun[:2] / max(float(sun.to_sun[2]), 0.05)
    casts = sun.sun_rgb.max() > 0.02 and sun.to_sun[2] > 0
    for item in snapshot.placed:
        pose, shape = item.global_from_body, item.body.shape
        away_m = np.abs(pose[:2, 3] - origin_m - _REACH_M).max() - max(shape.size_m[:2]) / 2
        if away_m > _REACH_M + (60.0 if casts else 0.0):
            continue
        points, ends = shadow_parts(shape, fine=away_m < _FINE_SHADOWS_M)
        corners = points @ pose[:3, :3].T + pose[:3, 3]
        heights = np.maximum(corners[:, 2:], 0)
        below = _raster_corners(corners[:, :2], origin_m)
        cast = _raster_corners(corners[:, :2] - heights * slope, origin_m)
        start = 0
        for end in ends:
            if heights[start:end].min() < _STANDS_BELOW_M:
                _fill_hull(under, below[start:end])
            if casts:
                _fill_hull(lit, cast[start:end])
            start = end


_PARTS: WeakKeyDictionary[Shape, dict[bool, tuple[Float64, list[int]]]] = WeakKeyDictionary()


def shadow_parts(shape: Shape, fine: bool) -> tuple[Float64, list[int]]:
    """Return the convex parts whose shadows make that of a shape.

    Returns:
        (V, 3) corners, part after part, in the body frame; where each part ends. There is a part
        for each solid if `fine`, else one for all.
    """
    known = _PARTS.setdefault(shape, {})
    if fine not in known:
        parts = [np.unique(solid.corners_m.round(4), axis=0) for solid in shape.solids]
        ends = np.cumsum([len(part) for part in parts]).tolist()
        known[fine] = np.concatenate(parts), ends if fine else ends[-1:]
    return known[fine]


def _raster_corners(points_m: Float64, origin_m: tuple[float, float]) -> NDArray[np.int32]:
    """Return (V, 2) corners on the raster of light, 4 bits below the point."""
    pixels = (points_m - origin_m) * (16 / _PIXEL_M) - 8
    return np.clip(pixels, -100_000, 100_000).astype(np.int32)


def _fill_hull(raster: NDArray[np.uint8], corners: NDArray[np.int32]) -> None:
    cv2.fillConvexPoly(raster, cv2.convexHull(corners), 0, cv2.LINE_8, 4)


def _lamp_light(
    snapshot: Snapshot, faces: FaceTable, origin_m: tuple[float, float], side: int
) -> Float32:
    """Return (side, side, 3) light of head lamps and glowing faces on the ground."""
    coarse = max(side // 4, 1)
    step_m = _PIXEL_M * side / coarse
    x = origin_m[0] + (np.arange(coarse) + 0.5) * step_m
    y = origin_m[1] + (np.arange(coarse) + 0.5) * step_m
    points = np.stack([*np.meshgrid(x, y), np.zeros((coarse, coarse))], axis=-1).reshape(-1, 3)
    up = np.broadcast_to([0.0, 0.0, 1.0], points.shape)
    beam = own_beam(snapshot, points, up).reshape(coarse, coarse, 1) * _HEAD_LAMP_RGB
    for face in np.flatnonzero(faces.look[:, 5:].max(axis=1) > 0.05).tolist():
        _add_pool(beam, faces, face, (np.asarray(x), np.asarray(y)))
    return np.asarray(
        cv2.resize(beam.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    )


def _add_pool(light: Float64, faces: FaceTable, face: int, axes: tuple[Float64, Float64]) -> None:
    """Add what one glowing face throws on the ground within 15 m."""
    center, normal, glow = faces.center_m[face], faces.normal[face], faces.look[face, 5:]
    columns = np.flatnonzero(np.abs(axes[0] - center[0]) < 15)
    rows = np.flatnonzero(np.abs(axes[1] - center[1]) < 15)
    if not len(columns) or not len(rows):
        return
    ray_x, ray_y = axes[0][columns][None] - center[0], axes[1][rows][:, None] - center[1]
    height = max(float(center[2]), 0.3)
    range_m = np.sqrt(ray_x**2 + ray_y**2 + height**2)
    sent = np.maximum(normal[0] * ray_x + normal[1] * ray_y - normal[2] * height, 0) / range_m
    area = _STREET_LAMP if normal[2] < -0.5 and height > 3 else _SMALL_LAMP
    fall = area * sent * height / range_m / (1 + range_m**2) * np.clip(15 - range_m, 0, 1)
    light[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += fall[..., None] * glow
