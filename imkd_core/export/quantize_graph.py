# SPDX-License-Identifier: Apache-2.0
"""Q/DQ pairs in an ONNX graph: which tensors and weights become 8-bit, and for which runtime.

Convolutions are quantised whose result ends in a ReLU: they do nearly all of the work. One whose
result is used as it is gives logits, box codes or a context, is small and stays in float32.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from imkd_core.errors import BundleError
from imkd_core.export.quantize_ranges import (
    Array,
    Steps,
    ValueRange,
    asymmetric_steps,
    symmetric_steps,
    to_int8,
    weight_steps,
)
from imkd_core.export.quantize_wiring import PASSING, Wiring, added_channels, levels_of

#: Largest number of an int32 bias; far enough from the end for the sums that are added to it.
_MOST_BIAS = 2**30


@dataclass(frozen=True, kw_only=True)
class Style:
    """What a runtime wants.

    Attributes:
        is_signed: int8 steps around 0 instead of uint8 steps.
        has_outputs: whether results of layers are 8-bit too, not inputs of layers alone, and
            biases int32: ONNX Runtime makes an integer kernel of nothing else, while TensorRT and
            OpenVINO fuse what follows, and TensorRT refuses int32.
        purpose: for the bundle.
    """

    is_signed: bool
    has_outputs: bool
    purpose: str


#: Role of a bundle -> what its runtime wants.
STYLES: Mapping[str, Style] = {
    "int8_s8": Style(
        is_signed=True,
        has_outputs=False,
        purpose="TensorRT (strongly typed) and OpenVINO: symmetric int8 activations and weights",
    ),
    "int8_u8": Style(
        is_signed=False,
        has_outputs=True,
        purpose="ONNX Runtime on CPUs with VNNI: uint8 activations, symmetric int8 weights",
    ),
}


#: Operators between layers that runtimes compute with 8-bit numbers.
JOINTS = ("Add", "Concat", *PASSING)

#: ONNX Runtime's integer kernels are up to three times as fast with a multiple of so many channels.
_CHANNELS = 4


def layer_name(node: NodeProto) -> str:
    """Return how reports call a layer: its weight's name without the ending."""
    return str(node.input[1]).removesuffix(".weight")


def find_layers(model: ModelProto) -> dict[str, NodeProto]:
    """Return the convolutions that can be quantised, by name and in the order of the graph.

    Those of several groups stay in float32: their weights have no axis of the input's channels.

    Args:
        model: in float32; its convolutions share no constants (`with_own_constants`).
    """
    wiring = Wiring(model)
    return {
        layer_name(node): node
        for node in wiring.nodes
        if node.op_type == "Conv"
        and not any(item.name == "group" and item.i != 1 for item in node.attribute)
        and all(name in wiring.constants for name in node.input[1:])
        and _is_followed(wiring, node)
    }


def _is_followed(wiring: Wiring, node: NodeProto) -> bool:
    """Whether a result ends in a ReLU, perhaps after a residual's sum."""
    reader = wiring.sole_reader(node.output[0])
    if reader is not None and reader.op_type == "Add":
        reader = wiring.sole_reader(reader.output[0])
    return reader is not None and reader.op_type == "Relu"


@dataclass(frozen=True, kw_only=True)
class Tensors:
    """Tensors that become 8-bit.

    Attributes:
        ranges: tensor -> the one whose range it shares, itself as a rule.
        made: those that 8-bit layers make; all that reads them reads their 8-bit form. The others
            are made in float32, which only 8-bit nodes read in 8 bits.
    """

    ranges: Mapping[str, str]
    made: frozenset[str]


def find_tensors(model: ModelProto, layers: Collection[str], style: Style) -> Tensors:
    """Return the tensors that become 8-bit.

    Args:
        model: in float32.
        layers: names of the quantised ones.
        style: of the runtime.
    """
    wiring, known = Wiring(model), find_layers(model)
    nodes = [known[name] for name in known if name in layers]
    levels = set(levels_of(model))
    read = [str(node.input[0]) for node in nodes]
    inputs = {name: name for name in read if name not in levels}
    if not style.has_outputs:
        return Tensors(ranges=inputs, made=frozenset())
    results = {str(node.output[0]) for node in nodes}
    found, made = dict(inputs), set()
    for node in wiring.nodes:
        output = str(node.output[0])
        is_join = node.op_type == "Concat" and any(name in made for name in node.input)
        is_sum = node.op_type == "Add" and all(name in found for name in node.input)
        if output in results or is_join or is_sum:
            end = wiring.rectified(output)
            made.add(end)
            found.setdefault(end, end)
            if is_join:
                _share_range(wiring, node, end, found)
        elif node.op_type in PASSING and node.input[0] in made:
            made.add(output)
            found[output] = found[node.input[0]]
    return Tensors(ranges=found, made=frozenset(made))


