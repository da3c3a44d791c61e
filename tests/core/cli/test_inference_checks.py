# SPDX-License-Identifier: Apache-2.0
"""What the doctor says of inference: what is there, what runs a model and why, what to do."""

import numpy as np
import pytest

from imkd_core.cli import doctor
from imkd_core.cli.inference_checks import (
    check_choice,
    check_engines,
    check_openvino,
    check_tensorrt,
)
from imkd_core.errors import BackendError
from imkd_core.health.check import AMBER, GREEN, RED
from imkd_core.runtime import backends, processor, providers
from imkd_core.runtime.bundle import write_bundle
from imkd_core.runtime.providers import CPU_PROVIDER
from imkd_core.runtime.tensorrt import builder, cuda, packages
from imkd_core.runtime.tensorrt.private_store import PrivateStore
from tests.core.runtime.made_up_bundle import HEAD, SPEC, make_bundle
from tests.core.runtime.tensorrt.stand_ins import StandInCudart, StandInTensorRt


def unknown_processor():
    raise BackendError("no CPU device on this machine")


@pytest.mark.parametrize(
    ("installed", "devices", "level", "words"),
    [
        (False, list, AMBER, "pip install onnxruntime-ep-openvino"),
        (True, unknown_processor, AMBER, "no CPU device"),
        (True, list, GREEN, "used by itself"),
    ],
)
def test_openvino_is_found_or_named_with_what_to_do(monkeypatch, installed, devices, level, words):
    monkeypatch.setattr(providers, "has_openvino", lambda: installed)
    monkeypatch.setattr(providers, "openvino_devices", devices)
    check = check_openvino()
    assert check.level == level
    assert words in f"{check.found} {check.remedy}"


def test_tensorrt_that_is_not_installed_is_no_fault(monkeypatch):
    monkeypatch.setattr(packages, "is_tensorrt_installed", lambda: False)
    check = check_tensorrt()
    assert check.level == AMBER
    assert "pip install tensorrt" in check.remedy


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of the stand-ins, with its TensorRT."""
    cudart = StandInCudart()
    monkeypatch.setattr(packages, "is_tensorrt_installed", lambda: True)
    monkeypatch.setattr(packages, "import_tensorrt", lambda: StandInTensorRt(cudart))
    monkeypatch.setattr(cuda, "load_cuda", lambda: cuda.Cuda(cudart))
    return cudart


def test_a_gpu_that_tensorrt_can_use_is_named(gpu):
    check = check_tensorrt()
    assert check.level == GREEN
    assert "tensorrt 11.4.0 on Stand-in GPU (compute capability 8.9, CUDA 12.9)" in check.found


@pytest.mark.parametrize("fault", ["no GPU", "not for this GPU"])
def test_tensorrt_that_cannot_run_here_is_no_fault_and_the_fallback_is_named(
    gpu, monkeypatch, fault
):
    def refuse(*arguments):
        raise BackendError(fault)

    if fault == "no GPU":
        gpu.fail("GetDeviceCount", 100)
    else:
        monkeypatch.setattr(builder, "check_target", refuse)
    check = check_tensorrt()
    assert check.level == AMBER
    assert "tensorrt 11.4.0, and cannot run here: " in check.found
    assert "model.cpu_fallback" in check.remedy


def engines(folder):
    store = PrivateStore(folder)
    for name in ("one", "two"):
        with store.locked(name):
            store.write(name, {"name": name}, b"x" * (1 << 20), {})
    return store


def test_engines_are_counted(tmp_path):
    assert "0 files" in check_engines(tmp_path / "none").found
    engines(tmp_path / "engines")
    check = check_engines(tmp_path / "engines")
    assert check.level == GREEN
    assert f"2 files of TensorRT, 2.0 MiB in {tmp_path / 'engines'}" in check.found


def test_engines_that_are_never_loaded_are_told_with_one_reason(tmp_path):
    engines(tmp_path / "engines").path("one").chmod(0o666)
    check = check_engines(tmp_path / "engines")
    assert check.level == AMBER
    assert "1 are never loaded, one because one.plan may be written by others" in check.found


def test_a_folder_that_others_may_write_is_told(tmp_path):
    engines(tmp_path / "engines").folder.chmod(0o777)
    check = check_engines(tmp_path / "engines")
    assert check.level == AMBER
    assert "chmod 700" in check.found
    assert "model.engine_folder" in check.remedy


@pytest.fixture
def without_openvino(monkeypatch):
    monkeypatch.setattr(providers, "has_openvino", lambda: False)


def test_what_runs_a_model_is_found_by_running_it(tmp_path, without_openvino):
    check = check_choice(make_bundle(tmp_path / "b"))
    assert check.level == GREEN
    assert "CPUExecutionProvider runs the fp32 file" in check.found
    assert "recommends nothing else" in check.found


@pytest.mark.parametrize(("has_vnni", "role"), [(True, "int8_u8"), (False, "fp32")])
def test_a_recommendation_is_followed_where_it_can_be_and_told(
    tmp_path, without_openvino, monkeypatch, has_vnni, role
):
    monkeypatch.setattr(processor, "has_int8_products", lambda: has_vnni)
    root = make_bundle(tmp_path / "b").root
    bundle = write_bundle(
        root,
        name="tiny",
        inputs=SPEC,
        head=HEAD,
        files=dict.fromkeys(("fp32", "int8_u8"), "model.onnx"),
        provenance={"recommended": {"cpu": "int8_u8"}},
        producer={},
    )
    check = check_choice(bundle)
    assert f"runs the {role} file" in check.found
    assert ("lacks VNNI" in check.found) != has_vnni
    assert "recommends int8_u8 on cpu" in check.found


def test_where_openvino_runs_fp32_the_doctor_says_which_file_could_be_set(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "has_int8_products", lambda: True)
    monkeypatch.setattr(backends, "_RUNNERS", {CPU_PROVIDER: "openvino"})
    monkeypatch.setattr(providers, "has_openvino", lambda: False)
    bundle = write_bundle(
        make_bundle(tmp_path / "b").root,
        name="tiny",
        inputs=SPEC,
        head=HEAD,
        files=dict.fromkeys(("fp32", "int8_s8", "int8_u8"), "model.onnx"),
        provenance={"recommended": {"cpu": "int8_u8"}},
        producer={},
    )
    found = check_choice(bundle).found
    assert "runs the fp32 file" in found
    assert "'model.precision: int8_s8'" in found


def test_openvino_that_is_passed_over_is_told_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(providers, "has_openvino", lambda: True)
    monkeypatch.setattr(providers, "openvino_devices", unknown_processor)
    check = check_choice(make_bundle(tmp_path / "b"))
    assert check.level == GREEN
    assert "OpenVINO is installed and not used" in check.found
    assert "no CPU device" in check.found


def test_a_model_that_cannot_run_is_a_fault(tmp_path, without_openvino):
    bundle = make_bundle(tmp_path / "b", is_fragile=True)
    check = check_choice(bundle)
    assert check.level == RED
    assert "failed on onnxruntime" in check.found


def test_a_model_that_gives_nonsense_for_zeros_is_not_judged_by_that(tmp_path, without_openvino):
    assert check_choice(make_bundle(tmp_path / "b", scale=np.nan)).level == GREEN


def test_all_of_it_is_in_the_table(tmp_path):
    names = [check.name for check in doctor.all_checks(None, tmp_path / "engines")]
    assert {"providers", "OpenVINO", "TensorRT", "engines", "runs imkd_tiny"} <= set(names)
