# SPDX-License-Identifier: Apache-2.0
"""What rain, fog and a low sun do to light of 905 nm (LiDAR) on its way.

Extinction: fog by Koschmieder's law at a contrast of 5 % (3.0 / visibility); rain by Carbonneau's
fit for free-space optics, 1.076 dB/km times rate^0.67. Clutter: the first droplet that sends back
enough light, drawn from density / range^2.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64
from imkd_core.simulation.world.scene import Condition

Float32 = NDArray[np.float32]

#: -ln(0.05): contrast that is left at the meteorological optical range.
_KOSCHMIEDER = 2.996

#: dB/km to 1/m.
_PER_METRE = np.log(10) / 10 / 1000

#: Nearest and farthest range at which droplets are returned.
_CLUTTER_NEAR_M, _CLUTTER_FAR_M = 1.2, 30.0

#: Expected droplet returns of one ray, times range: in rain of 1 mm/h, and per 1/m of extinction
#: by fog. 20 mm/h gives about 1 % of the rays a return, fog of 60 m visibility about 15 %.
_RAIN_CLUTTER_M = 7e-4
_FOG_CLUTTER_M = 6.0

#: Rays within this angle of a low sun are blinded.
_SUN_GLARE_RAD = np.radians(5.0)
_LOW_SUN_RAD = 0.35


@dataclass(frozen=True, kw_only=True)
class Air:
    """The air of a condition, as a LiDAR feels it.

    Attributes:
        extinction_per_m: share of light lost per metre, one way.
        clutter_m: expected droplet returns per ray = clutter_m * (1/near - 1/far).
    """

    extinction_per_m: float
    clutter_m: float


def air_of(condition: Condition) -> Air:
    """Return what the weather does to a LiDAR."""
    fog = _KOSCHMIEDER / max(condition.visibility_m, 1.0)
    rain = 1.076 * max(condition.rain_mmph, 0.0) ** 0.67 * _PER_METRE
    haze = _KOSCHMIEDER / 2_000.0  # thinner air than this scatters nothing back
    return Air(
        extinction_per_m=fog + rain,
        clutter_m=_RAIN_CLUTTER_M * condition.rain_mmph + _FOG_CLUTTER_M * max(fog - haze, 0.0),
    )


def transmission(air: Air, range_m: Float32) -> Float32:
    """Return (R,) share of the light that comes back over (R,) ranges, both ways."""
    finite = np.where(np.isfinite(range_m), range_m, np.float32(1e6))
    return np.exp(np.float32(-2 * air.extinction_per_m) * finite).astype(np.float32)


def clutter_range(air: Air, count: int, rng: np.random.Generator) -> Float32:
    """Return (count,) range of the first droplet on each ray; infinite where there is none."""
    range_m = np.full(count, np.inf, dtype=np.float32)
    if air.clutter_m <= 0:
        return range_m
    # Droplets form a Poisson process of rate clutter_m / r^2: invert its survival function.
    depth = rng.exponential(size=count) / air.clutter_m
    inverse = 1 / _CLUTTER_NEAR_M - depth
    hit = inverse > 1 / _CLUTTER_FAR_M
    range_m[hit] = 1 / inverse[hit]
    return range_m


def is_sun_low(condition: Condition) -> bool:
    """Whether the sun can blind a LiDAR."""
    return 0 < condition.sun_elevation_rad < _LOW_SUN_RAD and condition.sun > 0


def in_sun(condition: Condition, directions: Float32) -> NDArray[np.bool_]:
    """Return which of (R, 3) directions (global frame) look into a low sun."""
    if not is_sun_low(condition):
        return np.zeros(len(directions), dtype=bool)
    return np.asarray(directions @ sun_direction(condition) > np.cos(_SUN_GLARE_RAD))


def sun_direction(condition: Condition) -> Float64:
    """Return the (3,) unit vector to the sun, global frame."""
    flat = np.cos(condition.sun_elevation_rad)
    return np.array(
        [
            flat * np.cos(condition.sun_azimuth_rad),
            flat * np.sin(condition.sun_azimuth_rad),
            np.sin(condition.sun_elevation_rad),
        ]
    )
