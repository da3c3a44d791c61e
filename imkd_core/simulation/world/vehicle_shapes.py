# SPDX-License-Identifier: Apache-2.0
"""Shapes of cars, trucks, buses, trailers and construction machines; sizes as in nuScenes."""

from collections.abc import Callable

import numpy as np

from imkd_core.simulation.world import surfaces as s
from imkd_core.simulation.world.scene import Shape, Solid, Surface
from imkd_core.simulation.world.solids import (
    BACK,
    FRONT,
    LEFT,
    RIGHT,
    Panel,
    beam,
    box,
    fitted,
    frustum,
    prism,
    wheel,
)

Size = tuple[float, float, float]


def size_near(mean_m: Size, spread_m: Size, rng: np.random.Generator) -> Size:
    """Return (l, w, h) drawn about a mean, at most two standard deviations away."""
    drawn = np.asarray(mean_m) + np.clip(rng.normal(size=3), -2, 2) * np.asarray(spread_m)
    return float(drawn[0]), float(drawn[1]), float(drawn[2])


def car(rng: np.random.Generator, is_lit: bool = True) -> Shape:
    """Return a sedan, hatchback, estate or sport utility vehicle, van or pickup."""
    makers: tuple[tuple[Callable[[Surface], list[Solid]], Size, float], ...] = (
        (_sedan, (4.65, 1.88, 1.50), 0.32),
        (_hatchback, (4.15, 1.82, 1.55), 0.22),
        (_utility, (4.75, 1.98, 1.78), 0.26),
        (_van, (5.05, 2.02, 2.05), 0.12),
        (_pickup, (5.35, 2.02, 1.85), 0.08),
    )
    weights = [weight for *_, weight in makers]
    make, mean_m, _ = makers[int(rng.choice(len(makers), p=weights))]
    solids = make(s.car_paint(rng))
    return fitted([*solids, *_lamps(is_lit)], size_near(mean_m, (0.18, 0.05, 0.05), rng))


def truck(rng: np.random.Generator, is_lit: bool = True) -> Shape:
    """Return a lorry: cab with slanted windscreen, box or tipper, wheels."""
    cab, cargo = s.car_paint(rng), s.cargo_paint(rng)
    length = float(np.clip(rng.normal(6.9, 1.3), 5.2, 10.5))
    height = float(np.clip(2.0 + 0.13 * length + rng.normal(0, 0.2), 2.3, 3.7))
    front = length - 1.9
    top = height - (0.1 if length > 6 else 0.35)
    parts = [
        box((0.0, length - 0.2), (-0.95, 0.95), (0.55, 0.95), s.CHASSIS),
        _cab(front, length, min(height, 2.75), cab, is_lit),
        *_axles((1.2, *((2.3,) if length > 8 else ()), length - 1.0), 1.25, 0.48),
    ]
    if rng.random() < 0.75:
        back = (
            (BACK, (0.04, 0.49, 0.05, 0.95), s.STEEL),
            (BACK, (0.51, 0.96, 0.05, 0.95), s.STEEL),
        )
        parts.append(box((0.0, front - 0.15), (-1.24, 1.24), (0.95, max(top, height)), cargo, back))
    else:
        bed = (0.0, front - 0.15, -1.24, 1.24)
        inner = (0.25, front - 0.4, -1.0, 1.0)
        parts.append(frustum(inner, bed, (0.95, 1.9), cargo))
        parts.append(frustum(bed, inner, (1.9, 2.2), s.matt((0.25, 0.19, 0.12))))
        parts.append(box((front - 0.12, front), (-1.1, 1.1), (0.95, height), cargo))
    parts.append(_tail_board(0.0, 1.2, is_lit))
    return fitted(parts, (length, float(np.clip(rng.normal(2.5, 0.15), 2.2, 2.9)), height))


