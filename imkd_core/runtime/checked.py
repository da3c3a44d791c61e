# SPDX-License-Identifier: Apache-2.0
"""What all backends have in common: outputs are judged, and a first run on zeros is not.

What fails at its first run fails in that one, before a vehicle relies on the model.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from imkd_core.runtime.contract import TensorSpec, check_finite


class CheckedBackend(ABC):
    """A backend that says how it infers; see `backends.Backend`.

    Attributes:
        inputs: name -> what the model takes.
        substitution: why another backend runs the model than was asked for; empty = none does.
    """

    inputs: Mapping[str, TensorSpec]
    substitution = ""

    @abstractmethod
    def infer(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """Return the outputs by name, whatever they are.

        Raises:
            DeviceError: the run failed.
            BackendError: the backend is closed, or an input does not fit.
        """

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """Return the outputs by name.

        Raises:
            DeviceError: the run failed.
            BackendError: the backend is closed, an input does not fit, or an output is not finite.
        """
        outputs = self.infer(inputs)
        check_finite(outputs)
        return outputs

    def warm_up(self, cameras: int) -> None:
        """Run once on zeros, whatever comes of it: a failure shows, and the next run is faster.

        Args:
            cameras: of the rig, where the model leaves their number open.

        Raises:
            BackendError: the run failed.
        """
        self.infer(zero_inputs(self.inputs, cameras))


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
