# SPDX-License-Identifier: Apache-2.0
"""TensorRT builds both students whole, in all three precisions; no GPU is needed.

Their weights are random and their int8 ranges made up: what is built is the graph. The large
student's files are hundreds of megabytes, so they go with the test.
"""

import tempfile
from pathlib import Path

import onnx
import pytest
import torch

from imkd_core.export.graph import deploy
from imkd_core.export.onnx_export import write_graph
from imkd_core.export.onnx_lint import check_operators
from imkd_core.export.quantize_graph import STYLES, find_layers, find_tensors, quantize_graph
from imkd_core.export.quantize_ranges import ValueRange
from imkd_core.export.tensorrt_check import check_tensorrt, is_tensorrt_installed
from imkd_core.model.example import example_inputs
from imkd_core.model.student import Student
from imkd_core.recipe import load_config
from imkd_core.runtime.tensorrt.keys import CameraRange

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # half a minute a student on an idle machine
    pytest.mark.skipif(not is_tensorrt_installed(), reason="tensorrt-rtx is not installed"),
]

STUDENTS = ("imkd_tiny", "imkd_r50")
SIX = CameraRange.exactly(6)

ROLES = ("fp32", "fp16", "int8_s8")


def write_int8(source, path):
    """The fp32 file with explicit Q/DQ pairs, each of one made-up range."""
    model, style = onnx.load(source), STYLES["int8_s8"]
    layers = find_layers(model)
    ranges = set(find_tensors(model, layers, style).ranges.values())
    span = ValueRange(low=-8.0, high=8.0)
    onnx.save(quantize_graph(model, dict.fromkeys(ranges, span), layers, style), path)


@pytest.fixture(scope="module", params=STUDENTS)
def student(request, project_root):
    """Role -> file."""
    config = load_config(project_root / "config" / f"{request.param}.yaml")
    torch.manual_seed(0)
    network, frame = Student.from_config(config).eval(), example_inputs(config.inputs)
    with tempfile.TemporaryDirectory() as name:
        files = {role: Path(name) / f"{role}.onnx" for role in ROLES}
        for role in ("fp32", "fp16"):
            write_graph(deploy(network, frame, is_half=role == "fp16"), frame, files[role], {})
        write_int8(files["fp32"], files["int8_s8"])
        yield files


def test_all_precisions_build_and_the_smaller_types_make_smaller_engines(student):
    sizes = {}
    for role, path in student.items():
        check_operators(path)
        sizes[role] = check_tensorrt(path, SIX).plan_bytes
    assert max(sizes["fp16"], sizes["int8_s8"]) < sizes["fp32"], sizes
