# SPDX-License-Identifier: Apache-2.0
"""Decoders of what people write and export: YAML files, bundles, models, checkpoints, weights."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from imkd_core.mapping import from_mapping, read_yaml, to_mapping
from imkd_core.recipe import Config
from imkd_core.runtime.backends import OnnxRuntimeBackend
from imkd_core.runtime.bundle import load_bundle
from imkd_core.runtime.contract import input_contract
from imkd_ros.bridge.parameter_file import read_settings
from imkd_ros.bridge.sensors import load_sensor_set, sensor_set_from_mapping
from tests.core.runtime.made_up_bundle import HEAD, SPEC, make_bundle
from tests.faults.fuzz_mutation import broken_bytes, broken_json
from tests.faults.fuzz_target import Attempt, Target, not_finite

_ROOT = Path(__file__).resolve().parents[2]


def sensors(folder: Path) -> Attempt:
    """A sensor file gives a set whose names and topics are sound, or is refused."""
    path = folder / "sensors.yaml"

    def attempt(data: bytes) -> str:
        try:
            found = sensor_set_from_mapping(json.loads(data))
        except (ValueError, RecursionError):  # no JSON: then as the text of a file
            path.write_bytes(data)
            found = load_sensor_set(path)
        offsets = [s.stamp_offset_ns for s in (*found.cameras.values(), *found.radars.values())]
        is_sound = all(name.replace("_", "a").isalnum() for name in found.names)
        wrong = "" if is_sound else f"range: names {found.names}"
        return wrong or not_finite("an offset", offsets)

    return attempt


def parameters(folder: Path) -> Attempt:
    """A parameter file gives settings within their ranges, or is refused by name."""
    path = folder / "detector.param.yaml"

    def attempt(data: bytes) -> str:
        path.write_bytes(data)
        values = read_settings(path).values
        numbers = [value for value in values.values() if isinstance(value, float | int)]
        return not_finite("a parameter", numbers)

    return attempt


def configuration(folder: Path) -> Attempt:
    """A training configuration is built soundly, or refused by its dotted key."""
    path = folder / "config.yaml"

    def attempt(data: bytes) -> str:
        path.write_bytes(data)
        return _finite_tree(to_mapping(from_mapping(Config, read_yaml(path))))

    return attempt


def plan(folder: Path) -> Attempt:
    """An experiment's plan can be listed, run by run, or is refused."""
    from imkd_core.training.experiment import load_plan

    path = folder / "plan.yaml"

    def attempt(data: bytes) -> str:
        path.write_bytes(data)
        found = load_plan(path)
        for row, seed in found.runs()[:50]:
            found.overrides(row, seed)
        return ""

    return attempt


def _finite_tree(tree: Any) -> str:
    """Say where a tree of plain values holds NaN or infinity."""
    if isinstance(tree, dict):
        return next(filter(None, map(_finite_tree, tree.values())), "")
    if isinstance(tree, list | tuple):
        return next(filter(None, map(_finite_tree, tree)), "")
    return not_finite("a value", tree) if isinstance(tree, float) else ""


def bundle(folder: Path) -> Attempt:
    """A bundle with a broken manifest, or a broken model under the old hash, is refused."""
    root = folder / "bundle"
    make_bundle(root)
    manifest, model = root / "bundle.json", root / "model.onnx"
    whole, weights = manifest.read_bytes(), model.read_bytes()

    def attempt(data: bytes) -> str:
        is_model = bool(data) and data[0] == 1
        (model if is_model else manifest).write_bytes(data[1:])
        try:
            found = load_bundle(root)
            if is_model and data[1:] != weights:
                return "range: a model that was altered is taken"
            outside = [r for r in found.files if not _is_inside(found.path(r), root)]
            return f"range: {outside} lie outside the bundle" if outside else _facts(found)
        finally:
            manifest.write_bytes(whole)
            if is_model:
                model.write_bytes(weights)

    return attempt


def _is_inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def _facts(found: Any) -> str:
    tree = {"inputs": to_mapping(found.inputs), "head": to_mapping(found.head)}
    return _finite_tree(tree)


def bundle_bytes() -> list[bytes]:
    """Return a bundle's manifest and its model, each with its number before it."""
    manifest, model = _bundle_files()
    return [b"\x00" + manifest, b"\x01" + model]


