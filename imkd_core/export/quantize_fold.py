# SPDX-License-Identifier: Apache-2.0
"""Factors of channels taken into the weights that make them, so that evening costs nothing.

`quantize_equalize` divides channels where they are read. Where convolutions make them, their
weights are divided instead: a ReLU, a join or a gate in between lets a positive factor through.
"""

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from imkd_core.export.quantize_ranges import Array
from imkd_core.export.quantize_wiring import joins_channels

_CONVOLUTIONS = ("Conv", "ConvTranspose")


def fold_factors(model: ModelProto, factors: Mapping[str, str]) -> ModelProto:
    """Return a graph of the same function with fewer multiplications.

    Args:
        model: in float32.
        factors: outputs of `Mul` nodes -> their inputs that are constants (C, 1, 1).
    """
    folder = Folder(model)
    for node in list(folder.nodes):
        if node.op_type == "Mul" and node.output[0] in factors:
            folder.fold(node, factors[node.output[0]])
    return folder.written()


class Folder:
    """Moves factors of channels towards what makes a tensor.

    Args:
        model: in float32; it is left as it is.
    """

    def __init__(self, model: ModelProto) -> None:
        self._model = ModelProto()
        self._model.CopyFrom(model)
        graph = self._model.graph
        self.nodes = list(graph.node)
        self._constants = {item.name: item for item in graph.initializer}
        self._makers = {name: node for node in self.nodes for name in node.output}
        self._uses: dict[str, int] = {}
        for name in [n for node in self.nodes for n in node.input] + [o.name for o in graph.output]:
            self._uses[name] = self._uses.get(name, 0) + 1
        self._channels: dict[str, int] = {}

    def fold(self, node: NodeProto, factor: str) -> None:
        """Take one multiplication away, if what it multiplies can be made larger or smaller."""
        (source,) = (name for name in node.input if name != factor)
        values = self._values(factor).reshape(-1)
        if self._uses[source] > 1 or not self.is_foldable(source):
            return
        made = self._scaled(source, values)
        for reader in self.nodes:
            reader.input[:] = [made if n == node.output[0] else n for n in reader.input]
        self.nodes.remove(node)

    def written(self) -> ModelProto:
        """Return the graph; constants that nobody reads are dropped."""
        graph = self._model.graph
        nodes = [*self.nodes]
        del graph.node[:]
        graph.node.extend(nodes)
        read = {name for node in nodes for name in node.input}
        kept = [item for item in self._constants.values() if item.name in read]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        return self._model

    def _values(self, name: str) -> Array:
        return numpy_helper.to_array(self._constants[name])

    def is_foldable(self, tensor: str) -> bool:
        """Whether a factor can be taken into all, or for a join into some, of what makes it."""
        node = self._makers.get(tensor)
        if node is None or self._uses[tensor] > 1:
            return False
        if node.op_type in _CONVOLUTIONS:
            return all(name in self._constants for name in node.input[1:])
        if node.op_type == "Relu":
            return self.is_foldable(node.input[0])
        if joins_channels(node):
            known = [self._width(name) is not None for name in node.input]
            return all(known) and any(self.is_foldable(name) for name in node.input)
        return self._gate(node) is not None

    def joined(self, tensor: str) -> list[str]:
        """Return what a join of channels puts together to a tensor; nothing if it is no join's."""
        node = self._makers.get(tensor)
        return list(node.input) if node is not None and joins_channels(node) else []

    def _gate(self, node: NodeProto) -> str | None:
        """Return the factor of a gate, one number a channel, that a `Mul` has; None without one."""
        if node.op_type != "Mul":
            return None
        for name in node.input:
            maker = self._makers.get(name)
            if maker is not None and maker.op_type == "Unsqueeze" and self._uses[name] == 1:
                axes = self._constants.get(maker.input[1])
                if axes is not None and set(numpy_helper.to_array(axes).tolist()) >= {2, 3}:
                    return str(name)
        return None

    def _width(self, tensor: str) -> int | None:
        """Return the channels of a tensor."""
        if not self._channels:
            from onnx import shape_inference

            inferred = shape_inference.infer_shapes(self._model).graph
            for item in (*inferred.value_info, *inferred.input):
                dims = item.type.tensor_type.shape.dim
                if len(dims) > 1 and dims[1].HasField("dim_value"):
                    self._channels[item.name] = dims[1].dim_value
        return self._channels.get(tensor)

    def _scaled(self, tensor: str, factor: Array) -> str:
        """Return the name of a tensor that is multiplied by a factor of each channel."""
        node = self._makers.get(tensor)
        if node is None or not self.is_foldable(tensor):
            return self._multiplied(tensor, factor[:, None, None])
        if node.op_type in _CONVOLUTIONS:
            self._scale_weights(node, factor)
        elif node.op_type == "Relu":
            node.input[0] = self._scaled(node.input[0], factor)
        elif node.op_type == "Concat":
            widths = [self._width(name) or 0 for name in node.input]
            parts = np.split(factor, np.cumsum(widths)[:-1])
            pairs = zip(list(node.input), parts, strict=True)
            node.input[:] = [self._scaled(name, part) for name, part in pairs]
        else:
            gate = self._gate(node)
            scaled = self._multiplied(str(gate), factor[:, None, None])
            node.input[:] = [scaled if name == gate else name for name in node.input]
        return tensor

    def _scale_weights(self, node: NodeProto, factor: Array) -> None:
        """Multiply a convolution's output channels; its constants may be read by others too."""
        axis = 0 if node.op_type == "Conv" else 1
        shape = [1] * self._values(node.input[1]).ndim
        shape[axis] = -1
        for place, scale in ((1, factor.reshape(shape)), (2, factor)):
            if place < len(node.input):
                name = node.input[place]
                scaled = (self._values(name) * scale).astype(np.float32)
                new = name if self._uses[name] == 1 else f"{node.output[0]}_{place}"
                self._constants[new] = numpy_helper.from_array(scaled, new)
                node.input[place] = new

    def _multiplied(self, tensor: str, factor: Array) -> str:
        """Insert a multiplication behind what makes a tensor."""
        name = f"{tensor}_by_channel"
        while name in self._makers:  # another join reads the tensor by factors of its own
            name += "_too"
        values = numpy_helper.from_array(factor.astype(np.float32), f"{name}_factor")
        self._constants[values.name] = values
        node = helper.make_node("Mul", [tensor, values.name], [name], name=name)
        maker = self._makers.get(tensor)
        place = self.nodes.index(maker) + 1 if maker is not None else 0
        self.nodes.insert(place, node)
        self._makers[name], self._uses[name] = node, 1
        return name
