# SPDX-License-Identifier: Apache-2.0
"""The benchmarks themselves: help, the smallest run of cheap ones, and what they are made of."""

import json
import runpy
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import inference, students
from benchmarks.goals import AIMS
from benchmarks.harness import ROOT, Report, Timing
from benchmarks.inference import (
    EAGER,
    FP32,
    at_most,
    first_line,
    goals_of,
    peak_goal,
    session,
)
from benchmarks.preprocessing import ALIASED_CHAIN, CHAIN, OURS, OURS_FULL, ratios_of
from benchmarks.students import Subject, add_int8_files, shipped, shipped_network
from benchmarks.suite import SUITE
from benchmarks.torch_gpu import GpuStudent, moved_bytes, prepared, without_gpu
from benchmarks.view_transform import nds_goal
from imkd_core.mapping import to_mapping
from imkd_core.model.budget import count_cost, total_cost
from imkd_core.model.example import batched, example_inputs
from imkd_core.runtime.backends import OnnxRuntimeBackend
from imkd_core.runtime.bundle import load_bundle
from tests.core.model.small import CONFIG, INPUTS, MODEL, small_student


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("entry", SUITE, ids=lambda entry: entry.name)
def test_every_benchmark_has_help_that_names_its_command(entry, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [entry.name, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"benchmarks.{entry.name}", run_name="__main__")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert f"python -m benchmarks.{entry.name}" in text
    assert "--json FILE" in text


@pytest.mark.parametrize("name", ["preprocessing", "view_lut_moving"])
def test_the_smallest_run_of_a_benchmark_leaves_its_report(name, tmp_path):
    path = tmp_path / "report.json"
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--json", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    report = Report.from_json(json.loads(path.read_text()))
    assert report.name == name
    assert all(figure.value > 0 for figure in report.figures if figure.unit == "ms")
    wanted = {aim.name for aim in AIMS.values() if aim.benchmark == name}
    assert {goal.name for goal in report.goals} == wanted


@pytest.fixture(scope="module")
def subject():
    return Subject(
        name="small",
        student=small_student().eval(),
        bundle=shipped().bundle,
        frame=example_inputs(INPUTS, cameras=2),
    )


def test_the_shipped_weights_in_torch_give_what_the_shipped_file_gives():
    network, bundle = shipped_network()
    frame = example_inputs(bundle.inputs, cameras=2)
    backend = OnnxRuntimeBackend(bundle.path("fp32"), threads=1)
    expected = backend.run({name: value.numpy() for name, value in frame.items()})
    with torch.inference_mode():
        scores = network(**frame).scores
    np.testing.assert_allclose(scores.numpy(), expected["scores"], atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 7, "padding": 3, "stride": 2},
        {"kernel_size": (1, 3), "padding": (0, 2), "dilation": (1, 2), "groups": 2},
        {"kernel_size": 2, "stride": 2},
    ],
)
def test_multiply_adds_with_padding_are_those_whose_image_value_is_no_value(options):
    layer = torch.nn.Conv2d(4, 6, bias=False, **options)
    torch.nn.init.ones_(layer.weight)
    with torch.no_grad(), students.counted_padding(layer) as found:
        inside = int(layer(torch.ones(2, 4, 5, 8)).sum())  # a one for each product with a value
        outputs = layer(torch.ones(2, 4, 5, 8)).numel()
    everything = outputs * layer.weight[0].numel()
    assert found == [everything - inside] * 2


def test_the_floor_of_a_student_leaves_padding_out_and_little_else(subject):
    macs = total_cost(count_cost(subject.student, batched(dict(subject.frame)))).macs
    counted = replace(subject, bundle=SimpleNamespace(producer={"model": to_mapping(MODEL)}))
    assert 0.8 * 2 * macs < counted.flops() < 2 * macs


def test_int8_files_for_speed_alone_run_and_are_smaller(tmp_path):
    copied = tmp_path / "bundle"
    shutil.copytree(shipped().bundle.root, copied)
    bundle = add_int8_files(load_bundle(copied))
    weights_in_16_bits = bundle.files["fp32"].bytes
    assert bundle.files["int8_u8"].bytes < 0.75 * weights_in_16_bits
    assert bundle.files["int8_s8"].bytes < 0.75 * weights_in_16_bits
    frame = example_inputs(bundle.inputs, cameras=1)
    subject = replace(shipped(), bundle=bundle, frame=frame)
    found = session(subject, "int8_u8", 1)()
    assert found["boxes"].shape == (bundle.head.candidates, 10)


