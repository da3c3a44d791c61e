# SPDX-License-Identifier: Apache-2.0
"""Network inputs of recorded frames, by the vehicle's own detector."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.data.calibration_frames import calibration_inputs, spread, with_warm_up
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.errors import DataError
from imkd_core.runtime.backends import open_backend
from imkd_core.runtime.contract import input_contract
from tests.core.data.made_up import write_dataroot
from tests.core.runtime.made_up_bundle import make_bundle


@dataclass(frozen=True)
class Named:
    scene: str


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    root = tmp_path_factory.mktemp("drives")
    data = write_dataroot(root, frames=2, scenes=2, cameras=("CAM_FRONT", "CAM_BACK"), sweeps=0)
    return NuScenes(data.root).samples()


def test_inputs_are_those_of_the_contract_and_differ_from_frame_to_frame(bundle, samples):
    told = []
    given = calibration_inputs(
        samples, 3, bundle, open_backend(bundle), lambda *counts: told.append(counts)
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    contract = input_contract(bundle.inputs)
    for inputs in given:
        assert set(inputs) == set(contract)
        for name, spec in contract.items():
            assert spec.accepts(inputs[name].dtype, inputs[name].shape)
    _, earlier, later = (inputs["images"] for inputs in given)  # the last two are of one scene
    assert (earlier != later).any()  # copies, not one buffer


def test_fewer_frames_than_asked_for_are_all_taken(bundle, samples):
    assert len(calibration_inputs(samples, 99, bundle, open_backend(bundle))) == len(samples)


def test_no_sample_is_refused(bundle):
    with pytest.raises(DataError, match="no key frame to calibrate on"):
        calibration_inputs([], 4, bundle, open_backend(bundle))


@given(st.integers(1, 300), st.integers(1, 80))
def test_chosen_frames_are_spread_evenly(total, count):
    chosen = spread(total, count)
    assert len(chosen) == min(total, count)
    assert 0 <= chosen[0] <= chosen[-1] < total
    gaps = np.diff([-chosen[-1] - 1, *chosen]) if len(chosen) == 1 else np.diff(chosen)
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1


def test_frames_before_a_chosen_one_are_run_for_the_memory_but_never_of_another_scene():
    samples = [Named("a")] * 4 + [Named("b")] * 4
    assert with_warm_up(samples, [3, 5], 2) == [1, 2, 3, 4, 5]
    assert with_warm_up(samples, [0, 4], 3) == [0, 4]
    assert with_warm_up(samples, [2, 6], 0) == [2, 6]
