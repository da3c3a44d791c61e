# SPDX-License-Identifier: Apache-2.0
"""What radars say about the velocity of true objects (method.md 12.4).

A radar measures how fast a point moves along its line of sight, and nothing across. For an object
with returns the network's velocity v should fulfil `v . u = s`, with the mean line of sight u and
the mean radial speed s of its returns.
"""

import numpy as np
from numpy.typing import NDArray

from imkd_core.data.changes.sensor_dropout import RadarReturns
from imkd_core.types import Detections

#: Returns this far outside a box's footprint still belong to it: radars blur angles.
MARGIN_M = 0.3

#: Returns whose radial speed is off by more do not belong to the object they lie on.
LARGEST_DISAGREEMENT_MPS = 3.0


def returns_in_boxes(returns: RadarReturns, boxes: Detections) -> NDArray[np.bool_]:
    """Return (N, P) which returns lie on the footprint of which box.

    A return of an earlier scan is moved by the box's velocity since then, where it is known.
    Heights do not count: most radars measure none.
    """
    velocity = np.nan_to_num(boxes.velocity_mps)
    age_s = returns.points[:, 6]
    x, y = (
        (returns.points[:, axis] - boxes.center_m[:, axis, None]) + velocity[:, axis, None] * age_s
        for axis in (0, 1)
    )
    cos, sin = np.cos(boxes.yaw_rad)[:, None], np.sin(boxes.yaw_rad)[:, None]
    half = boxes.size_m[:, :2] / 2 + np.float32(MARGIN_M)
    is_along = np.abs(cos * x + sin * y) <= half[:, :1]
    return np.asarray(is_along & (np.abs(cos * y - sin * x) <= half[:, 1:]))


def doppler_targets(
    returns: RadarReturns, inside: NDArray[np.bool_], boxes: Detections
) -> NDArray[np.float32]:
    """Return (N, 4) ux, uy, radial speed (m/s, positive away from the radar) and weight.

    u is the mean of the lines of sight and not of length 1 where several radars see one object:
    so `v . u = s` stays exact for an object that does not turn. The weight is n / (n + 1) for n
    returns, 0 for none. Returns that disagree with a known velocity by more than
    `LARGEST_DISAGREEMENT_MPS` are taken for the ground, a ghost or another object.

    Args:
        returns: in the frame of the boxes.
        inside: (N, P) which of them lie on which box.
        boxes: true boxes; an unknown velocity contradicts nothing.
    """
    sight = returns.points[:, :2] - returns.origin_m
    sight = sight / np.maximum(np.linalg.norm(sight, axis=1, keepdims=True), 1e-6)
    speed_mps = (sight * returns.points[:, 4:6]).sum(axis=1)
    disagreement_mps = np.abs(boxes.velocity_mps @ sight.T - speed_mps)
    own = (inside & ~(disagreement_mps > LARGEST_DISAGREEMENT_MPS)).astype(np.float32)
    measured = np.concatenate([sight, speed_mps[:, None]], axis=1)
    count = own.sum(axis=1, keepdims=True)
    mean = (own @ measured) / np.maximum(count, 1)
    return np.concatenate([mean, count / (count + 1)], axis=1).astype(np.float32)
