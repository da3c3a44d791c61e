# SPDX-License-Identifier: Apache-2.0
"""A 77 GHz automotive radar as on the nuScenes vehicles (Continental ARS 408, clusters).

Signal to noise falls with range^4; the cross-section fluctuates exponentially (Swerling 1), so
weak and far things come and go. A near scan covers +-60 degrees, a far scan +-9 degrees. Numbers
are quantised as in nuScenes files: x 0.2 m, y 0.1 m, speeds 0.25 m/s, cross-sections 0.5 dBsm.
"""

import numpy as np
from numpy.typing import NDArray

from imkd_core.data.point_clouds import MAX_RADAR_POINTS, RADAR_RECORD
from imkd_core.geometry import Float64
from imkd_core.simulation.ranging.radar_fan import FIELD_OF_VIEW_RAD, MAX_RANGE_M
from imkd_core.simulation.ranging.radar_returns import CLUTTER, GHOST, Echoes, draw_echoes
from imkd_core.simulation.world.scene import Condition, Snapshot

Indices = NDArray[np.int64]

#: A target of 0 dBsm straight ahead is at the threshold at this range in the near scan.
_UNIT_RANGE_M = 55.0

#: Half width and gain of the far scan; reach of the near scan up to 45 degrees and at 60.
_FAR_RAD, _FAR_GAIN_DB = float(np.radians(9.0)), 10.0
_NEAR_REACH_M, _EDGE_REACH_M = 70.0, 20.0

#: Loss at the edge of the near scan.
_EDGE_LOSS_DB = 8.0

#: Standard deviations: range, azimuth (far scan; near scan ahead, and growth to the edge), speed.
_RANGE_NOISE_M = 0.15
_FAR_NOISE_RAD = float(np.radians(0.3))
_NEAR_NOISE_RAD = float(np.radians(0.6))
_EDGE_NOISE_RAD = float(np.radians(1.8))
_SPEED_NOISE_MPS = 0.12

#: Loss in rain, both ways, per metre and mm/h; growth of clutter at 10 mm/h.
_RAIN_LOSS_DB = 1e-3
_RAIN_CLUTTER = 0.3

#: Mean clutter of a radar that looks ahead, back, left and right.
_CLUTTER_AHEAD, _CLUTTER_BACK, _CLUTTER_LEFT, _CLUTTER_RIGHT = 58.0, 46.0, 1.0, 12.0

#: Cross-sections in a file start here.
_LEAST_RCS_DBSM = -5.0

#: Faster than this over ground is moving.
_MOVING_MPS = 0.6

#: Chance of a valid return: bodies, clutter, ghosts. States of the others.
_VALID_CHANCE = {"body": 0.77, "clutter": 0.45, "ghost": 0.35}
_INVALID_STATES = (4, 11, 17, 8, 12, 7, 1)
_INVALID_SHARES = (0.3, 0.25, 0.15, 0.1, 0.1, 0.05, 0.05)
_AMBIGUOUS_CHANCE = 0.07


def scan(
    snapshot: Snapshot,
    global_from_radar: Float64,
    rng: np.random.Generator,
    ego_yaw_rate_radps: float = 0.0,
) -> NDArray[np.void]:
    """Return one scan, nearest return first, 125 at most.

    Args:
        snapshot: the world.
        global_from_radar: (4, 4) pose of the radar: x forward, y left, z up.
        rng: noise, detection, clutter and ghosts.
        ego_yaw_rate_radps: of the own vehicle; the radar's lever arm turns it into speed.

    Returns:
        (N,) records of `RADAR_RECORD`. As in nuScenes, `vx_comp, vy_comp` is the speed over
        ground along the line of sight, as a vector; `vx, vy` is that vector less the radar's own
        velocity, so that its part along the line of sight is what the radar measured.
    """
    radar_velocity = own_velocity(snapshot, global_from_radar, ego_yaw_rate_radps)
    clutter = _mean_clutter(snapshot, global_from_radar)
    echoes = draw_echoes(snapshot, global_from_radar, radar_velocity, clutter, rng)
    echoes, rcs_dbsm = _detected(echoes, snapshot.condition, rng)
    range_m = np.linalg.norm(echoes.position, axis=1)
    order = np.argsort(range_m, kind="stable")[:MAX_RADAR_POINTS]
    return _measured(echoes[order], rcs_dbsm[order], radar_velocity, rng)


def own_velocity(
    snapshot: Snapshot, global_from_radar: Float64, ego_yaw_rate_radps: float
) -> Float64:
    """Return the (2,) velocity of the radar over ground, in the axes of its own frame."""
    arm = global_from_radar[:2, 3] - snapshot.global_from_ego[:2, 3]
    spin = ego_yaw_rate_radps * np.array([-arm[1], arm[0]])
    return np.asarray((snapshot.ego_velocity_mps[:2] + spin) @ global_from_radar[:2, :2])


def _mean_clutter(snapshot: Snapshot, global_from_radar: Float64) -> float:
    forward = snapshot.global_from_ego[:3, :3].T @ global_from_radar[:3, 0]
    ahead, back = max(forward[0], 0.0) ** 2, max(-forward[0], 0.0) ** 2
    left, right = max(forward[1], 0.0) ** 2, max(-forward[1], 0.0) ** 2
    mean = _CLUTTER_AHEAD * ahead + _CLUTTER_BACK * back
    mean += _CLUTTER_LEFT * left + _CLUTTER_RIGHT * right
    return float(mean * (1 + _RAIN_CLUTTER * snapshot.condition.rain_mmph / 10))