def bus(rng: np.random.Generator, is_lit: bool = True) -> Shape:
    """Return a city bus: rows of windows, doors, a large windscreen, a route sign."""
    color = s.bus_paint(rng)
    length = float(np.clip(rng.normal(11.0, 1.2), 8.5, 13.5))
    count = round(length / 1.5)
    lamp = s.HEAD_LAMP if is_lit else s.DARK_LAMP
    panels: list[Panel] = [
        (FRONT, (0.06, 0.94, 0.34, 0.82), s.GLASS),
        (FRONT, (0.15, 0.85, 0.86, 0.97), s.AMBER),
        (FRONT, (0.05, 0.2, 0.08, 0.17), lamp),
        (FRONT, (0.8, 0.95, 0.08, 0.17), lamp),
        (BACK, (0.12, 0.88, 0.5, 0.85), s.GLASS),
        (BACK, (0.03, 0.13, 0.15, 0.3), s.TAIL_LAMP),
        (BACK, (0.87, 0.97, 0.15, 0.3), s.TAIL_LAMP),
        (BACK, (0.4, 0.6, 0.1, 0.16), s.PLATE),
    ]
    for i in range(count):
        u0, u1 = (i + 0.08) / count, (i + 0.92) / count
        panels.append((LEFT, (u0, u1, 0.42, 0.82), s.GLASS))
        is_door = i in (count - 1, count // 2)
        panels.append((RIGHT, (u0, u1, 0.04 if is_door else 0.42, 0.82), s.GLASS))
    parts = [
        box((0.0, length), (-1.25, 1.25), (0.35, 3.15), color, panels),
        box((1.5, length - 2.5), (-0.8, 0.8), (3.15, 3.4), s.matt((0.6, 0.6, 0.6))),
        *_axles((2.6, length - 2.7), 1.28, 0.48),
        box((length, length + 0.1), (-1.1, 1.1), (0.4, 0.6), s.CHASSIS),
    ]
    height = float(np.clip(rng.normal(3.4, 0.2), 3.0, 3.9))
    return fitted(parts, (length, float(np.clip(rng.normal(2.9, 0.1), 2.7, 3.1)), height))


def trailer(rng: np.random.Generator) -> Shape:
    """Return a goods trailer: long box on rear axles, legs, a drawbar in front."""
    length = float(np.clip(rng.normal(11.5, 1.8), 7.5, 14.5))
    stripe = s.matt(s.varied((0.5, 0.1, 0.1), rng, 0.6))
    back: list[Panel] = [
        (BACK, (0.03, 0.49, 0.03, 0.97), s.STEEL),
        (BACK, (0.51, 0.97, 0.03, 0.97), s.STEEL),
        (LEFT, (0.2, 0.8, 0.35, 0.7), stripe),
        (RIGHT, (0.2, 0.8, 0.35, 0.7), stripe),
    ]
    parts = [
        box((0.0, length - 1.0), (-1.27, 1.27), (1.15, 3.9), s.cargo_paint(rng), back),
        box((0.2, length - 1.2), (-0.6, 0.6), (0.85, 1.15), s.CHASSIS),
        *_axles((1.2, 2.4, 3.6), 1.25, 0.48),
        box((length - 2.6, length - 2.4), (-0.8, -0.6), (0.0, 1.0), s.STEEL),
        box((length - 2.6, length - 2.4), (0.6, 0.8), (0.0, 1.0), s.STEEL),
        beam((length - 1.2, 0.0, 0.95), (length, 0.0, 0.85), (0.3, 0.2), s.STEEL),
        _tail_board(0.0, 1.2, True),
    ]
    height = float(np.clip(rng.normal(3.85, 0.15), 3.4, 4.2))
    return fitted(parts, (length, float(np.clip(rng.normal(2.85, 0.15), 2.5, 3.1)), height))


def construction_vehicle(rng: np.random.Generator) -> Shape:
    """Return an excavator on tracks or a wheel loader."""
    make = _excavator if rng.random() < 0.55 else _loader
    return fitted(make(s.machine_paint(rng)), size_near((6.4, 2.8, 3.2), (0.7, 0.2, 0.25), rng))


def _sedan(color: Surface) -> list[Solid]:
    lower = [(0.0, 0.42), (0.1, 0.22), (4.45, 0.2), (4.62, 0.42), (4.55, 0.68), (3.3, 0.9)]
    return [
        prism([*lower, (0.02, 0.93)], (-0.9, 0.9), color),
        _cabin((0.55, 3.5), (1.25, 2.65), (0.9, 1.47), color),
        *_axles((0.85, 3.72), 0.93, 0.33),
    ]


def _hatchback(color: Surface) -> list[Solid]:
    lower = [(0.0, 0.42), (0.1, 0.22), (4.45, 0.2), (4.62, 0.42), (4.55, 0.75), (3.5, 0.95)]
    return [
        prism([*lower, (0.02, 0.97)], (-0.9, 0.9), color),
        _cabin((0.05, 3.75), (0.4, 2.75), (0.94, 1.55), color),
        *_axles((0.8, 3.75), 0.93, 0.33),
    ]


def _utility(color: Surface) -> list[Solid]:
    lower = [(0.0, 0.45), (0.05, 0.3), (4.5, 0.3), (4.62, 0.5), (4.57, 0.9), (3.5, 1.08)]
    return [
        prism([*lower, (0.02, 1.1)], (-0.92, 0.92), color),
        _cabin((0.04, 3.65), (0.25, 2.9), (1.07, 1.78), color),
        *_axles((0.85, 3.7), 0.95, 0.38),
    ]


def _van(color: Surface) -> list[Solid]:
    lower = [(0.0, 0.4), (0.05, 0.28), (4.5, 0.28), (4.62, 0.5), (4.5, 0.95), (3.95, 1.15)]
    return [
        prism([*lower, (0.0, 1.15)], (-0.92, 0.92), color),
        _cabin((0.02, 4.05), (0.08, 3.3), (1.13, 2.05), color),
        *_axles((0.8, 3.75), 0.95, 0.34),
    ]


def _pickup(color: Surface) -> list[Solid]:
    lower = [(0.0, 0.55), (0.05, 0.4), (4.5, 0.38), (4.62, 0.55), (4.57, 0.95), (3.4, 1.1)]
    return [
        prism([*lower, (0.0, 1.1)], (-0.92, 0.92), color),
        frustum((0.1, 1.6, -0.75, 0.75), (0.08, 1.62, -0.78, 0.78), (1.08, 1.12), s.CHASSIS),
        _cabin((1.65, 3.55), (1.85, 2.9), (1.08, 1.8), color),
        *_axles((0.85, 3.7), 0.95, 0.4),
    ]


def _cabin(
    bottom_x: tuple[float, float],
    top_x: tuple[float, float],
    z_m: tuple[float, float],
    color: Surface,
) -> Solid:
    """Return the part with the windows: glass all round, pillars left in the car's colour."""
    glass = s.GLASS
    panels: list[Panel] = [
        (FRONT, (0.05, 0.95, 0.06, 0.95), glass),
        (BACK, (0.08, 0.92, 0.15, 0.9), glass),
    ]
    for side in (LEFT, RIGHT):
        panels += [(side, (0.07, 0.47, 0.08, 0.88), glass), (side, (0.53, 0.93, 0.08, 0.88), glass)]
    return frustum((*bottom_x, -0.86, 0.86), (*top_x, -0.68, 0.68), z_m, color, panels)


def _lamps(is_lit: bool) -> list[Solid]:
    """Return head lamps, tail lamps, plates and a grille as thin parts of a 4.62 m car."""
    head = s.HEAD_LAMP if is_lit else s.DARK_LAMP
    tail = s.TAIL_LAMP if is_lit else s.DARK_TAIL
    parts = [
        box((4.5, 4.64), (-0.3, 0.3), (0.42, 0.54), s.PLATE),
        box((4.5, 4.63), (-0.5, 0.5), (0.56, 0.66), s.DARK_PLASTIC),
        box((-0.02, 0.1), (-0.28, 0.28), (0.55, 0.67), s.PLATE),
    ]
    for side in (-1, 1):
        inner, outer = sorted((side * 0.52, side * 0.86))
        parts.append(box((4.45, 4.62), (inner, outer), (0.56, 0.69), head))
        inner, outer = sorted((side * 0.55, side * 0.88))
        parts.append(box((-0.02, 0.12), (inner, outer), (0.7, 0.86), tail))
    return parts


def _axles(x_m: tuple[float, ...], half_width_m: float, radius_m: float) -> list[Solid]:
    """Return wheels on both sides at each x; tyres stand a little out of the body."""
    width = 0.65 * radius_m
    return [
        wheel((x, radius_m), radius_m, y, (s.RUBBER, s.RIM))
        for x in x_m
        for y in ((half_width_m - width, half_width_m), (-half_width_m, width - half_width_m))
    ]


def _cab(x0: float, x1: float, height: float, color: Surface, is_lit: bool) -> Solid:
    lamp = s.HEAD_LAMP if is_lit else s.DARK_LAMP
    panels: list[Panel] = [
        (FRONT, (0.06, 0.94, 0.5, 0.9), s.GLASS),
        (FRONT, (0.2, 0.8, 0.18, 0.4), s.DARK_PLASTIC),
        (FRONT, (0.05, 0.2, 0.06, 0.15), lamp),
        (FRONT, (0.8, 0.95, 0.06, 0.15), lamp),
        (LEFT, (0.12, 0.65, 0.5, 0.88), s.GLASS),
        (RIGHT, (0.35, 0.88, 0.5, 0.88), s.GLASS),
    ]
    return frustum((x0, x1, -1.2, 1.2), (x0, x1 - 0.3, -1.15, 1.15), (0.5, height), color, panels)


def _tail_board(x: float, half_width: float, is_lit: bool) -> Solid:
    tail = s.TAIL_LAMP if is_lit else s.DARK_TAIL
    panels: list[Panel] = [
        (BACK, (0.02, 0.15, 0.1, 0.9), tail),
        (BACK, (0.85, 0.98, 0.1, 0.9), tail),
        (BACK, (0.4, 0.6, 0.1, 0.9), s.PLATE),
        (BACK, (0.17, 0.38, 0.2, 0.8), s.RED_BAND),
        (BACK, (0.62, 0.83, 0.2, 0.8), s.WHITE_BAND),
    ]
    return box((x - 0.04, x + 0.1), (-half_width, half_width), (0.6, 0.85), s.CHASSIS, panels)


def _excavator(color: Surface) -> list[Solid]:
    track = [(0.0, 0.35), (0.35, 0.0), (3.0, 0.0), (3.35, 0.35), (3.1, 0.75), (0.25, 0.75)]
    cab: list[Panel] = [(face, (0.1, 0.9, 0.35, 0.92), s.GLASS) for face in (FRONT, LEFT, RIGHT)]
    return [
        prism(track, (-1.35, -0.85), s.CHASSIS),
        prism(track, (0.85, 1.35), s.CHASSIS),
        box((0.7, 2.7), (-0.85, 0.85), (0.4, 0.85), s.CHASSIS),
        box((-0.35, 2.4), (-1.3, 1.3), (0.9, 1.75), color),
        box((-0.35, 0.5), (-1.2, 1.2), (1.75, 2.0), s.DARK_PLASTIC),
        frustum((1.3, 2.8, 0.2, 1.25), (1.3, 2.5, 0.25, 1.2), (1.0, 2.8), color, cab),
        beam((2.3, -0.3, 1.4), (3.9, -0.3, 3.1), (0.4, 0.45), color),
        beam((3.8, -0.3, 3.15), (5.6, -0.3, 2.2), (0.36, 0.36), color),
        beam((5.55, -0.3, 2.35), (5.3, -0.3, 0.9), (0.3, 0.3), color),
        prism(
            [(4.9, 0.2), (5.6, 0.25), (5.75, 0.9), (5.2, 1.0), (4.75, 0.6)], (-0.8, 0.2), s.STEEL
        ),
    ]


def _loader(color: Surface) -> list[Solid]:
    cab: list[Panel] = [
        (face, (0.1, 0.9, 0.3, 0.95), s.GLASS) for face in (FRONT, BACK, LEFT, RIGHT)
    ]
    bucket = [(5.2, 0.15), (6.4, 0.1), (6.2, 0.5), (5.6, 1.2), (5.2, 1.1)]
    return [
        *_axles((1.2, 4.2), 1.25, 0.75),
        prism([(0.0, 0.9), (0.0, 1.7), (2.3, 1.95), (2.3, 0.8)], (-0.95, 0.95), color),
        box((2.2, 4.6), (-0.7, 0.7), (0.7, 1.35), color),
        frustum((2.1, 3.5, -0.75, 0.75), (2.2, 3.4, -0.65, 0.65), (1.4, 3.3), color, cab),
        beam((3.6, -0.5, 1.7), (5.5, -0.5, 0.8), (0.25, 0.35), color),
        beam((3.6, 0.5, 1.7), (5.5, 0.5, 0.8), (0.25, 0.35), color),
        prism(bucket, (-1.4, 1.4), s.STEEL),
        box((0.9, 1.1), (-0.1, 0.1), (1.8, 2.4), s.CHASSIS),
    ]
