# SPDX-License-Identifier: Apache-2.0
"""What things are made of: paint, glass, rubber, cloth, lamps. Colours are linear RGB."""

import numpy as np

from imkd_core.simulation.world.scene import Surface

Color = tuple[float, float, float]

#: Car paints with how common they are.
_CAR_PAINTS: tuple[tuple[Color, float], ...] = (
    ((0.78, 0.78, 0.76), 0.24),
    ((0.45, 0.46, 0.48), 0.16),
    ((0.17, 0.18, 0.19), 0.15),
    ((0.025, 0.025, 0.03), 0.17),
    ((0.42, 0.03, 0.025), 0.08),
    ((0.03, 0.08, 0.33), 0.09),
    ((0.04, 0.16, 0.09), 0.03),
    ((0.42, 0.34, 0.22), 0.03),
    ((0.75, 0.50, 0.03), 0.03),
    ((0.10, 0.25, 0.38), 0.02),
)
_CLOTHES: tuple[Color, ...] = (
    (0.03, 0.03, 0.04),
    (0.04, 0.07, 0.20),
    (0.10, 0.11, 0.13),
    (0.40, 0.03, 0.03),
    (0.62, 0.60, 0.56),
    (0.06, 0.18, 0.08),
    (0.30, 0.16, 0.07),
    (0.65, 0.48, 0.08),
    (0.22, 0.08, 0.30),
    (0.10, 0.34, 0.42),
)
_SKINS: tuple[Color, ...] = ((0.62, 0.38, 0.26), (0.45, 0.25, 0.15), (0.20, 0.10, 0.06))
_WALLS: tuple[Color, ...] = (
    (0.40, 0.16, 0.10),
    (0.55, 0.48, 0.36),
    (0.62, 0.61, 0.58),
    (0.30, 0.31, 0.33),
    (0.60, 0.42, 0.22),
    (0.22, 0.27, 0.32),
    (0.70, 0.66, 0.55),
)
_MACHINES: tuple[Color, ...] = ((0.72, 0.42, 0.02), (0.70, 0.22, 0.02), (0.75, 0.52, 0.05))

GLASS = Surface(albedo=(0.025, 0.035, 0.04), reflectance=0.04, gloss=0.8)
RUBBER = Surface(albedo=(0.018, 0.018, 0.018), reflectance=0.06)
RIM = Surface(albedo=(0.40, 0.40, 0.42), reflectance=0.35, gloss=0.3)
CHASSIS = Surface(albedo=(0.03, 0.03, 0.03), reflectance=0.10)
STEEL = Surface(albedo=(0.30, 0.31, 0.32), reflectance=0.35, gloss=0.3)
DARK_PLASTIC = Surface(albedo=(0.04, 0.04, 0.045), reflectance=0.08, gloss=0.1)
HEAD_LAMP = Surface(albedo=(0.8, 0.8, 0.78), reflectance=0.5, gloss=0.4, glow=(0.9, 0.88, 0.75))
DARK_LAMP = Surface(albedo=(0.6, 0.6, 0.6), reflectance=0.5, gloss=0.5)
TAIL_LAMP = Surface(albedo=(0.50, 0.02, 0.02), reflectance=0.4, retro=0.3, glow=(0.45, 0.01, 0.01))
DARK_TAIL = Surface(albedo=(0.40, 0.02, 0.02), reflectance=0.4, retro=0.3)
AMBER = Surface(albedo=(0.8, 0.35, 0.02), reflectance=0.5, glow=(0.7, 0.25, 0.0))
PLATE = Surface(albedo=(0.75, 0.75, 0.70), reflectance=0.8, retro=0.8)
ORANGE = Surface(albedo=(0.80, 0.16, 0.015), reflectance=0.5)
WHITE_BAND = Surface(albedo=(0.85, 0.85, 0.85), reflectance=0.8, retro=0.6)
RED_BAND = Surface(albedo=(0.62, 0.03, 0.02), reflectance=0.5, retro=0.3)
VEST = Surface(albedo=(0.75, 0.80, 0.05), reflectance=0.7, retro=0.3)
VEST_ORANGE = Surface(albedo=(0.85, 0.25, 0.02), reflectance=0.7, retro=0.3)
CONCRETE = Surface(albedo=(0.42, 0.41, 0.39), reflectance=0.35)
BARK = Surface(albedo=(0.13, 0.09, 0.06), reflectance=0.25)
ROOF = Surface(albedo=(0.16, 0.10, 0.08), reflectance=0.2)
LIT_WINDOW = Surface(albedo=(0.3, 0.26, 0.18), reflectance=0.05, gloss=0.7, glow=(0.30, 0.22, 0.10))
STREET_LAMP = Surface(albedo=(0.8, 0.8, 0.75), reflectance=0.4, glow=(1.6, 1.3, 0.8))
LAMP_OFF = Surface(albedo=(0.7, 0.7, 0.68), reflectance=0.4)
SIGN_FACES: tuple[Surface, ...] = (
    Surface(albedo=(0.60, 0.02, 0.02), reflectance=0.6, retro=1.0),
    Surface(albedo=(0.02, 0.08, 0.45), reflectance=0.5, retro=1.0),
    Surface(albedo=(0.80, 0.60, 0.02), reflectance=0.7, retro=1.0),
    Surface(albedo=(0.02, 0.25, 0.08), reflectance=0.5, retro=1.0),
)
GREEN_LIGHT = Surface(albedo=(0.05, 0.5, 0.2), reflectance=0.3, glow=(0.05, 1.2, 0.4))
RED_LIGHT = Surface(albedo=(0.5, 0.03, 0.02), reflectance=0.3, glow=(1.4, 0.05, 0.02))


