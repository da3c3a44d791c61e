# SPDX-License-Identifier: Apache-2.0
"""The contract of names, dtypes and shapes, held against what preprocessing really gives."""

from pathlib import Path

import numpy as np
import pytest

from imkd_core.config import MemorySpec
from imkd_core.errors import BackendError
from imkd_core.preprocess import prepare_inputs
from imkd_core.runtime.contract import (
    TensorSpec,
    check_arrays,
    check_contract,
    check_finite,
    input_contract,
    output_contract,
)
from tests.core.rigs import frame_of, rig_of, spec_of
from tests.core.runtime.made_up_bundle import HEAD

MODEL = Path("model.onnx")


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


def test_arrays_and_models_that_do_not_fit_are_refused_by_name():
    expected = {"a": TensorSpec(dtype=np.dtype(np.float32), shape=(None, 2))}
    check_arrays(MODEL, expected, {"a": np.zeros((5, 2), np.float32)})
    check_contract(MODEL, "input", expected, expected)
    with pytest.raises(BackendError, match=r"missing .'a'.*unknown .'b'"):
        check_arrays(MODEL, expected, {"b": np.zeros(1)})
    with pytest.raises(BackendError, match="input 'a' is float32"):
        check_arrays(MODEL, expected, {"a": np.zeros((5, 3), np.float32)})
    other = {"a": TensorSpec(dtype=np.dtype(np.int32), shape=(None, 2))}
    with pytest.raises(BackendError, match="output 'a' is int32"):
        check_contract(MODEL, "output", other, expected)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_by_name(value):
    check_finite({"a": np.zeros(3), "labels": np.zeros(3, np.int32)})
    with pytest.raises(BackendError, match="not finite in 'a'"):
        check_finite({"a": np.array([0.0, value])})


def test_a_memory_adds_its_arrays_and_nothing_else():
    memory = MemorySpec(kind="window", frames=3, channels=8)
    plain, spec = spec_of(), spec_of(memory=memory)
    extra = {n: v for n, v in input_contract(spec).items() if n not in input_contract(plain)}
    assert {name: value.shape for name, value in extra.items()} == {
        "history": (3, 8, 40, 64),
        "history_transform": (3, 2, 3),
        "history_age_s": (3,),
        "history_mask": (3,),
    }
    assert all(value.dtype == np.float32 for value in extra.values())
    assert list(input_contract(spec))[: len(input_contract(plain))] == list(input_contract(plain))
    outputs = output_contract(spec, HEAD)
    assert outputs.pop("memory").shape == (8, 40, 64)
    assert outputs == output_contract(plain, HEAD)