def _share_range(wiring: Wiring, join: NodeProto, end: str, found: dict[str, str]) -> None:
    """Let what a join alone reads have the join's range: it then copies numbers as they are.

    Where one may be below 0 the others keep their own, which begins there: then a ReLU is free.
    """
    is_positive = wiring.is_rectified(join.output[0])
    for name in join.input:
        if name not in found:
            found[name] = end
        elif is_positive and wiring.sole_reader(name) is not None:
            root = found[name]
            found |= {tensor: end for tensor, shared in found.items() if shared == root}


def quantize_graph(
    model: ModelProto, ranges: Mapping[str, ValueRange], layers: Collection[str], style: Style
) -> ModelProto:
    """Return a copy of a graph with Q/DQ pairs around the given layers.

    Args:
        model: in float32.
        ranges: of every tensor that `find_tensors` names.
        layers: names of the quantised ones, of `find_layers`.
        style: of the runtime.

    Raises:
        BundleError: a layer or a range is missing.
    """
    known = find_layers(model)
    tensors = find_tensors(model, layers, style)
    missing = [*(set(layers) - set(known)), *(set(tensors.ranges.values()) - set(ranges))]
    if missing:
        raise BundleError(f"cannot quantise: the graph or the calibration lacks {sorted(missing)}")
    make = symmetric_steps if style.is_signed else asymmetric_steps
    steps = {name: make(ranges[shared]) for name, shared in tensors.ranges.items()}
    nodes = [known[name] for name in known if name in layers]
    return _Writer(model, steps, style, tensors.made).write(nodes)


