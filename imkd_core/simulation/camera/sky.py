# SPDX-License-Identifier: Apache-2.0
"""The sky of each condition, and the airlight that distance fades into."""

from functools import cache

import cv2
import numpy as np

from imkd_core.geometry import Float64
from imkd_core.simulation.camera.faces import Float32
from imkd_core.simulation.camera.lamps import is_dark
from imkd_core.simulation.camera.light import daylight
from imkd_core.simulation.camera.view import View
from imkd_core.simulation.world.scene import Condition

#: The sky is smooth: it is computed at this fraction of the picture.
_COARSE = 4

_ZENITH_RGB = np.array([0.20, 0.38, 0.78])
_HORIZON_RGB = np.array([0.68, 0.78, 0.90])
_CLOUD_RGB = np.array([0.95, 0.96, 0.98])
_OVERCAST_RGB = np.array([0.56, 0.58, 0.61])
_DUSK_RGB = np.array([1.25, 0.72, 0.36])
_NIGHT_ZENITH_RGB = np.array([0.0012, 0.0016, 0.0034])
_NIGHT_HORIZON_RGB = np.array([0.0085, 0.0072, 0.0070])


def airlight(condition: Condition) -> Float64:
    """Return the (3,) colour of far haze, fog or rain."""
    if is_dark(condition):
        return _NIGHT_HORIZON_RGB * 0.7
    gray = condition.ambient * _OVERCAST_RGB
    clear = condition.ambient * _HORIZON_RGB
    return np.asarray(clear if condition.sun > 0.3 else gray)


def see_sky(view: View, condition: Condition, end_row: int | None = None) -> Float32:
    """Return the (H, W, 3) sky without ground or bodies; garbage from `end_row` on."""
    small = view.scaled(1 / _COARSE)
    rows = small.height_px
    if end_row is not None:
        rows = min(rows, end_row // _COARSE + 3)
    u, v = np.meshgrid(np.arange(small.width_px), np.arange(rows))
    rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(small.pixel_from_cam).T
    rays = rays @ view.global_from_cam[:3, :3].T
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    sky = np.zeros((small.height_px, small.width_px, 3), dtype=np.float32)
    sky[:rows] = sky_color(rays, condition)
    return np.asarray(
        cv2.resize(sky, (view.width_px, view.height_px), interpolation=cv2.INTER_LINEAR)
    )


def sky_color(rays: Float64, condition: Condition) -> Float64:
    """Return the (..., 3) light that comes from directions (..., 3), unit vectors, global."""
    up = np.clip(rays[..., 2:], 0, 1)
    if is_dark(condition):
        fade = np.exp(-up / 0.12)
        return np.asarray(_NIGHT_ZENITH_RGB * (1 - fade) + _NIGHT_HORIZON_RGB * fade)
    haze = np.exp(-up / 0.22)
    clouds = _clouds(rays)[..., None]
    if condition.sun < 0.3:
        color = _OVERCAST_RGB * (0.85 + 0.45 * np.sqrt(up)) * (0.88 + 0.24 * clouds)
        fog = np.exp(-up * condition.visibility_m / 400.0)
        return np.asarray(condition.ambient * (color * (1 - fog) + _OVERCAST_RGB * fog))
    blue = _ZENITH_RGB * (1 - haze) + _HORIZON_RGB * haze
    cover = np.clip(2.6 * (clouds - 0.52), 0, 0.85) * np.clip(up * 8, 0, 1)
    color = condition.ambient * (blue * (1 - cover) + _CLOUD_RGB * cover)
    return np.asarray(color + _around_the_sun(rays, condition))


def _around_the_sun(rays: Float64, condition: Condition) -> Float64:
    """Return the glow and the disc of the sun."""
    sun = daylight(condition)
    near = np.clip(rays @ sun.to_sun, 0, 1)[..., None]
    low = float(np.clip((0.45 - condition.sun_elevation_rad) / 0.35, 0, 1))
    band = np.exp(-np.clip(rays[..., 2:], 0, 1) / 0.18)
    warm = low * band * (0.35 + 0.65 * near**4) * _DUSK_RGB * 0.8
    disc = 40.0 * np.clip((near - 0.9993) / 0.0004, 0, 1)
    around = 0.35 * np.exp(24 * (near - 1)) + 1.6 * np.exp(300 * (near - 1))
    return np.asarray(warm + sun.sun_rgb * (around + disc))


def _clouds(rays: Float64) -> Float64:
    """Return (...) 0..1 of a pattern on a flat ceiling."""
    scale = 42.0 / np.maximum(rays[..., 2], 0.05)
    u = np.mod(rays[..., 0] * scale, 255.0).astype(np.float32)
    v = np.mod(rays[..., 1] * scale, 255.0).astype(np.float32)
    found = cv2.remap(cloud_pattern(), u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.asarray(found, dtype=np.float64).reshape(u.shape)


@cache
def cloud_pattern() -> Float32:
    """Return a (256, 256) float32 tile of soft noise, 0..1, that continues at its borders."""
    rng = np.random.default_rng(7)
    total = np.zeros((256, 256), dtype=np.float32)
    for octave in range(2, 7):
        grid = rng.random((2**octave, 2**octave)).astype(np.float32)
        tiled = np.tile(grid, (3, 3))
        large = cv2.resize(tiled, (768, 768), interpolation=cv2.INTER_CUBIC)
        total += large[256:512, 256:512] * 0.55**octave
    low, high = np.percentile(total, [1, 99])
    return np.asarray(np.clip((total - low) / (high - low), 0, 1), dtype=np.float32)
