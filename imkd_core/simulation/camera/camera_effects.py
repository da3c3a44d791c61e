# SPDX-License-Identifier: Apache-2.0
"""What air, water, lens and sensor do to a picture; linear float32 (H, W, 3) in and out."""

from functools import cache, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64
from imkd_core.simulation.camera.faces import Float32
from imkd_core.simulation.world.scene import Condition

#: ln(1 / 0.05): contrast left at the visibility (Koschmieder).
_KOSCHMIEDER = 3.0

#: Levels of the sensor's converter.
_LEVELS = 4096


def add_fog(
    image: Float32, inverse_depth: Float32, ray_length: Float32, condition: Condition, air: Float64
) -> None:
    """Fade the picture, in place, into the airlight: exp(-3 d / visibility) of it is left.

    Args:
        image: (H, W, 3).
        inverse_depth: (H, W) 1/m, 0 in the sky, which is left as it is.
        ray_length: (H, W) range per depth.
        condition: its visibility.
        air: (3,) airlight.
    """
    left = transmission(inverse_depth, ray_length, condition.visibility_m)
    color = (*air.tolist(), 0.0)
    cv2.subtract(image, color, dst=image)
    cv2.multiply(image, cv2.merge([left, left, left]), dst=image)
    cv2.add(image, color, dst=image)


def transmission(inverse_depth: Float32, ray_length: Float32, visibility_m: float) -> Float32:
    """Return (H, W) which share of light crosses the air; 1 in the sky."""
    depth = cv2.divide(ray_length, np.maximum(inverse_depth, 1e-5))
    left = cv2.exp(depth * np.float32(-_KOSCHMIEDER / visibility_m))
    left[inverse_depth <= 1e-5] = 1
    return np.asarray(left)


@lru_cache(maxsize=16)
def _ray_length(width: int, height: int, focal: tuple[float, float, float, float]) -> Float32:
    fx, fy, cx, cy = focal
    x = ((np.arange(width) - cx) / fx) ** 2
    y = ((np.arange(height) - cy) / fy) ** 2
    return np.sqrt(1 + x[None] + y[:, None]).astype(np.float32)


def ray_length(width: int, height: int, pixel_from_cam: Float64) -> Float32:
    """Return (H, W) range per depth of each pixel."""
    k = pixel_from_cam
    focal = (float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2]))
    return _ray_length(width, height, focal)


def shutter_s(condition: Condition) -> float:
    """Return how long the shutter is open; in the dark a moving camera cannot wait for long."""
    return float(np.clip(0.003 / max(condition.ambient + condition.sun, 1e-3), 0.002, 0.010))


def add_bloom(image: Float32, gain: float) -> None:
    """Let light beyond white run over its surroundings, in place."""
    small = cv2.resize(image, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)
    bright = np.clip(small - np.float32(0.8 / gain), 0, np.float32(12 / gain))
    if not bright.any():
        return
    sigma = max(image.shape[1] / 8 / 200, 0.8)
    glow = 0.22 * cv2.GaussianBlur(bright, (0, 0), sigma)
    glow += 0.10 * cv2.GaussianBlur(bright, (0, 0), 4 * sigma)
    image += cv2.resize(glow, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def exposure_gain(image: Float32, condition: Condition) -> float:
    """Return the gain of the automatic exposure, within what shutter and amplifier can do."""
    small = cv2.resize(image, (48, 27), interpolation=cv2.INTER_AREA)
    level = np.exp(np.log(small.mean(axis=2) + 1e-4)[8:].mean())
    darkest = 0.08 + 0.14 * min(condition.ambient, 1.0)
    return float(np.clip(darkest / level, 0.35, 14.0))


def expose(image: Float32, gain: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the (H, W, 3) sRGB picture of a sensor with shot and read noise.

    The square root of the signal plus a constant has the same noise everywhere (Anscombe), so one
    field of noise, added to the root, is both kinds of noise at once. The gain carries it.
    """
    read = 0.0015 * max(gain, 1.0)
    root = np.clip(image, 0, 4 / gain)
    root *= np.float32(gain)
    root += np.float32(read)
    cv2.sqrt(root, dst=root)
    spread = 0.006 * float(np.sqrt(max(gain, 1.0)))
    noise = np.frombuffer(rng.bytes(root.size), dtype=np.uint8).reshape(root.shape)
    root += cv2.LUT(noise, _normal_quantiles() * np.float32(spread))
    root *= np.float32(_LEVELS / 2)
    codes = cv2.max(root, 0.0).astype(np.uint16)
    return np.asarray(_tone_curve(round(read, 4)).take(codes, mode="clip"))


@cache
def _normal_quantiles() -> Float32:
    """Return (256,) quantiles of the normal distribution."""
    draws = np.sort(np.random.default_rng(11).standard_normal(256 * 400)).reshape(256, 400)
    return draws.mean(axis=1).astype(np.float32)


@lru_cache(maxsize=64)
def _tone_curve(read: float) -> NDArray[np.uint8]:
    """Return the byte of each level of the root: gamma with a soft shoulder."""
    signal = np.maximum((np.arange(_LEVELS + 1) / (_LEVELS / 2)) ** 2 - read, 0)
    knee = 0.75
    soft = knee + (1 - knee) * (1 - np.exp(-(signal - knee) / (1 - knee)))
    tone = np.where(signal < knee, signal, soft)
    return np.rint(255 * tone ** (1 / 2.2)).astype(np.uint8)


@lru_cache(maxsize=16)
def _vignette(width: int, height: int) -> Float32:
    x = (np.arange(width) + 0.5) / width * 2 - 1
    y = ((np.arange(height) + 0.5) / height * 2 - 1) * height / width
    fall = 1 / (1 + 0.16 * (x[None] ** 2 + y[:, None] ** 2)) ** 2
    return np.repeat(fall[..., None], 3, axis=2).astype(np.float32)


def add_vignette(image: Float32) -> None:
    """Darken the corners, in place."""
    image *= _vignette(image.shape[1], image.shape[0])
