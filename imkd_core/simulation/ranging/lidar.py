# SPDX-License-Identifier: Apache-2.0
"""A spinning 32-beam LiDAR, as on the nuScenes vehicles (Velodyne HDL-32E, 905 nm, 20 Hz).

Rays without a return are left out of a sweep. Intensity is a calibrated reflectivity: 0..100 for
diffuse targets, above for retro-reflectors.
"""

import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64
from imkd_core.simulation.ranging.atmosphere import (
    Air,
    air_of,
    clutter_range,
    in_sun,
    is_sun_low,
    transmission,
)
from imkd_core.simulation.ranging.ray_casting import GROUND, Hits, cast_sweep, sweep_directions
from imkd_core.simulation.world.scene import Condition, Snapshot

Float32 = NDArray[np.float32]

#: Elevation of the beams above the sensor's x-y plane, ring 0 lowest.
BEAM_ELEVATION_RAD = np.radians(np.linspace(-30.67, 10.67, 32))

#: Firings in a turn.
AZIMUTHS = 1084

MAX_RANGE_M = 105.0
_MIN_RANGE_M = 0.9
_RANGE_NOISE_M = 0.02

#: A diffuse target of 10 % reflectance, seen head-on, is returned half the time at this range.
_TEN_PERCENT_RANGE_M = 75.0
_THRESHOLD = 0.1 / _TEN_PERCENT_RANGE_M**2

#: How sharply detection goes from never to always (log of the signal).
_THRESHOLD_WIDTH = 0.25

#: Asphalt and grass are rough: they return more at grazing incidence than Lambert's law.
_GROUND_ROUGHNESS = 0.6

#: What water takes: of all diffuse reflectance, and of the ground's, which turns into a mirror.
_WET_LOSS, _WET_GROUND_LOSS = 0.25, 0.65

#: Any ray can be lost: specular spots, edges, crosstalk.
_LOSS = 0.01

#: The own roof, in the ego frame: x from, x to, |y|, z (metres). Rays that meet it are dropped.
_ROOF_M = (0.24, 1.64, 0.47, 1.54)


def scan(
    snapshot: Snapshot, global_from_lidar: Float64, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return one sweep.

    Args:
        snapshot: the world.
        global_from_lidar: (4, 4) pose of the LiDAR: x right, y forward, z up.
        rng: noise, dropouts and clutter.

    Returns:
        (N, 5) float32: x, y, z (metres, LiDAR frame), intensity 0..255, ring.
    """
    hits = cast_sweep(snapshot, global_from_lidar, BEAM_ELEVATION_RAD, AZIMUTHS, MAX_RANGE_M)
    directions = sweep_directions(tuple(BEAM_ELEVATION_RAD), AZIMUTHS)
    air = air_of(snapshot.condition)
    range_m, intensity = _echoes(hits, snapshot.condition, air, rng)
    clutter_m = clutter_range(air, len(range_m), rng)
    droplet = clutter_m < range_m
    range_m = np.where(droplet, clutter_m, range_m)
    faint = rng.uniform(0, 4, len(range_m)).astype(np.float32)
    intensity = np.where(droplet, faint, intensity)
    _add_glare(range_m, intensity, snapshot, global_from_lidar, rng)
    kept = np.isfinite(range_m) & (range_m >= _MIN_RANGE_M)
    kept &= ~_meets_roof(snapshot, global_from_lidar)
    range_m += rng.normal(0, _RANGE_NOISE_M, len(range_m)).astype(np.float32)
    ring = np.arange(len(range_m)) // AZIMUTHS
    points = np.empty((int(kept.sum()), 5), dtype=np.float32)
    points[:, :3] = directions[kept] * range_m[kept, None]
    points[:, 3] = np.clip(np.rint(intensity[kept]), 0, 255)
    points[:, 4] = ring[kept]
    return points


def _echoes(
    hits: Hits, condition: Condition, air: Air, rng: np.random.Generator
) -> tuple[Float32, Float32]:
    """Return (R,) range (infinite where nothing comes back) and (R,) intensity."""
    brightness = _brightness(hits, condition)
    light = transmission(air, hits.range_m)
    signal = (brightness + 30 * hits.retro) * light / np.maximum(hits.range_m, 1) ** 2
    odds = np.log(np.maximum(signal, 1e-12) / _THRESHOLD) / _THRESHOLD_WIDTH
    detected = rng.logistic(size=len(odds)) < odds
    detected &= rng.random(len(odds)) >= _LOSS
    speckle = rng.normal(1.0, 0.08, len(odds))
    diffuse = np.minimum(100 * brightness * light * speckle, 100)
    retro = 100 + 155 * np.minimum(hits.retro * hits.incidence * np.sqrt(light) * speckle, 1)
    intensity = np.where(hits.retro > 0.3, retro, diffuse).astype(np.float32)
    return np.where(detected, hits.range_m, np.float32(np.inf)), intensity


def _brightness(hits: Hits, condition: Condition) -> Float32:
    """Return (R,) share of the light that is sent back diffusely: reflectance and incidence."""
    on_ground = hits.placed_index == GROUND
    wet = np.where(on_ground, _WET_GROUND_LOSS, _WET_LOSS) * condition.wet
    incidence = np.where(on_ground, hits.incidence**_GROUND_ROUGHNESS, hits.incidence)
    diffuse = hits.reflectance * (1 - hits.gloss) * (1 - wet) * incidence
    fourth = np.square(np.square(hits.incidence))
    sixteenth = np.square(np.square(fourth))
    highlight = 0.5 * hits.gloss * np.square(sixteenth) * sixteenth * np.square(fourth) * fourth
    return (diffuse + highlight).astype(np.float32)


def _add_glare(
    range_m: Float32,
    intensity: Float32,
    snapshot: Snapshot,
    global_from_lidar: Float64,
    rng: np.random.Generator,
) -> None:
    """Blind the rays that look into a low sun: most are lost, some give false returns."""
    if not is_sun_low(snapshot.condition):
        return
    directions = sweep_directions(tuple(BEAM_ELEVATION_RAD), AZIMUTHS)
    directions_global = directions @ global_from_lidar[:3, :3].T.astype(np.float32)
    blinded = np.flatnonzero(in_sun(snapshot.condition, directions_global))
    lost = blinded[rng.random(len(blinded)) < 0.6]
    range_m[lost] = np.inf
    false = lost[rng.random(len(lost)) < 0.3]
    range_m[false] = rng.uniform(2.0, MAX_RANGE_M, len(false))
    intensity[false] = rng.uniform(0, 30, len(false))


def _meets_roof(snapshot: Snapshot, global_from_lidar: Float64) -> NDArray[np.bool_]:
    ego_from_lidar = np.linalg.inv(snapshot.global_from_ego) @ global_from_lidar
    origin = ego_from_lidar[:3, 3]
    directions = sweep_directions(tuple(BEAM_ELEVATION_RAD), AZIMUTHS)
    rays = directions @ ego_from_lidar[:3, :3].T.astype(np.float32)
    back_m, front_m, side_m, height_m = _ROOF_M
    drop = np.float32(height_m - origin[2])
    reach = np.divide(drop, rays[:, 2], out=np.full(len(rays), np.inf, "f4"), where=rays[:, 2] < 0)
    reach[reach < 0] = np.inf
    with np.errstate(invalid="ignore"):
        x, y = origin[0] + reach * rays[:, 0], origin[1] + reach * rays[:, 1]
    return (x > back_m) & (x < front_m) & (np.abs(y) < side_m)
