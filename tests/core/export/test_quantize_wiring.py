# SPDX-License-Identifier: Apache-2.0
"""Graphs that no student of ours has, yet: in 8 bits they say the same as any other."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from imkd_core.export.quantize_equalize import ChannelPeaks, equalize, even_tensors
from imkd_core.export.quantize_graph import STYLES, find_layers, find_tensors, quantize_graph
from imkd_core.export.quantize_layout import for_integer_kernels
from imkd_core.export.quantize_measure import observe
from imkd_core.export.quantize_ranges import METHODS, Histogram
from imkd_core.export.quantize_wiring import with_own_constants

#: Constant -> its shape.
WEIGHTS = {
    "small": (8, 4, 3, 3),
    "other": (8, 4, 3, 3),
    "wide": (8, 8, 3, 3),
    "joined": (8, 12, 3, 3),
    "joined_too": (8, 12, 3, 3),
    "grouped": (8, 1, 3, 3),
    "point": (3, 8, 1, 1),
    "up": (8, 3, 2, 2),
    "last": (8, 3, 3, 3),
}
BIASES = {"b1": 8, "b2": 8, "b3": 8, "b4": 8, "b_up": 3}


def conv(source, weight, bias, output, **attributes):
    padded = {"pads": [1] * 4, **attributes}
    return helper.make_node("Conv", [source, weight, bias], [output], name=output, **padded)


def layer(source, weight, bias, output, **attributes):
    node = conv(source, weight, bias, f"{output}_sum", **attributes)
    return [node, helper.make_node("Relu", node.output, [output])]


def join(output, *inputs, axis=1):
    return helper.make_node("Concat", inputs, [output], axis=axis)


NEGATIVE = helper.make_node("Neg", ["x"], ["signed"])

#: What is unusual -> nodes, outputs.
GRAPHS = {
    "one bias of two layers": (
        [*layer("x", "small", "b1", "one"), *layer("one", "wide", "b1", "two")],
        ["two"],
    ),
    "one weight of two layers": (
        [
            *layer("x", "small", "b1", "one"),
            *layer("one", "wide", "b2", "two"),
            *layer("two", "wide", "b3", "three"),
        ],
        ["three"],
    ),
    "one weight of a layer and a linear one": (
        [
            *layer("x", "small", "b1", "one"),
            NEGATIVE,
            conv("signed", "small", "b1", "linear"),
            join("y", "one", "linear"),
        ],
        ["y"],
    ),
    "a join of rows": (
        [
            *layer("x", "small", "b1", "one"),
            *layer("x", "other", "b2", "two"),
            join("rows", "one", "two", axis=2),
            *layer("rows", "wide", "b3", "y"),
        ],
        ["y"],
    ),
    "a join of rows of which some are signed": (
        [
            *layer("x", "small", "b1", "one"),
            conv("x", "other", "b2", "linear"),
            join("rows", "one", "linear", axis=2),
            *layer("rows", "wide", "b3", "y"),
        ],
        ["y"],
    ),
    "one signed map in two joins": (
        [
            *layer("x", "small", "b1", "one"),
            *layer("x", "other", "b2", "two"),
            NEGATIVE,
            join("here", "one", "signed"),
            *layer("here", "joined", "b3", "three"),
            join("there", "two", "signed"),
            *layer("there", "joined_too", "b4", "four"),
            join("y", "three", "four"),
        ],
        ["y"],
    ),
    "a join that leaves the graph": (
        [
            *layer("x", "small", "b1", "one"),
            NEGATIVE,
            join("y", "one", "signed"),
            *layer("y", "joined", "b2", "z"),
        ],
        ["y", "z"],
    ),
    "a transposed convolution that leaves the graph": (
        [
            *layer("x", "small", "b1", "one"),
            helper.make_node("ConvTranspose", ["one", "up", "b_up"], ["y"], strides=[2, 2]),
            helper.make_node("Relu", ["y"], ["rectified"]),
            *layer("rectified", "last", "b2", "z"),
        ],
        ["y", "z"],
    ),
    "a padded convolution of single cells": (
        [*layer("x", "small", "b1", "one"), conv("one", "point", "b_up", "y")],
        ["y"],
    ),
    "a convolution of groups": (
        [
            *layer("x", "small", "b1", "one"),
            *layer("one", "grouped", "b2", "two", group=8),
            *layer("two", "wide", "b3", "y"),
        ],
        ["y"],
    ),
}


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(1)
    sizes = np.array([0.1, 1.0, 10.0, 30.0], np.float32)[:, None, None]
    return [{"x": rng.normal(0, 1, (2, 4, 6, 10)).astype(np.float32) * sizes} for _ in range(3)]


@pytest.fixture(params=GRAPHS)
def model(request):
    rng = np.random.default_rng(0)
    nodes, outputs = GRAPHS[request.param]
    shapes = {**WEIGHTS, **{name: (count,) for name, count in BIASES.items()}}
    graph = helper.make_graph(
        nodes,
        "unusual",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 6, 10])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [
            numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name)
            for name, shape in shapes.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model, frame):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, frame)


def evened(model, frames, folder):
    peaks = observe(model, even_tensors(model), frames, folder, ChannelPeaks)
    return equalize(model, {name: meter.peaks for name, meter in peaks.items()})


def quantized(model, frames, folder, style):
    layers = list(find_layers(model))
    names = set(find_tensors(model, layers, style).ranges.values())
    seen = observe(model, names, frames, folder, Histogram)
    ranges = {name: METHODS["minmax"](histogram) for name, histogram in seen.items()}
    return quantize_graph(model, ranges, layers, style)


def assert_same(model, other, frame, share):
    for expected, actual in zip(run(model, frame), run(other, frame), strict=True):
        largest = np.abs(expected).max()
        np.testing.assert_allclose(actual, expected, rtol=0, atol=share * largest)


def test_an_unusual_graph_says_the_same_in_float32_and_nearly_in_8_bits(model, frames, tmp_path):
    own = with_own_constants(model)
    even = evened(own, frames, tmp_path)
    for rewritten in (own, even, for_integer_kernels(own), for_integer_kernels(even)):
        assert_same(model, rewritten, frames[0], 1e-5)
    signed = quantized(even, frames, tmp_path, STYLES["int8_s8"])
    assert_same(model, signed, frames[0], 0.05)
    unsigned = quantized(for_integer_kernels(even), frames, tmp_path, STYLES["int8_u8"])
    assert_same(model, unsigned, frames[0], 0.05)


def test_convolutions_get_constants_of_their_own_and_the_given_graph_is_left_alone(model):
    before = model.SerializeToString()
    own = with_own_constants(model)
    assert model.SerializeToString() == before
    read = [name for node in own.graph.node if "Conv" in node.op_type for name in node.input[1:]]
    assert len(read) == len(set(read))
    assert with_own_constants(own).SerializeToString() == own.SerializeToString()
