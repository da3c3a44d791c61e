# SPDX-License-Identifier: Apache-2.0
"""The students that are measured: the one that ships, and the R50 with random weights.

Times hang on shapes and not on weights, so the R50 needs no training, and its int8 files no
calibration. It is exported once and kept below `build/benchmarks/`, under a name that says which
code and configuration made it.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from benchmarks.harness import ROOT
from benchmarks.machine import package_version
from imkd_core.errors import BundleError
from imkd_core.export.compact import load_widened
from imkd_core.export.graph import DeployedStudent, deploy
from imkd_core.export.quantize import Quantized, write_quantized
from imkd_core.export.quantize_graph import STYLES, find_layers, find_tensors, quantize_graph
from imkd_core.export.quantize_layout import for_integer_kernels, read_levels
from imkd_core.export.quantize_ranges import ValueRange
from imkd_core.export.quantize_wiring import Wiring
from imkd_core.mapping import from_mapping
from imkd_core.model.budget import count_cost, total_cost
from imkd_core.model.example import batched, example_inputs
from imkd_core.model.student import Student
from imkd_core.recipe import Config, ModelConfig, load_config
from imkd_core.resources import bundle_folder
from imkd_core.runtime.bundle import Bundle, load_bundle

R50_CONFIG = ROOT / "config" / "imkd_r50.yaml"

#: Where an exported R50 is kept.
CACHE = ROOT / "build" / "benchmarks"

#: What an exported R50 hangs on.
_SOURCES = ("imkd_core/model", "imkd_core/export", "config/imkd_r50.yaml")


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A student to be measured.

    Attributes:
        name: for the tables.
        student: in evaluation mode, with random weights.
        bundle: its files.
        frame: inputs of one frame by name, no batch axis, made up.
    """

    name: str
    student: Student
    bundle: Bundle
    frame: Mapping[str, Tensor]

    def arrays(self) -> dict[str, Any]:
        """Return the frame as numpy arrays, as a session takes them."""
        return {name: value.numpy() for name, value in self.frame.items()}

    def flops(self) -> int:
        """Return twice the multiply-adds of one frame: what a floor is computed from.

        Those with the zeros around a map do not count: they need not be done, and ONNX Runtime's
        convolutions leave them out.
        """
        frame = {name: value.to("meta") for name, value in batched(dict(self.frame)).items()}
        student = Student(self.student.inputs, self.student.head_spec, self._model())
        with counted_padding(student.to("meta").eval()) as padding:
            macs = total_cost(count_cost(student, frame)).macs
        return 2 * (macs - sum(padding))

    def _model(self) -> ModelConfig:
        return model_of(self.bundle)


