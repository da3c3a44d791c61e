# SPDX-License-Identifier: Apache-2.0
"""Weather and light of drives: presets with strengths drawn by chance, and their words."""

import numpy as np

from imkd_core.errors import ConfigError
from imkd_core.simulation.world.scene import CONDITIONS, Condition

#: Cycle of conditions when none are chosen: half of the drives are clear.
DEFAULT_CYCLE = ("clear", "rain", "clear", "fog", "clear", "night", "clear", "low_sun")


def make_condition(name: str, rng: np.random.Generator) -> Condition:
    """Draw a condition of a kind.

    Raises:
        ConfigError: there is no such kind.
    """
    azimuth = float(rng.uniform(-np.pi, np.pi))
    high, dim = float(rng.uniform(0.5, 1.1)), float(rng.uniform(0.45, 0.8))
    match name:
        case "clear":
            has_sun = rng.random() < 0.75
            return Condition(
                name=name,
                sun_elevation_rad=high,
                sun_azimuth_rad=azimuth,
                ambient=float(rng.uniform(0.8, 1.0)),
                sun=float(rng.uniform(0.7, 1.0)) if has_sun else float(rng.uniform(0.0, 0.2)),
            )
        case "rain":
            rate = float(rng.uniform(2.0, 25.0))
            return Condition(
                name=name,
                rain_mmph=rate,
                visibility_m=float(12_000.0 * rate**-0.75),
                sun_elevation_rad=high,
                sun_azimuth_rad=azimuth,
                ambient=dim,
                sun=0.0,
                wet=float(rng.uniform(0.6, 1.0)),
            )
        case "fog":
            return Condition(
                name=name,
                visibility_m=float(np.exp(rng.uniform(np.log(60.0), np.log(350.0)))),
                sun_elevation_rad=high,
                sun_azimuth_rad=azimuth,
                ambient=dim,
                sun=0.0,
                wet=float(rng.uniform(0.1, 0.4)),
            )
        case "night":
            return Condition(
                name=name,
                sun_elevation_rad=-0.4,
                sun_azimuth_rad=azimuth,
                ambient=float(rng.uniform(0.02, 0.06)),
                sun=0.0,
                wet=float(rng.choice([0.0, 0.0, 0.5])),
            )
        case "low_sun":
            return Condition(
                name=name,
                sun_elevation_rad=float(rng.uniform(0.06, 0.2)),
                sun_azimuth_rad=azimuth,
                ambient=float(rng.uniform(0.45, 0.7)),
                sun=float(rng.uniform(0.7, 1.0)),
            )
    raise ConfigError(f"unknown condition '{name}'; use {', '.join(CONDITIONS)}")


def words(condition: Condition) -> str:
    """Return a condition in words, as it stands in a scene's description."""
    return condition.name.replace("_", " ")
