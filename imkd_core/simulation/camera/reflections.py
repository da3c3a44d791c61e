# SPDX-License-Identifier: Apache-2.0
"""Wet ground: the world mirrored in it, smeared upright by the rough surface."""

import cv2
import numpy as np

from imkd_core.simulation.camera.faces import Float32
from imkd_core.simulation.camera.ground_view import horizon_rows, raster_from_pixel, warp_rows
from imkd_core.simulation.camera.light import LitScene
from imkd_core.simulation.camera.painting import faces_in_view, paint
from imkd_core.simulation.camera.shading import face_colors
from imkd_core.simulation.camera.sky import cloud_pattern, see_sky
from imkd_core.simulation.camera.view import View
from imkd_core.simulation.world.scene import Condition

#: Reflections are blurred: they are painted at this fraction of the picture.
_COARSE = 4

#: Share of a mirror's light that wet asphalt gives back at most, and side of a patch of puddles.
_STRONGEST = 0.55
_PATCH_M = 12.0


def add_reflections(image: Float32, view: View, condition: Condition, scene: LitScene) -> None:
    """Darken the wet ground and mirror bodies and sky in it, in place.

    Args:
        image: (H, W, 3) sky and ground, before bodies are painted.
        view: the camera.
        condition: how wet it is.
        scene: the faces.
    """
    first, _ = horizon_rows(view)
    if view.height_px - first < 2 * _COARSE:
        return
    small = view.scaled(1 / _COARSE)
    mirrored = small.mirrored()
    seen = see_sky(mirrored, condition)
    faces = faces_in_view(mirrored, scene.faces)
    painted = paint(mirrored, scene.faces, faces, ground_hides=False)
    colors = np.ascontiguousarray(face_colors(mirrored, condition, scene, faces)[:, :3])
    cv2.copyTo(colors.take(painted.number, axis=0), (painted.number > 0).view(np.uint8), seen)
    tall = max(small.height_px / 28, 1.0)
    seen = cv2.GaussianBlur(seen, (0, 0), sigmaX=0.6, sigmaY=tall)
    below = cv2.resize(image, seen.shape[1::-1], interpolation=cv2.INTER_AREA)
    green = below[..., 1] / np.maximum(np.maximum(below[..., 0], below[..., 2]), 1e-4)
    share = _mirror_share(small, condition.wet) * np.clip(1 - 6 * (green - 1.06), 0.12, 1)
    share = share[..., None].astype(np.float32)
    added = cv2.resize(seen * share, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    kept = cv2.resize(
        np.repeat((1 - share) * np.float32(1 - 0.35 * condition.wet), 3, axis=2),
        image.shape[1::-1],
        interpolation=cv2.INTER_LINEAR,
    )
    ground = image[first:]
    cv2.multiply(ground, kept[first:], dst=ground)
    cv2.add(ground, added[first:], dst=ground)


def _mirror_share(view: View, wet: float) -> Float32:
    """Return (H, W) which share of light the ground mirrors (Schlick), more where water stands."""
    height_m = max(float(view.position_m[2]), 0.1)
    plane = view.ground_plane()
    u, v = np.arange(view.width_px), np.arange(view.height_px)
    inverse = plane[0] * u[None] + (plane[1] * v + plane[2])[:, None]
    steep = np.clip(np.abs(inverse) * height_m, 0, 1)
    fresnel = 0.03 + 0.97 * (1 - steep) ** 5
    pattern = np.zeros((view.height_px, view.width_px, 1), dtype=np.float32)
    tile = np.tile(cloud_pattern(), (3, 3))[..., None]
    side_m = _PATCH_M * 3
    origin = np.floor(view.position_m[:2] / _PATCH_M) * _PATCH_M - side_m / 2
    matrix = raster_from_pixel(view, (float(origin[0]), float(origin[1])), side_m / 768)
    warp_rows(tile, matrix, pattern, 0, outside=(0.5, 0.5, 0.5))
    puddles = np.clip(3 * (pattern.reshape(fresnel.shape) - 0.35), 0.35, 1)
    return (wet * _STRONGEST * fresnel * puddles * (inverse > 0)).astype(np.float32)
