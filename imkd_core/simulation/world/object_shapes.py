# SPDX-License-Identifier: Apache-2.0
"""Shapes of traffic cones, barriers, and scenery: buildings, trees, lamps, signs, clutter."""

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
    moved,
    octahedron,
    prism,
    wheel,
)
from imkd_core.simulation.world.vehicle_shapes import size_near


def traffic_cone(rng: np.random.Generator) -> Shape:
    """Return an orange cone with two white bands on a square foot."""
    levels = (0.06, 0.34, 0.52, 0.66, 0.82, 1.05)
    colors = (s.ORANGE, s.WHITE_BAND, s.ORANGE, s.WHITE_BAND, s.ORANGE)
    solids = [box((-0.2, 0.2), (-0.2, 0.2), (0.0, 0.06), s.DARK_PLASTIC)]
    for low, high, color in zip(levels[:-1], levels[1:], colors, strict=True):
        solids.append(frustum(_square(low), _square(high), (low, high), color))
    side = float(np.clip(rng.normal(0.41, 0.03), 0.34, 0.48))
    return fitted(solids, (side, side, float(np.clip(rng.normal(1.03, 0.12), 0.72, 1.25))))


def barrier(rng: np.random.Generator) -> Shape:
    """Return a road barrier, thin along x: striped board, plastic block or concrete wall."""
    makers = (_board, _plastic_block, _concrete_wall)
    solids = makers[int(rng.choice(3, p=(0.45, 0.3, 0.25)))]()
    return fitted(solids, size_near((0.52, 2.45, 1.0), (0.04, 0.15, 0.05), rng))


def building(rng: np.random.Generator, size_m: tuple[float, float, float], is_dark: bool) -> Shape:
    """Return a house with rows of windows on its four sides; some are lit after dark."""
    length, width, height = size_m
    glass = s.LIT_WINDOW if is_dark else s.GLASS
    floors = max(1, round(height / 3.2))
    panels: list[Panel] = []
    for face, extent in ((FRONT, width), (BACK, width), (LEFT, length), (RIGHT, length)):
        columns = int(np.clip(round(extent / 3.5), 2, 7))
        for floor in range(min(floors, 6)):
            for column in range(columns):
                rect = (
                    (column + 0.25) / columns,
                    (column + 0.75) / columns,
                    (floor + 0.3) / floors,
                    (floor + 0.8) / floors,
                )
                panels.append((face, rect, glass if rng.random() < 0.35 else s.GLASS))
    x, y = (-length / 2, length / 2), (-width / 2, width / 2)
    walls = s.wall(rng)
    if height < 9 and rng.random() < 0.6:
        eaves = 0.78 * height
        ridge = [(x[0], eaves), (x[1], eaves), (0.0, height)]
        return fitted(
            [box(x, y, (0.0, eaves), walls, panels), prism(ridge, y, s.ROOF, walls)], size_m
        )
    return fitted([box(x, y, (0.0, height), walls, panels)], size_m)


def tree(rng: np.random.Generator) -> Shape:
    """Return a trunk with two or three crowns."""
    leaves = s.foliage(rng)
    solids = [frustum(_square_of(0.2), _square_of(0.12), (0.0, 2.6), s.BARK)]
    for i in range(int(rng.integers(2, 4))):
        center = (rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5), 3.2 + 0.9 * i)
        radius = (1.9 - 0.35 * i, 1.9 - 0.35 * i, 1.4)
        solids.append(octahedron(center, radius, leaves))
    side = rng.uniform(2.6, 4.2)
    return fitted(solids, (side, side, rng.uniform(4.5, 8.0)))


def bush(rng: np.random.Generator) -> Shape:
    """Return a low bush."""
    leaves = s.foliage(rng)
    solids = [octahedron((0.4 * i, 0.1 * i, 0.5), (0.7, 0.6, 0.5), leaves) for i in range(2)]
    return fitted(solids, (rng.uniform(1.0, 1.8), rng.uniform(0.8, 1.4), rng.uniform(0.7, 1.3)))


