# SPDX-License-Identifier: Apache-2.0
"""A graph of five convolutions with what a student has: a residual, a join, a linear head."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

LAYERS = ("stem", "first", "second", "third")


def small_graph():
    """x -> stem -> [first -> second -> + ] -> join with a float map -> third -> head (linear)."""
    rng = np.random.default_rng(0)
    shapes = {
        "stem": (4, 3, 3, 3),
        "first": (4, 4, 3, 3),
        "second": (4, 4, 3, 3),
        "third": (6, 7, 1, 1),
        "head": (2, 6, 1, 1),
    }
    weights = {}
    for name, shape in shapes.items():
        weights[f"{name}.weight"] = rng.normal(0, 0.3, shape).astype(np.float32)
        weights[f"{name}.bias"] = rng.normal(0, 0.1, shape[0]).astype(np.float32)

    def conv(name, source, pad):
        inputs = [source, f"{name}.weight", f"{name}.bias"]
        return helper.make_node("Conv", inputs, [name], name=name, pads=[pad] * 4)

    nodes = [
        helper.make_node("Mul", ["x", "half"], ["x_half"]),
        conv("stem", "x_half", 1),
        helper.make_node("Relu", ["stem"], ["stem_relu"]),
        conv("first", "stem_relu", 1),
        helper.make_node("Relu", ["first"], ["first_relu"]),
        conv("second", "first_relu", 1),
        helper.make_node("Add", ["second", "stem_relu"], ["sum_"]),
        helper.make_node("Relu", ["sum_"], ["sum_relu"]),
        helper.make_node("Concat", ["sum_relu", "x_half"], ["joint"], axis=1),
        conv("third", "joint", 0),
        helper.make_node("Relu", ["third"], ["third_relu"]),
        conv("head", "third_relu", 0),
        helper.make_node("Neg", ["x_half"], ["aside"]),
    ]
    weights["half"] = np.array(0.5, np.float32)
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 6, 10])],
        [
            helper.make_tensor_value_info("head", TensorProto.FLOAT, ["N", 2, 6, 10]),
            helper.make_tensor_value_info("aside", TensorProto.FLOAT, ["N", 3, 6, 10]),
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
