# SPDX-License-Identifier: Apache-2.0
"""Graphs that say the same with less: each rule by itself, and what it must leave alone."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from imkd_core.export.simplify import simplify

SHAPE = (1, 6, 5, 4)


def graph_of(nodes, constants, output, shape=SHAPE, index=False):
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))]
    if index:
        inputs.append(helper.make_tensor_value_info("lut_index", TensorProto.INT32, [3, 2]))
    graph = helper.make_graph(
        nodes,
        "g",
        inputs,
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model, **inputs):
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def operators(model):
    return [node.op_type for node in model.graph.node]


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(0, 5, SHAPE).astype(np.float32)


def pieces(bounds, axis=1):
    nodes, constants = [], {"axis": np.array([axis], np.int64), "step": np.array([1], np.int64)}
    for number, (start, end) in enumerate(bounds):
        constants[f"a{number}"] = np.array([start], np.int64)
        constants[f"b{number}"] = np.array([end], np.int64)
        inputs = ["x", f"a{number}", f"b{number}", "axis", "step"]
        nodes.append(helper.make_node("Slice", inputs, [f"p{number}"]))
    names = [f"p{number}" for number in range(len(bounds))]
    return [*nodes, helper.make_node("Concat", names, ["y"], axis=1)], constants


@pytest.mark.parametrize("axis", [1, -3, 2])
def test_a_softmax_over_an_inner_axis_is_computed_by_its_definition(x, axis):
    model = graph_of([helper.make_node("Softmax", ["x"], ["y"], axis=axis)], {}, "y")
    simple = simplify(model)
    assert "Softmax" not in operators(simple)
    np.testing.assert_allclose(run(simple, x=100 * x), run(model, x=100 * x), atol=1e-6)


def test_a_softmax_over_the_last_axis_stays():
    model = graph_of([helper.make_node("Softmax", ["x"], ["y"], axis=-1)], {}, "y")
    assert operators(simplify(model)) == ["Softmax"]


def test_the_only_row_is_squeezed_and_one_of_several_is_gathered(x):
    for axis, expected in ((0, "Squeeze"), (1, "Gather")):
        node = helper.make_node("Gather", ["x", "first"], ["y"], axis=axis)
        model = graph_of([node], {"first": np.array(0, np.int64)}, "y")
        simple = simplify(model)
        assert operators(simple) == [expected]
        np.testing.assert_array_equal(run(simple, x=x), run(model, x=x))


@pytest.mark.parametrize(
    ("bounds", "axis", "is_whole"),
    [
        ([(0, 4), (4, 6)], 1, True),
        ([(0, 4), (4, 2**62)], 1, True),
        ([(4, 6), (0, 4)], 1, False),
        ([(0, 3), (4, 6)], 1, False),
        ([(0, 4), (4, 5)], 1, False),
        ([(0, 2), (2, 4)], 2, False),
        ([(0, 4), (4, 2), (2, 6)], 1, False),
        ([(0, -1), (-1, 2**62)], 1, False),
    ],
)
def test_slices_that_make_the_whole_are_not_cut_others_are(x, bounds, axis, is_whole):
    model = graph_of(*pieces(bounds, axis), "y")
    simple = simplify(model)
    assert ("Slice" not in operators(simple)) == is_whole
    np.testing.assert_array_equal(run(simple, x=x), run(model, x=x))


def test_slices_along_no_named_axis_are_left_alone(x):
    names = [("from0", "to0"), ("from1", "to1")]
    nodes = [helper.make_node("Slice", ["x", *names[i]], [f"p{i}"]) for i in range(2)]
    nodes.append(helper.make_node("Concat", ["p0", "p1"], ["y"], axis=0))
    constants = {name: np.array([number % 2]) for number, name in enumerate(sum(names, ()))}
    model = graph_of(nodes, constants, "y")
    simple = simplify(model)
    np.testing.assert_array_equal(run(simple, x=x), run(model, x=x))


def test_joins_along_unlike_axes_that_begin_with_constants_stay_two(x):
    nodes = [
        helper.make_node("Concat", ["above", "x"], ["inner"], axis=1),
        helper.make_node("Concat", ["aside", "inner"], ["y"], axis=3),
    ]
    constants = {
        "above": np.ones((1, 1, 5, 4), np.float32),
        "aside": np.ones((1, 7, 5, 1), np.float32),
    }
    model = graph_of(nodes, constants, "y")
    simple = simplify(model)
    np.testing.assert_array_equal(run(simple, x=x), run(model, x=x))


def test_a_tensor_whose_rank_nobody_knows_is_left_alone():
    nodes = [
        helper.make_node("Expand", ["x", "shape"], ["wide"]),
        helper.make_node("Softmax", ["wide"], ["soft"], axis=1),
        helper.make_node("Concat", ["soft", "soft"], ["y"], axis=1),
    ]
    model = graph_of(nodes, {}, "y")
    model.graph.input.append(helper.make_tensor_value_info("shape", TensorProto.INT64, None))
    assert operators(simplify(model)) == ["Expand", "Softmax", "Concat"]


def test_a_join_of_a_join_is_one_join_and_along_another_axis_two(x):
    for axis, joins in ((1, 1), (2, 2)):
        nodes = [
            helper.make_node("Concat", ["x", "x"], ["inner"], axis=axis),
            helper.make_node("Relu", ["inner"], ["other"]),
            helper.make_node("Concat", ["inner", "other"], ["y"], axis=1),
        ]
        model = graph_of(nodes, {}, "y")
        simple = simplify(model)
        expected = joins if axis == 2 else 2  # the ReLU reads the inner join: it stays for it
        assert operators(simple).count("Concat") == expected
        np.testing.assert_array_equal(run(simple, x=x), run(model, x=x))


def test_the_table_of_look_ups_is_read_as_it_comes(x):
    nodes = [
        helper.make_node("Reshape", ["lut_index", "flat"], ["index"]),
        helper.make_node("Cast", ["index"], ["wide"], to=TensorProto.INT64),
        helper.make_node("Gather", ["x", "wide"], ["y"], axis=1),
    ]
    model = graph_of(nodes, {"flat": np.array([-1], np.int64)}, "y", index=True)
    simple = simplify(model)
    assert "Cast" not in operators(simple)
    index = np.array([[5, 0], [1, 1], [3, 2]], np.int32)
    taken = run(simple, x=x, lut_index=index)
    np.testing.assert_array_equal(taken, run(model, x=x, lut_index=index))


def test_another_cast_to_int64_stays(x):
    nodes = [
        helper.make_node("Slice", ["x", "from", "to"], ["some"]),
        helper.make_node("Relu", ["some"], ["positive"]),
        helper.make_node("Cast", ["positive"], ["wide"], to=TensorProto.INT64),
        helper.make_node("Clip", ["wide", "", "most"], ["index"]),
        helper.make_node("Gather", ["x", "wide"], ["y"], axis=1),
    ]
    constants = {
        "from": np.array([0], np.int64),
        "to": np.array([1], np.int64),
        "most": np.array(5, np.int64),
    }
    assert "Cast" in operators(simplify(graph_of(nodes, constants, "y")))


def test_what_nobody_reads_is_dropped_and_the_given_graph_left_alone(x):
    nodes = [
        helper.make_node("Neg", ["x"], ["aside"]),
        helper.make_node("Add", ["x", "one"], ["y"]),
    ]
    model = graph_of(nodes, {"one": np.float32(1), "unread": np.float32(2)}, "y")
    before = model.SerializeToString()
    simple = simplify(model)
    assert operators(simple) == ["Add"]
    assert [item.name for item in simple.graph.initializer] == ["one"]
    assert model.SerializeToString() == before