def lamp_post(is_dark: bool) -> Shape:
    """Return a street lamp whose head points forward."""
    lamp = s.STREET_LAMP if is_dark else s.LAMP_OFF
    solids = [
        frustum(_square_of(0.09), _square_of(0.05), (0.0, 7.5), s.STEEL),
        box((-0.05, 0.6), (-0.12, 0.12), (7.5, 7.6), s.STEEL),
        box((0.1, 0.55), (-0.11, 0.11), (7.42, 7.5), lamp),
    ]
    return fitted(solids, (0.7, 0.26, 7.6))


def sign(rng: np.random.Generator) -> Shape:
    """Return a traffic sign on a pole, its face forward."""
    plate = s.SIGN_FACES[int(rng.integers(len(s.SIGN_FACES)))]
    sides = int(rng.choice([3, 4, 8]))
    angle = np.arange(sides) * 2 * np.pi / sides + (np.pi / 2 if sides == 3 else np.pi / sides)
    outline = [(0.38 * float(np.cos(a)), 2.5 + 0.38 * float(np.sin(a))) for a in angle]
    plates = [
        prism(outline, (0.04, 0.06), s.STEEL, plate),
        beam((0.0, 0.0, 0.0), (0.0, 0.0, 2.9), (0.06, 0.06), s.STEEL),
    ]
    turned = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    return fitted([moved(solid, turned, (0.0, 0.0, 0.0)) for solid in plates], (0.14, 0.75, 2.9))


def traffic_light(is_green: bool) -> Shape:
    """Return a traffic light on a pole, its lamps forward."""
    lamps: list[Panel] = [
        (FRONT, (0.25, 0.75, 0.08, 0.3), s.GREEN_LIGHT if is_green else s.DARK_PLASTIC),
        (FRONT, (0.25, 0.75, 0.7, 0.92), s.DARK_PLASTIC if is_green else s.RED_LIGHT),
    ]
    solids = [
        beam((0.0, 0.0, 0.0), (0.0, 0.0, 3.0), (0.1, 0.1), s.STEEL),
        box((-0.1, 0.14), (-0.16, 0.16), (2.4, 3.3), s.DARK_PLASTIC, lamps),
    ]
    return fitted(solids, (0.25, 0.34, 3.3))


def wall(length_m: float, height_m: float, surface: Surface) -> Shape:
    """Return a straight wall or hedge, long in x."""
    return fitted([box((0, 1), (0, 1), (0, 1), surface)], (length_m, 0.3, height_m))


def clutter(rng: np.random.Generator) -> Shape:
    """Return street furniture that is not annotated: skip, bin, bench, kiosk, hydrant."""
    makers = (_skip, _bin, _bench, _kiosk)
    solids, size = makers[int(rng.integers(len(makers)))](rng)
    return fitted(solids, size)


def bus_shelter() -> Shape:
    """Return a bus stop: roof, glass back wall, posts."""
    solids = [
        box((-1.8, 1.8), (-0.7, 0.7), (2.4, 2.55), s.DARK_PLASTIC),
        box((-1.75, 1.75), (0.62, 0.66), (0.2, 2.4), s.GLASS),
        box((-1.8, -1.7), (-0.6, 0.66), (0.0, 2.4), s.STEEL),
        box((1.7, 1.8), (-0.6, 0.66), (0.0, 2.4), s.SIGN_FACES[1]),
        box((-1.2, 1.2), (0.25, 0.6), (0.42, 0.5), s.STEEL),
    ]
    return fitted(solids, (3.6, 1.4, 2.55))


def _square(z: float) -> tuple[float, float, float, float]:
    return _square_of(0.15 * (1.1 - z) / 1.04 + 0.015)


def _square_of(half: float) -> tuple[float, float, float, float]:
    return -half, half, -half, half


