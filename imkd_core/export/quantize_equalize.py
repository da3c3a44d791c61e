# SPDX-License-Identifier: Apache-2.0
"""Channels of one tensor brought to like size, so that one scale serves them all.

A radar grid holds counts beside metres a second, and a joined map camera features beside radar's:
with one scale for the tensor, small channels would vanish. Each channel is divided by a number and
the weights that read it are multiplied by it, which changes nothing in float32 (Xiao et al.,
"SmoothQuant", 2023). The division is part of the weights that make the channel, or stands where the
tensor is made in float32, before it becomes 8-bit.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from imkd_core.export.quantize_fold import Folder, fold_factors
from imkd_core.export.quantize_graph import STYLES, find_layers, find_tensors
from imkd_core.export.quantize_ranges import Array

#: Most that a channel is made larger or smaller; a channel that is hardly ever used stays small.
MOST_FACTOR = 64.0

#: Ending of the name of a tensor whose channels were divided.
_ENDING = "_even"


class ChannelPeaks:
    """Largest magnitude of each channel, which is the second axis, over frames."""

    def __init__(self) -> None:
        self.peaks: NDArray[np.float32] = np.zeros(0, np.float32)

    def add(self, values: Array) -> None:
        """Take the values of one frame (B, C, ...) in."""
        axes = tuple(axis for axis in range(values.ndim) if axis != 1)
        peaks = np.abs(values).max(axis=axes)
        self.peaks = np.maximum(self.peaks, peaks) if self.peaks.size else peaks


def even_tensors(model: ModelProto) -> list[str]:
    """Return the tensors whose channels can be evened: layers read them, float32 nodes make them.

    In one that 8-bit layers make, a division would cost these their integer kernels, unless it can
    be part of their weights: that of a join can.
    """
    layers, folder = find_layers(model), Folder(model)
    made = find_tensors(model, layers, STYLES["int8_u8"]).made
    fixed = {str(n.output[0]) for n in model.graph.node if n.op_type == "DequantizeLinear"}
    for tensor in made:
        parts = folder.joined(tensor)
        if not parts or not all(folder.is_foldable(name) for name in parts if name in made):
            fixed.add(tensor)
    read = dict.fromkeys(str(node.input[0]) for node in layers.values())
    return [tensor for tensor in read if tensor not in fixed]


def equalize(model: ModelProto, peaks: Mapping[str, NDArray[np.float32]]) -> ModelProto:
    """Return a graph of the same function whose layers read channels of like size.

    Args:
        model: in float32; it is left as it is.
        peaks: (C,) largest magnitude of each channel of some of `even_tensors`.
    """
    copied = ModelProto()
    copied.CopyFrom(model)
    graph = copied.graph
    constants = {item.name: item for item in graph.initializer}
    layers = list(find_layers(copied).values())
    inserted: dict[str, NodeProto] = {}
    for tensor, peak in peaks.items():
        readers = [node for node in layers if node.input[0] == tensor]
        weights = {str(node.input[1]) for node in readers}
        arrays = {name: numpy_helper.to_array(constants[name]) for name in sorted(weights)}
        divisor = _divisor(peak, list(arrays.values()))[:, None, None]
        stem = f"{tensor}{_ENDING}"
        new = {name: array * divisor for name, array in arrays.items()}
        new[f"{stem}_factor"] = 1 / divisor
        for name, array in new.items():
            item = numpy_helper.from_array(array.astype(np.float32), name)
            (constants[name] if name in constants else graph.initializer.add()).CopyFrom(item)
        for node in readers:
            node.input[0] = stem
        inserted[tensor] = helper.make_node("Mul", [tensor, f"{stem}_factor"], [stem], name=stem)
    _insert(copied, inserted)
    return fold_factors(copied, {node.output[0]: node.input[1] for node in inserted.values()})


def _divisor(peak: NDArray[np.float32], weights: list[Array]) -> NDArray[np.float64]:
    """Return (C,) what each channel is divided by; 1 for one that is never used.

    Weights count relative to the largest of their output channel, which has a scale of its own.
    """
    relative = [
        w / np.maximum(np.abs(w).max(axis=(1, 2, 3), keepdims=True), 1e-30) for w in weights
    ]
    used = np.max([np.abs(w).max(axis=(0, 2, 3)) for w in relative], axis=0)
    is_live = (peak > 0) & (used > 0)
    divisor = np.ones(len(peak))
    if is_live.any():
        divisor[is_live] = np.sqrt(peak[is_live].astype(np.float64) / used[is_live])
        divisor[is_live] /= np.exp(np.log(divisor[is_live]).mean())
    return np.clip(divisor, 1 / MOST_FACTOR, MOST_FACTOR)


def _insert(model: ModelProto, inserted: Mapping[str, NodeProto]) -> None:
    """Put each node behind the one that makes its tensor."""
    nodes = [inserted[item.name] for item in model.graph.input if item.name in inserted]
    for node in model.graph.node:
        nodes.append(node)
        nodes += [inserted[name] for name in node.output if name in inserted]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
