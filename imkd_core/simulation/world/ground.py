# SPDX-License-Identifier: Apache-2.0
"""The ground of a town as a raster: asphalt with lane marks, pavements, grass, worn spots."""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64
from imkd_core.simulation.world.roads import Crossing, Path, Road, Town
from imkd_core.simulation.world.scene import Ground

#: Side of a pixel, and the most pixels a raster may have; larger towns get larger pixels.
PIXEL_M = 0.125
MAX_PIXELS = 14_000_000

#: Kinds of ground, in the raster of kinds.
GRASS, PAVEMENT, ASPHALT, PAINT, KERB, DIRT, PARKING, BIKE, PATCH = range(9)

#: kind -> sRGB 0..255, how much it varies (share), reflectance at 905 nm
_LOOKS: tuple[tuple[tuple[int, int, int], float, float], ...] = (
    ((88, 104, 58), 0.32, 0.42),
    ((150, 146, 138), 0.12, 0.30),
    ((86, 87, 90), 0.14, 0.13),
    ((222, 222, 214), 0.10, 0.65),
    ((182, 180, 174), 0.08, 0.38),
    ((128, 102, 74), 0.25, 0.28),
    ((98, 98, 98), 0.16, 0.15),
    ((132, 76, 66), 0.12, 0.20),
    ((66, 66, 69), 0.12, 0.10),
)
_LEVELS = 16
_SHIFT = 4
_DASH_M, _DASH_GAP_M = 3.0, 6.0
_CORNER_M = 6.0


class _Canvas:
    """A raster of kinds of ground on which polygons are filled."""

    def __init__(self, low_m: Float64, high_m: Float64) -> None:
        area = float(np.prod(high_m - low_m))
        self.pixel_m = max(PIXEL_M, float(np.sqrt(area / MAX_PIXELS)))
        columns, rows = np.ceil((high_m - low_m) / self.pixel_m).astype(int)
        self.origin_m = low_m
        self.kinds: NDArray[np.uint8] = np.full((rows, columns), GRASS, dtype=np.uint8)

    def fill(self, polygons: Iterable[Float64], kind: int) -> None:
        """Fill polygons (V, 2), metres."""
        for polygon in polygons:
            pixels = (polygon - self.origin_m) / self.pixel_m - 0.5
            fixed = np.round(pixels * (1 << _SHIFT)).astype(np.int32).reshape(-1, 1, 2)
            cv2.fillPoly(self.kinds, [fixed], int(kind), shift=_SHIFT)


def make_ground(
    town: Town, bounds_m: tuple[Float64, Float64], dirt: Sequence[Float64], rng: np.random.Generator
) -> Ground:
    """Draw the ground.

    Args:
        town: its roads.
        bounds_m: lower and upper corner (2,) of the area.
        dirt: polygons (V, 2) of work sites.
        rng: chance, for spots and grain.
    """
    canvas = _Canvas(*bounds_m)
    roads = [(town.main, _whole(town.main)), *((c.road, _arms(c, town)) for c in town.crossings)]
    _paint_beds(canvas, roads)
    for road, spans in roads:
        _paint_road(canvas, road, spans)
    _paint_patches(canvas, town.main, rng)
    for crossing in town.crossings:
        _paint_crossing(canvas, town.main, crossing)
    for station in town.zebras_m:
        _paint_zebra(canvas, town.main, station)
        for sign in (-1, 1):
            _paint_stop_line(canvas, town.main, station + sign * 3.2, sign)
    canvas.fill(dirt, DIRT)
    return _coloured(canvas, rng)


def band(path: Path, low_m: float, high_m: float, right_m: float, left_m: float) -> Float64:
    """Return the polygon (V, 2) between two offsets along a part of a path."""
    inner = path.station_m[(path.station_m > low_m) & (path.station_m < high_m)][::4]
    station = np.concatenate([[low_m], inner, [high_m]])
    right, left = (path.beside(station, np.float64(offset)) for offset in (right_m, left_m))
    return np.concatenate([right, left[::-1]])


def _whole(road: Road) -> list[tuple[float, float]]:
    return [(0.0, road.center.length_m)]


