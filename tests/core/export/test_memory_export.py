# SPDX-License-Identifier: Apache-2.0
"""A student with a memory as one file: what it takes and gives, and that it says the same."""

import onnx
import pytest
import torch
from torch import nn

from imkd_core.export.graph import deploy, output_names
from imkd_core.export.onnx_export import export_onnx
from imkd_core.export.parity import check_parity, measure_parity
from imkd_core.export.tensorrt_check import check_tensorrt, is_tensorrt_installed
from imkd_core.model.example import batched, example_inputs, input_names
from imkd_core.runtime.backends import OnnxRuntimeBackend, open_backend
from imkd_core.runtime.bundle import load_bundle
from tests.core.model.remembering import RECURRENT, WINDOW, config_with, remembering_student


def settled(memory):
    """A student whose norms have seen data, and whose memory counts."""
    config = config_with(memory)
    student = remembering_student(memory).train()
    with torch.no_grad():
        for seed in range(3):
            student(**batched(example_inputs(config.inputs, 3, seed)))
        for norm in (m for m in student.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.3, 0.3)
    return config, student


@pytest.fixture(scope="module", params=[WINDOW, RECURRENT], ids=["window", "recurrent"])
def exported(request, tmp_path_factory):
    config, student = settled(request.param)
    folder = tmp_path_factory.mktemp("bundle")
    frames = [example_inputs(config.inputs, 3, 7)]
    return config, student, export_onnx(student, config, folder, "small", {}, frames)


def test_the_bundle_says_what_it_remembers_and_how_well_the_map_agrees(exported):
    config, _, bundle = exported
    again = load_bundle(bundle.root)
    assert again.inputs.memory == config.inputs.memory
    assert again.producer["parity"]["fp32"]["memory"] < 1e-4
    assert again.producer["parity"]["fp16"]["memory"] < 0.05


def test_the_file_takes_the_memory_and_gives_the_map_to_keep(exported):
    config, _, bundle = exported
    graph = onnx.load(bundle.path("fp32")).graph
    assert [value.name for value in graph.input] == list(input_names(config.inputs))
    assert [value.name for value in graph.output] == list(output_names(config.inputs))
    assert [node.op_type for node in graph.node].count("GridSample") == 1
    assert "BatchNormalization" not in {node.op_type for node in graph.node}


@pytest.mark.parametrize("known", [0.0, 1.0])
def test_file_and_network_agree_with_and_without_a_past(exported, known):
    config, student, bundle = exported
    frame = example_inputs(config.inputs, 4, seed=2)
    frame["history_mask"] *= known
    figures = check_parity(deploy(student, frame), open_backend(bundle), frame)
    assert figures.score < 1e-4
    assert figures.memory < 1e-4


def test_the_memory_changes_what_the_file_says(exported):
    config, _, bundle = exported
    frame = {k: v.numpy() for k, v in example_inputs(config.inputs, 2).items()}
    backend = open_backend(bundle)
    other = {**frame, "history_mask": frame["history_mask"] * 0}
    first, second = backend.run(frame)["scores"].copy(), backend.run(other)["scores"]
    assert (first != second).any()


def test_places_in_the_map_stay_float32_in_the_half_precision_file(exported):
    config, student, bundle = exported
    model = onnx.shape_inference.infer_shapes(onnx.load(bundle.path("fp16")))
    types = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info}
    sampled = next(node for node in model.graph.node if node.op_type == "GridSample")
    assert {types[name] for name in sampled.input} == {onnx.TensorProto.FLOAT}
    backend = OnnxRuntimeBackend(bundle.path("fp16"), inputs=config.inputs, head=config.head)
    frame = example_inputs(config.inputs, 3, seed=5)
    assert measure_parity(deploy(student, frame), backend, frame).score < 0.05


@pytest.mark.skipif(not is_tensorrt_installed(), reason="tensorrt-rtx is not installed")
@pytest.mark.parametrize("role", ["fp32", "fp16"])
def test_tensorrt_parses_and_builds_a_memory(exported, role):
    _, _, bundle = exported
    assert check_tensorrt(bundle.path(role)).plan_bytes > 100_000
