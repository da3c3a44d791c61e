# SPDX-License-Identifier: Apache-2.0
"""A small student that remembers, in 8 bits: it says what float32 says, and TensorRT builds it."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from imkd_core.export.onnx_export import export_onnx
from imkd_core.export.onnx_lint import lint_operators
from imkd_core.export.quantize import (
    FILE_NAMES,
    QuantizeOptions,
    quantize_model,
    write_quantized,
)
from imkd_core.export.quantize_measure import moved_share
from imkd_core.export.quantize_search import SearchLimits
from imkd_core.export.tensorrt_check import check_tensorrt, is_tensorrt_installed
from imkd_core.model.example import batched, example_inputs
from imkd_core.runtime.backends import BackendSettings, open_backend
from imkd_core.runtime.bundle import load_bundle
from imkd_core.runtime.memory import FusedMemory
from imkd_core.runtime.providers import CPU_PROVIDER
from imkd_core.runtime.tensorrt.keys import CameraRange
from tests.core.model.remembering import RECURRENT, WINDOW, config_with, remembering_student

CAMERAS = 2

KINDS = {"window": replace(WINDOW, frames=3), "recurrent": RECURRENT}

#: Largest share of the scores that rounding may move, and of a map's spread that it may be off.
MOVED, OFF = 0.25, 0.1


def driven(bundle, role, seeds):
    """Yield what a file is given and answers, frame by frame; it reads maps of its own making."""
    settings = BackendSettings(role=role, threads=1, providers=(CPU_PROVIDER,))
    backend = open_backend(bundle, settings)
    memory = FusedMemory(bundle.inputs.memory, bundle.inputs.bev)
    for step, seed in enumerate(seeds):
        sensors = example_inputs(bundle.inputs, CAMERAS, seed)
        stamp_ns, pose = step * 500_000_000, np.eye(4)
        pose[0, 3] = 1.5 * step
        frame = {name: value.numpy() for name, value in sensors.items()}
        past = memory.recall(stamp_ns, pose)
        frame |= {name: value.copy() for name, value in past.items()}
        answer = backend.run(frame)
        memory.keep(stamp_ns, pose, answer["memory"])
        yield frame, answer
    backend.close()


@pytest.fixture(scope="module", params=KINDS)
def written(request, tmp_path_factory):
    """A bundle of all files; its student's norms have seen data, and its memory counts."""
    config = config_with(KINDS[request.param])
    student = remembering_student(config.inputs.memory).train()
    frames = [example_inputs(config.inputs, CAMERAS, seed) for seed in range(3)]
    with torch.no_grad():
        for frame in frames:
            student(**batched(frame))
        for norm in (m for m in student.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.weight.uniform_(0.5, 1.5)
    folder = tmp_path_factory.mktemp("model")
    bundle = export_onnx(student, config, folder / "fp32", "small", {}, roles=("fp32",))
    # as `imkd quantize` does it: ranges of made-up maps do not hold for those of a drive
    inputs = [frame for frame, _ in driven(bundle, "fp32", range(6))]
    options = QuantizeOptions(search_frames=2, limits=SearchLimits(moved_share=1.0))
    made = quantize_model(bundle, inputs, options, lambda _text: None)
    return write_quantized(bundle, made, folder / "int8")


@pytest.mark.parametrize("role", FILE_NAMES)
def test_the_bundle_still_remembers_and_its_files_have_8_bit_weights(written, role):
    again = load_bundle(written.root)
    assert again.inputs.memory.kind in KINDS
    assert again.inputs.memory == KINDS[again.inputs.memory.kind]
    model = onnx.load(again.path(role))
    onnx.checker.check_model(model, full_check=True)
    kinds = [item.data_type for item in model.graph.initializer if len(item.dims) == 4]
    assert kinds.count(onnx.TensorProto.INT8) > 30
    if role == "int8_s8":
        assert lint_operators(again.path(role)) == []


@pytest.mark.parametrize("role", FILE_NAMES)
def test_a_drive_is_remembered_in_8_bits_as_in_float32(written, role):
    """Each file reads the maps that it made itself, so that what rounding does adds up."""
    seeds = range(20, 26)
    both = zip(driven(written, "fp32", seeds), driven(written, role, seeds), strict=True)
    for step, ((_, exact), (frame, rounded)) in enumerate(both):
        assert frame["history_mask"].sum() == min(step, written.inputs.memory.frames)
        off = np.abs(rounded["memory"] - exact["memory"]).mean()
        assert moved_share(exact, rounded) < MOVED, step
        assert off < OFF * exact["memory"].std(), step


@pytest.mark.skipif(not is_tensorrt_installed(), reason="tensorrt-rtx is not installed")
def test_tensorrt_builds_the_signed_file(written):
    report = check_tensorrt(written.path("int8_s8"), CameraRange.exactly(CAMERAS))
    assert report.plan_bytes > 10_000