def _arms(crossing: Crossing, town: Town) -> list[tuple[float, float]]:
    """Return the spans of a side road: each arm from the middle of the main road outwards."""
    middle, end = crossing.middle_m, crossing.road.center.length_m
    inside = min(0.5, town.main.lanes_m)
    spans = {-1: (0.0, middle + inside), 1: (middle - inside, end)}
    return [spans[arm] for arm in crossing.arms]


def _paint_beds(canvas: _Canvas, roads: list[tuple[Road, list[tuple[float, float]]]]) -> None:
    """Paint pavements, then kerbs on them; a road's asphalt covers those of the others."""
    for kind in (PAVEMENT, KERB):
        for road, spans in roads:
            half = road.edge_m if kind == PAVEMENT else road.kerb_m + 0.2
            canvas.fill([_span(road, *span, -half, half) for span in spans], kind)


def _paint_road(canvas: _Canvas, road: Road, spans: list[tuple[float, float]]) -> None:
    for low, high in spans:
        canvas.fill([band(road.center, low, high, -road.kerb_m, road.kerb_m)], ASPHALT)
        for side in (-1, 1):
            lanes, bike = side * road.lanes_m, side * (road.lanes_m + road.bike_m)
            if road.parking_m:
                canvas.fill([_span(road, low, high, bike, side * road.kerb_m)], PARKING)
                _paint_dashes(
                    canvas, road, (low, high), side * (road.kerb_m - 1.1), (0.12, 6.2, 2.0)
                )
            if road.bike_m:
                canvas.fill([_span(road, low, high, lanes, bike)], BIKE)
            canvas.fill([_line(road, low, high, lanes)], PAINT)
            if road.bike_m:
                canvas.fill([_line(road, low, high, bike)], PAINT)
            for lane in range(1, road.lanes):
                dash = (_DASH_M, _DASH_M + _DASH_GAP_M, 0.15)
                _paint_dashes(canvas, road, (low, high), side * lane * road.lane_m, dash)
        if road.lanes > 1:
            canvas.fill([_line(road, low, high, offset) for offset in (-0.15, 0.15)], PAINT)
        else:
            _paint_dashes(canvas, road, (low, high), 0.0, (_DASH_M, _DASH_M + _DASH_GAP_M, 0.15))


def _span(road: Road, low: float, high: float, one: float, other: float) -> Float64:
    return band(road.center, low, high, min(one, other), max(one, other))


def _line(road: Road, low: float, high: float, offset: float, width_m: float = 0.15) -> Float64:
    return band(road.center, low, high, offset - width_m / 2, offset + width_m / 2)


def _paint_dashes(
    canvas: _Canvas,
    road: Road,
    span: tuple[float, float],
    offset: float,
    dash: tuple[float, float, float],
) -> None:
    """Paint dashes; dash: length, period, width. Short and wide ones part parking bays."""
    length, period, width = dash
    for start in np.arange(span[0] + 1.0, span[1] - length, period):
        end = float(start) + length
        canvas.fill([_line(road, float(start), end, offset, width)], PAINT)


def _paint_crossing(canvas: _Canvas, main: Road, crossing: Crossing) -> None:
    """Clear the marks where roads meet, then paint zebras and stop lines around."""
    side, middle = crossing.road, crossing.middle_m
    low, high = crossing.station_m - side.kerb_m, crossing.station_m + side.kerb_m
    canvas.fill([band(main.center, low, high, -main.lanes_m + 0.1, main.lanes_m - 0.1)], ASPHALT)
    canvas.fill(
        [_corner(main, crossing, sign, arm) for sign in (-1, 1) for arm in crossing.arms], ASPHALT
    )
    for arm in crossing.arms:
        ends = sorted((middle + arm * (main.lanes_m - 0.4), middle + arm * (main.kerb_m + 0.3)))
        canvas.fill([_span(side, ends[0], ends[1], -side.kerb_m, side.kerb_m)], ASPHALT)
        _paint_zebra(canvas, side, middle + arm * (main.kerb_m + 2.2))
        _paint_stop_line(canvas, side, middle + arm * (main.kerb_m + 4.6), arm)
    for sign in (-1, 1):
        _paint_zebra(canvas, main, crossing.station_m + sign * (side.kerb_m + 2.2))
        _paint_stop_line(canvas, main, crossing.station_m + sign * (side.kerb_m + 4.6), sign)


