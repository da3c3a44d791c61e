# SPDX-License-Identifier: Apache-2.0
"""What radars say about the velocity of true objects (method.md 12.4).

A radar measures how fast a point moves along its line of sight, and nothing across. For an object
with returns the network's velocity v should fulfil `v . u = s`, with the mean line of sight u and
the mean radial speed s of its returns.
"""

import numpy as np
from numpy.typing import NDArray

from imkd_core.data.sensor_dropout import RadarReturns
from imkd_core.types import Detections

#: Returns this far outside a box's footprint still belong to it: radars blur angles.
MARGIN_M = 0.3


def returns_in_boxes(returns: RadarReturns, boxes: Detections) -> NDArray[np.bool_]:
    """Return (N, P) which returns lie on the footprint of which box.

    A return of an earlier scan is moved by the box's velocity since then, where it is known.
    Heights do not count: most radars measure none.
    """
    points, age_s = returns.points, returns.points[:, 6]
    velocity = np.nan_to_num(boxes.velocity_mps)
    offset = points[None, :, :2] + velocity[:, None] * age_s[None, :, None]
    offset -= boxes.center_m[:, None, :2]
    cos, sin = np.cos(boxes.yaw_rad)[:, None], np.sin(boxes.yaw_rad)[:, None]
    along = np.abs(cos * offset[..., 0] + sin * offset[..., 1])
    across = np.abs(cos * offset[..., 1] - sin * offset[..., 0])
    half = boxes.size_m[:, :2] / 2 + MARGIN_M
    return np.asarray((along <= half[:, :1]) & (across <= half[:, 1:]))


def doppler_targets(returns: RadarReturns, inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return (N, 4) ux, uy, radial speed (m/s, positive away from the radar) and weight.

    u is the mean of the lines of sight and not of length 1 where several radars see one object:
    so `v . u = s` stays exact for an object that does not turn. The weight is n / (n + 1) for n
    returns, 0 for none.

    Args:
        returns: in the frame of the boxes.
        inside: (N, P) which of them lie on which box.
    """
    sight = returns.points[:, :2] - returns.origin_m
    sight = sight / np.maximum(np.linalg.norm(sight, axis=1, keepdims=True), 1e-6)
    speed_mps = (sight * returns.points[:, 4:6]).sum(axis=1)
    measured = np.concatenate([sight, speed_mps[:, None]], axis=1)
    count = inside.sum(axis=1)
    mean = (inside.astype(np.float32) @ measured) / np.maximum(count, 1)[:, None]
    weight = count / (count + 1)
    return np.concatenate([mean, weight[:, None]], axis=1).astype(np.float32)
