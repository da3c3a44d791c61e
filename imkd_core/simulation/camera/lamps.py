# SPDX-License-Identifier: Apache-2.0
"""Lamps in the dark: the own head lamps, street lamps, and the lamps of others."""

import cv2
import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64, invert_transform
from imkd_core.simulation.camera.faces import FaceTable, Float32, Index
from imkd_core.simulation.world.scene import Condition, Snapshot

HEAD_LAMP_RGB = np.array([1.0, 0.93, 0.8])

#: Where the own head lamps are (ego frame), and their light close by.
_HEAD_LAMPS_M = np.array([[3.6, 0.6, 0.7], [3.6, -0.6, 0.7]])
_HEAD_LAMP = 0.3

#: Strength of lamps that shine down from a post, and of all others.
_STREET_LAMP = 9.0
_SMALL_LAMP = 0.12

#: No lamp of others shines farther than this.
_REACH_M = 22.0

_SMALL_REACH_M = 8.0

#: Only what glows more than this (no windows) is worth a pool of light on the ground.
_LIGHTS_GROUND = 0.4


def is_dark(condition: Condition) -> bool:
    """Whether lamps matter more than the sky."""
    return condition.sun_elevation_rad < 0 or condition.ambient < 0.15


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
        light += near * spread * (facing + 0.13)
    return light


def _is_post(faces: FaceTable, chosen: Index) -> NDArray[np.bool_]:
    """Return which glowing faces are street lamps: high up, and shining down."""
    return np.asarray((faces.normal[chosen, 2] < -0.5) & (faces.center_m[chosen, 2] > 3))


def _falloff(range_m: Float64) -> Float64:
    """Return the share of a lamp's light at a range: inverse square, smoothly to zero."""
    return np.asarray(np.clip(1 - (range_m / _REACH_M) ** 2, 0, 1) ** 2 / (1 + range_m**2))


def light_of_posts(faces: FaceTable) -> Float64:
    """Return (F, 3) light of street lamps on faces; sides turned away get a little too."""
    light = np.zeros((len(faces), 3))
    glowing = np.flatnonzero(faces.look[:, 5:].max(axis=1) > 0.05)
    for lamp in glowing[_is_post(faces, glowing)].tolist():
        to_lamp = faces.center_m[lamp] - faces.center_m
        near = np.flatnonzero(np.abs(to_lamp[:, :2]).max(axis=1) < _REACH_M)
        ray = to_lamp[near]
        range_m = np.maximum(np.linalg.norm(ray, axis=1), 0.5)
        facing = np.maximum(np.einsum("nc,nc->n", ray, faces.normal[near]) / range_m, 0)
        share = (0.15 + 0.85 * facing) * (ray[:, 2] > 0.2) * _falloff(range_m)
        light[near] += (_STREET_LAMP * share)[:, None] * faces.look[lamp, 5:]
    return light


def lamps_on_ground(
    snapshot: Snapshot, faces: FaceTable, origin_m: tuple[float, float], side: int, pixel_m: float
) -> Float32:
    """Return (side, side, 3) light of head lamps and glowing faces on the ground.

    Args:
        snapshot: the own vehicle.
        faces: of the bodies.
        origin_m: outer corner of pixel (0, 0).
        side: pixels along a side.
        pixel_m: side of a pixel.
    """
    coarse = max(side // 4, 1)
    step_m = pixel_m * side / coarse
    x = origin_m[0] + (np.arange(coarse) + 0.5) * step_m
    y = origin_m[1] + (np.arange(coarse) + 0.5) * step_m
    points = np.stack([*np.meshgrid(x, y), np.zeros((coarse, coarse))], axis=-1).reshape(-1, 3)
    up = np.broadcast_to([0.0, 0.0, 1.0], points.shape)
    beam = own_beam(snapshot, points, up).reshape(coarse, coarse, 1) * HEAD_LAMP_RGB
    _add_pools(beam, faces, origin_m, step_m)
    return np.asarray(
        cv2.resize(beam.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    )


def _add_pools(
    light: Float64, faces: FaceTable, origin_m: tuple[float, float], step_m: float
) -> None:
    """Add what bright glowing faces throw on the ground near them."""
    lamps = np.flatnonzero(faces.look[:, 5:].max(axis=1) > _LIGHTS_GROUND)
    is_post = _is_post(faces, lamps)
    for lamp, post in zip(lamps.tolist(), is_post.tolist(), strict=True):
        reach_m = _REACH_M if post else _SMALL_REACH_M
        center = faces.center_m[lamp] - (*origin_m, 0.0)
        low = np.clip(((center[:2] - reach_m) / step_m).astype(int), 0, light.shape[0])
        high = np.clip(((center[:2] + reach_m) / step_m).astype(int), 0, light.shape[0])
        if (high <= low).any():
            continue
        x = (np.arange(low[0], high[0]) + 0.5) * step_m - center[0]
        y = ((np.arange(low[1], high[1]) + 0.5) * step_m - center[1])[:, None]
        height_m, normal = max(float(center[2]), 0.3), faces.normal[lamp]
        square = x**2 + y**2 + height_m**2
        sent = np.maximum(normal[0] * x + (normal[1] * y - normal[2] * height_m), 0)
        sent *= np.clip(1 - square / reach_m**2, 0, 1) ** 2 / (square * (1 + square))
        sent *= height_m * (_STREET_LAMP if post else _SMALL_LAMP)
        light[low[1] : high[1], low[0] : high[0]] += sent[..., None] * faces.look[lamp, 5:]