def _corner(main: Road, crossing: Crossing, sign: int, arm: int) -> Float64:
    """Return the polygon (V, 2) between two kerbs and the arc that rounds their corner."""
    angle = np.linspace(0.0, np.pi / 2, 7)
    along = np.concatenate([[0.0], _CORNER_M * (1 - np.sin(angle))])
    outwards = np.concatenate([[0.0], _CORNER_M * (1 - np.cos(angle))])
    station = crossing.station_m + sign * (crossing.road.kerb_m + along)
    return main.center.beside(station, arm * (main.kerb_m + outwards))


def _paint_zebra(canvas: _Canvas, road: Road, station_m: float) -> None:
    low, high = station_m - 1.7, station_m + 1.7
    canvas.fill([band(road.center, low, high, -road.kerb_m, road.kerb_m)], ASPHALT)
    for offset in np.arange(-road.kerb_m + 0.6, road.kerb_m - 0.3, 1.0):
        canvas.fill([_line(road, low + 0.1, high - 0.1, float(offset), 0.5)], PAINT)


def _paint_stop_line(canvas: _Canvas, road: Road, station_m: float, sign: int) -> None:
    """Paint the line where traffic waits: left of the centre beyond a crossing, right before."""
    right, left = (-road.lanes_m, 0.0) if sign < 0 else (0.0, road.lanes_m)
    canvas.fill([band(road.center, station_m - 0.2, station_m + 0.2, right, left)], PAINT)


def _paint_patches(canvas: _Canvas, road: Road, rng: np.random.Generator) -> None:
    """Paint repaired spots and manholes."""
    for _ in range(int(rng.integers(6, 16))):
        start = rng.uniform(0.0, road.center.length_m - 8.0)
        length, width = rng.uniform(0.6, 7.0), rng.uniform(0.5, 1.6)
        offset = rng.uniform(-road.lanes_m + 1, road.lanes_m - 1)
        canvas.fill([_line(road, start, start + length, offset, width)], PATCH)


def _coloured(canvas: _Canvas, rng: np.random.Generator) -> Ground:
    """Return the ground with colours: kind by kind, brighter and darker by a tiled grain."""
    rows, columns = canvas.kinds.shape
    levels = np.resize(_grain(rng), (rows, 1024))
    levels = np.tile(levels, (1, -(-columns // 1024)))[:, :columns]
    index = canvas.kinds * np.uint8(_LEVELS) + levels
    shade = np.linspace(-1.0, 1.0, _LEVELS)
    albedo, reflectance = np.zeros((256, 3)), np.zeros(256)
    tint = rng.uniform(0.92, 1.08, (len(_LOOKS), 1)) * rng.uniform(0.98, 1.02, (len(_LOOKS), 3))
    for kind, (color, spread, infrared) in enumerate(_LOOKS):
        here = slice(kind * _LEVELS, (kind + 1) * _LEVELS)
        albedo[here] = np.asarray(color) * tint[kind] * (1 + spread * shade[:, None])
        reflectance[here] = 255 * infrared * (1 + 0.6 * spread * shade)
    colors = albedo.clip(0, 255).astype(np.uint8)
    # lane marks are little wider than a pixel: soft edges instead of stairs
    return Ground(
        albedo=np.asarray(cv2.GaussianBlur(colors[index], (3, 3), 0.6), dtype=np.uint8),
        reflectance=reflectance.clip(0, 255).astype(np.uint8)[index],
        origin_m=(float(canvas.origin_m[0]), float(canvas.origin_m[1])),
        pixel_m=canvas.pixel_m,
    )


def _grain(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a (1024, 1024) tile of levels: fine grain, spots, and large stains, seamless."""
    total = np.zeros((1024, 1024), dtype=np.float32)
    for size, strength in ((1024, 0.5), (256, 0.35), (64, 0.35), (16, 0.3)):
        noise = rng.standard_normal((size, size), dtype=np.float32)
        padded = np.pad(noise, 2, mode="wrap")
        factor = 1024 // size
        large = cv2.resize(padded, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
        total += strength * large[2 * factor : 2 * factor + 1024, 2 * factor : 2 * factor + 1024]
    level = (total / (2 * float(total.std())) + 0.5) * _LEVELS
    return np.asarray(level.clip(0, _LEVELS - 1).astype(np.uint8))
