# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from imkd_core.config import BOX_CODE
from imkd_core.model.center_head import VELOCITY_UNIT_MPS, CenterHead, CodeConv, decode
from tests.core.model.small import GRID, HEAD

Y, X = GRID.shape
CODES = len(HEAD.tasks) * len(BOX_CODE)


def blank_maps(batch=1):
    return torch.full((batch, 3, Y, X), -12.0), torch.zeros(batch, CODES, Y, X)


@given(
    label=st.integers(0, 2),
    row=st.integers(0, Y - 1),
    column=st.integers(0, X - 1),
    offset=st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
)
def test_a_peak_becomes_a_box_at_its_cell(label, row, column, offset):
    logits, codes = blank_maps()
    logits[0, label, row, column] = 3.0
    code = torch.tensor([*offset, 0.7, 1.5, 0.6, 0.4, 0.8, -0.6, 3.0, -2.0])
    start = HEAD.task_of_class[label] * len(BOX_CODE)
    codes[0, start : start + len(BOX_CODE), row, column] = code
    scores, labels, boxes = decode(logits, codes, HEAD, GRID)
    center = torch.tensor(GRID.centers()[row, column], dtype=torch.float32)
    assert labels[0, 0] == label
    assert labels.dtype == torch.int32
    torch.testing.assert_close(scores[0, 0], torch.tensor(3.0).sigmoid())
    torch.testing.assert_close(boxes[0, 0, :2], center + code[:2], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(boxes[0, 0, 3:6], code[3:6].exp())
    torch.testing.assert_close(boxes[0, 0, [2, 6, 7, 8, 9]], code[[2, 6, 7, 8, 9]])


def test_scores_descend_and_are_the_best_of_all_classes():
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, Y, X, generator=rng)
    scores, labels, _ = decode(logits, torch.zeros(2, CODES, Y, X), HEAD, GRID)
    assert scores.shape == labels.shape == (2, HEAD.candidates)
    assert (scores.diff(dim=1) <= 0).all()
    expected = logits.sigmoid().flatten(1).sort(dim=1, descending=True).values
    torch.testing.assert_close(scores, expected[:, : HEAD.candidates])


def test_two_neighbours_survive_without_the_peak_filter_and_one_with_it():
    logits, codes = blank_maps()
    logits[0, 1, 5, 9], logits[0, 1, 5, 10] = 2.0, 1.0
    scores, _, _ = decode(logits, codes, HEAD, GRID)
    assert (scores > 0.5).sum() == 2
    filtered, _, boxes = decode(logits, codes, replace(HEAD, peak_window=3), GRID)
    assert (filtered > 0.5).sum() == 1
    assert boxes[0, 0, 0] == pytest.approx(GRID.centers()[5, 9, 0])


def test_sizes_stay_finite_whatever_the_codes_say():
    logits, codes = blank_maps()
    codes[:] = 1e4
    _, _, boxes = decode(logits, codes, HEAD, GRID)
    assert torch.isfinite(boxes).all()
    assert boxes[0, :, 3:6].max() < 60


def test_half_precision_maps_are_decoded_in_float32():
    logits, codes = blank_maps()
    logits[0, 0, 3, X - 1] = 4.0
    _, _, boxes = decode(logits.half(), codes.half(), HEAD, GRID)
    assert boxes.dtype == torch.float32
    assert boxes[0, 0, 0] == pytest.approx(GRID.centers()[3, X - 1, 0])


def test_the_towers_give_one_map_per_class_and_ten_per_task():
    head = CenterHead(12, 8, HEAD).eval()
    logits, codes = head(torch.randn(2, 12, Y, X))
    assert logits.shape == (2, 3, Y, X)
    assert codes.shape == (2, CODES, Y, X)


def test_speeds_have_a_unit_of_their_own_and_nothing_else_has():
    torch.manual_seed(0)
    layer = CodeConv(4, tasks=2)
    x = torch.randn(1, 4, 3, 5)
    plain = nn.functional.conv2d(x, layer.weight, layer.bias)
    unit = torch.ones(2, len(BOX_CODE))
    unit[:, -2:] = VELOCITY_UNIT_MPS
    torch.testing.assert_close(layer(x), plain * unit.reshape(1, -1, 1, 1))
    assert "unit" not in layer.state_dict()
