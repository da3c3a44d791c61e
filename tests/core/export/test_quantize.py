# SPDX-License-Identifier: Apache-2.0
"""A small student's bundle to int8 files: what is written, what it says, what is refused."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from imkd_core.errors import BundleError
from imkd_core.export import quantize
from imkd_core.export.onnx_export import export_onnx
from imkd_core.export.onnx_lint import lint_operators
from imkd_core.export.quantize import (
    FILE_NAMES,
    QuantizeOptions,
    check_request,
    quantize_model,
    record_costs,
    write_quantized,
)
from imkd_core.export.quantize_graph import find_layers
from imkd_core.export.quantize_measure import moved_share
from imkd_core.export.quantize_search import SearchLimits
from imkd_core.export.tensorrt_check import check_tensorrt, is_tensorrt_installed
from imkd_core.model.example import batched, example_inputs
from imkd_core.model.student import Student
from imkd_core.runtime.backends import BackendSettings, open_backend
from imkd_core.runtime.bundle import MANIFEST, load_bundle, write_bundle
from imkd_core.runtime.tensorrt.keys import CameraRange
from tests.core.model.small import CONFIG, INPUTS

CAMERAS = 2


def frame_of(seed):
    return {k: v.numpy() for k, v in example_inputs(INPUTS, CAMERAS, seed).items()}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    torch.manual_seed(0)
    student = Student.from_config(CONFIG).train()
    with torch.no_grad():
        for seed in range(2):
            student(**batched(example_inputs(INPUTS, CAMERAS, seed)))
    folder = tmp_path_factory.mktemp("model") / "small"
    written = export_onnx(
        student, CONFIG, folder, "small", {"licence": "of the test"}, roles=("fp32",)
    )
    (folder / "MODEL_CARD.md").write_text("a card")
    return written


@pytest.fixture(scope="module")
def made(bundle):
    said = []
    options = QuantizeOptions(search_frames=2, limits=SearchLimits(moved_share=1.0))
    graphs = quantize_model(bundle, [frame_of(seed) for seed in range(3)], options, said.append)
    assert any("measures tensors over 3 frames" in text for text in said)
    return graphs


@pytest.fixture(scope="module")
def written(bundle, made, tmp_path_factory):
    return write_quantized(bundle, made, tmp_path_factory.mktemp("out") / "int8")


def copy_of(bundle, folder):
    """A bundle of its own, with the float32 file alone."""
    folder.mkdir()
    (folder / "model.onnx").write_bytes(bundle.path("fp32").read_bytes())
    return write_bundle(
        folder,
        name=bundle.name,
        inputs=bundle.inputs,
        head=bundle.head,
        files={"fp32": "model.onnx"},
        provenance=bundle.provenance,
        producer=bundle.producer,
    )


def test_the_copy_holds_all_files_and_the_facts_of_the_old_one(bundle, written):
    again = load_bundle(written.root)
    assert {role: file.file for role, file in again.files.items()} == {
        "fp32": "model.onnx",
        **FILE_NAMES,
    }
    assert again.files["fp32"].sha256 == bundle.files["fp32"].sha256
    assert (again.inputs, again.head, again.created) == (
        bundle.inputs,
        bundle.head,
        bundle.created,
    )
    assert again.provenance == bundle.provenance
    assert again.producer["model"] == bundle.producer["model"]
    assert (written.root / "MODEL_CARD.md").read_text() == "a card"
    assert set(load_bundle(bundle.root).files) == {"fp32"}
    assert [p.name for p in written.root.parent.iterdir()] == ["int8"]


def test_the_bundle_says_what_each_file_is_for_and_how_it_was_made(written):
    facts = load_bundle(written.root).producer["int8"]
    assert set(facts) == set(FILE_NAMES)
    assert "TensorRT" in facts["int8_s8"]["for"]
    assert "ONNX Runtime" in facts["int8_u8"]["for"]
    for fact in facts.values():
        assert fact["calibration_frames"] == 3
        assert fact["method"] in ("minmax", "percentile", "mse")
        assert fact["layers_kept"] == []
        assert fact["layers_int8"] > 30


@pytest.mark.parametrize("role", FILE_NAMES)
def test_an_altered_int8_file_is_refused_like_any_other(written, tmp_path, role):
    for file in written.root.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / FILE_NAMES[role]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match="altered"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("role", FILE_NAMES)
def test_int8_answers_are_those_of_float32_but_for_a_stated_share(written, role):
    exact = open_backend(written)
    rounded = open_backend(written, BackendSettings(role=role))
    for seed in (0, 11):  # calibrated on the first alone
        frame = frame_of(seed)
        assert moved_share(exact.run(frame), rounded.run(frame)) < 0.25


@pytest.mark.parametrize("role", FILE_NAMES)
def test_the_graph_is_valid_says_its_role_and_has_8_bit_weights(written, role):
    model = onnx.load(written.path(role))
    onnx.checker.check_model(model, full_check=True)
    assert {p.key: p.value for p in model.metadata_props}["imkd.role"] == role
    kinds = [item.data_type for item in model.graph.initializer if len(item.dims) == 4]
    source = onnx.load(written.path("fp32"))
    layers = len(find_layers(source))
    if role == "int8_u8":  # there transposed convolutions are layers too
        layers += [node.op_type for node in source.graph.node].count("ConvTranspose")
    assert kinds.count(onnx.TensorProto.INT8) == layers


def test_the_signed_file_passes_the_lint_of_all_targets(written):
    assert lint_operators(written.path("int8_s8")) == []
    refused = {item.operator for item in lint_operators(written.path("int8_u8"))}
    moved = {"Pad", "Transpose", "Reshape"}
    assert refused == {"QuantizeLinear", "DequantizeLinear"} | moved  # ONNX Runtime alone


@pytest.mark.skipif(not is_tensorrt_installed(), reason="tensorrt-rtx is not installed")
def test_tensorrt_builds_the_signed_file(written):
    report = check_tensorrt(written.path("int8_s8"), CameraRange.exactly(CAMERAS))
    assert report.plan_bytes > 10_000


def test_int8_files_can_be_added_to_the_bundle_itself_and_made_again(bundle, made, tmp_path):
    own = copy_of(bundle, tmp_path / "own")
    assert set(write_quantized(own, {"int8_u8": made["int8_u8"]}).files) == {"fp32", "int8_u8"}
    both = write_quantized(load_bundle(own.root), made)
    again = write_quantized(both, {"int8_s8": made["int8_s8"]})
    assert set(load_bundle(own.root).files) == {"fp32", *FILE_NAMES}
    assert set(again.producer["int8"]) == set(FILE_NAMES)
    assert {p.name for p in own.root.iterdir()} == {"model.onnx", MANIFEST, *FILE_NAMES.values()}


@pytest.mark.parametrize("is_copy", [True, False])
def test_interrupted_writing_leaves_the_bundle_that_was_there(
    bundle, made, tmp_path, monkeypatch, is_copy
):
    own = copy_of(bundle, tmp_path / "own")
    real, calls = onnx.save, []

    def save(model, path):
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(model, path)

    monkeypatch.setattr(quantize.onnx, "save", save)
    with pytest.raises(KeyboardInterrupt):
        write_quantized(own, made, tmp_path / "copy" if is_copy else None)
    assert [p.name for p in tmp_path.iterdir()] == ["own"]
    assert {p.name for p in own.root.iterdir()} == {"model.onnx", MANIFEST}
    assert set(load_bundle(own.root).files) == {"fp32"}


def test_at_every_step_of_replacing_int8_files_the_folder_loads(
    bundle, made, tmp_path, monkeypatch
):
    own = write_quantized(copy_of(bundle, tmp_path / "own"), made)
    real, seen = quantize.write_bundle, []

    def watched(root, **facts):
        seen.append(set(load_bundle(root).files))
        return real(root, **facts)

    monkeypatch.setattr(quantize, "write_bundle", watched)
    changed = onnx.ModelProto()
    changed.CopyFrom(made["int8_u8"].model)
    changed.doc_string = "another"
    write_quantized(own, {"int8_u8": replace(made["int8_u8"], model=changed)})
    assert seen == [{"fp32", *FILE_NAMES}, {"fp32", "int8_s8"}]


def test_a_full_disk_is_told_and_changes_nothing(bundle, made, tmp_path, monkeypatch):
    def save(model, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(quantize.onnx, "save", save)
    with pytest.raises(BundleError, match="No space left"):
        write_quantized(bundle, made, tmp_path / "copy")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_not_overwritten(bundle, made, tmp_path):
    with pytest.raises(BundleError, match="exists; name a new folder"):
        write_quantized(bundle, made, tmp_path)


def test_what_files_cost_is_written_into_the_bundle(bundle, made, tmp_path):
    own = write_quantized(copy_of(bundle, tmp_path / "own"), made)
    record_costs(own, {"int8_u8": {"nds_lost": 0.002}})
    facts = json.loads((own.root / MANIFEST).read_text())["producer"]["int8"]
    assert facts["int8_u8"]["cost"] == {"nds_lost": 0.002}
    assert facts["int8_u8"]["method"] == made["int8_u8"].facts["method"]
    assert "cost" not in facts["int8_s8"]


@pytest.mark.parametrize("roles", [(), ("int4",), ("int8_u8", "fp16")])
def test_unknown_roles_are_refused(bundle, roles):
    with pytest.raises(BundleError, match="int8 files are int8_s8, int8_u8"):
        check_request(bundle, roles)


def test_a_bundle_without_a_float32_file_is_refused(bundle, tmp_path):
    (tmp_path / "model.onnx").write_bytes(bundle.path("fp32").read_bytes())
    other = write_bundle(
        tmp_path,
        name="half",
        inputs=bundle.inputs,
        head=bundle.head,
        files={"fp16": "model.onnx"},
        provenance={},
        producer={},
    )
    with pytest.raises(BundleError, match="no 'fp32' file to quantise"):
        check_request(other, ("int8_u8",))


def test_no_frames_are_refused(bundle):
    with pytest.raises(BundleError, match="0 calibration frames"):
        quantize_model(bundle, [], QuantizeOptions(), lambda _text: None)


def test_the_share_of_moved_scores_is_0_for_the_same_and_1_for_nothing():
    rng = np.random.default_rng(0)
    answer = {
        "scores": np.sort(rng.random(20))[::-1].astype(np.float32),
        "labels": rng.integers(0, 3, 20),
        "boxes": rng.normal(0, 20, (20, 10)).astype(np.float32),
    }
    gone = {**answer, "labels": answer["labels"] + 5}
    order = rng.permutation(20)
    assert moved_share(answer, answer) == 0
    assert moved_share(answer, {k: v[order] for k, v in answer.items()}) == 0
    assert moved_share(answer, gone) == pytest.approx(1)
    nudged = {**answer, "boxes": answer["boxes"] + np.float32(0.02)}
    assert 0 < moved_share(answer, nudged) < 0.05