def _detected(
    echoes: Echoes, condition: Condition, rng: np.random.Generator
) -> tuple[Echoes, Float64]:
    """Return the echoes that rise above the noise, and their (N,) momentary cross-sections."""
    range_m = np.maximum(np.linalg.norm(echoes.position, axis=1), 0.3)
    azimuth = np.abs(np.arctan2(echoes.position[:, 1], echoes.position[:, 0]))
    fluctuation = 10 * np.log10(np.maximum(rng.exponential(size=len(echoes)), 1e-3))
    rcs_dbsm = echoes.rcs_dbsm + fluctuation
    far = azimuth < _FAR_RAD
    gain = np.where(far, _FAR_GAIN_DB, -_EDGE_LOSS_DB * (azimuth / FIELD_OF_VIEW_RAD) ** 2)
    fall_off = 40 * np.log10(range_m / _UNIT_RANGE_M)
    rain = _RAIN_LOSS_DB * condition.rain_mmph * range_m
    excess = rcs_dbsm + gain - echoes.loss_db - fall_off - rain
    edge = np.interp(azimuth, [np.radians(45), FIELD_OF_VIEW_RAD], [_NEAR_REACH_M, _EDGE_REACH_M])
    reach = np.where(far, MAX_RANGE_M, edge)
    seen = (excess > 0) & (azimuth <= FIELD_OF_VIEW_RAD) & (range_m < reach)
    return echoes[seen], rcs_dbsm[seen]


def _measured(
    echoes: Echoes, rcs_dbsm: Float64, radar_velocity: Float64, rng: np.random.Generator
) -> NDArray[np.void]:
    count = len(echoes)
    true_range = np.linalg.norm(echoes.position, axis=1)
    line = echoes.position / np.maximum(true_range, 1e-6)[:, None]
    radial = ((echoes.velocity - radar_velocity) * line).sum(axis=1)
    radial += rng.normal(0, _SPEED_NOISE_MPS, count)
    azimuth = np.arctan2(echoes.position[:, 1], echoes.position[:, 0])
    growth = (azimuth / FIELD_OF_VIEW_RAD) ** 2
    noise = np.where(
        np.abs(azimuth) < _FAR_RAD, _FAR_NOISE_RAD, _NEAR_NOISE_RAD + _EDGE_NOISE_RAD * growth
    )
    azimuth = azimuth + rng.normal(0, 1, count) * noise
    range_m = np.maximum(true_range + rng.normal(0, _RANGE_NOISE_M, count), 0.2)
    records = np.zeros(count, dtype=RADAR_RECORD)
    records["x"] = _quantised(range_m * np.cos(azimuth), 0.2)
    records["y"] = _quantised(range_m * np.sin(azimuth), 0.1)
    records["rcs"] = np.maximum(_quantised(rcs_dbsm, 0.5), _LEAST_RCS_DBSM)
    over_ground = _set_velocities(records, radial, azimuth, radar_velocity)
    _set_states(records, over_ground, echoes.origin, rng)
    return records


def _set_velocities(
    records: NDArray[np.void], radial: Float64, azimuth: Float64, radar_velocity: Float64
) -> Float64:
    """Fill in the velocities; return the (N,) speed over ground along the line of sight."""
    line = np.column_stack([np.cos(azimuth), np.sin(azimuth)])
    over_ground = (radial + line @ radar_velocity)[:, None] * line
    relative = _quantised(over_ground - radar_velocity, 0.25)
    speed = ((relative + radar_velocity) * line).sum(axis=1)
    records["vx"], records["vy"] = relative.T
    records["vx_comp"], records["vy_comp"] = (speed[:, None] * line).T
    return speed


def _set_states(
    records: NDArray[np.void], speed: Float64, origin: Indices, rng: np.random.Generator
) -> None:
    """Fill in what the radar says about its returns."""
    count = len(records)
    moving = np.abs(speed) > _MOVING_MPS
    kinds = rng.choice([1, 3, 5, 7], size=count, p=[0.6, 0.37, 0.02, 0.01])
    coming = np.where(speed < 0, 2, 0)
    movers = np.where(rng.random(count) < 0.15, 6, coming)
    records["dyn_prop"] = np.where(moving, movers, kinds)
    chance = np.full(count, _VALID_CHANCE["body"])
    chance[origin == CLUTTER] = _VALID_CHANCE["clutter"]
    chance[origin == GHOST] = _VALID_CHANCE["ghost"]
    states = rng.choice(_INVALID_STATES, size=count, p=_INVALID_SHARES)
    valid = rng.random(count) < chance
    records["invalid_state"] = np.where(valid, 0, states)
    records["pdh0"] = np.where(valid, 1, rng.integers(1, 5, count))
    ambiguous = rng.random(count) < _AMBIGUOUS_CHANCE
    records["ambig_state"] = np.where(ambiguous, rng.choice([1, 2, 4], size=count), 3)
    records["id"] = np.arange(count)
    records["is_quality_valid"] = 1
    for name, base in (("x_rms", 19), ("y_rms", 19), ("vx_rms", 16), ("vy_rms", 3)):
        records[name] = base + np.minimum(rng.geometric(0.65, count) - 1, 3)


def _quantised(values: Float64, step: float) -> Float64:
    return np.rint(values / step) * step
