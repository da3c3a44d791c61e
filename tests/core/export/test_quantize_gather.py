# SPDX-License-Identifier: Apache-2.0
from collections import Counter

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import load

from imkd_core.export.quantize_gather import gather_in_pieces
from imkd_core.export.simplify import simplify
from imkd_core.model.view_transform import gather_cells

CELLS, TAPS, ROWS, CHANNELS = 48, 4, 30, 5


class Cells(torch.nn.Module):
    def forward(self, rows, lut_index, lut_weight):
        return gather_cells(rows, lut_index, lut_weight)


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(3)
    return {
        "rows": rng.normal(size=(ROWS, CHANNELS)).astype(np.float32),
        "lut_index": rng.integers(0, ROWS, (CELLS, TAPS)).astype(np.int32),
        "lut_weight": rng.random((CELLS, TAPS)).astype(np.float32),
    }


@pytest.fixture(scope="module")
def graph(arrays, tmp_path_factory):
    """The model's own function, as it is exported."""
    path = tmp_path_factory.mktemp("gather") / "cells.onnx"
    example = tuple(torch.from_numpy(value) for value in arrays.values())
    torch.onnx.export(
        Cells().eval(), example, path, input_names=list(arrays), dynamo=True, external_data=False
    )
    return simplify(load(path))


def run(model, arrays):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, arrays)[0]


def operators(model):
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("pieces", [2, 8, 16])
def test_pieces_give_the_same_bits(graph, arrays, pieces):
    changed = gather_in_pieces(graph, pieces)
    found = operators(changed)
    assert (found["Gather"], found["MatMul"], found["Concat"]) == (pieces, pieces, 1)
    np.testing.assert_array_equal(run(changed, arrays), run(graph, arrays))
    assert operators(graph)["MatMul"] == 1


def test_what_cannot_be_divided_or_is_no_such_sum_stays(graph):
    assert gather_in_pieces(graph, 7) == graph
    twice = gather_in_pieces(graph, 2)
    assert operators(gather_in_pieces(twice, 2)) == operators(twice)
