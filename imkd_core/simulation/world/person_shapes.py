# SPDX-License-Identifier: Apache-2.0
"""Shapes of people on foot, bicycles and motorcycles, with and without riders."""

import numpy as np

from imkd_core.simulation.world import surfaces as s
from imkd_core.simulation.world.scene import Shape, Solid, Surface
from imkd_core.simulation.world.solids import beam, box, fitted, frustum, prism, wheel
from imkd_core.simulation.world.vehicle_shapes import size_near


def pedestrian(rng: np.random.Generator, is_walking: bool, kind: str = "adult") -> Shape:
    """Return a person.

    Args:
        rng: chance.
        is_walking: legs apart and arms swinging, or standing.
        kind: "adult", "child" or "construction_worker" (vest and helmet).
    """
    coat, trousers = s.cloth(rng), s.cloth(rng)
    hair = s.matt(s.varied((0.06, 0.04, 0.03), rng, 0.5))
    if kind == "construction_worker":
        coat = (s.VEST, s.VEST_ORANGE)[int(rng.integers(2))]
        hair = s.matt((0.8, 0.65, 0.05))
    stride = 0.27 if is_walking else 0.02
    solids = _person((0.0, 0.0, 0.0), stride, (coat, trousers, s.skin(rng), hair))
    if kind != "child" and rng.random() < 0.25:
        solids.append(box((-0.32, -0.14), (-0.16, 0.16), (1.0, 1.45), s.cloth(rng)))
    return fitted(solids, _person_size(rng, is_walking, kind == "child"))


def bicycle(rng: np.random.Generator, has_rider: bool) -> Shape:
    """Return a bicycle: open wheels, frame, saddle, handlebar; with its rider by choice."""
    frame = s.car_paint(rng)
    solids = [
        *_open_wheel((0.33, 0.33), 0.33),
        *_open_wheel((1.38, 0.33), 0.33),
        beam((0.33, 0, 0.33), (0.75, 0, 0.30), (0.04, 0.04), frame),
        beam((0.75, 0, 0.30), (0.58, 0, 0.92), (0.04, 0.04), frame),
        beam((0.62, 0, 0.75), (1.22, 0, 0.85), (0.05, 0.05), frame),
        beam((0.75, 0, 0.30), (1.24, 0, 0.75), (0.05, 0.05), frame),
        beam((1.38, 0, 0.33), (1.18, 0, 1.02), (0.04, 0.04), frame),
        beam((1.16, -0.3, 1.05), (1.16, 0.3, 1.05), (0.04, 0.04), s.DARK_PLASTIC),
        box((0.44, 0.70), (-0.07, 0.07), (0.92, 0.98), s.DARK_PLASTIC),
        box((0.0, 0.03), (-0.04, 0.04), (0.5, 0.58), s.DARK_TAIL),
    ]
    if has_rider:
        solids += _rider(rng, seat=(0.55, 0.95), grip=(1.12, 1.08), foot_z=0.25)
    size = size_near((1.72, 0.62, 1.68 if has_rider else 1.08), (0.07, 0.03, 0.06), rng)
    return fitted(solids, size)


def motorcycle(rng: np.random.Generator, has_rider: bool) -> Shape:
    """Return a motorcycle or scooter; with its rider by choice."""
    color = s.car_paint(rng)
    tyre = (s.RUBBER, s.RIM)
    solids = [
        wheel((0.32, 0.32), 0.32, (-0.08, 0.08), tyre),
        wheel((1.78, 0.32), 0.32, (-0.06, 0.06), tyre),
        prism([(0.6, 0.3), (1.35, 0.28), (1.4, 0.6), (0.6, 0.65)], (-0.16, 0.16), s.CHASSIS),
        prism([(0.85, 0.65), (1.4, 0.6), (1.45, 0.95), (1.0, 0.98)], (-0.15, 0.15), color),
        prism([(0.1, 0.78), (1.0, 0.66), (1.0, 0.82), (0.15, 0.9)], (-0.14, 0.14), s.DARK_PLASTIC),
        prism([(0.0, 0.62), (0.45, 0.6), (0.45, 0.75), (0.05, 0.78)], (-0.1, 0.1), color),
        beam((1.78, 0, 0.32), (1.5, 0, 1.02), (0.14, 0.07), s.STEEL),
        beam((1.45, -0.38, 1.08), (1.45, 0.38, 1.08), (0.05, 0.05), s.DARK_PLASTIC),
        box((1.5, 1.62), (-0.1, 0.1), (0.85, 1.02), s.HEAD_LAMP),
        box((1.46, 1.52), (-0.16, 0.16), (1.0, 1.25), s.GLASS),
        box((-0.02, 0.04), (-0.09, 0.09), (0.62, 0.7), s.TAIL_LAMP),
        box((0.02, 0.05), (-0.1, 0.1), (0.42, 0.54), s.PLATE),
    ]
    if has_rider:
        solids += _rider(rng, seat=(0.7, 0.82), grip=(1.42, 1.08), foot_z=0.32, has_helmet=True)
    size = size_near((2.1, 0.78, 1.52 if has_rider else 1.2), (0.1, 0.04, 0.05), rng)
    return fitted(solids, size)


