# SPDX-License-Identifier: Apache-2.0
"""What light a face sends to a camera: paint, gloss, glow, and plates that throw lamps back."""

import numpy as np

from imkd_core.simulation.camera.faces import Float32, Index
from imkd_core.simulation.camera.lamps import is_dark
from imkd_core.simulation.camera.light import LitScene, daylight
from imkd_core.simulation.camera.sky import sky_color
from imkd_core.simulation.camera.view import View
from imkd_core.simulation.world.scene import Condition


def face_colors(view: View, condition: Condition, scene: LitScene, chosen: Index) -> Float32:
    """Return (1 + N, 4) float32 light that N chosen faces send to the camera, and 1; row 0 is 0."""
    faces, sun = scene.faces, daylight(condition)
    colors = np.zeros((1 + len(chosen), 4), dtype=np.float32)
    if not len(chosen):
        return colors
    look, normal = faces.look[chosen], faces.normal[chosen]
    albedo, gloss, retro, glow = look[:, :3], look[:, 3:4], look[:, 4:5], look[:, 5:]
    ray = faces.center_m[chosen] - view.position_m
    ray /= np.maximum(np.linalg.norm(ray, axis=1, keepdims=True), 1e-6)
    facing = -np.einsum("fc,fc->f", ray, normal)[:, None]
    mirrored = ray + 2 * facing * normal
    fresnel = gloss * (0.08 + 0.92 * (1 - np.clip(facing, 0, 1)) ** 4)
    mirror = sky_color(mirrored, condition) * np.where(mirrored[:, 2:] > 0, 1.0, 0.35)
    spot = np.clip(mirrored @ sun.to_sun, 0, 1)[:, None] ** 40 * sun.sun_rgb
    light = albedo * scene.light[chosen] * (1 - fresnel) + fresnel * mirror + gloss * 0.5 * spot
    tint = albedo / np.maximum(albedo.max(axis=1, keepdims=True), 1e-3)
    light += retro * tint * scene.own_beam[chosen, None] * 3
    colors[1:, :3] = light + glow * (1.0 if is_dark(condition) else 1.2)
    colors[1:, 3] = 1
    return colors
