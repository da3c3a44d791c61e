# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from imkd_core.errors import BackendError
from imkd_core.runtime.checked import CheckedBackend, zero_inputs
from imkd_core.runtime.contract import input_contract
from tests.core.runtime.made_up_bundle import SPEC


def test_zeros_are_what_the_model_takes_for_that_many_cameras():
    specs = input_contract(SPEC)
    arrays = zero_inputs(specs, 3)
    assert set(arrays) == set(specs)
    for name, spec in specs.items():
        assert spec.accepts(arrays[name].dtype, arrays[name].shape), name
        assert not arrays[name].any()
    assert arrays["images"].shape[0] == 3


class Doubling(CheckedBackend):
    """A backend that doubles, or fails."""

    inputs = input_contract(SPEC)

    def __init__(self, scale):
        self.scale, self.given = scale, []

    def infer(self, inputs):
        self.given.append(inputs)
        if self.scale is None:
            raise BackendError("the run failed")
        return {"boxes": inputs["radar_mask"] * self.scale}


def test_outputs_that_are_not_finite_are_refused_in_a_run_and_not_in_the_first():
    backend = Doubling(np.float32("nan"))
    backend.warm_up(2)
    assert backend.given[0]["images"].shape[0] == 2
    with pytest.raises(BackendError, match="not finite in 'boxes'"):
        backend.run(zero_inputs(backend.inputs, 1))
    assert Doubling(2.0).run({"radar_mask": np.ones(1)})["boxes"] == 2


def test_a_first_run_that_fails_is_an_error():
    with pytest.raises(BackendError, match="the run failed"):
        Doubling(None).warm_up(1)
