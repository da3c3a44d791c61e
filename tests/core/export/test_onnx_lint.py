# SPDX-License-Identifier: Apache-2.0
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from imkd_core.errors import BundleError
from imkd_core.export.onnx_lint import check_operators, lint_operators

F, U8, I32, I64 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64


def model_of(nodes, inputs, outputs, constants=(), opset=20):
    values = [helper.make_tensor_value_info(n, t, s) for n, t, s in inputs]
    results = [helper.make_tensor_value_info(n, t, s) for n, t, s in outputs]
    weights = [numpy_helper.from_array(array, name) for name, array in constants]
    graph = helper.make_graph(nodes, "g", values, results, weights)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.example", 1)]
    return helper.make_model(graph, opset_imports=opsets)


def scatter(operator, **attributes):
    node = helper.make_node(operator, ["x", "i", "u"], ["y"], name="s", **attributes)
    inputs = [("x", F, [5]), ("i", I64, [2, 1] if operator == "ScatterND" else [2]), ("u", F, [2])]
    return model_of([node], inputs, [("y", F, [5])])


def top_k(k):
    node = helper.make_node("TopK", ["x", "k"], ["v", "i"], name="t")
    outputs = [("v", F, [None]), ("i", I64, [None])]
    return model_of([node], [("x", F, [9000])], outputs, [("k", np.array([k]))])


def grid_sample(rank):
    node = helper.make_node("GridSample", ["x", "g"], ["y"], name="gs")
    shape = [1, 2, *[4] * (rank - 2)]
    grid = [1, *[4] * (rank - 2), rank - 2]
    return model_of([node], [("x", F, shape), ("g", F, grid)], [("y", F, shape)])


def transpose(dtype):
    node = helper.make_node("Transpose", ["x"], ["y"], name="tr", perm=[1, 0])
    return model_of([node], [("x", dtype, [2, 3])], [("y", dtype, [3, 2])])


def dequantize(dtype):
    node = helper.make_node("DequantizeLinear", ["x", "s"], ["y"], name="dq")
    return model_of([node], [("x", dtype, [4]), ("s", F, [])], [("y", F, [4])])


def cumulative_sum():
    node = helper.make_node("CumSum", ["x", "a"], ["y"], name="cs")
    return model_of([node], [("x", F, [4])], [("y", F, [4])], [("a", np.array(0))])


def custom():
    node = helper.make_node("Pool", ["x"], ["y"], name="c", domain="com.example")
    return model_of([node], [("x", F, [4])], [("y", F, [4])])


def hidden_in_a_branch():
    bad = helper.make_node("CumSum", ["x", "a"], ["b"], name="inner")
    good = helper.make_node("Identity", ["x"], ["c"])
    branches = [
        helper.make_graph([node], "b", [], [helper.make_tensor_value_info(out, F, [4])])
        for node, out in ((bad, "b"), (good, "c"))
    ]
    node = helper.make_node(
        "If", ["q"], ["y"], name="if", then_branch=branches[0], else_branch=branches[1]
    )
    inputs = [("q", TensorProto.BOOL, []), ("x", F, [4])]
    return model_of([node], inputs, [("y", F, [4])], [("a", np.array(0))])


@pytest.mark.parametrize(
    ("model", "node"),
    [
        (scatter("ScatterND", reduction="add"), "s"),
        (scatter("ScatterElements", reduction="max"), "s"),
        (top_k(3841), "t"),
        (grid_sample(5), "gs"),
        (transpose(U8), "tr"),
        (dequantize(I32), "dq"),
        (cumulative_sum(), "cs"),
        (custom(), "c"),
        (hidden_in_a_branch(), "inner"),
    ],
)
def test_an_operator_that_a_target_cannot_run_is_named(model, node):
    findings = lint_operators(model)
    assert [finding.node for finding in findings] == [node]
    with pytest.raises(BundleError, match=f"'{node}'"):
        check_operators(model)


@pytest.mark.parametrize(
    "model",
    [
        scatter("ScatterND"),
        scatter("ScatterElements", reduction="none"),
        top_k(3840),
        grid_sample(4),
        transpose(F),
        dequantize(TensorProto.INT8),
        dequantize(U8),
    ],
)
def test_its_harmless_sister_passes(model):
    assert lint_operators(model) == []
    check_operators(model)


def test_a_k_that_is_computed_is_refused():
    node = helper.make_node("TopK", ["x", "k"], ["v", "i"], name="t")
    outputs = [("v", F, [None]), ("i", I64, [None])]
    model = model_of([node], [("x", F, [9]), ("k", I64, [1])], outputs)
    assert "constant" in lint_operators(model)[0].reason


def test_a_file_is_read_and_a_nameless_node_goes_by_its_output(tmp_path):
    model = cumulative_sum()
    model.graph.node[0].name = ""
    onnx.save(model, tmp_path / "m.onnx")
    assert lint_operators(tmp_path / "m.onnx")[0].node == "y"
