# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.errors import BundleError
from imkd_core.export.graph import deploy
from imkd_core.export.parity import Tolerance, check_parity, compare_outputs
from imkd_core.model.example import example_inputs
from tests.core.model.small import INPUTS, small_student

M, Y, X = 40, 3, 5


def made_up_outputs(seed):
    rng = np.random.default_rng(seed)
    return {
        "scores": np.sort(rng.random(M).astype(np.float32))[::-1].copy(),
        "labels": rng.integers(0, 3, M).astype(np.int32),
        "boxes": rng.normal(0, 20, (M, 10)).astype(np.float32),
        "i_cam": rng.random((Y, X), dtype=np.float32),
        "i_rad": rng.random((Y, X), dtype=np.float32),
    }


@given(seed=st.integers(0, 1000))
def test_equal_outputs_do_not_differ(seed):
    outputs = made_up_outputs(seed)
    figures = compare_outputs(outputs, outputs, Tolerance())
    assert (figures.score, figures.center_m, figures.box, figures.gate) == (0, 0, 0, 0)
    assert figures.candidates >= M - 3


@given(seed=st.integers(0, 1000), rank=st.integers(0, M - 3))
def test_candidates_that_swap_ranks_at_a_tie_are_still_equal(seed, rank):
    outputs = made_up_outputs(seed)
    outputs["scores"][rank + 1] = outputs["scores"][rank]
    order = np.arange(M)
    order[[rank, rank + 1]] = order[[rank + 1, rank]]
    swapped = {
        name: value[order] if name in ("labels", "boxes", "scores") else value
        for name, value in outputs.items()
    }
    figures = compare_outputs(outputs, swapped, Tolerance())
    assert (figures.score, figures.box) == (0, 0)


@given(shift_m=st.floats(0.02, 0.5), rank=st.integers(0, M // 2))
def test_a_moved_box_is_seen_by_as_much_as_it_moved(shift_m, rank):
    outputs = made_up_outputs(3)
    moved = dict(outputs, boxes=outputs["boxes"].copy())
    moved["boxes"][rank, 1] += shift_m
    figures = compare_outputs(outputs, moved, Tolerance())
    assert figures.center_m == pytest.approx(shift_m, rel=1e-3)


def test_a_changed_size_velocity_label_or_gate_is_seen():
    outputs = made_up_outputs(4)
    boxes = outputs["boxes"].copy()
    boxes[2, 9] += 0.5
    velocity = compare_outputs(outputs, dict(outputs, boxes=boxes), Tolerance())
    assert velocity.box == pytest.approx(0.5, rel=1e-3)
    assert velocity.center_m == 0
    label = dict(outputs, labels=np.full(M, 7, np.int32))
    assert compare_outputs(outputs, label, Tolerance()).center_m == np.inf
    gate = dict(outputs, i_cam=outputs["i_cam"] + 0.1)
    assert compare_outputs(outputs, gate, Tolerance()).gate == pytest.approx(0.1, rel=1e-3)


class Shifted:
    """A backend whose scores are off by a known amount."""

    name = "shifted"

    def __init__(self, network, score):
        self.network, self.score = network, score

    def run(self, inputs):
        frame = example_inputs(INPUTS, 2)
        outputs = {key: value.numpy() for key, value in self.network(**frame)._asdict().items()}
        return dict(outputs, scores=outputs["scores"] + np.float32(self.score))

    def close(self):
        pass


def test_a_backend_that_differs_is_refused_with_the_figure():
    frame = example_inputs(INPUTS, 2)
    network = deploy(small_student(), frame).requires_grad_(False)
    assert check_parity(network, Shifted(network, 5e-4), frame).score < 1e-3
    with pytest.raises(BundleError, match=r"score by 0\.002"):
        check_parity(network, Shifted(network, 2e-3), frame)
