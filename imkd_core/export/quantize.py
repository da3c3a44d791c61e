# SPDX-License-Identifier: Apache-2.0
"""A bundle's float32 file to int8 files with explicit Q/DQ pairs, calibrated on real frames.

`model_int8_s8.onnx` is for TensorRT and OpenVINO, `model_int8_u8.onnx` for ONNX Runtime's own CPU
code; see `quantize_graph.STYLES`. What each is for, how it was calibrated, which layers were kept
and what it costs stands in the bundle, under producer.int8.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from imkd_core.errors import BundleError
from imkd_core.export.compact import load_widened
from imkd_core.export.onnx_lint import lint_operators
from imkd_core.export.quantize_equalize import ChannelPeaks, equalize, even_tensors
from imkd_core.export.quantize_graph import (
    STYLES,
    Style,
    find_layers,
    find_tensors,
    quantize_graph,
)
from imkd_core.export.quantize_layout import for_integer_kernels, read_levels
from imkd_core.export.quantize_measure import Arrays, Judge, observe
from imkd_core.export.quantize_ranges import Histogram
from imkd_core.export.quantize_search import Plan, SearchLimits, find_plan
from imkd_core.export.quantize_wiring import with_own_constants
from imkd_core.runtime.backends import OnnxRuntimeBackend
from imkd_core.runtime.bundle import Bundle, write_bundle

#: File of each role in a bundle.
FILE_NAMES: Mapping[str, str] = {role: f"model_{role}.onnx" for role in STYLES}

#: Role that is quantised.
SOURCE = "fp32"

#: Where a bundle keeps what is known of its int8 files: producer[KEY][role].
KEY = "int8"

MODEL_CARD = "MODEL_CARD.md"

#: Operators that TensorRT refuses for 8-bit numbers and ONNX Runtime runs.
_FOR_ONNX_RUNTIME = ("QuantizeLinear", "DequantizeLinear", "Pad", "Transpose", "Reshape")


@dataclass(frozen=True, kw_only=True)
class QuantizeOptions:
    """How to quantise.

    Attributes:
        roles: which files are made, of `FILE_NAMES`.
        search_frames: frames that trials are judged on, spread evenly over the calibration's.
        limits: when the search for layers to keep is content.
    """

    roles: tuple[str, ...] = tuple(FILE_NAMES)
    search_frames: int = 4
    limits: SearchLimits = field(default_factory=SearchLimits)


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantized:
    """One int8 graph and what a bundle says of it.

    Attributes:
        model: the graph.
        facts: plain values for `bundle.json`.
    """

    model: ModelProto
    facts: Mapping[str, Any]


def check_request(bundle: Bundle, roles: Sequence[str]) -> None:
    """Refuse what cannot be quantised, before any work is done.

    Raises:
        BundleError: the bundle has no float32 file, or a role is unknown.
    """
    if SOURCE not in bundle.files:
        raise BundleError(
            f"bundle '{bundle.name}' has no '{SOURCE}' file to quantise; export the model with "
            "`imkd export --files fp32`"
        )
    if not roles or not set(roles) <= set(FILE_NAMES):
        raise BundleError(f"int8 files are {', '.join(FILE_NAMES)}, got {list(roles)}")


def quantize_model(
    bundle: Bundle,
    frames: Sequence[Arrays],
    options: QuantizeOptions,
    report: Callable[[str], None],
) -> dict[str, Quantized]:
    """Return the int8 graphs of a bundle by role; nothing is written.

    Args:
        bundle: with a float32 file.
        frames: network inputs of real frames, one mapping each.
        options: how.
        report: is told what is being done.

    Raises:
        BundleError: there is no float32 file, no frame, nothing to quantise, or a result that a
            target would refuse.
        BackendError: ONNX Runtime refuses a graph.
    """
    check_request(bundle, options.roles)
    source = with_own_constants(load_widened(bundle.path(SOURCE)))
    if not frames or not find_layers(source):
        raise BundleError(
            f"cannot quantise {bundle.path(SOURCE)}: {len(frames)} calibration frames, "
            f"{len(find_layers(source))} convolutions; give frames, and a file of `imkd export`"
        )
    made = {}
    with tempfile.TemporaryDirectory(prefix="imkd_quantize_") as name:
        folder = Path(name)
        report(f"measures tensors over {len(frames)} frames")
        judged = frames[:: max(1, len(frames) // options.search_frames)][: options.search_frames]
        for role in options.roles:
            style = STYLES[role]
            even = prepared(source, style, frames, folder)
            histograms = _histograms(even, frames, folder, style)
            judge = Judge(source, judged, folder, is_fused=not style.is_signed)
            told = _prefixed(report, role)
            plan = find_plan(even, histograms, judge, style, options.limits, told)
            layers = [layer for layer in find_layers(even) if layer not in plan.kept]
            model = quantize_graph(even, plan.ranges, layers, style)
            _set_role(model, role)
            _check(model, bundle, role, folder)
            made[role] = Quantized(model=model, facts=_facts(plan, role, len(layers), len(frames)))
    return made


def prepared(
    source: ModelProto, style: Style, frames: Sequence[Arrays], folder: Path
) -> ModelProto:
    """Return a float32 graph of the same function that becomes 8-bit with less loss, and faster."""
    if style.has_outputs:
        source = read_levels(source)
    peaks = observe(source, even_tensors(source), frames, folder, ChannelPeaks)
    even = equalize(source, {tensor: meter.peaks for tensor, meter in peaks.items()})
    return for_integer_kernels(even) if style.has_outputs else even


def _histograms(
    model: ModelProto, frames: Sequence[Arrays], folder: Path, style: Style
) -> dict[str, Histogram]:
    """Return what every tensor that may become 8-bit takes, whichever layers are chosen."""
    names = set(find_tensors(model, find_layers(model), style).ranges)
    return observe(model, sorted(names), frames, folder, Histogram)


def _prefixed(report: Callable[[str], None], role: str) -> Callable[[str], None]:
    return lambda text: report(f"{role}: {text}")


def _facts(plan: Plan, role: str, layers: int, frames: int) -> dict[str, Any]:
    return {
        "for": STYLES[role].purpose,
        "calibration_frames": frames,
        "method": plan.method,
        "layers_int8": layers,
        "layers_kept": list(plan.kept),
        "work_kept": round(plan.kept_work, 4),
        "scores_moved": round(plan.moved_share, 4),
    }


def _set_role(model: ModelProto, role: str) -> None:
    """Let the file itself say what it is."""
    for item in model.metadata_props:
        if item.key == "imkd.role":
            item.value = role


def _check(model: ModelProto, bundle: Bundle, role: str, folder: Path) -> None:
    """Refuse a graph that its target, or the bundle's contract, would refuse."""
    findings = lint_operators(model)
    if STYLES[role].has_outputs:  # uint8 and int32 are for ONNX Runtime, the only one to run it
        findings = [item for item in findings if item.operator not in _FOR_ONNX_RUNTIME]
    if findings:
        lines = "; ".join(f"{f.operator} '{f.node}': {f.reason}" for f in findings)
        raise BundleError(f"the {role} graph cannot run on its target: {lines}")
    path = folder / FILE_NAMES[role]
    onnx.save(model, path)
    OnnxRuntimeBackend(path, threads=1, inputs=bundle.inputs, head=bundle.head).close()
    path.unlink()


