# SPDX-License-Identifier: Apache-2.0
from imkd_core.runtime.contract import input_contract
from imkd_core.runtime.warm_up import zero_inputs
from tests.core.runtime.made_up_bundle import SPEC


def test_zeros_are_what_the_model_takes_for_that_many_cameras():
    specs = input_contract(SPEC)
    arrays = zero_inputs(specs, 3)
    assert set(arrays) == set(specs)
    for name, spec in specs.items():
        assert spec.accepts(arrays[name].dtype, arrays[name].shape), name
        assert not arrays[name].any()
    assert arrays["images"].shape[0] == 3
