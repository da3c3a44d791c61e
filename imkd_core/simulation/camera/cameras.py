# SPDX-License-Identifier: Apache-2.0
"""Pictures of the made-up world, as the cameras of a vehicle take them."""

import cv2
import numpy as np
from numpy.typing import NDArray

from imkd_core.calibration import CameraModel
from imkd_core.geometry import Float64
from imkd_core.simulation.camera import camera_effects as effects
from imkd_core.simulation.camera import weather_effects as weather
from imkd_core.simulation.camera.faces import Float32
from imkd_core.simulation.camera.ground_view import (
    LINEAR_FROM_BYTE,
    horizon_rows,
    raster_from_pixel,
    see_ground,
    warp_rows,
)
from imkd_core.simulation.camera.light import LitScene, daylight, light_scene
from imkd_core.simulation.camera.painting import faces_in_view, paint
from imkd_core.simulation.camera.reflections import add_reflections
from imkd_core.simulation.camera.shading import face_colors
from imkd_core.simulation.camera.sky import airlight, see_sky
from imkd_core.simulation.camera.view import View
from imkd_core.simulation.world.scene import Condition, Snapshot

#: Pictures narrower than this are painted at twice their size: their edges would show steps.
_FINE_BELOW_PX = 1000

#: What a lens makes of a point, along one axis; it softens the edges of faces.
_LENS = np.array([0.17, 0.66, 0.17])


def render(
    snapshot: Snapshot,
    camera: CameraModel,
    global_from_cam: Float64,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Return the (H, W, 3) uint8 RGB picture of a camera without lens distortion.

    Args:
        snapshot: the world.
        camera: size and intrinsic matrix; its place on the vehicle is not used.
        global_from_cam: (4, 4) pose of the optical frame when the shutter opens.
        rng: draws the noise, and where drops and streaks are.
    """
    condition = snapshot.condition
    view = View(
        width_px=camera.width_px,
        height_px=camera.height_px,
        pixel_from_cam=camera.pixel_from_cam,
        global_from_cam=np.asarray(global_from_cam, dtype=np.float64),
    )
    scene = light_scene(snapshot, view)
    image = see_sky(view, condition, horizon_rows(view)[1])
    _add_ground(image, view, snapshot, scene)
    if condition.wet > 0.05:
        add_reflections(image, view, condition, scene)
    inverse_depth = _add_bodies(image, view, condition, scene)
    length = effects.ray_length(view.width_px, view.height_px, view.pixel_from_cam)
    effects.add_fog(image, inverse_depth, length, condition, airlight(condition))
    _add_weather(image, view, snapshot, inverse_depth, rng)
    gain = effects.exposure_gain(image, condition)
    effects.add_bloom(image, gain)
    effects.add_vignette(image)
    return effects.expose(image, gain, rng)


def _add_weather(
    image: Float32,
    view: View,
    snapshot: Snapshot,
    inverse_depth: Float32,
    rng: np.random.Generator,
) -> None:
    """Add what light, water and motion do on the way through the lens, in place."""
    condition, focal_px = snapshot.condition, float(view.pixel_from_cam[0, 0])
    _add_sun(image, view, condition, inverse_depth)
    velocity_cam = view.global_from_cam[:3, :3].T @ snapshot.ego_velocity_mps
    weather.blur_by_motion(image, velocity_cam, focal_px, effects.shutter_s(condition))
    if condition.rain_mmph > 0.1:
        light = airlight(condition)
        weather.add_streaks(image, condition.rain_mmph, light, focal_px, rng)
        weather.add_lens_drops(image, condition.rain_mmph, rng)


def _add_sun(image: Float32, view: View, condition: Condition, inverse_depth: Float32) -> None:
    """Add the veil of a sun that shines into the lens, in place."""
    sun = daylight(condition)
    ahead = view.global_from_cam[:3, :3].T @ sun.to_sun
    if sun.sun_rgb.max() < 0.05 or ahead[2] < 0.15:
        return
    pixel = view.pixel_from_cam @ (ahead / ahead[2])
    u, v = round(float(pixel[0])), round(float(pixel[1]))
    reach = max(view.width_px // 80, 2)
    seen = 1.0
    if 0 <= u < view.width_px and 0 <= v < view.height_px:
        around = inverse_depth[max(v - reach, 0) : v + reach, max(u - reach, 0) : u + reach]
        seen = float((around < 1e-4).mean())
    elif abs(u / view.width_px - 0.5) > 1 or v < -0.5 * view.height_px:
        return
    weather.add_sun_veil(image, (float(u), float(v)), sun.sun_rgb, seen * float(ahead[2]))


def _add_ground(image: Float32, view: View, snapshot: Snapshot, scene: LitScene) -> None:
    """Paint the lit ground below the horizon, in place."""
    first, full = horizon_rows(view)
    if first >= view.height_px:
        return
    albedo = see_ground(view, snapshot.ground, first)
    ground = cv2.LUT(albedo, LINEAR_FROM_BYTE.astype(np.float32))
    light = np.empty(ground.shape, dtype=np.float32)
    matrix = raster_from_pixel(view, scene.ground_origin_m, scene.ground_pixel_m)
    warp_rows(scene.ground, matrix, light, first, outside=scene.open_ground_rgb)
    cv2.multiply(ground, light, dst=image[first:] if full <= first + 1 else ground)
    if full > first + 1:
        plane = view.ground_plane()
        u, v = np.arange(view.width_px), np.arange(first, view.height_px)
        below = (plane[0] * u[None] + (plane[1] * v + plane[2])[:, None]) > 0
        cv2.copyTo(ground, below.astype(np.uint8), image[first:])


def _add_bodies(image: Float32, view: View, condition: Condition, scene: LitScene) -> Float32:
    """Paint the bodies, in place; return (H, W) inverse depth of everything, 1/m."""
    scale = 2 if view.width_px < _FINE_BELOW_PX else 1
    fine = view.scaled(scale) if scale > 1 else view
    faces = faces_in_view(fine, scene.faces)
    painted = paint(fine, scene.faces, faces)
    colors = face_colors(view, condition, scene, faces)
    if scale == 1:
        seen = colors.take(painted.number, axis=0)
        cv2.copyTo(seen[..., :3], (painted.number > 0).view(np.uint8), image)
        cv2.sepFilter2D(image, -1, _LENS, _LENS, dst=image)
        return painted.inverse_depth
    seen = mean_of_four(colors, painted.number)
    image *= 1 - seen[..., 3:]
    image += seen[..., :3]
    return np.asarray(
        cv2.resize(painted.inverse_depth, image.shape[1::-1], interpolation=cv2.INTER_AREA)
    )


def mean_of_four(colors: Float32, number: NDArray[np.int32]) -> Float32:
    """Return (H, W, C) means of the (F, C) colours of two by two numbers (2 H, 2 W).

    Most groups show one face; only for the others all four colours are looked up.
    """
    corner, *others = (
        np.ascontiguousarray(number[row::2, column::2]) for row in (0, 1) for column in (0, 1)
    )
    seen = colors.take(corner, axis=0)
    differs = np.zeros(corner.shape, dtype=np.bool_)
    for other in others:
        differs |= other != corner
    mixed = np.flatnonzero(differs)
    total = colors[corner.reshape(-1)[mixed]]
    for other in others:
        total += colors[other.reshape(-1)[mixed]]
    seen.reshape(-1, colors.shape[1])[mixed] = total / 4
    return np.asarray(seen)