def write_quantized(
    bundle: Bundle, made: Mapping[str, Quantized], output: Path | None = None
) -> Bundle:
    """Write int8 graphs into a bundle, or into a copy of it; return what was written.

    At every moment the folder holds a bundle that loads, or none at all.

    Args:
        bundle: whose graphs they are.
        made: role -> graph.
        output: folder of the copy, which must not exist; None = into the bundle itself.

    Raises:
        BundleError: the folder exists, or cannot be written.
    """
    try:
        if output is None or output.resolve() == bundle.root.resolve():
            return _add_files(bundle, bundle.root, made)
        if output.exists():
            raise BundleError(f"{output} exists; name a new folder for the bundle, or remove it")
        output.parent.mkdir(parents=True, exist_ok=True)
        with _temporary_folder(output) as folder:
            for file in bundle.files.values():
                (folder / file.file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(bundle.root / file.file, folder / file.file)
            if (bundle.root / MODEL_CARD).is_file():
                shutil.copyfile(bundle.root / MODEL_CARD, folder / MODEL_CARD)
            written = _add_files(bundle, folder, made)
            folder.rename(output)
        return replace(written, root=output)
    except OSError as error:
        raise BundleError(f"cannot write the bundle: {error}; nothing was changed") from None


def record_costs(bundle: Bundle, costs: Mapping[str, Mapping[str, Any]]) -> Bundle:
    """Write into a bundle what its int8 files cost.

    Args:
        bundle: as `write_quantized` returned it.
        costs: role -> plain values.
    """
    known = bundle.producer[KEY]
    facts = {role: {**known[role], "cost": dict(cost)} for role, cost in costs.items()}
    files = {role: file.file for role, file in bundle.files.items()}
    return _write(bundle, bundle.root, files, {**known, **facts})


@contextmanager
def _temporary_folder(output: Path) -> Iterator[Path]:
    """Yield a folder beside `output`; what is left of it is removed."""
    folder = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _add_files(bundle: Bundle, root: Path, made: Mapping[str, Quantized]) -> Bundle:
    """Put files and then the manifest into a bundle's folder."""
    files = {role: file.file for role, file in bundle.files.items() if role not in made}
    facts = {k: v for k, v in dict(bundle.producer.get(KEY, {})).items() if k not in made}
    temporary = {role: root / f".{FILE_NAMES[role]}.new" for role in made}
    try:
        for role, path in temporary.items():
            onnx.save(made[role].model, path)
        if len(files) < len(bundle.files):  # old int8 files leave the manifest before they change
            _write(bundle, root, files, facts)
        for role, path in temporary.items():
            path.replace(root / FILE_NAMES[role])
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)
    files |= {role: FILE_NAMES[role] for role in made}
    return _write(bundle, root, files, facts | {role: made[role].facts for role in made})


def _write(
    bundle: Bundle, root: Path, files: Mapping[str, str], facts: Mapping[str, Any]
) -> Bundle:
    others = {key: value for key, value in bundle.producer.items() if key != KEY}
    return write_bundle(
        root,
        name=bundle.name,
        inputs=bundle.inputs,
        head=bundle.head,
        files=files,
        provenance=bundle.provenance,
        producer={**others, KEY: dict(facts)} if facts else others,
        thresholds=bundle.thresholds,
        created=bundle.created,
    )
