# SPDX-License-Identifier: Apache-2.0
"""Rain on the way to the lens and on it, sun in the lens; linear float32 (H, W, 3), in place."""

import cv2
import numpy as np

from imkd_core.geometry import Float64
from imkd_core.simulation.camera.faces import Float32

#: The sun's veil is smooth, and drops are out of focus: both are made from small pictures.
_COARSE = 8


def add_streaks(
    image: Float32, rain_mmph: float, light: Float64, focal_px: float, rng: np.random.Generator
) -> None:
    """Draw falling drops, smeared by the exposure.

    Args:
        image: what is behind.
        rain_mmph: rain rate; the number of streaks grows with it.
        light: (3,) of the sky that the drops scatter.
        focal_px: of the camera.
        rng: draws where they are.
    """
    height, width = image.shape[:2]
    count = round(60 * rain_mmph**0.6)
    range_m = 1.2 + 8.0 * rng.random(count) ** 2
    length_px = focal_px * 0.06 / range_m
    start = rng.random((count, 2)) * (width, height)
    slant = rng.normal(0.06, 0.04, count)
    overlay = np.zeros((height, width), dtype=np.uint8)
    strength = (70 + 110 * rng.random(count)) * np.clip(2.2 / range_m, 0.35, 1)
    strength *= np.clip(focal_px / 900, 0.35, 1)
    end = start + np.column_stack([slant * length_px, length_px])
    for a, b, level, near in zip(
        np.rint(start * 16).astype(int).tolist(),
        np.rint(end * 16).astype(int).tolist(),
        strength.tolist(),
        (range_m < 0.0016 * focal_px).tolist(),
        strict=True,
    ):
        cv2.line(overlay, a, b, level, 2 if near and width > 1000 else 1, cv2.LINE_AA, 4)
    cover = cv2.merge([cv2.LUT(overlay, np.linspace(0, 0.32, 256).astype(np.float32))] * 3)
    image += cover * (np.asarray(light, dtype=np.float32) * np.float32(1.1)) - cover * image


def add_lens_drops(image: Float32, rain_mmph: float, rng: np.random.Generator) -> None:
    """Put water drops on the lens: each shows the world upside down, blurred and small."""
    height, width = image.shape[:2]
    small = cv2.resize(image, None, fx=1 / _COARSE, fy=1 / _COARSE, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), max(width / 1600, 0.6))
    for _ in range(rng.poisson(2 + 0.7 * rain_mmph)):
        radius_px = width * (0.006 + 0.022 * float(rng.random()) ** 2)
        center = rng.random(2) * (width, height)
        _add_drop(image, small, center, radius_px, 1.0 + 0.35 * float(rng.random()))


def _add_drop(
    image: Float32, small: Float32, center: Float64, radius_px: float, tall: float
) -> None:
    height, width = image.shape[:2]
    low = np.maximum(np.floor(center - radius_px * np.array([1, tall])).astype(int), 0)
    high = np.ceil(center + radius_px * np.array([1, tall])).astype(int) + 1
    part = image[low[1] : high[1], low[0] : high[0]]
    if not part.size:
        return
    x = (np.arange(part.shape[1]) + low[0] - center[0]) / radius_px
    y = (np.arange(part.shape[0]) + low[1] - center[1]) / (radius_px * tall)
    away = np.sqrt(x[None] ** 2 + y[:, None] ** 2)
    opacity = np.clip((1 - away) * 3.0, 0, 1) * 0.85
    rim = 1 - 0.35 * np.clip(away, 0, 1) ** 4
    u = np.clip(center[0] - 0.22 * width * x, 0, width - 1) / _COARSE
    v = np.clip(center[1] - 0.22 * width * y, 0, height - 1) / _COARSE
    across, down = np.meshgrid(u.astype(np.float32), v.astype(np.float32))
    inside = cv2.remap(small, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = opacity[..., None].astype(np.float32)
    part += alpha * (inside * rim[..., None].astype(np.float32) - part)


def add_sun_veil(
    image: Float32, sun_px: tuple[float, float], sun_rgb: Float64, seen: float
) -> None:
    """Spread the light of a sun in or near the picture over it: scatter in a lens.

    Args:
        image: the picture.
        sun_px: where the sun is, or would be.
        sun_rgb: (3,) its light.
        seen: which share of it reaches the lens, 0..1.
    """
    height, width = image.shape[:2]
    x = (np.arange(width // _COARSE) + 0.5) * _COARSE - sun_px[0]
    y = (np.arange(height // _COARSE) + 0.5) * _COARSE - sun_px[1]
    away = np.sqrt(x[None] ** 2 + y[:, None] ** 2) / width
    veil = seen * (0.34 * np.exp(-away / 0.10) + 0.13 * np.exp(-away / 0.45))
    colored = (veil[..., None] * sun_rgb).astype(np.float32)
    image += cv2.resize(colored, (width, height), interpolation=cv2.INTER_LINEAR)


def blur_by_motion(
    image: Float32, velocity_cam_mps: Float64, focal_px: float, open_s: float
) -> None:
    """Smear the picture as the own motion does for what is about 12 m away.

    Args:
        image: the picture.
        velocity_cam_mps: (3,) of the camera, in its optical frame.
        focal_px: of the camera.
        open_s: how long the shutter is open.
    """
    range_m = 12.0
    across_px = abs(float(velocity_cam_mps[0])) * open_s * focal_px / range_m
    taps = round(across_px)
    if taps >= 2:
        cv2.blur(image, (taps, 1), dst=image)
    growth = float(velocity_cam_mps[2]) * open_s / range_m
    height, width = image.shape[:2]
    if abs(growth) * width / 2 > 1.5:
        matrix = np.array(
            [[1 + growth, 0, -growth * width / 2], [0, 1 + growth, -growth * height / 2]]
        )
        moved = cv2.warpAffine(
            image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        cv2.addWeighted(image, 0.5, moved, 0.5, 0, dst=image)
