# SPDX-License-Identifier: Apache-2.0
"""Make int8 files of a bundle's float32 file, calibrated on key frames of a data folder.

int8_s8 is for TensorRT and OpenVINO, int8_u8 for ONNX Runtime on CPUs with VNNI; a vehicle chooses
by model.precision. The files go into the bundle, or with --output into a copy of it. Layers that
hurt are found by trying and stay in float32. Calibrate on drives that the model was trained on, or
others like those it will meet; with --test the loss of NDS and mAP against float32 is measured on
drives that it has not seen, and written into the bundle.

Examples:
  imkd quantize --model runs/tiny/bundle --data DRIVES
  imkd quantize --model models/imkd_tiny --data DRIVES --output models/mine --test OTHER_DRIVES
"""

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imkd_core.data.calibration_frames import Inputs
    from imkd_core.runtime.backends import BackendSettings
    from imkd_core.runtime.bundle import Bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("--model", required=True, help="bundle: a folder")
    parser.add_argument("--data", type=Path, required=True, help="nuScenes folder to calibrate on")
    parser.add_argument("--version", help="table folder (default: the only v1.0-* there is)")
    parser.add_argument(
        "--frames", type=int, default=64, help="key frames to calibrate on (default: 64)"
    )
    parser.add_argument(
        "--roles",
        default="int8_s8,int8_u8",
        help="which files (default: int8_s8,int8_u8)",
        metavar="ROLES",
    )
    parser.add_argument("--output", type=Path, help="folder of the copy (default: the bundle's)")
    parser.add_argument("--test", type=Path, help="nuScenes folder to measure the loss on")
    parser.add_argument("--limit", type=int, help="key frames of --test at most, spread evenly")
    parser.add_argument("--workers", type=int, help="processes of --test (default: one a core)")


def run(arguments: argparse.Namespace) -> int:
    """Quantise; print what was kept, the files, and what they cost."""
    from imkd_core.errors import ConfigError
    from imkd_core.export.quantize import (
        QuantizeOptions,
        check_request,
        quantize_model,
        write_quantized,
    )
    from imkd_core.resources import bundle_folder
    from imkd_core.runtime.bundle import load_bundle

    roles = tuple(arguments.roles.split(","))
    bundle = load_bundle(bundle_folder(arguments.model))
    check_request(bundle, roles)
    if arguments.frames < 1:
        raise ConfigError(f"--frames must be 1 or more, got {arguments.frames}")
    frames = _calibration_frames(bundle, arguments)
    made = quantize_model(bundle, frames, QuantizeOptions(roles=roles), _print)
    written = write_quantized(bundle, made, arguments.output)
    for role in roles:
        file, facts = written.files[role], made[role].facts
        kept = ", ".join(facts["layers_kept"]) or "none"
        _print(f"{role} {written.root / file.file}  {file.bytes / 1e6:.1f} MB  {file.sha256}")
        _print(f"{role} for {facts['for']}")
        _print(f"{role} {facts['layers_int8']} layers in 8 bits, kept in float32: {kept}")
    if arguments.test is not None:
        measure_costs(written, roles, arguments)
    return 0


def _calibration_frames(bundle: "Bundle", arguments: argparse.Namespace) -> "list[Inputs]":
    from imkd_core.cli.common import open_nuscenes, progress
    from imkd_core.data.calibration_frames import calibration_inputs
    from imkd_core.export.quantize import SOURCE
    from imkd_core.runtime.backends import BackendSettings, open_backend

    samples = open_nuscenes(arguments.data, arguments.version).samples()
    backend = open_backend(bundle, BackendSettings(role=SOURCE, threads=os.cpu_count() or 1))
    try:
        with progress("calibration frames") as update:
            return calibration_inputs(
                samples,
                arguments.frames,
                bundle,
                backend,
                lambda done, total: update(done, total=total),
            )
    finally:
        backend.close()


def measure_costs(
    bundle: "Bundle", roles: tuple[str, ...], arguments: argparse.Namespace
) -> "Bundle":
    """Evaluate float32 and int8 files on --test; print the losses and write them down."""
    from imkd_core.cli.evaluation.run import EvaluationOptions, evaluate_bundle
    from imkd_core.export.quantize import SOURCE, record_costs

    results = {}
    with tempfile.TemporaryDirectory(prefix="imkd_quantize_") as folder:
        for role in (SOURCE, *roles):
            options = EvaluationOptions(
                limit=arguments.limit,
                role=role,
                backend=_measured_on(role),
                workers=arguments.workers or os.cpu_count() or 1,
                report=False,
            )
            _print(f"evaluates {role} on {arguments.test}")
            results[role] = evaluate_bundle(
                bundle.root, arguments.test, Path(folder) / role, options
            )
    base = results[SOURCE]
    costs: dict[str, dict[str, Any]] = {}
    for role in roles:
        found = results[role]
        costs[role] = {
            "runner": _runner(bundle, role),
            "data": arguments.test.resolve().name,
            "key_frames": found.conditions[0].metrics.samples,
            "nds": round(found.nds, 4),
            "map": round(found.mean_ap, 4),
            "nds_lost": round(base.nds - found.nds, 4),
            "map_lost": round(base.mean_ap - found.mean_ap, 4),
        }
        _print(
            f"{role} NDS {found.nds:.4f} ({base.nds:.4f} in float32), mAP {found.mean_ap:.4f} "
            f"({base.mean_ap:.4f})"
        )
    return record_costs(bundle, costs)


def _measured_on(role: str) -> "BackendSettings":
    """Return what measures a file: OpenVINO where it is, for the file that is for it alone."""
    from imkd_core.runtime.backends import BackendSettings
    from imkd_core.runtime.providers import AUTO, CPU_PROVIDER

    return BackendSettings(providers=(AUTO if role == "int8_s8" else CPU_PROVIDER,))


def _runner(bundle: "Bundle", role: str) -> str:
    """Return what runs a file here: a cost holds for the runtime that it was measured with."""
    from imkd_core.runtime.backends import open_backend

    backend = open_backend(bundle, replace(_measured_on(role), role=role))
    try:
        return backend.name
    finally:
        backend.close()


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
