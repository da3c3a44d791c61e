# SPDX-License-Identifier: Apache-2.0
"""A ladder of camera and of radar faults: NDS of the shipped student at each step, offline.

Cameras in the manner of MultiCorrupt's ladder, three severities each: blur, darkness, brightness,
and fog. Radars: 25, 50, 75 % of the returns dropped; positions with noise;
ghosts; mounted askew by 1, 2, 5 degrees. Every sensor of the kind has the fault. No step may be
worse than the other kind alone by more than a point of NDS. By the machinery of `imkd evaluate`, on
the drives of `loss_table`.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from imkd_core.cli.evaluation.run import EvaluationOptions, evaluate_bundle
from imkd_core.evaluation.losses import ALL_CAMERAS, ALL_RADARS, Loss
from imkd_core.types import Frame
from tests.faults import loss_table
from tests.faults.suite import Context, Figure, at_least, told

Pixels = NDArray[np.uint8]
Points = NDArray[np.float32]

#: What a step may fall below the other kind alone, NDS.
SLACK = 0.01


@dataclass(frozen=True, kw_only=True)
class Step(Loss):
    """A step of the ladder; like a loss, it takes a frame and gives another one.

    Attributes:
        fault: a key of `CAMERA_FAULTS` or `RADAR_FAULTS`.
        amount: how much, in the fault's unit.
    """

    fault: str
    amount: float

    @property
    def name(self) -> str:
        """What to call it, and its files."""
        return f"{self.fault} {self.amount:g}"

    def count(self, cameras: int, radars: int) -> int:
        """No sensor is lost."""
        del cameras, radars
        return 0

    def apply(self, frame: Frame) -> Frame:
        """Return the frame with the fault in all sensors of its kind; the same frame, the same."""
        if self.fault in CAMERA_FAULTS:
            change = CAMERA_FAULTS[self.fault]
            return replace(
                frame,
                cameras={
                    name: replace(image, pixels=change(image.pixels, self.amount))
                    for name, image in frame.cameras.items()
                },
            )
        spoil = RADAR_FAULTS[self.fault]
        radars = {}
        for name, clouds in frame.radars.items():
            # a radar's scans of a frame are seeded by their stamps: each has chance of its own
            radars[name] = tuple(
                replace(one, points=spoil(one.points, self.amount, _rng(name, one.stamp_ns)))
                for one in clouds
            )
        return replace(frame, radars=radars)


def _rng(name: str, stamp_ns: int) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(name.encode()), stamp_ns])


def _blur(pixels: Pixels, sigma_share: float) -> Pixels:
    """Blur by a share of the width."""
    blurred = cv2.GaussianBlur(pixels, (0, 0), sigma_share * pixels.shape[1])
    return np.asarray(blurred, np.uint8)


def _gain(pixels: Pixels, gain: float) -> Pixels:
    return np.asarray(np.clip(pixels * gain, 0, 255), np.uint8)


def _fog(pixels: Pixels, share: float) -> Pixels:
    """Mix with grey."""
    return np.asarray(np.clip(pixels * (1 - share) + 190 * share, 0, 255), np.uint8)


def _drop(points: Points, share: float, rng: np.random.Generator) -> Points:
    return points[rng.random(len(points)) >= share]


def _noise(points: Points, sigma_m: float, rng: np.random.Generator) -> Points:
    changed = points.copy()
    changed[:, :2] += rng.normal(0, sigma_m, (len(points), 2)).astype(np.float32)
    return changed


def _ghosts(points: Points, share: float, rng: np.random.Generator) -> Points:
    """Add a share of the returns again, elsewhere in the field of view."""
    if not len(points):
        return points
    ghosts = points[rng.integers(0, len(points), round(share * len(points)))].copy()
    range_m = np.hypot(ghosts[:, 0], ghosts[:, 1]) * rng.uniform(0.5, 1.5, len(ghosts))
    azimuth = rng.uniform(-1.0, 1.0, len(ghosts))
    ghosts[:, 0], ghosts[:, 1] = range_m * np.cos(azimuth), range_m * np.sin(azimuth)
    return np.concatenate([points, ghosts])


def _askew(points: Points, degrees: float, rng: np.random.Generator) -> Points:
    """Turn positions and velocities about the radar."""
    del rng
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    changed = points.copy()
    for first in (0, 4):
        changed[:, first : first + 2] = points[:, first : first + 2] @ turn.T
    return changed


CAMERA_FAULTS: dict[str, Callable[[Pixels, float], Pixels]] = {
    "cameras blurred by": _blur,
    "cameras dark by": _gain,
    "cameras bright by": _gain,
    "cameras in fog of": _fog,
}
RADAR_FAULTS: dict[str, Callable[[Points, float, np.random.Generator], Points]] = {
    "radar returns dropped": _drop,
    "radar noise of m": _noise,
    "radar ghosts": _ghosts,
    "radars askew by degrees": _askew,
}
_AMOUNTS: dict[str, tuple[float, ...]] = {
    "cameras blurred by": (0.002, 0.005, 0.01),
    "cameras dark by": (0.5, 0.25, 0.1),
    "cameras bright by": (1.5, 2.5, 4.0),
    "cameras in fog of": (0.3, 0.5, 0.7),
    "radar returns dropped": (0.25, 0.5, 0.75),
    "radar noise of m": (0.25, 0.5, 1.0),
    "radar ghosts": (0.25, 0.5, 1.0),
    "radars askew by degrees": (1.0, 2.0, 5.0),
}


def steps() -> tuple[Step, ...]:
    """Return all steps."""
    return tuple(
        Step(sensors=(f"{fault} {amount:g}",), fault=fault, amount=amount)
        for fault, amounts in _AMOUNTS.items()
        for amount in amounts
    )


def run(context: Context) -> list[Figure]:
    """Evaluate every step."""
    data = loss_table.drives(context)
    alone = (Loss(sensors=(ALL_CAMERAS,)), Loss(sensors=(ALL_RADARS,)))
    losses = (*alone, *steps())
    chosen = EvaluationOptions(losses=losses, workers=loss_table.WORKERS, report=False)
    evaluation = evaluate_bundle(context.bundle, data, context.folder, chosen)
    nds = {
        loss: condition.metrics.nds
        for loss, condition in zip((Loss(), *losses), evaluation.conditions, strict=True)
    }
    whole = nds[Loss()]
    figures = [told("ladder: NDS, nothing wrong", round(whole, 4))]
    for step in steps():
        other = alone[0] if step.fault in CAMERA_FAULTS else alone[1]
        bound = nds[other] - SLACK
        note = f"{100 * nds[step] / max(whole, 1e-9):.0f} % of all sensors; bound: {other.name}"
        figures.append(at_least(f"ladder: NDS, {step.name}", nds[step], round(bound, 4), "", note))
    return figures
