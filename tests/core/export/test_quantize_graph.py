# SPDX-License-Identifier: Apache-2.0
"""Q/DQ pairs in a small graph that has what a student has: residuals, joins, linear heads."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from imkd_core.errors import BundleError
from imkd_core.export.quantize_equalize import ChannelPeaks, equalize, even_tensors
from imkd_core.export.quantize_graph import (
    STYLES,
    count_macs,
    find_layers,
    find_tensors,
    quantize_graph,
)
from imkd_core.export.quantize_measure import observe
from imkd_core.export.quantize_ranges import METHODS, Histogram
from tests.core.export.small_graph import LAYERS, small_graph


@pytest.fixture(scope="module")
def model():
    return small_graph()


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(1)
    sizes = np.array([1.0, 30.0, 0.2], np.float32)[:, None, None]  # channels of unlike size
    return [{"x": rng.normal(0, 1, (2, 3, 6, 10)).astype(np.float32) * sizes} for _ in range(4)]


@pytest.fixture(scope="module")
def ranges(model, frames, tmp_path_factory):
    tensors = find_tensors(model, LAYERS, STYLES["int8_u8"]).ranges.values()
    folder = tmp_path_factory.mktemp("observe")
    measured = observe(model, set(tensors), frames, folder, Histogram)
    assert not list(folder.iterdir())
    return {name: METHODS["minmax"](histogram) for name, histogram in measured.items()}


def run(model, frame):
    import onnxruntime

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, frame)[0]


def constants(model):
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


def pairs(model):
    found = constants(model)
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            yield node, found[node.input[1]], found[node.input[2]]


def test_layers_are_the_convolutions_that_end_in_a_relu_and_never_a_linear_head(model):
    assert tuple(find_layers(model)) == LAYERS


@pytest.mark.parametrize("role", STYLES)
def test_the_graph_is_valid_and_gives_nearly_the_same(model, frames, ranges, role):
    quantized = quantize_graph(model, ranges, LAYERS, STYLES[role])
    onnx.checker.check_model(quantized, full_check=True)
    for frame in frames:
        expected = run(model, frame)
        apart = np.abs(run(quantized, frame) - expected).max()
        assert 0 < apart < 0.06 * np.abs(expected).max()


def test_signed_files_are_symmetric_with_zero_points_of_zero_and_no_int32(model, ranges):
    quantized = quantize_graph(model, ranges, LAYERS, STYLES["int8_s8"])
    found = list(pairs(quantized))
    assert found
    for _, scale, zero in found:
        assert zero.dtype == np.int8
        assert not zero.any()
        assert (scale > 0).all()
    assert np.dtype(np.int32) not in {value.dtype for value in constants(quantized).values()}


def test_unsigned_files_have_uint8_activations_and_biases_of_int32(model, ranges):
    found = list(pairs(quantize_graph(model, ranges, LAYERS, STYLES["int8_u8"])))
    kinds = {node.op_type: set() for node, _, _ in found}
    for node, _, zero in found:
        kinds[node.op_type].add(zero.dtype.name)
    assert kinds["QuantizeLinear"] == {"uint8"}
    assert kinds["DequantizeLinear"] == {"uint8", "int8", "int32"}


@pytest.mark.parametrize("role", STYLES)
def test_weights_have_a_scale_for_each_output_channel(model, ranges, role):
    quantized = quantize_graph(model, ranges, LAYERS, STYLES[role])
    weights = [(n, s, z) for n, s, z in pairs(quantized) if n.input[0].endswith(".weight_8")]
    assert len(weights) == len(LAYERS)
    for node, scale, zero in weights:
        number = constants(quantized)[node.input[0]]
        assert scale.shape == zero.shape == number.shape[:1]
        assert zero.dtype == number.dtype == np.int8
        assert not zero.any()
        assert number.min() >= -127


def test_onnx_runtime_makes_integer_kernels_of_every_layer(model, ranges, tmp_path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    quantized = quantize_graph(model, ranges, LAYERS, STYLES["int8_u8"])
    onnxruntime.InferenceSession(
        quantized.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    operators = [n.op_type for n in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert operators.count("QLinearConv") == len(LAYERS)
    assert operators.count("QLinearAdd") == 1


@pytest.mark.parametrize("role", STYLES)
def test_a_kept_layer_has_its_own_weights_and_no_pair_behind_it(model, ranges, role):
    kept = "first"
    rest = [name for name in LAYERS if name != kept]
    quantized = quantize_graph(model, ranges, rest, STYLES[role])
    (node,) = [n for n in quantized.graph.node if n.name == kept]
    assert list(node.input[1:]) == ["first.weight", "first.bias"]
    np.testing.assert_array_equal(
        constants(quantized)["first.weight"], constants(model)["first.weight"]
    )
    readers = [n.op_type for n in quantized.graph.node if kept in n.input]
    assert readers == ["Relu"]


def test_what_float_nodes_make_stays_float_for_float_nodes(model, ranges):
    quantized = quantize_graph(model, ranges, LAYERS, STYLES["int8_u8"])
    read = {node.output[0]: list(node.input) for node in quantized.graph.node}
    assert read["aside"] == ["x_half"]
    assert read["stem"][0] == "x_half_dq"
    assert read["sum_"] == ["second_dq", "stem_relu_dq"]


def test_no_layer_in_8_bits_leaves_the_graph_as_it_was(model):
    quantized = quantize_graph(model, {}, (), STYLES["int8_u8"])
    assert list(quantized.graph.node) == list(model.graph.node)
    assert set(constants(quantized)) == set(constants(model))


def test_a_channel_without_weight_keeps_its_bias(frames):
    model = small_graph()
    weight = constants(model)["third.weight"].copy()
    weight[2] = 0
    for item in model.graph.initializer:
        if item.name == "third.weight":
            item.CopyFrom(numpy_helper.from_array(weight, item.name))
    tensors = find_tensors(model, LAYERS, STYLES["int8_u8"]).ranges.values()
    spans = {name: METHODS["minmax"](_seen(model, name, frames)) for name in set(tensors)}
    quantized = quantize_graph(model, spans, LAYERS, STYLES["int8_u8"])
    expected = run(model, frames[0])
    assert np.abs(run(quantized, frames[0]) - expected).max() < 0.06 * np.abs(expected).max()


def _seen(model, name, frames):
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    copied.graph.output[0].CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    histogram = Histogram()
    for frame in frames:
        histogram.add(run(copied, frame))
    return histogram


def test_unknown_layers_and_missing_ranges_are_refused(model, ranges):
    with pytest.raises(BundleError, match="no_such"):
        quantize_graph(model, ranges, ("no_such",), STYLES["int8_u8"])
    with pytest.raises(BundleError, match="x_half"):
        quantize_graph(model, {}, LAYERS, STYLES["int8_u8"])


def test_work_is_counted_from_shapes(model):
    macs = count_macs(model, cameras=5)
    assert macs["stem"] == 5 * 4 * 60 * 3 * 9
    assert macs["third"] == 5 * 6 * 60 * 7


def test_evening_channels_changes_nothing_in_float32(model, frames, tmp_path):
    names = even_tensors(model)
    assert names == ["x_half"]
    peaks = observe(model, names, frames, tmp_path, ChannelPeaks)
    even = equalize(model, {name: meter.peaks for name, meter in peaks.items()})
    onnx.checker.check_model(even, full_check=True)
    for frame in frames:
        np.testing.assert_allclose(run(even, frame), run(model, frame), rtol=1e-4, atol=1e-4)


def test_evening_channels_makes_the_8_bit_graph_better(model, frames, tmp_path):
    def error(source):
        tensors = set(find_tensors(source, LAYERS, STYLES["int8_u8"]).ranges.values())
        seen = observe(source, tensors, frames, tmp_path, Histogram)
        spans = {name: METHODS["minmax"](histogram) for name, histogram in seen.items()}
        quantized = quantize_graph(source, spans, LAYERS, STYLES["int8_u8"])
        return np.mean([np.square(run(quantized, f) - run(model, f)).mean() for f in frames])

    peaks = observe(model, even_tensors(model), frames, tmp_path, ChannelPeaks)
    even = equalize(model, {name: meter.peaks for name, meter in peaks.items()})
    assert error(even) < error(model)


def test_a_channel_that_is_never_used_does_not_break_evening(model, frames, tmp_path):
    dead = [{"x": frame["x"] * np.array([1, 0, 1], np.float32)[:, None, None]} for frame in frames]
    peaks = observe(model, ["x_half"], dead, tmp_path, ChannelPeaks)
    even = equalize(model, {name: meter.peaks for name, meter in peaks.items()})
    np.testing.assert_allclose(run(even, dead[0]), run(model, dead[0]), rtol=1e-4, atol=1e-4)
