# SPDX-License-Identifier: Apache-2.0
"""A bundle is used whole and unaltered, or refused with the file's name and the remedy."""

import json
from pathlib import Path

import pytest

from imkd_core.errors import BundleError, ConfigError
from imkd_core.postprocess import Thresholds
from imkd_core.runtime.bundle import Bundle, load_bundle, write_bundle
from tests.core.runtime.made_up_bundle import HEAD, SPEC


def write(root: Path, **changes) -> Bundle:
    values = {
        "name": "made_up",
        "inputs": SPEC,
        "head": HEAD,
        "files": {"fp32": "model.onnx", "fp16": "half/model.onnx"},
        "provenance": {"training_data": "none", "steps": 0},
        "producer": {"imkd": "0.1", "opset": 18},
    }
    return write_bundle(root, **{**values, **changes})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a valid bundle of two files (the bytes need not be a model)."""
    root = tmp_path / "bundle"
    (root / "half").mkdir(parents=True)
    (root / "model.onnx").write_bytes(b"weights" * 1000)
    (root / "half" / "model.onnx").write_bytes(b"half the weights")
    write(root)
    return root


def edit(root: Path, **changes) -> None:
    path = root / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_was_written_is_loaded(root):
    written = write(
        root,
        thresholds=Thresholds(score={"car": 0.3}, max_range_m={"bus": 50.0}, default_score=0.2),
        created="2026-01-02T03:04:05+00:00",
    )
    for bundle in (written, load_bundle(root), load_bundle(root / "bundle.json")):
        assert bundle.name == "made_up"
        assert bundle.root == root
        assert bundle.inputs == SPEC
        assert bundle.head == HEAD
        assert bundle.thresholds.score == {"car": 0.3}
        assert bundle.thresholds.max_range_m == {"bus": 50.0}
        assert bundle.thresholds.default_score == 0.2
        assert bundle.provenance == {"training_data": "none", "steps": 0}
        assert bundle.producer["opset"] == 18
        assert bundle.created == "2026-01-02T03:04:05+00:00"
        assert bundle.files["fp32"].bytes == 7000
        assert bundle.path("fp16") == root / "half" / "model.onnx"


def test_the_manifest_is_readable_json_with_a_version_and_a_time(root):
    raw = json.loads((root / "bundle.json").read_text())
    assert raw["schema_version"] == 1
    assert raw["created"].endswith("+00:00")
    assert set(raw["files"]["fp32"]) == {"file", "sha256", "bytes"}


def test_writing_leaves_nothing_half_done(root):
    before = (root / "bundle.json").read_text()
    with pytest.raises(BundleError, match="is missing"):
        write(root, files={"fp32": "absent.onnx"})
    assert (root / "bundle.json").read_text() == before
    write(root)
    assert sorted(p.name for p in root.iterdir()) == ["bundle.json", "half", "model.onnx"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "at least one model file"),
        ({"fp32": "empty.onnx"}, r"empty\.onnx is empty"),
        ({"fp32": "model.pt"}, r"model\.pt: pickled"),
        ({"fp32": "../outside.onnx"}, "out of the bundle's folder"),
    ],
)
def test_writing_refuses_files_that_loading_would_refuse(root, files, message):
    (root / "empty.onnx").touch()
    (root / "model.pt").write_bytes(b"x")
    (root.parent / "outside.onnx").write_bytes(b"x")
    with pytest.raises(BundleError, match=message):
        write(root, files=files)


def test_writing_refuses_thresholds_of_unknown_classes(root):
    with pytest.raises(ConfigError, match="dragon"):
        write(root, thresholds=Thresholds(score={"dragon": 0.5}))


def test_a_missing_role_is_named_with_those_there_are(root):
    with pytest.raises(BundleError, match=r"no 'int8' model; it has fp32, fp16"):
        load_bundle(root).path("int8")


def test_a_missing_file_is_named(root):
    (root / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"model\.onnx is missing; copy it there"):
        load_bundle(root)


def test_a_truncated_file_is_named_with_both_sizes(root):
    (root / "model.onnx").write_bytes(b"weights" * 999)
    with pytest.raises(BundleError, match=r"model\.onnx has 6993 bytes instead of 7000"):
        load_bundle(root)


def test_an_empty_file_is_named(root):
    (root / "model.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match=r"model\.onnx is empty"):
        load_bundle(root)


def test_one_flipped_bit_is_found(root):
    data = bytearray((root / "half" / "model.onnx").read_bytes())
    data[5] ^= 1
    (root / "half" / "model.onnx").write_bytes(data)
    with pytest.raises(BundleError, match=r"half/model\.onnx was altered: sha256"):
        load_bundle(root)


@pytest.mark.parametrize("suffix", ["pth", "pt", "pkl", "ckpt", "PTH", "bin"])
def test_pickles_are_refused_by_name(root, suffix):
    pickle = root / f"model.{suffix}"
    pickle.write_bytes(b"weights" * 1000)
    with pytest.raises(BundleError, match=rf"model\.{suffix}: pickled .* never loaded"):
        load_bundle(pickle)
    raw = json.loads((root / "bundle.json").read_text())
    raw["files"]["fp32"]["file"] = pickle.name
    edit(root, files=raw["files"])
    with pytest.raises(BundleError, match="never loaded"):
        load_bundle(root)


@pytest.mark.parametrize(
    "file", ["../model.onnx", "/etc/hostname", "half/../../model.onnx", "..\\model.onnx", "", "."]
)
def test_paths_that_leave_the_bundle_are_refused(root, file):
    (root.parent / "model.onnx").write_bytes(b"weights" * 1000)
    raw = json.loads((root / "bundle.json").read_text())
    raw["files"]["fp32"]["file"] = file
    edit(root, files=raw["files"])
    with pytest.raises(BundleError, match="leaves the bundle's folder"):
        load_bundle(root)


@pytest.mark.parametrize(("name", "size"), [("x" * 5000, 5000), ("\u2202" * 100, 300)])
def test_a_name_that_no_disk_takes_is_refused(root, name, size):
    raw = json.loads((root / "bundle.json").read_text())
    raw["files"]["fp32"]["file"] = name
    edit(root, files=raw["files"])
    with pytest.raises(BundleError, match=rf"\.\.\.' has a name of {size} bytes"):
        load_bundle(root)


def test_an_address_is_no_file_of_a_bundle(root):
    raw = json.loads((root / "bundle.json").read_text())
    raw["files"]["fp32"]["file"] = "file:///etc/hostname"
    edit(root, files=raw["files"])
    with pytest.raises(BundleError, match="is missing"):
        load_bundle(root)


def test_a_link_out_of_the_bundle_is_refused(root):
    outside = root.parent / "model.onnx"
    (root / "model.onnx").rename(outside)
    (root / "model.onnx").symlink_to(outside)
    with pytest.raises(BundleError, match="leads out of the bundle's folder"):
        load_bundle(root)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, r"schema_version 2 is not 1"),
        ({"schema_version": None}, "schema_version None"),
        ({"surprise": 1}, "unknown config key 'surprise'"),
        ({"name": 7}, "name must be of type str"),
        ({"files": {}}, "names no model file"),
        ({"files": []}, "files must be a mapping"),
        ({"files": {"fp32": {"file": "model.onnx"}}}, r"files\S*sha256' is missing"),
        ({"files": {"fp32": {"file": "model.onnx", "sha256": "0", "bytes": 1}}}, "64 hexadecimal"),
        ({"files": {"fp32": {"file": "a", "sha256": "0" * 64, "bytes": 0}}}, "bytes positive"),
        ({"inputs": {"image_height_px": 100}}, "bundle.json: .*export the model again"),
        ({"provenance": []}, "must be mappings"),
        ({"thresholds": {"score": {"dragon": 0.5}}}, "unknown classes dragon"),
        ({"thresholds": {"score": {"car": 5.0}}}, "must be 0..1"),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(root, changes, message):
    edit(root, **changes)
    with pytest.raises(BundleError, match=message):
        load_bundle(root)


def test_a_bundle_without_thresholds_has_the_heads(root):
    raw = json.loads((root / "bundle.json").read_text())
    del raw["thresholds"], raw["provenance"], raw["producer"]
    (root / "bundle.json").write_text(json.dumps(raw))
    assert load_bundle(root).thresholds.score == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1]", "must hold a mapping"),
        (b" " * (2 << 20), "larger than"),
    ],
)
def test_a_manifest_that_is_none_is_refused(root, content, message):
    (root / "bundle.json").write_bytes(content)
    with pytest.raises(BundleError, match=message):
        load_bundle(root)


@pytest.mark.parametrize("name", ["nowhere", "bundle/model.onnx", "bundle/half"])
def test_no_bundle_there_says_what_to_give(root, name):
    with pytest.raises(BundleError, match=r"no model bundle at .*bundle\.json"):
        load_bundle(root.parent / name)


def test_a_bundle_can_be_moved(root):
    moved = root.rename(root.parent / "elsewhere")
    assert load_bundle(moved).path("fp32").is_file()