@contextmanager
def counted_padding(network: nn.Module) -> Iterator[list[int]]:
    """Give a list that takes the multiply-adds with padding of each convolution that is run."""
    found: list[int] = []

    def add(module: Any, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        found.append(padding_macs(module, arguments[0].shape[-2:], output.shape))

    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    hooks = [layer.register_forward_hook(add) for layer in layers]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def padding_macs(layer: nn.Conv2d, size: Sequence[int], shape: Sequence[int]) -> int:
    """Return the multiply-adds of a convolution whose one factor is a zero beside the map.

    Args:
        layer: pads with zeros.
        size: rows and columns of the map.
        shape: (B, C, Y, X) of what it gives.
    """
    taps = [_taps_inside(layer, axis, size[axis], shape[2 + axis]) for axis in range(2)]
    places = shape[0] * shape[1] * layer.weight.shape[1]
    all_taps = shape[2] * shape[3] * layer.kernel_size[0] * layer.kernel_size[1]
    return places * (all_taps - taps[0] * taps[1])


def _taps_inside(layer: nn.Conv2d, axis: int, size: int, outputs: int) -> int:
    """Return how many taps of all places along an axis lie in the map."""
    begin = np.arange(outputs) * layer.stride[axis] - int(layer.padding[axis])
    taps = begin[:, None] + np.arange(layer.kernel_size[axis]) * layer.dilation[axis]
    return int(((taps >= 0) & (taps < size)).sum())


def model_of(bundle: Bundle) -> ModelConfig:
    """Return how the network of a bundle is built.

    Raises:
        BundleError: the bundle does not say.
    """
    if "model" not in bundle.producer:
        raise BundleError(f"{bundle.root} does not say how its network is built; export it again")
    return from_mapping(ModelConfig, bundle.producer["model"], "producer.model")


def shipped() -> Subject:
    """Return the student that ships; its torch side has random weights."""
    bundle = load_bundle(bundle_folder(""))
    torch.manual_seed(0)
    student = Student(bundle.inputs, bundle.head, model_of(bundle)).eval()
    frame = example_inputs(bundle.inputs)
    return Subject(name="shipped student", student=student, bundle=bundle, frame=frame)


def r50(roles: tuple[str, ...] = ("fp32",)) -> Subject:
    """Return the R50 student with random weights, exported now or earlier.

    Args:
        roles: files of the bundle, of `export.onnx_export.FILE_NAMES`.
    """
    config = load_config(R50_CONFIG)
    torch.manual_seed(0)
    student = Student.from_config(config).eval()
    frame = example_inputs(config.inputs)
    bundle = _exported(student, config, roles)
    return Subject(name="R50", student=student, bundle=bundle, frame=frame)


def shipped_network() -> tuple[DeployedStudent, Bundle]:
    """Return the shipped student in torch with the weights of its ONNX file, norms folded.

    Raises:
        BundleError: the file's weights are not those of the network that the bundle describes.
    """
    bundle = load_bundle(bundle_folder(""))
    student = Student(bundle.inputs, bundle.head, model_of(bundle)).eval()
    network = deploy(student, example_inputs(bundle.inputs))
    graph = load_widened(bundle.path("fp32")).graph
    stored = {item.name: torch.tensor(numpy_helper.to_array(item)) for item in graph.initializer}
    stored |= _code_weights(network, graph, stored)
    wanted = {name for name, _ in network.named_parameters()}
    if absent := sorted(wanted - set(stored)):
        raise BundleError(f"{bundle.path('fp32')} lacks weights such as {absent[0]}; export again")
    network.load_state_dict({name: stored[name] for name in wanted}, strict=False)
    return network, bundle


def _code_weights(
    network: DeployedStudent, graph: Any, stored: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the weights of the codes' last layer, whose units the export multiplied in.

    It is the one convolution of the file whose weights bear no name of the network.
    """
    found = [
        node.input[1:3]
        for node in graph.node
        if node.op_type == "Conv" and not node.input[1].startswith("student.")
    ]
    if len(found) != 1:
        return {}
    codes: Any = network.student.head.codes
    unit = codes[-1].unit
    weight, bias = (stored[name] for name in found[0])
    name = "student.head.codes.1"
    return {f"{name}.weight": weight / unit[:, None, None, None], f"{name}.bias": bias / unit}


def _exported(student: Student, config: Config, roles: tuple[str, ...]) -> Bundle:
    from imkd_core.export.onnx_export import export_onnx

    folder = CACHE / f"r50-{_key(roles)}"
    if (folder / "bundle.json").is_file():
        return load_bundle(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        made = Path(temporary) / "bundle"
        provenance = {"trained_on": "nothing: random weights, to measure times"}
        bundle = export_onnx(student, config, made, "imkd_r50_random", provenance, roles=roles)
        if "fp32" in roles:
            add_int8_files(bundle)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    return load_bundle(folder)


def add_int8_files(bundle: Bundle) -> Bundle:
    """Add int8 files in which every layer that can be is 8-bit, for their speed and no other use.

    Args:
        bundle: with a float32 file; ranges are made up, so boxes of the int8 files mean nothing.
    """
    made = {}
    for role, style in STYLES.items():
        source = load_widened(bundle.path("fp32"))
        if style.has_outputs:
            source = for_integer_kernels(read_levels(source))
        layers, wiring = list(find_layers(source)), Wiring(source)
        names = find_tensors(source, layers, style).ranges.values()
        lows = {name: 0.0 if wiring.is_rectified(name) else -8.0 for name in names}
        ranges = {name: ValueRange(low=low, high=8.0) for name, low in lows.items()}
        model = quantize_graph(source, ranges, layers, style)
        made[role] = Quantized(model=model, facts={"ranges": "made up"})
    return write_quantized(bundle, made)


def _key(roles: tuple[str, ...]) -> str:
    digest = hashlib.sha256(f"{package_version('torch')} {roles}".encode())
    for source in _SOURCES:
        path = ROOT / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
