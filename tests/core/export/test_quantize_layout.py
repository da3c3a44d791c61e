# SPDX-License-Identifier: Apache-2.0
"""A graph rewritten for integer kernels says the same in float32, and takes them in 8 bits."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from imkd_core.export.quantize_equalize import ChannelPeaks, equalize, even_tensors
from imkd_core.export.quantize_graph import STYLES, find_layers, find_tensors, quantize_graph
from imkd_core.export.quantize_layout import for_integer_kernels, read_levels
from imkd_core.export.quantize_measure import observe
from imkd_core.export.quantize_ranges import METHODS, Histogram
from imkd_core.model.student import IMAGE_MEAN, IMAGE_STD

ROWS, COLUMNS = 12, 20


def neck_graph(kernel=7):
    """Image -> stem -> {coarse -> transposed} + signed map -> join -> last -> linear head."""
    rng = np.random.default_rng(0)
    shapes = {
        "stem": (8, 3, kernel, kernel),
        "coarse": (8, 8, 2, 2),
        "up": (8, 3, 2, 2),
        "level": (3, 8, 1, 1),
        "last": (6, 8, 3, 3),
        "head": (2, 6, 1, 1),
    }
    constants = {
        "scale": (1 / np.array(IMAGE_STD, np.float32))[:, None, None],
        "shift": (-np.array(IMAGE_MEAN) / IMAGE_STD).astype(np.float32)[:, None, None],
    }
    for name, shape in shapes.items():
        outputs = shape[1] if name == "up" else shape[0]
        constants[f"{name}.weight"] = rng.normal(0, 0.2, shape).astype(np.float32)
        constants[f"{name}.bias"] = rng.normal(0, 0.1, outputs).astype(np.float32)

    def layer(name, source, operator="Conv", **attributes):
        inputs = [source, f"{name}.weight", f"{name}.bias"]
        return [
            helper.make_node(operator, inputs, [name], name=name, **attributes),
            helper.make_node("Relu", [name], [f"{name}_relu"]),
        ]

    half = {"strides": [2, 2]}
    nodes = [
        helper.make_node("Cast", ["images"], ["grey"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["grey", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["normed"]),
        *layer("stem", "normed", pads=[kernel // 2] * 4, **half),
        *layer("coarse", "stem_relu", **half),
        *layer("up", "coarse_relu", "ConvTranspose", **half),
        *layer("level", "stem_relu"),
        helper.make_node("Concat", ["level_relu", "up_relu", "signed"], ["join"], axis=1),
        *layer("last", "join", pads=[1] * 4),
        helper.make_node("Conv", ["last_relu", "head.weight", "head.bias"], ["head"], name="head"),
    ]
    images = [TensorProto.UINT8, ["N", 3, ROWS, COLUMNS]]
    signed = [TensorProto.FLOAT, ["N", 2, ROWS // 2, COLUMNS // 2]]
    graph = helper.make_graph(
        nodes,
        "neck",
        [
            helper.make_tensor_value_info("images", *images),
            helper.make_tensor_value_info("signed", *signed),
        ],
        [helper.make_tensor_value_info("head", TensorProto.FLOAT, ["N", 2, 6, 10])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(1)
    sizes = np.array([0.3, 20.0], np.float32)[:, None, None]
    return [
        {
            "images": rng.integers(0, 256, (2, 3, ROWS, COLUMNS)).astype(np.uint8),
            "signed": rng.normal(0, 1, (2, 2, ROWS // 2, COLUMNS // 2)).astype(np.float32) * sizes,
        }
        for _ in range(4)
    ]


def run(model, frame, path=None):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if path is not None:
        options.optimized_model_filepath = str(path)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, frame)[0]


def operators(model):
    return [node.op_type for node in model.graph.node]


def evened(model, frames, folder):
    peaks = observe(model, even_tensors(model), frames, folder, ChannelPeaks)
    return equalize(model, {name: meter.peaks for name, meter in peaks.items()})


def quantized(model, frames, folder):
    style, layers = STYLES["int8_u8"], list(find_layers(model))
    names = set(find_tensors(model, layers, style).ranges.values())
    seen = observe(model, names, frames, folder, Histogram)
    ranges = {name: METHODS["minmax"](histogram) for name, histogram in seen.items()}
    return quantize_graph(model, ranges, layers, style)


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_a_convolution_that_reads_grey_levels_gives_the_same_up_to_the_border(frames, kernel):
    model = neck_graph(kernel)
    levels = read_levels(model)
    onnx.checker.check_model(levels, full_check=True)
    assert not {"Cast", "Add"} & set(operators(levels))
    for frame in frames:
        np.testing.assert_allclose(run(levels, frame), run(model, frame), rtol=1e-4, atol=1e-4)


def test_an_image_without_its_norm_or_of_odd_columns_is_left_alone():
    for change in ("norm", "columns"):
        model = neck_graph()
        if change == "norm":
            model.graph.node[2].op_type = "Sub"
        else:
            model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = COLUMNS + 1
        assert "DequantizeLinear" not in operators(read_levels(model))


def test_transposed_convolutions_and_signed_joins_are_rewritten_and_say_the_same(frames):
    model = neck_graph()
    rewritten = for_integer_kernels(model)
    onnx.checker.check_model(rewritten, full_check=True)
    assert "ConvTranspose" not in operators(rewritten)
    assert set(find_layers(rewritten)) == {*find_layers(model), "up"}
    for frame in frames:
        np.testing.assert_allclose(run(rewritten, frame), run(model, frame), rtol=1e-4, atol=1e-4)


def test_one_that_overlaps_itself_stays(frames):
    model = neck_graph()
    (node,) = [n for n in model.graph.node if n.op_type == "ConvTranspose"]
    node.attribute[0].ints[:] = [1, 1]
    assert "ConvTranspose" in operators(for_integer_kernels(model))


def test_evening_a_join_costs_nothing_where_layers_make_it(frames, tmp_path):
    model = read_levels(neck_graph())
    even = evened(model, frames, tmp_path)
    assert "join" in even_tensors(model)
    assert operators(even).count("Mul") == 1  # of the signed map
    for frame in frames:
        np.testing.assert_allclose(run(even, frame), run(model, frame), rtol=1e-4, atol=1e-4)


def test_in_8_bits_all_of_it_runs_in_integer_kernels_on_multiples_of_four(frames, tmp_path):
    model = neck_graph()
    even = for_integer_kernels(evened(read_levels(model), frames, tmp_path))
    small = quantized(even, frames, tmp_path)
    onnx.checker.check_model(small, full_check=True)
    expected = run(model, frames[0])
    path = tmp_path / "optimised.onnx"
    apart = np.abs(run(small, frames[0], path) - expected).max()
    assert 0 < apart < 0.05 * np.abs(expected).max()
    kept = onnx.load(path)
    assert operators(kept).count("QLinearConv") == len(find_layers(even)) == 5
    assert not {"Conv", "FusedConv", "ConvTranspose"} & set(operators(kept))
    weights = [i for i in small.graph.initializer if i.name.endswith(".weight_8")]
    assert all(item.dims[1] % 4 == 0 for item in weights)
