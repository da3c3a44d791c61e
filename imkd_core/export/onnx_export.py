# SPDX-License-Identifier: Apache-2.0
"""A trained student to a bundle: ONNX files in float32 and float16, linted, compared, described."""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor

from imkd_core.errors import BundleError
from imkd_core.export.compact import round_weights, store_as_half
from imkd_core.export.graph import DeployedStudent, deploy, output_names
from imkd_core.export.onnx_lint import check_operators
from imkd_core.export.parity import ParityFigures, check_parity, measure_parity
from imkd_core.export.simplify import simplify
from imkd_core.mapping import to_mapping
from imkd_core.model.example import example_inputs, input_names
from imkd_core.model.student import Student
from imkd_core.recipe import AugmentConfig, Config
from imkd_core.runtime.backends import OnnxRuntimeBackend
from imkd_core.runtime.bundle import Bundle, write_bundle

OPSET = 20

#: File of each role in a bundle.
FILE_NAMES: Mapping[str, str] = {"fp32": "model.onnx", "fp16": "model_fp16.onnx"}

#: Inputs whose first axis is the cameras; it stays open in the file.
CAMERA_INPUTS = ("images", "camera_mask", "camera_params", "frustum_mask")

#: Most cameras that the open axis admits.
MAX_CAMERAS = 16


def export_onnx(
    student: Student,
    config: Config,
    directory: Path,
    name: str,
    provenance: Mapping[str, Any],
    frames: Sequence[Mapping[str, Tensor]] = (),
    roles: Sequence[str] = tuple(FILE_NAMES),
    *,
    is_compact: bool = False,
) -> Bundle:
    """Write `model.onnx`, `model_fp16.onnx` and `bundle.json` into a folder and load them back.

    Args:
        student: trained; it is left as it is.
        config: that it was built from.
        directory: made where it is missing; files of the same names are replaced.
        name: of the bundle.
        provenance: training data, licence, steps.
        frames: real inputs (no batch axis) for the comparison with ONNX Runtime; noise if empty.
        roles: which files are written, of `FILE_NAMES`; an old one of another role goes.
        is_compact: keep the weights of the float32 file in half the bytes, see `export.compact`.

    Raises:
        BundleError: the graph holds an operator that a target cannot run, or the float32 file
            differs from the network by more than 1e-3 of score or 1 cm.
        BackendError: the float16 file gives values that are not finite.
    """
    if (student.inputs, student.head_spec) != (config.inputs, config.head):
        raise BundleError(f"the student was not built from configuration '{config.name}'")
    if not roles or not set(roles) <= set(FILE_NAMES):
        raise BundleError(f"a bundle holds files of {', '.join(FILE_NAMES)}, got {list(roles)}")
    directory.mkdir(parents=True, exist_ok=True)
    for role in set(FILE_NAMES) - set(roles):
        (directory / FILE_NAMES[role]).unlink(missing_ok=True)
    trace_frame = example_inputs(config.inputs)
    checked = frames or (trace_frame,)
    unseen = unseen_sensors(config.augment)
    reference = deploy(student, trace_frame, unseen=unseen)
    if is_compact:
        round_weights(reference)
    parity = {}
    for role in roles:
        file_name = FILE_NAMES[role]
        is_half = role == "fp16"
        network = deploy(student, trace_frame, True, unseen) if is_half else reference
        path = directory / file_name
        write_graph(network, trace_frame, path, _metadata(config, name, role))
        if is_compact and not is_half:
            store_as_half(path)
        check_operators(path)
        parity[role] = _compare(reference, path, config, checked, is_half)
    return write_bundle(
        directory,
        name=name,
        inputs=config.inputs,
        head=config.head,
        files={role: FILE_NAMES[role] for role in roles},
        provenance=provenance,
        producer={
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "opset": OPSET,
            "model": to_mapping(config.model),
            "weights": "rounded to float16" if is_compact else "float32",
            "unseen_sensors": unseen,
            "parity": parity,
        },
    )


def unseen_sensors(augment: AugmentConfig) -> list[str]:
    """Return the kinds of sensor, "cameras" or "radars", that a training took from every frame."""
    shares = {"cameras": augment.drop_cameras, "radars": augment.drop_radar}
    return [kind for kind, share in shares.items() if share >= 1]


def write_graph(
    network: DeployedStudent, frame: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]
) -> None:
    """Trace a network and write it as one ONNX file; the number of cameras stays open.

    Args:
        network: folded, in evaluation mode, on the CPU.
        frame: example inputs with two cameras or more.
        path: of the file.
        metadata: text by key, kept in the file.
    """
    cameras = torch.export.Dim("cameras", min=1, max=MAX_CAMERAS)
    spec = network.student.inputs
    shapes = {key: {0: cameras} if key in CAMERA_INPUTS else {} for key in input_names(spec)}
    with _quiet_exporter(), torch.no_grad():
        program = torch.onnx.export(
            network,
            kwargs={name: frame[name] for name in input_names(spec)},
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            input_names=list(input_names(spec)),
            output_names=list(output_names(spec)),
            dynamic_shapes=shapes,
            verbose=False,
        )
    if program is None:
        raise BundleError(f"torch made no graph for {path}")
    _forget_traces(program.model)
    program.model.metadata_props.update(metadata)
    program.save(path, external_data=False)
    onnx.save(simplify(onnx.load(path)), path)


def _forget_traces(model: Any) -> None:
    """Take torch's notes from a graph: stack traces name the folders of who exported it."""
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        graph.metadata_props.clear()
        for node in graph.all_nodes():
            node.metadata_props.clear()
            for value in node.outputs:
                value.metadata_props.clear()


def _compare(
    reference: DeployedStudent,
    path: Path,
    config: Config,
    frames: Sequence[Mapping[str, Tensor]],
    is_half: bool,
) -> dict[str, float]:
    """Return the worst figures of all frames; float32 is held to the tolerance, float16 is told."""
    backend = OnnxRuntimeBackend(path, inputs=config.inputs, head=config.head)
    measure = measure_parity if is_half else check_parity
    figures: list[ParityFigures] = [measure(reference, backend, frame) for frame in frames]
    backend.close()
    return {key: max(f.as_dict()[key] for f in figures) for key in figures[0].as_dict()}


def _metadata(config: Config, name: str, role: str) -> dict[str, str]:
    """Return what the file itself says of its inputs and outputs."""
    return {
        "imkd.name": name,
        "imkd.role": role,
        "imkd.class_names": json.dumps(config.head.class_names),
        "imkd.inputs": json.dumps(to_mapping(config.inputs)),
    }


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep torch's own deprecations, and its hints at packages we do not use, from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*LeafSpec.*is deprecated", FutureWarning)
            warnings.filterwarnings("ignore", r".*The axis name: cameras will not be used")
            yield
    finally:
        logger.setLevel(level)