@cache
def _bundle_files() -> tuple[bytes, bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        root = make_bundle(Path(folder) / "bundle").root
        return (root / "bundle.json").read_bytes(), (root / "model.onnx").read_bytes()


def broken_bundle(data: bytes, rng: Random) -> bytes:
    """Return a broken manifest or model; the number before it is kept."""
    mutate = broken_json if data[:1] == b"\x00" else broken_bytes
    return data[:1] + mutate(data[1:], rng)


def onnx_model(folder: Path) -> Attempt:
    """A model that is broken under a hash that fits is refused, or answers soundly."""
    path = folder / "model.onnx"
    arrays = {
        name: np.zeros([1 if size is None else size for size in spec.shape], spec.dtype)
        for name, spec in input_contract(SPEC).items()
    }

    def attempt(data: bytes) -> str:
        path.write_bytes(data)
        backend = OnnxRuntimeBackend(path, threads=1, log_severity=4, inputs=SPEC, head=HEAD)
        try:
            return not_finite("an answer", *backend.run(arrays).values())
        finally:
            backend.close()

    return attempt


def onnx_bytes() -> list[bytes]:
    """Return a small model."""
    return [_bundle_files()[1]]


def checkpoint(folder: Path) -> Attempt:
    """A checkpoint is read whole, or refused."""
    from imkd_core.training.checkpoint import load_checkpoint

    path = folder / "checkpoint.safetensors"

    def attempt(data: bytes) -> str:
        path.write_bytes(data)
        found = load_checkpoint(path)
        return "" if found.step >= 0 else f"range: step {found.step}"

    return attempt


def checkpoint_bytes() -> list[bytes]:
    """Return a small checkpoint in the form of ours."""
    import torch
    from safetensors.torch import save

    tensors = {name: torch.ones(2) for name in ("model.a", "ema.a", "task.b")}
    tensors["optimizer.0.step"] = torch.ones(())
    metadata = {"step": "7", "stage": "student", "scaler": "{}"}
    metadata["config"] = json.dumps(to_mapping(_config()))
    return [save(tensors, metadata)]


def broken_checkpoint(data: bytes, rng: Random) -> bytes:
    """Return a broken checkpoint; often its header is broken as a tree, and its length fits."""
    size = int.from_bytes(data[:8], "little")
    if rng.random() < 0.4 or size > len(data):
        return broken_bytes(data, rng)
    head = broken_json(data[8 : 8 + size], rng)
    return len(head).to_bytes(8, "little") + head + data[8 + size :]


def _config() -> Config:
    return from_mapping(Config, read_yaml(_ROOT / "config" / "imkd_tiny.yaml"))


class Harm:
    """A pickle that would write a file, if anybody ran it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str, int], int], tuple[str, int]]:
        """Return what unpickling would do: call a function."""
        import os

        return os.mkdir, (self.path, 0o700)


_HARMED = "/tmp/imkd_fuzz_was_here"


def weights(folder: Path) -> Attempt:
    """Public weights are read as plain tensors; no code in a pickle is ever run."""
    from imkd_core.model.pretrained import _read_tensors

    path = folder / "weights.pth"
    harmed = Path(_HARMED)

    def attempt(data: bytes) -> str:
        path.write_bytes(data)
        try:
            found = _read_tensors(path)
        finally:
            if harmed.exists():
                harmed.rmdir()
                return "range: a pickle ran its code"  # noqa: B012
        return "" if isinstance(found, dict) else "range: no tensors"

    return attempt


def weight_bytes() -> list[bytes]:
    """Return a state_dict, a pickle that would do harm, and a zip with both."""
    import torch

    stream = io.BytesIO()
    torch.save({"conv1.weight": torch.ones(2, 2)}, stream)
    harm = pickle.dumps(Harm(_HARMED))
    whole = io.BytesIO(stream.getvalue())
    mixed = io.BytesIO()
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(mixed, "w") as target:
        for name in source.namelist():
            target.writestr(name, harm if name.endswith("data.pkl") else source.read(name))
    return [stream.getvalue(), harm, mixed.getvalue()]


def _yaml_as_json(*names: str) -> Callable[[], Sequence[bytes]]:
    """Return files of the project as JSON, whose trees can be broken."""
    return lambda: [json.dumps(read_yaml(_ROOT / "config" / name)).encode() for name in names]


SETTINGS = (
    Target(
        name="sensor file",
        share=40,
        open=sensors,
        seeds=_yaml_as_json("sensors.yaml"),
        mutate=broken_json,
    ),
    Target(
        name="parameter file",
        share=1,
        open=parameters,
        seeds=_yaml_as_json("detector.param.yaml"),
        mutate=broken_json,
    ),
    Target(
        name="configuration",
        share=1,
        open=configuration,
        seeds=_yaml_as_json("imkd_tiny.yaml", "imkd_vod.yaml"),
        mutate=broken_json,
    ),
    Target(
        name="experiment plan",
        share=1,
        open=plan,
        seeds=_yaml_as_json("experiments/memory.yaml"),
        mutate=broken_json,
        needs=("torch",),
    ),
    Target(name="bundle", share=10, open=bundle, seeds=bundle_bytes, mutate=broken_bundle),
    Target(name="ONNX model", share=2, open=onnx_model, seeds=onnx_bytes),
    Target(
        name="checkpoint",
        share=6,
        open=checkpoint,
        seeds=checkpoint_bytes,
        mutate=broken_checkpoint,
        needs=("torch", "safetensors"),
    ),
    Target(name="pickled weights", share=4, open=weights, seeds=weight_bytes, needs=("torch",)),
)
