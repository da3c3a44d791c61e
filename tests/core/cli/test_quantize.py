# SPDX-License-Identifier: Apache-2.0
"""`imkd quantize` end to end with a stand-in for the search, and what it refuses.

Real graphs are quantised in tests/core/export/test_quantize.py.
"""

from dataclasses import replace
from types import SimpleNamespace

import onnx
import pytest

from imkd_core.__main__ import main
from imkd_core.cli.evaluation import run as evaluation
from imkd_core.export import quantize
from imkd_core.export.quantize import FILE_NAMES, Quantized
from imkd_core.runtime import backends
from imkd_core.runtime.bundle import MANIFEST, load_bundle, write_bundle
from imkd_core.runtime.providers import AUTO, CPU_PROVIDER
from tests.core.data.made_up import write_dataroot
from tests.core.runtime.made_up_bundle import make_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("drives")
    return write_dataroot(root, frames=2, scenes=2, sweeps=0).root


@pytest.fixture
def search(monkeypatch):
    """Takes the float32 graph for the int8 one; keeps what it was asked."""
    asked = {}

    def stand_in(bundle, frames, options, report):
        asked.update(frames=frames, roles=options.roles)
        facts = {"for": "a test", "layers_int8": 3, "layers_kept": ["stem"]}
        graph = onnx.load(bundle.path("fp32"))
        return {role: Quantized(model=graph, facts=facts) for role in options.roles}

    monkeypatch.setattr(quantize, "quantize_model", stand_in)
    return asked


def arguments(bundle, data, *more):
    return ["quantize", "--model", str(bundle), "--data", str(data), *map(str, more)]


def test_files_are_written_measured_and_described(bundle, data, search, tmp_path, capsys):
    more = ("--frames", 3, "--output", tmp_path / "int8", "--test", data, "--limit", 2)
    assert main(arguments(bundle.root, data, *more, "--workers", 1)) == 0
    written = load_bundle(tmp_path / "int8")
    assert set(written.files) == {"fp32", *FILE_NAMES}
    assert len(search["frames"]) == 3
    for role in FILE_NAMES:
        cost = written.producer["int8"][role]["cost"]
        assert cost["nds_lost"] == cost["map_lost"] == 0
        assert cost["key_frames"] == 2
        assert cost["data"] == data.name
        assert cost["runner"].startswith("onnxruntime")
    printed = capsys.readouterr().out
    assert "int8_u8 3 layers in 8 bits, kept in float32: stem" in printed
    assert written.files["int8_s8"].sha256 in printed
    assert "int8_u8 NDS" in printed


def test_each_file_is_measured_by_what_it_is_for_also_where_openvino_would_run_it(
    bundle, data, search, tmp_path, monkeypatch
):
    evaluated, opened = {}, {}

    def evaluate(model, data, output, options):
        evaluated[options.role] = options.backend.providers
        metrics = SimpleNamespace(samples=2)
        return SimpleNamespace(nds=0.5, mean_ap=0.5, conditions=[SimpleNamespace(metrics=metrics)])

    real = backends.open_backend

    def open_backend(bundle, settings):
        opened[settings.role] = settings.providers
        return real(bundle, replace(settings, providers=(CPU_PROVIDER,)))

    monkeypatch.setattr(evaluation, "evaluate_bundle", evaluate)
    monkeypatch.setattr(backends, "open_backend", open_backend)
    more = ("--frames", 1, "--output", tmp_path / "int8", "--test", data)
    assert main(arguments(bundle.root, data, *more)) == 0
    assert evaluated == {
        "fp32": (CPU_PROVIDER,), "int8_s8": (AUTO,), "int8_u8": (CPU_PROVIDER,)
    }  # fmt: skip
    assert {role: opened[role] for role in FILE_NAMES} == {
        role: evaluated[role] for role in FILE_NAMES
    }


def test_one_role_can_be_asked_for(bundle, data, search, tmp_path):
    more = ("--frames", 1, "--roles", "int8_u8", "--output", tmp_path / "int8")
    assert main(arguments(bundle.root, data, *more)) == 0
    assert search["roles"] == ("int8_u8",)
    assert set(load_bundle(tmp_path / "int8").files) == {"fp32", "int8_u8"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--roles", "int4"), "int8 files are int8_s8, int8_u8, got ['int4']"),
        (("--roles", ""), "int8 files are"),
        (("--frames", "0"), "--frames must be 1 or more"),
    ],
)
def test_wrong_options_are_refused(bundle, data, more, words, capsys):
    assert main(arguments(bundle.root, data, *more)) == 2
    assert words in capsys.readouterr().err


def test_a_folder_without_drives_is_refused(bundle, tmp_path, capsys):
    assert main(arguments(bundle.root, tmp_path)) == 2
    assert "no v1.0-* folder" in capsys.readouterr().err


def test_a_folder_that_is_no_bundle_is_refused(data, tmp_path, capsys):
    assert main(arguments(tmp_path, data)) == 2
    assert "no model bundle" in capsys.readouterr().err


def test_a_bundle_without_a_float32_file_is_refused(bundle, data, tmp_path, capsys):
    (tmp_path / "model.onnx").write_bytes(bundle.path("fp32").read_bytes())
    write_bundle(
        tmp_path,
        name="half",
        inputs=bundle.inputs,
        head=bundle.head,
        files={"fp16": "model.onnx"},
        provenance={},
        producer={},
    )
    assert main(arguments(tmp_path, data)) == 2
    assert "imkd export --files fp32" in capsys.readouterr().err
    assert {p.name for p in tmp_path.iterdir()} == {"model.onnx", MANIFEST}


def test_a_model_without_layers_to_quantise_is_refused(bundle, data, capsys):
    assert main(arguments(bundle.root, data, "--frames", 1)) == 2
    assert "0 convolutions" in capsys.readouterr().err
    assert set(load_bundle(bundle.root).files) == {"fp32"}
