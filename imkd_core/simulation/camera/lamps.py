# SPDX-License-Identifier: Apache-2.0
"""Lamps in the dark: the own head lamps, street lamps, and the lamps of others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import cv2
import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64, invert_transform
from imkd_core.simulation.camera.faces import FaceTable, Float32, Index, pack_shape
from imkd_core.simulation.world.scene import Condition, Placed, Snapshot

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

#: Pixel of the raster on which pools of light are made.
POOL_M = 0.6


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Lamps:
    """What glows enough to light other things, N of them.

    Attributes:
        center_m: (N, 3) global.
        normal: (N, 3) unit vectors to where they shine.
        glow: (N, 3) linear RGB.
        is_post: (N,) which are street lamps: high up, and shining down.
    """

    center_m: Float64
    normal: Float64
    glow: Float64
    is_post: NDArray[np.bool_]


_LAMPS: WeakKeyDictionary[Placed, Lamps | None] = WeakKeyDictionary()


def lamps_of(item: Placed) -> Lamps | None:
    """Return the lamps of a body; None if it has none."""
    if item not in _LAMPS:
        _LAMPS[item] = _lamps_of(item)
    return _LAMPS[item]


def _lamps_of(item: Placed) -> Lamps | None:
    table = pack_shape(item.body.shape)
    strongest = table.look[:, 5:].max(axis=1)
    down = table.normal[:, 2] < -0.5  # bodies turn about z alone
    chosen = np.flatnonzero((strongest > _LIGHTS_GROUND) | (down & (strongest > 0.05)))
    if not len(chosen):
        return None
    pose = item.global_from_body
    center = table.center_m[chosen] @ pose[:3, :3].T + pose[:3, 3]
    return Lamps(
        center_m=center,
        normal=table.normal[chosen] @ pose[:3, :3].T,
        glow=table.look[chosen, 5:].astype(np.float64),
        is_post=down[chosen] & (center[:, 2] > 3),
    )


def _falloff(range_m: Float64) -> Float64:
    """Return the share of a lamp's light at a range: inverse square, smoothly to zero."""
    return np.asarray(np.clip(1 - (range_m / _REACH_M) ** 2, 0, 1) ** 2 / (1 + range_m**2))


def light_of_posts(faces: FaceTable, placed: Sequence[Placed]) -> Float64:
    """Return (F, 3) light of street lamps on faces; sides turned away get a little too.

    Args:
        faces: what is lit.
        placed: the bodies that may carry lamps.
    """
    light = np.zeros((len(faces), 3))
    for lamps in filter(None, map(lamps_of, placed)):
        for row in np.flatnonzero(lamps.is_post).tolist():
            to_lamp = lamps.center_m[row] - faces.center_m
            near = np.flatnonzero(np.abs(to_lamp[:, :2]).max(axis=1, initial=0) < _REACH_M)
            ray = to_lamp[near]
            range_m = np.maximum(np.linalg.norm(ray, axis=1), 0.5)
            facing = np.maximum(np.einsum("nc,nc->n", ray, faces.normal[near]) / range_m, 0)
            share = (0.15 + 0.85 * facing) * (ray[:, 2] > 0.2) * _falloff(range_m)
            light[near] += (_STREET_LAMP * share)[:, None] * lamps.glow[row]
    return light


def lamps_on_ground(
    snapshot: Snapshot, origin_m: tuple[float, float], size: tuple[int, int], pixel_m: float
) -> Float32:
    """Return (rows, columns, 3) light of head lamps and glowing faces on the ground.

    Args:
        snapshot: the own vehicle and what carries lamps.
        origin_m: outer corner of pixel (0, 0), a multiple of `POOL_M`.
        size: rows and columns.
        pixel_m: side of a pixel.
    """
    rows, columns = (max(round(count * pixel_m / POOL_M), 1) for count in size)
    x = origin_m[0] + (np.arange(columns) + 0.5) * POOL_M
    y = origin_m[1] + (np.arange(rows) + 0.5) * POOL_M
    points = np.stack([*np.meshgrid(x, y), np.zeros((rows, columns))], axis=-1).reshape(-1, 3)
    up = np.broadcast_to([0.0, 0.0, 1.0], points.shape)
    beam = own_beam(snapshot, points, up).reshape(rows, columns, 1) * HEAD_LAMP_RGB
    start = np.rint(np.asarray(origin_m) / POOL_M).astype(np.int64)
    low, high = np.asarray(origin_m) - _REACH_M, np.array([x[-1], y[-1]]) + _REACH_M
    for item in snapshot.placed:
        place = item.global_from_body[:2, 3]
        if (place > low).all() and (place < high).all():
            for corner, pool in pools_of(item):
                _add_pool(beam, corner - start, pool)
    return np.asarray(
        cv2.resize(beam.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
    )


def _add_pool(light: Float64, corner: Index, pool: Float32) -> None:
    """Add a pool whose first pixel is the raster's pixel `corner` (column, row), in place."""
    low = np.maximum(corner, 0)
    high = np.minimum(corner + pool.shape[1::-1], light.shape[1::-1])
    if (high > low).all():
        skip, end = low - corner, high - corner
        light[low[1] : high[1], low[0] : high[0]] += pool[skip[1] : end[1], skip[0] : end[0]]


Pool = tuple[Index, Float32]
_POOLS: WeakKeyDictionary[Placed, tuple[Pool, ...]] = WeakKeyDictionary()


def pools_of(item: Placed) -> tuple[Pool, ...]:
    """Return what the lamps of a body throw on the ground; made once for each place of it.

    Returns:
        For its street lamps and for its other lamps, where there are some: the first pixel
        (column, row) on a raster of `POOL_M` around the global origin, and (rows, columns, 3)
        light.
    """
    if item not in _POOLS:
        lamps = lamps_of(item)
        _POOLS[item] = () if lamps is None else tuple(_pools(lamps))
    return _POOLS[item]


def _pools(lamps: Lamps) -> Iterator[Pool]:
    shines = lamps.glow.max(axis=1) > _LIGHTS_GROUND
    kinds = ((lamps.is_post, _REACH_M, _STREET_LAMP), (~lamps.is_post, _SMALL_REACH_M, _SMALL_LAMP))
    for kind, reach_m, strength in kinds:
        chosen = np.flatnonzero(kind & shines)
        if not len(chosen):
            continue
        center, normal = lamps.center_m[chosen, :, None, None], lamps.normal[chosen, :, None, None]
        low = np.floor((center.min(axis=0)[:2, 0, 0] - reach_m) / POOL_M).astype(np.int64)
        high = np.ceil((center.max(axis=0)[:2, 0, 0] + reach_m) / POOL_M).astype(np.int64)
        x = (np.arange(low[0], high[0]) + 0.5) * POOL_M - center[:, 0]  # (L, 1, columns)
        y = ((np.arange(low[1], high[1]) + 0.5) * POOL_M)[:, None] - center[:, 1]
        height_m = np.maximum(center[:, 2], 0.3)
        square = x**2 + (y**2 + height_m**2)
        sent = np.maximum(normal[:, 0] * x + (normal[:, 1] * y - normal[:, 2] * height_m), 0)
        sent *= np.maximum(1 - square * (1 / reach_m**2), 0) ** 2
        sent *= strength * height_m / (square * (1 + square))
        yield low, np.tensordot(sent, lamps.glow[chosen], axes=(0, 0)).astype(np.float32)