def matt(color: Color, reflectance: float | None = None) -> Surface:
    """Return a dull surface; its near-infrared reflectance is a little above its brightness."""
    bright = float(np.mean(color)) if reflectance is None else reflectance
    return Surface(albedo=color, reflectance=float(np.clip(0.08 + 0.9 * bright, 0.05, 0.9)))


def paint(color: Color) -> Surface:
    """Return glossy paint of a colour; black paint returns little at 905 nm."""
    bright = float(np.mean(color))
    return Surface(
        albedo=color, reflectance=float(np.clip(0.06 + 0.8 * bright, 0.05, 0.75)), gloss=0.3
    )


def car_paint(rng: np.random.Generator) -> Surface:
    """Return a paint as common as on the road."""
    weights = np.array([weight for _, weight in _CAR_PAINTS])
    return paint(_CAR_PAINTS[int(rng.choice(len(weights), p=weights / weights.sum()))][0])


def cargo_paint(rng: np.random.Generator) -> Surface:
    """Return the paint of a cargo box: often white."""
    if rng.random() < 0.5:
        return paint((0.72, 0.72, 0.70))
    return matt(varied((0.1 + 0.5 * rng.random(), 0.1 + 0.3 * rng.random(), 0.3), rng))


def bus_paint(rng: np.random.Generator) -> Surface:
    """Return a bus company's colour."""
    colors: tuple[Color, ...] = (
        (0.60, 0.05, 0.04),
        (0.70, 0.70, 0.68),
        (0.05, 0.18, 0.45),
        (0.08, 0.35, 0.14),
        (0.75, 0.50, 0.05),
    )
    return paint(colors[int(rng.integers(len(colors)))])


def machine_paint(rng: np.random.Generator) -> Surface:
    """Return the yellow or orange of a construction machine."""
    return paint(_MACHINES[int(rng.integers(len(_MACHINES)))])


def cloth(rng: np.random.Generator) -> Surface:
    """Return the surface of a garment."""
    return matt(varied(_CLOTHES[int(rng.integers(len(_CLOTHES)))], rng), rng.uniform(0.2, 0.6))


def skin(rng: np.random.Generator) -> Surface:
    """Return the surface of a face."""
    return matt(_SKINS[int(rng.integers(len(_SKINS)))], 0.45)


def wall(rng: np.random.Generator) -> Surface:
    """Return the surface of a building: brick, plaster, concrete."""
    return matt(varied(_WALLS[int(rng.integers(len(_WALLS)))], rng))


def foliage(rng: np.random.Generator) -> Surface:
    """Return leaves: dark in red light, bright in the near infrared."""
    color = (0.03 + 0.06 * rng.random(), 0.10 + 0.12 * rng.random(), 0.02 + 0.03 * rng.random())
    return Surface(albedo=color, reflectance=0.45)


def varied(color: Color, rng: np.random.Generator, spread: float = 0.15) -> Color:
    """Return a colour a little brighter or darker, each channel on its own."""
    factor = rng.uniform(1 - spread, 1 + spread) * rng.uniform(0.95, 1.05, 3)
    r, g, b = np.clip(np.asarray(color) * factor, 0.01, 0.95)
    return float(r), float(g), float(b)