def test_the_r50_is_exported_with_its_int8_files_once(tmp_path, monkeypatch):
    config = tmp_path / "small.yaml"
    config.write_text(json.dumps(to_mapping(CONFIG)))  # JSON is YAML
    monkeypatch.setattr(students, "R50_CONFIG", config)
    monkeypatch.setattr(students, "CACHE", tmp_path / "cache")
    first = students.r50()
    assert set(first.bundle.files) == {"fp32", "int8_s8", "int8_u8"}
    assert first.flops() > 1e6
    assert first.arrays()["images"].dtype == np.uint8
    written = (first.bundle.root / "bundle.json").stat().st_mtime_ns
    assert (students.r50().bundle.root / "bundle.json").stat().st_mtime_ns == written
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [first.bundle.root.name]


def test_a_file_that_the_bundle_lacks_is_a_reason_and_no_error(subject):
    assert "has no int4 file" in session(subject, "int4", 1)


def test_a_reason_is_one_short_line():
    assert first_line(RuntimeError("what\nwhere")) == "what"
    assert first_line(KeyError()) == "KeyError"
    assert len(first_line(ValueError("x" * 999))) == 200


def test_goals_of_students_that_were_left_out_keep_their_rows():
    goals = list(goals_of({}, 400.0))
    assert {goal.name for goal in goals} == {
        aim.name for aim in AIMS.values() if aim.benchmark == "inference"
    }
    assert all(goal.met is None for goal in goals)


def test_preprocessing_says_what_it_wins_on_the_same_full_image():
    times_ms = {OURS: 1.0, OURS_FULL: 2.0, CHAIN: 16.0, ALIASED_CHAIN: 3.0}
    text = ratios_of({name: Timing(samples_ms=(value,)) for name, value in times_ms.items()})
    reduced, full = text.split("; on the same full image ")
    assert reduced == "16.0 times the chain and 3.0 times the aliased chain"
    assert full == "8.0 times the chain and 1.5 times the aliased chain"


@pytest.mark.parametrize(("lost", "met"), [(-1.49, True), (0.3, False)])
def test_points_lost_to_lss_say_that_no_model_was_trained_with_it(lost, met):
    goal = nds_goal(lost, "80 key frames")
    assert goal.met is met
    assert "80 key frames; no model was trained with LSS" in goal.reason
    assert nds_goal(None, "left out").reason == "left out"


def test_the_peak_of_the_r50_is_that_of_products_and_says_what_the_floor_is():
    flops = SimpleNamespace(flops=lambda: 300e9)
    times = {FP32: Timing(samples_ms=(750.0,))}  # 400 GFLOP/s
    found = {"subject": flops, "times": times, "floor_ms": 600.0}  # 500 GFLOP/s
    goal = peak_goal(found, 390.0)
    assert goal.value == pytest.approx(102.6, abs=0.1)
    assert goal.reason.startswith("80 % of the floor's rate")


def test_peaks_are_of_both_kinds_of_work_and_only_products_are_gemm(monkeypatch):
    monkeypatch.setattr(inference, "gemm_peak", lambda *_: {"numpy": 1.0, "onnxruntime": 3.0})
    monkeypatch.setattr(inference, "convolution_peak", lambda *_: 4.0)
    peaks = inference.peaks_of(2, is_quick=True, rounds=2)
    assert peaks == {
        "GEMM fp32, numpy": 1.0,
        "GEMM fp32, onnxruntime": 3.0,
        "convolution fp32, onnxruntime": 4.0,
    }
    assert inference.gemm_of(peaks) == 3.0


def test_without_a_gpu_both_goals_say_so():
    report = without_gpu("no CUDA device")
    assert [goal.reason for goal in report.goals] == ["no CUDA device"] * 2
    assert len({EAGER} | {goal.name for goal in report.goals}) == 3


@pytest.mark.filterwarnings("ignore:To copy construct from a tensor")
def test_the_network_for_the_gpu_gives_the_same_boxes_folded_or_not_and_close_in_bf16(subject):
    cpu = torch.device("cpu")
    plain = prepared(subject, torch.float32, cpu, is_folded=False)
    folded = prepared(subject, torch.float32, cpu)
    half = prepared(subject, torch.bfloat16, cpu)
    assert isinstance(plain, GpuStudent)
    with torch.no_grad():
        scores = [network(dict(subject.frame))[0] for network in (plain, folded, half)]
    torch.testing.assert_close(scores[1], scores[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(scores[2], scores[0], atol=0.05, rtol=0)
    assert scores[2].dtype == torch.float32


def test_bytes_moved_are_inputs_outputs_and_weights_of_every_product(subject):
    parameters = sum(p.numel() for p in subject.student.parameters() if p.ndim > 1)
    one, two = moved_bytes(subject, 1), moved_bytes(subject, 2)
    assert two == 2 * one
    assert one > parameters


def test_what_takes_too_long_is_given_up_and_the_alarm_is_off_afterwards():
    with pytest.raises(TimeoutError, match=r"not done after 0\.05 s"), at_most(0.05):
        time.sleep(5)
    with at_most(0.05):
        pass
    time.sleep(0.1)
