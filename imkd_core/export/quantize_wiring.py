# SPDX-License-Identifier: Apache-2.0
"""What is asked of a graph while it is quantised: who makes and who reads a tensor."""

from collections import Counter

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper

from imkd_core.export.quantize_ranges import Array, Steps

#: Operators that give some of the numbers that they read, in another order or shape.
PASSING = ("MaxPool", "Transpose", "Reshape")


class Wiring:
    """Who makes and who reads each tensor of a graph."""

    def __init__(self, model: ModelProto) -> None:
        self.nodes = list(model.graph.node)
        self.constants = {item.name: item for item in model.graph.initializer}
        self.outputs = {item.name for item in model.graph.output}
        self.makers = {str(name): node for node in self.nodes for name in node.output}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def sole_reader(self, tensor: str) -> NodeProto | None:
        """Return the one node that reads a tensor; None if several do, or it leaves the graph."""
        readers = self.readers.get(tensor, [])
        return readers[0] if len(readers) == 1 and tensor not in self.outputs else None

    def rectified(self, tensor: str) -> str:
        """Return the tensor behind the ReLU that alone reads this one, or this one."""
        reader = self.sole_reader(tensor)
        is_relu = reader is not None and reader.op_type == "Relu"
        return reader.output[0] if reader is not None and is_relu else tensor

    def is_rectified(self, tensor: str) -> bool:
        """Whether a tensor is the result of ReLUs, perhaps in another order, or joined."""
        node = self.makers.get(tensor)
        while node is not None and node.op_type in PASSING:
            node = self.makers.get(node.input[0])
        if node is not None and node.op_type == "Concat":
            return all(self.is_rectified(name) for name in node.input)
        return node is not None and node.op_type == "Relu"


def joins_channels(node: NodeProto) -> bool:
    """Whether a node joins (B, C, H, W) maps along their channels."""
    axes = [item.i for item in node.attribute if item.name == "axis"]
    return node.op_type == "Concat" and axes in ([1], [-3])


def with_own_constants(model: ModelProto) -> ModelProto:
    """Return a graph of the same function in which each convolution has constants of its own.

    Exporters keep equal numbers once, and a module may be used twice; what is done to the weights
    of one layer must not be done to those of another.
    """
    copied = ModelProto()
    copied.CopyFrom(model)
    graph = copied.graph
    constants = {item.name: item for item in graph.initializer}
    uses = Counter(name for node in graph.node for name in node.input)
    for node in graph.node:
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        for place, ending in ((1, "weight"), (2, "bias")):
            name = node.input[place] if place < len(node.input) else ""
            if name in constants and uses[name] > 1:
                uses[name] -= 1
                own = graph.initializer.add()
                own.CopyFrom(constants[name])
                own.name = f"{node.output[0]}.own_{ending}"
                node.input[place] = own.name
    return copied


def levels_of(model: ModelProto) -> dict[str, Steps]:
    """Return the tensors that a float32 graph makes of 8-bit numbers, and their steps."""
    constants = {item.name: item for item in model.graph.initializer}
    return {
        str(node.output[0]): Steps(
            scale=numpy_helper.to_array(constants[node.input[1]]),
            zero_point=numpy_helper.to_array(constants[node.input[2]]),
        )
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
    }


def added_channels(count: int) -> Array:
    """Return what `Pad` reads to put channels behind those of a map.

    All axes are named: ONNX Runtime 1.32 misreads the form with `axes` when it reorders a graph.
    """
    return np.array([0, 0, 0, 0, 0, count, 0, 0], np.int64)