class _Writer:
    """Puts pairs into a copy of a graph."""

    def __init__(
        self,
        model: ModelProto,
        steps: Mapping[str, Steps],
        style: Style,
        made: Collection[str],
    ) -> None:
        self._model = ModelProto()
        self._model.CopyFrom(model)
        self._steps = dict(steps)
        self._style = style
        self._made = made
        self._constants = {item.name: item for item in self._model.graph.initializer}
        self._levels = levels_of(model)
        self._missing: dict[str, int] = {}
        self._new: dict[str, Array] = {}
        self._first: list[NodeProto] = []

    def write(self, layers: list[NodeProto]) -> ModelProto:
        """Return the graph; what no node reads any more is dropped."""
        self._missing = self._missing_channels(layers) if self._style.has_outputs else {}
        pairs = {name: self._activation_pair(name) for name in self._steps}
        weights = {node.output[0]: self._weights(node) for node in layers}
        nodes = [*self._first]
        for name in (item.name for item in self._model.graph.input):
            nodes += pairs.get(name, [])
        for node in self._model.graph.node:
            weight = weights.get(node.output[0], {})
            is_eight_bit = bool(weight) or self._is_joint(node)
            read = {n for n in node.input if n in pairs and (is_eight_bit or n in self._made)}
            inputs = [weight.get(name, name) for name in node.input]
            node.input[:] = [f"{name}_dq" if name in read else name for name in inputs]
            nodes.append(node)
            for output in node.output:
                nodes += pairs.get(output, [])
        graph = self._model.graph
        del graph.node[:]
        graph.node.extend(nodes)
        names = {name for node in nodes for name in node.input}
        constants = [item for item in graph.initializer if item.name in names]
        constants += [numpy_helper.from_array(value, name) for name, value in self._new.items()]
        del graph.initializer[:]
        graph.initializer.extend(constants)
        return self._model

    def _is_joint(self, node: NodeProto) -> bool:
        """Whether an operator between layers computes with 8-bit numbers."""
        numbers = node.input[:1] if node.op_type in PASSING else node.input
        return node.op_type in JOINTS and all(name in self._steps for name in numbers)

    def _missing_channels(self, layers: list[NodeProto]) -> dict[str, int]:
        """Return how many channels make a multiple of four of what layers alone read."""
        wiring = Wiring(self._model)
        missing = {}
        for layer in layers:
            tensor, channels = str(layer.input[0]), self._constants[layer.input[1]].dims[1]
            readers = wiring.readers[tensor]
            is_own = tensor not in wiring.outputs and all(node in layers for node in readers)
            if is_own and channels % _CHANNELS and tensor in self._steps:
                missing[tensor] = -channels % _CHANNELS
        return missing

    def _activation_pair(self, tensor: str) -> list[NodeProto]:
        steps, source = self._steps[tensor], f"{tensor}_q"
        nodes = [self._node("QuantizeLinear", tensor, source, tensor, steps)]
        if tensor in self._missing:
            inputs = [source, f"{tensor}_added", f"{tensor}_zero"]
            self._new[inputs[1]] = added_channels(self._missing[tensor])
            source = f"{tensor}_whole"
            nodes.append(helper.make_node("Pad", inputs, [source], name=source))
        return [*nodes, self._node("DequantizeLinear", source, f"{tensor}_dq", tensor, steps)]

    def _weights(self, layer: NodeProto) -> dict[str, str]:
        """Add a layer's constants in 8 bits; return old name -> the name to read."""
        name = str(layer.input[1])
        weight = numpy_helper.to_array(self._constants[name])
        bias = None
        if self._style.has_outputs and len(layer.input) > 2:
            bias = numpy_helper.to_array(self._constants[layer.input[2]])
        added = self._missing.get(layer.input[0], 0)
        weight = np.pad(weight, ((0, 0), (0, added), (0, 0), (0, 0)))
        steps = weight_steps(weight)
        input_scale = (self._steps | self._levels)[layer.input[0]].scale
        if bias is not None:  # a channel of hardly any weight must not drive its bias beyond int32
            least = np.abs(bias) / (input_scale * np.float32(_MOST_BIAS))
            scale = np.maximum(steps.scale, least).astype(np.float32)
            steps = Steps(scale=scale, zero_point=steps.zero_point)
        renamed = {name: f"{name}_dq"}
        self._new[f"{name}_8"] = to_int8(weight, steps)
        self._dequantize(f"{name}_8", f"{name}_dq", name, steps)
        if bias is not None:
            bias_name, scale = str(layer.input[2]), (steps.scale * input_scale).astype(np.float32)
            zeros = np.zeros(len(bias), np.int32)
            self._new[f"{bias_name}_32"] = np.rint(bias / scale).astype(np.int32)
            renamed[bias_name] = f"{bias_name}_dq"
            self._dequantize(
                f"{bias_name}_32",
                f"{bias_name}_dq",
                bias_name,
                Steps(scale=scale, zero_point=zeros),
            )
        return renamed

    def _dequantize(self, source: str, output: str, stem: str, steps: Steps) -> None:
        self._first.append(self._node("DequantizeLinear", source, output, stem, steps))

    def _node(self, operator: str, source: str, output: str, stem: str, steps: Steps) -> NodeProto:
        self._new[f"{stem}_scale"], self._new[f"{stem}_zero"] = steps.scale, steps.zero_point
        inputs = [source, f"{stem}_scale", f"{stem}_zero"]
        node = helper.make_node(operator, inputs, [output], name=output)
        if steps.scale.ndim:  # one a channel
            node.attribute.append(helper.make_attribute("axis", 0))
        return node


def count_macs(model: ModelProto, cameras: int) -> dict[str, int]:
    """Return multiply-accumulate operations of each layer that can be quantised.

    Args:
        model: in float32, with its shapes.
        cameras: what an open axis is taken for.
    """
    values = {item.name: item for item in onnx.shape_inference.infer_shapes(model).graph.value_info}
    weights = {item.name: item for item in model.graph.initializer}
    macs = {}
    for name, node in find_layers(model).items():
        dims = values[node.output[0]].type.tensor_type.shape.dim
        sizes = [dim.dim_value or cameras for dim in dims]
        weight = weights[node.input[1]].dims
        macs[name] = int(np.prod(sizes)) * int(np.prod(weight[1:]))
    return macs
