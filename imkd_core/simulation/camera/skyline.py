# SPDX-License-Identifier: Apache-2.0
"""What stands far away around a world: rows of trees and houses that only cameras see."""

from weakref import WeakKeyDictionary

import numpy as np

from imkd_core.geometry import Float64
from imkd_core.simulation.camera.faces import FaceTable
from imkd_core.simulation.world.scene import Ground

_TREES = 110
_HOUSES = 46
_BEYOND_M = 60.0

_SKYLINES: WeakKeyDictionary[Ground, FaceTable] = WeakKeyDictionary()


def skyline(ground: Ground) -> FaceTable:
    """Return flat fronts on a ring around the ground raster; the same for the same ground."""
    table = _SKYLINES.get(ground)
    if table is None:
        table = _SKYLINES[ground] = _skyline(ground)
    return table


def _skyline(ground: Ground) -> FaceTable:
    rows, columns = ground.albedo.shape[:2]
    size_m = np.array([columns, rows]) * ground.pixel_m
    center_m = np.asarray(ground.origin_m) + size_m / 2
    radius_m = float(np.hypot(*size_m)) / 2 + _BEYOND_M
    rng = np.random.default_rng([rows, columns, *np.abs(np.rint(center_m)).astype(int).tolist()])
    fronts, albedo = [], []
    for _ in range(_HOUSES):
        front, color = _house(rng, radius_m * rng.uniform(1.15, 2.0))
        fronts.append(front)
        albedo.append(color)
    for number in range(_TREES):
        front, color = _tree(rng, radius_m * rng.uniform(1.0, 1.12), number / _TREES)
        fronts.append(front)
        albedo.append(color)
    return _table([front + np.array([*center_m, 0.0]) for front in fronts], np.array(albedo))


def _house(rng: np.random.Generator, range_m: float) -> tuple[Float64, Float64]:
    width_m, height_m = rng.uniform(14, 45), rng.uniform(8, 20) * rng.choice([1.0, 1.0, 2.2])
    outline = np.array([[-0.5, 0], [-0.5, 1], [0.5, 1], [0.5, 0]]) * (width_m, height_m)
    shade = rng.uniform(0.16, 0.5) * np.array([1.0, rng.uniform(0.85, 1.0), rng.uniform(0.7, 1.0)])
    return _on_ring(outline, range_m, rng.uniform(0, 2 * np.pi)), shade


def _tree(rng: np.random.Generator, range_m: float, turn: float) -> tuple[Float64, Float64]:
    width_m = 2 * np.pi * range_m / _TREES * rng.uniform(1.0, 1.7)
    angle = np.linspace(np.pi, 0, 7)
    outline = np.column_stack([np.cos(angle) * 0.5, 0.45 + 0.55 * np.sin(angle)])
    outline = np.concatenate([[[-0.5, 0]], outline, [[0.5, 0]]]) * (width_m, rng.uniform(4, 11))
    color = np.array([0.05, 0.085, 0.035]) * rng.uniform(0.7, 1.5)
    return _on_ring(outline, range_m, 2 * np.pi * (turn + rng.uniform(0, 1 / _TREES))), color


def _on_ring(outline: Float64, range_m: float, azimuth_rad: float) -> Float64:
    """Return (V, 3) of an outline (right, up), seen from the middle of the ring."""
    ahead = np.array([np.cos(azimuth_rad), np.sin(azimuth_rad)])
    right = np.array([ahead[1], -ahead[0]])
    points = ahead * range_m + outline[:, :1] * right
    return np.column_stack([points, outline[:, 1]])[::-1]


def _table(fronts: list[Float64], albedo: Float64) -> FaceTable:
    counts = np.array([len(front) for front in fronts])
    centers = np.array([front.mean(axis=0) for front in fronts])
    first_edge = np.array([front[1] - front[0] for front in fronts])
    second_edge = np.array([front[2] - front[0] for front in fronts])
    normal = np.cross(first_edge, second_edge)
    look = np.zeros((len(fronts), 8), dtype=np.float32)
    look[:, :3] = albedo
    return FaceTable(
        points_m=np.concatenate(fronts),
        first=(np.cumsum(counts) - counts).astype(np.int64),
        plane_of=np.arange(len(fronts)),
        normal=normal / np.linalg.norm(normal, axis=1, keepdims=True),
        center_m=centers,
        radius_m=np.array([np.ptp(front, axis=0).max() for front in fronts]),
        owner=np.full(len(fronts), -1, dtype=np.int64),
        look=look,
    )
