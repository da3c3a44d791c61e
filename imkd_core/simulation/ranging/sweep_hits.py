# SPDX-License-Identifier: Apache-2.0
"""First hits of many rays from one origin, body by body (see `ray_casting`).

Seen from one origin, planes either face it or do not, and one product with `normal / offset` gives
the inverse ranges at which all rays meet a plane: neither divisions nor signs are left to the rays.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from imkd_core.simulation.ranging.scene_planes import ScenePlanes, Side, sides

Float32 = NDArray[np.float32]
Indices = NDArray[np.int64]

#: Pairs of plane and ray in one product; OpenBLAS wakes its threads above 87 000 of three columns.
_PRODUCT = 60_000


def first_hits(
    planes: ScenePlanes,
    rays: Float32,
    candidates: Iterable[tuple[int, float, Indices]],
    max_range_m: float,
    range_m: Float32,
    placed_index: Indices,
) -> Indices:
    """Find the first body that each ray from the origin hits.

    Args:
        planes: of all bodies, as seen from the origin.
        rays: (R, 3) float32 unit vectors.
        candidates: (body, least range, rays) to try.
        max_range_m: what is farther is not hit.
        range_m: (R,) range of what else is hit, infinite where nothing is; updated.
        placed_index: (R,) updated where a body is nearer.

    Returns:
        (R,) rows of the plane that is hit; -1 where no body is.
    """
    front, back = sides(planes)
    columns = np.ascontiguousarray(rays.T)
    inverse = 1 / np.minimum(range_m, np.float32(max_range_m))
    solid = np.full(len(rays), -1)
    for index, near_m, window in _blocks(candidates, np.diff(front.start) + np.diff(back.start)):
        chosen = window[inverse[window] < 1 / near_m]
        if not len(chosen):
            continue
        ray = columns.take(chosen, axis=1)
        enter = _by_solid(front, index, ray, np.minimum)
        enter[enter <= _by_solid(back, index, ray, np.maximum)] = 0
        nearest = enter.max(axis=0)
        nearer = np.flatnonzero(nearest > inverse[chosen])
        if len(nearer):
            won = chosen[nearer]
            inverse[won] = nearest[nearer]
            placed_index[won] = index
            solid[won] = enter[:, nearer].argmax(axis=0) + planes.first_solid[index]
    hit = np.flatnonzero(solid >= 0)
    range_m[hit] = 1 / inverse[hit]
    plane = np.full(len(rays), -1)
    plane[hit] = _entered(planes, front, rays[hit], solid[hit])
    return plane


def _blocks(
    candidates: Iterable[tuple[int, float, Indices]], rows: Indices
) -> Iterator[tuple[int, float, Indices]]:
    """Cut windows with many rays, so that the products stay in the cache and in one thread."""
    for index, near_m, window in candidates:
        step = max(_PRODUCT // int(rows[index]), 64)
        for start in range(0, len(window), step):
            yield index, near_m, window[start : start + step]


def _by_solid(side: Side, body: int, ray: Float32, reduce: np.ufunc) -> Float32:
    """Return (S, n) least or largest inverse range of the planes of each of a body's solids."""
    lines = side.lines[side.start[body] : side.start[body + 1]]
    met = (lines @ ray).reshape(-1, int(side.width[body]), ray.shape[1])
    return np.asarray(reduce.reduce(met, axis=1))


def _entered(planes: ScenePlanes, front: Side, rays: Float32, solid: Indices) -> Indices:
    """Return (n,) the plane by which each ray enters its solid: the last of those it must cross."""
    body = np.searchsorted(planes.first_solid, solid, side="right") - 1
    width = front.width[body]
    first = front.start[body] + (solid - planes.first_solid[body]) * width
    best = np.full(len(rays), np.inf, dtype=np.float32)
    row = first.copy()
    for nth in range(int(width.max(initial=0))):
        asked = np.flatnonzero(front.count[solid] > nth)
        place = first[asked] + nth
        met = np.einsum("nc,nc->n", front.lines[place], rays[asked])
        last = met < best[asked]
        best[asked[last]] = met[last]
        row[asked[last]] = place[last]
    return np.asarray(front.plane[row])