def _board() -> list[Solid]:
    """Return red and white boards on two feet."""
    stripes: list[Panel] = [
        (face, (i / 8, (i + 1) / 8, 0.04, 0.96), s.RED_BAND if i % 2 else s.WHITE_BAND)
        for face in (FRONT, BACK)
        for i in range(8)
    ]
    feet = [box((-0.26, 0.26), (y - 0.05, y + 0.05), (0.0, 0.1), s.DARK_PLASTIC) for y in (-1, 1)]
    posts = [box((-0.03, 0.03), (y - 0.04, y + 0.04), (0.1, 1.0), s.STEEL) for y in (-1, 1)]
    boards = [
        box((-0.05, 0.05), (-1.25, 1.25), z, s.WHITE_BAND, stripes)
        for z in ((0.3, 0.55), (0.72, 1.0))
    ]
    return [*feet, *posts, *boards]


def _plastic_block() -> list[Solid]:
    color = s.ORANGE
    panels: list[Panel] = [(face, (0.35, 0.65, 0.15, 0.85), s.WHITE_BAND) for face in (FRONT, BACK)]
    low, high = (-0.26, 0.26, -1.25, 1.25), (-0.1, 0.1, -1.2, 1.2)
    return [
        frustum(low, high, (0.0, 0.75), color, panels),
        box((-0.1, 0.1), (-1.2, 1.2), (0.75, 1.0), s.WHITE_BAND),
    ]


def _concrete_wall() -> list[Solid]:
    low, middle = (-0.26, 0.26, -1.25, 1.25), (-0.12, 0.12, -1.25, 1.25)
    top = (-0.08, 0.08, -1.25, 1.25)
    return [
        frustum(low, middle, (0.0, 0.4), s.CONCRETE),
        frustum(middle, top, (0.4, 1.0), s.CONCRETE),
    ]


_Made = tuple[list[Solid], tuple[float, float, float]]


def _skip(rng: np.random.Generator) -> _Made:
    color = s.matt(s.varied((0.1, 0.25, 0.12), rng, 0.4))
    low, high = (-1.3, 1.3, -0.8, 0.8), (-1.8, 1.8, -0.9, 0.9)
    return [frustum(low, high, (0.0, 1.3), color)], (3.6, 1.8, 1.3)


def _bin(rng: np.random.Generator) -> _Made:
    color = s.matt(s.varied((0.06, 0.18, 0.08), rng, 0.5))
    solids = [
        frustum((-0.25, 0.25, -0.25, 0.25), (-0.3, 0.3, -0.3, 0.3), (0.05, 0.95), color),
        frustum((-0.32, 0.32, -0.3, 0.3), (-0.25, 0.2, -0.25, 0.25), (0.95, 1.1), s.DARK_PLASTIC),
        wheel((-0.2, 0.1), 0.1, (-0.3, 0.3), (s.RUBBER, s.RIM), 6),
    ]
    return solids, (0.65, 0.6, 1.1)


def _bench(rng: np.random.Generator) -> _Made:
    wood = s.matt(s.varied((0.28, 0.15, 0.07), rng))
    legs = [box((-0.2, 0.2), (y, y + 0.1), (0.0, 0.42), s.STEEL) for y in (-0.8, 0.7)]
    seat = box((-0.25, 0.25), (-0.9, 0.9), (0.42, 0.48), wood)
    return [*legs, seat, box((-0.28, -0.22), (-0.9, 0.9), (0.48, 0.9), wood)], (0.55, 1.8, 0.9)


def _kiosk(rng: np.random.Generator) -> _Made:
    panels: list[Panel] = [(FRONT, (0.1, 0.9, 0.45, 0.85), s.GLASS)]
    color = s.matt(s.varied((0.3, 0.4, 0.45), rng, 0.4))
    return [
        box((-1.0, 1.0), (-1.2, 1.2), (0.0, 2.3), color, panels),
        box((-1.2, 1.3), (-1.35, 1.35), (2.3, 2.45), s.matt((0.5, 0.1, 0.08))),
    ], (2.5, 2.7, 2.45)
