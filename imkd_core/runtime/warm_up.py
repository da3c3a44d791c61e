# SPDX-License-Identifier: Apache-2.0
"""A first run on zeros: what fails in it fails before a vehicle relies on the model."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from imkd_core.runtime.contract import TensorSpec


def zero_inputs(specs: Mapping[str, TensorSpec], cameras: int) -> dict[str, NDArray[np.generic]]:
    """Return zeros for each input: all sensors are masked, all indices point at the first row.

    Args:
        specs: of the inputs.
        cameras: what an open size becomes.
    """
    return {
        name: np.zeros([cameras if size is None else size for size in spec.shape], spec.dtype)
        for name, spec in specs.items()
    }
