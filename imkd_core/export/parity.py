# SPDX-License-Identifier: Apache-2.0
"""Does the exported file say what the network says? Torch against any backend, frame by frame."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imkd_core.errors import BundleError
from imkd_core.export.graph import DeployedStudent
from imkd_core.runtime.backends import Backend

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """Largest differences that are still the same answer.

    Attributes:
        score: of a probability.
        center_m: of a box's centre, any axis.
        gate: of I_cam and I_rad.
        memory: of the map to keep, as a share of its largest value.
    """

    score: float = 1e-3
    center_m: float = 0.01
    gate: float = 1e-3
    memory: float = 1e-3


@dataclass(frozen=True, kw_only=True)
class ParityFigures:
    """Largest differences between network and backend.

    Attributes:
        score: of the descending scores, rank by rank.
        center_m: of the centres of matched candidates.
        box: of all numbers of matched candidates (metres, sine and cosine, metres a second).
        gate: of I_cam and I_rad.
        candidates: how many were matched; those at the cut-off, where a difference within the
            tolerance decides who is in, are left out.
        memory: of the map to keep, as a share of its largest value; None without a memory.
    """

    score: float
    center_m: float
    box: float
    gate: float
    candidates: int
    memory: float | None = None

    def as_dict(self) -> dict[str, float]:
        """Return the figures that there are by name, for a report."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def check_parity(
    network: DeployedStudent,
    backend: Backend,
    frame: Mapping[str, Tensor],
    tolerance: Tolerance | None = None,
) -> ParityFigures:
    """Run one frame through both and compare.

    Args:
        network: in float32, as it was exported.
        backend: runs the exported file.
        frame: inputs without batch axis.
        tolerance: what still passes.

    Raises:
        BundleError: a figure exceeds its tolerance.
        BackendError: the backend refuses the frame.
    """
    tolerance = tolerance or Tolerance()
    figures = measure_parity(network, backend, frame, tolerance)
    for name in ("score", "center_m", "gate", "memory"):
        value, allowed = getattr(figures, name), getattr(tolerance, name)
        if value is not None and not value <= allowed:
            raise BundleError(
                f"{backend.name} differs from the network: {name} by {value:.3g}, allowed "
                f"{allowed:.3g}; export again, with float32 weights"
            )
    return figures


def measure_parity(
    network: DeployedStudent,
    backend: Backend,
    frame: Mapping[str, Tensor],
    tolerance: Tolerance | None = None,
) -> ParityFigures:
    """Return the differences of one frame, without judging them."""
    with torch.no_grad():
        expected = {name: value.numpy() for name, value in network(**frame)._asdict().items()}
    actual = backend.run({name: value.numpy() for name, value in frame.items()})
    return compare_outputs(expected, actual, tolerance or Tolerance())


def compare_outputs(
    expected: Mapping[str, Array], actual: Mapping[str, Array], tolerance: Tolerance
) -> ParityFigures:
    """Compare two sets of graph outputs; candidates may swap ranks where scores tie."""
    gates = [np.abs(actual[name] - expected[name]).max() for name in ("i_cam", "i_rad")]
    errors = np.array(
        [
            _nearest_error(label, expected, actual, tolerance)
            for label in np.unique(expected["labels"])
        ]
    ).reshape(-1, 3)
    return ParityFigures(
        score=float(np.abs(actual["scores"] - expected["scores"]).max()),
        center_m=float(errors[:, 0].max(initial=0.0)),
        box=float(errors[:, 1].max(initial=0.0)),
        gate=float(max(gates)),
        candidates=int(errors[:, 2].sum()),
        memory=_memory_error(expected, actual) if "memory" in expected else None,
    )


def _memory_error(expected: Mapping[str, Array], actual: Mapping[str, Array]) -> float:
    largest = max(float(np.abs(expected["memory"]).max()), 1e-6)
    return float(np.abs(actual["memory"] - expected["memory"]).max()) / largest


def _nearest_error(
    label: int, expected: Mapping[str, Array], actual: Mapping[str, Array], tolerance: Tolerance
) -> tuple[float, float, int]:
    """Return centre error, box error and count of one class, each candidate to its likeliest twin.

    The twin is nearest in centre and score together, each in units of its tolerance.
    """
    cut_off = expected["scores"].min() + 2 * tolerance.score
    wanted = (expected["labels"] == label) & (expected["scores"] > cut_off)
    offered = actual["labels"] == label
    if not wanted.any():
        return 0.0, 0.0, 0
    if not offered.any():
        return np.inf, np.inf, int(wanted.sum())
    ours, theirs = expected["boxes"][wanted], actual["boxes"][offered]
    apart = np.abs(ours[:, None] - theirs[None])
    center_m = apart[:, :, :3].max(axis=2)
    score = np.abs(expected["scores"][wanted][:, None] - actual["scores"][offered][None])
    twin = np.maximum(center_m / tolerance.center_m, score / tolerance.score).argmin(axis=1)
    rows = np.arange(len(ours))
    return float(center_m[rows, twin].max()), float(apart[rows, twin].max()), len(ours)