def _person_size(
    rng: np.random.Generator, is_walking: bool, is_child: bool
) -> tuple[float, float, float]:
    height = float(np.clip(rng.normal(1.25, 0.12) if is_child else rng.normal(1.75, 0.08), 0.95, 2))
    scale = height / 1.75
    length = (0.80 if is_walking else 0.52) * scale
    return length + rng.uniform(-0.05, 0.05), (0.66 + rng.uniform(-0.04, 0.04)) * scale, height


def _person(
    origin: tuple[float, float, float],
    stride: float,
    colors: tuple[Surface, Surface, Surface, Surface],
) -> list[Solid]:
    """Return legs, shoes, torso, arms and head; colours: coat, trousers, skin, hair."""
    coat, trousers, face, hair = colors
    x, y, z = origin
    solids = []
    for side in (-1, 1):
        hip, foot = (x, y + 0.1 * side, z + 0.88), (x + side * stride, y + 0.1 * side, z + 0.06)
        solids.append(beam(foot, hip, (0.15, 0.17), trousers))
        shoe = (foot[0] - 0.08, foot[0] + 0.18)
        solids.append(box(shoe, (foot[1] - 0.05, foot[1] + 0.05), (z, z + 0.09), s.DARK_PLASTIC))
        hand = (x - side * (stride * 0.9) + 0.05, y + side * 0.31, z + 0.85)
        shoulder = (x, y + side * 0.25, z + 1.42)
        solids.append(beam(hand, shoulder, (0.1, 0.11), coat))
        solids.append(
            box((hand[0] - 0.05, hand[0] + 0.05), _about(hand[1]), (z + 0.75, z + 0.87), face)
        )
    hips, chest = (x - 0.12, x + 0.12, y - 0.17, y + 0.17), (x - 0.13, x + 0.13, y - 0.23, y + 0.23)
    solids.append(frustum(hips, chest, (z + 0.82, z + 1.35), coat))
    neck = (x - 0.06, x + 0.06, y - 0.08, y + 0.08)
    solids.append(frustum(chest, neck, (z + 1.35, z + 1.5), coat))
    solids += _head((x, y, z + 1.5), face, hair)
    return solids


def _head(neck: tuple[float, float, float], face: Surface, hair: Surface) -> list[Solid]:
    x, y, z = neck
    jaw, brow = (x - 0.08, x + 0.09, y - 0.06, y + 0.06), (x - 0.1, x + 0.11, y - 0.085, y + 0.085)
    crown = (x - 0.06, x + 0.05, y - 0.05, y + 0.05)
    return [
        frustum(jaw, brow, (z, z + 0.15), face),
        frustum(
            (brow[0] - 0.01, brow[1], brow[2] - 0.01, brow[3] + 0.01),
            crown,
            (z + 0.13, z + 0.26),
            hair,
        ),
    ]


def _rider(
    rng: np.random.Generator,
    seat: tuple[float, float],
    grip: tuple[float, float],
    foot_z: float,
    has_helmet: bool = False,
) -> list[Solid]:
    """Return a seated person leaning to the handlebar; seat, grip: (x, z)."""
    coat, trousers, face = s.cloth(rng), s.cloth(rng), s.skin(rng)
    top = s.car_paint(rng) if has_helmet else s.matt((0.05, 0.04, 0.03))
    shoulder = (seat[0] + 0.25, seat[1] + 0.52)
    solids = [beam((seat[0], 0, seat[1]), (shoulder[0], 0, shoulder[1]), (0.36, 0.22), coat)]
    for side in (-1, 1):
        y = side * 0.13
        knee = (seat[0] + 0.42, side * 0.17, (seat[1] + foot_z) / 2 + 0.12)
        solids += [
            beam((seat[0], y, seat[1]), knee, (0.14, 0.16), trousers),
            beam(knee, (seat[0] + 0.22, y, foot_z), (0.11, 0.12), trousers),
            beam(
                (shoulder[0], side * 0.2, shoulder[1]),
                (grip[0], side * 0.27, grip[1]),
                (0.09, 0.1),
                coat,
            ),
        ]
    return [
        *solids,
        *_head((shoulder[0] + 0.05, 0.0, shoulder[1] + 0.02), top if has_helmet else face, top),
    ]


def _open_wheel(center_xz: tuple[float, float], radius_m: float, parts: int = 8) -> list[Solid]:
    """Return a rim of straight parts around an open wheel."""
    angle = np.arange(parts + 1) * 2 * np.pi / parts
    x, z = center_xz[0] + radius_m * np.cos(angle), center_xz[1] + radius_m * np.sin(angle)
    return [
        beam((x[i], 0.0, z[i]), (x[i + 1], 0.0, z[i + 1]), (0.04, 0.045), s.RUBBER)
        for i in range(parts)
    ]


def _about(y: float) -> tuple[float, float]:
    return y - 0.04, y + 0.04
