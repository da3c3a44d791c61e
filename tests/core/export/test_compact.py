# SPDX-License-Identifier: Apache-2.0
"""Weights in half the bytes: what is computed is that of the rounded network."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import nn

from imkd_core.export.compact import load_widened, round_weights, store_as_half
from imkd_core.export.onnx_export import export_onnx
from imkd_core.export.tensorrt_check import check_tensorrt, is_tensorrt_installed
from imkd_core.model.example import example_inputs
from imkd_core.runtime.backends import open_backend
from tests.core.export.test_onnx_export import INPUTS, settled_student


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    config, student = settled_student()
    folder = tmp_path_factory.mktemp("compact")
    return export_onnx(student, config, folder, "small", {}, roles=("fp32",), is_compact=True)


def weights(model):
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


def test_the_file_is_checked_against_the_rounded_network_and_says_what_it_holds(bundle):
    assert bundle.producer["weights"] == "rounded to float16"
    assert bundle.producer["parity"]["fp32"]["score"] < 1e-5


def test_nearly_all_weights_take_two_bytes(bundle):
    stored = weights(onnx.load(bundle.path("fp32")))
    large = [value for value in stored.values() if value.size >= 1024 and value.dtype.kind == "f"]
    numbers = sum(value.size for value in large)
    assert sum(v.size for v in large if v.dtype == np.float16) > 0.95 * numbers
    assert sum(value.nbytes for value in large) < 0.53 * 4 * numbers


def test_widened_it_is_the_same_file_in_float32(bundle, tmp_path):
    compact, wide = onnx.load(bundle.path("fp32")), load_widened(bundle.path("fp32"))
    kept = {name: value for name, value in weights(compact).items() if ".float16" not in name}
    widened = weights(wide)
    assert {name: widened[name].tolist() for name in kept} == {
        name: value.tolist() for name, value in kept.items()
    }
    assert not [value for value in widened.values() if value.dtype == np.float16]
    assert len(widened) == len(weights(compact))
    frame = {name: value.numpy() for name, value in example_inputs(INPUTS, 3, 5).items()}
    expected = open_backend(bundle).run(frame)
    onnx.save(wide, bundle.path("fp32"))
    try:
        again = open_backend(bundle).run(frame)
    finally:
        onnx.save(compact, bundle.path("fp32"))
    for name, value in expected.items():
        np.testing.assert_array_equal(again[name], value, err_msg=name)


@pytest.mark.skipif(not is_tensorrt_installed(), reason="tensorrt-rtx is not installed")
def test_tensorrt_builds_it(bundle):
    assert check_tensorrt(bundle.path("fp32")).plan_bytes > 100_000


def test_weights_are_rounded_to_the_nearest_half_and_small_or_wild_ones_are_left():
    network = nn.ModuleDict(
        {"large": nn.Linear(64, 64), "small": nn.Linear(4, 4), "wild": nn.Linear(64, 64)}
    )
    with torch.no_grad():
        network["wild"].weight[0, 0] = 1e6
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    round_weights(network)
    after = dict(network.named_parameters())
    assert not torch.equal(after["large.weight"], before["large.weight"])
    torch.testing.assert_close(after["large.weight"], before["large.weight"], rtol=5e-4, atol=3e-8)
    for name in ("large.bias", "small.weight", "wild.weight"):
        assert torch.equal(after[name], before[name])


def test_what_half_precision_cannot_say_exactly_stays_in_float32(tmp_path):
    exact = np.arange(2048, dtype=np.float32)
    values = {"exact": exact, "fine": exact + np.float32(1e-4), "few": exact[:10]}
    items = [numpy_helper.from_array(value, name) for name, value in values.items()]
    outputs = [
        onnx.helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, value.shape)
        for name, value in values.items()
    ]
    nodes = [onnx.helper.make_node("Neg", [name], [f"{name}_out"]) for name in values]
    graph = onnx.helper.make_graph(nodes, "g", [], outputs, initializer=items)
    onnx.save(onnx.helper.make_model(graph), tmp_path / "m.onnx")
    assert store_as_half(tmp_path / "m.onnx") == 1
    model = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    types = {name: value.dtype for name, value in weights(model).items()}
    assert types == {"exact.float16": np.float16, "fine": np.float32, "few": np.float32}
    for name, value in weights(load_widened(tmp_path / "m.onnx")).items():
        np.testing.assert_array_equal(value, values[name])
