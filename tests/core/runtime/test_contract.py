# SPDX-License-Identifier: Apache-2.0
"""The contract of names, dtypes and shapes, held against what preprocessing really gives."""

import numpy as np
import pytest

from imkd_core.preprocess import prepare_inputs
from imkd_core.runtime.contract import TensorSpec, input_contract, output_contract
from tests.core.rigs import frame_of, rig_of, spec_of
from tests.core.runtime.made_up_bundle import HEAD


@pytest.mark.parametrize("cameras", [0, 1, 6])
@pytest.mark.parametrize("changes", [{}, {"radar_refinement": 3, "lut_taps": 4}])
def test_prepared_inputs_are_the_contract(cameras, changes):
    spec = spec_of(**changes)
    rig = rig_of(cameras=cameras)
    inputs = prepare_inputs(frame_of(rig), rig, spec)
    contract = input_contract(spec)
    assert list(inputs) == list(contract)
    for name, value in inputs.items():
        assert contract[name].accepts(value.dtype, value.shape), name


def test_rows_come_before_columns():
    spec = spec_of()
    assert input_contract(spec)["radar_grid"].shape == (12, 80, 128)
    assert output_contract(spec, HEAD)["i_cam"].shape == (40, 64)


def test_specs_compare_dtype_rank_and_fixed_sizes():
    spec = TensorSpec(dtype=np.dtype(np.uint8), shape=(None, 3))
    assert spec.accepts(np.dtype(np.uint8), (7, 3))
    assert spec.accepts(np.dtype(np.uint8), (None, None))
    assert not spec.accepts(np.dtype(np.int8), (7, 3))
    assert not spec.accepts(np.dtype(np.uint8), (7, 4))
    assert not spec.accepts(np.dtype(np.uint8), (3,))
    assert str(spec) == "uint8 [?, 3]"
