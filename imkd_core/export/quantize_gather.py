# SPDX-License-Identifier: Apache-2.0
"""The view transform's gather in pieces that stay in a core's cache.

Gathered in one go, the rows of all taps are 25 MB for 16,384 cells of 8 taps and 49 channels: they
are written to memory and read back by the product behind them. An eighth of the cells at a time
fits the cache, and the numbers are the same to the bit. For ONNX Runtime's own CPU code, which runs
operators one after the other; TensorRT fuses them.
"""

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

#: Pieces; the cells must be a multiple of it.
PIECES = 8


def gather_in_pieces(model: ModelProto, pieces: int = PIECES) -> ModelProto:
    """Return a graph of the same function whose weighted sums of rows are made piece by piece.

    Args:
        model: of a student; it is left as it is, and so is a graph without such sums.
        pieces: how many.
    """
    changed = ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    nodes: list[NodeProto] = []
    for node in graph.node:
        found = _sum_of_rows(node, makers, constants)
        is_split = found is not None and found.cells % pieces == 0
        nodes += found.in_pieces(pieces) if found is not None and is_split else [node]
    read = {item.name for item in graph.output}
    kept: list[NodeProto] = []
    for node in reversed(nodes):
        if read & set(node.output):
            kept.append(node)
            read |= set(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    constants_read = [item for item in graph.initializer if item.name in read]
    del graph.initializer[:]
    graph.initializer.extend(constants_read)
    return changed


class _SumOfRows:
    """A weighted sum of each cell's rows: MatMul(Unsqueeze(weight), Gather(rows, index))."""

    def __init__(
        self, node: NodeProto, rows: str, index: str, weight: str, axes: str, cells: int
    ) -> None:
        self._node = node
        self._rows, self._index, self._weight, self._axes = rows, index, weight, axes
        self.cells = cells

    def in_pieces(self, pieces: int) -> list[NodeProto]:
        """Return the nodes that make the same tensor."""
        output = str(self._node.output[0])

        def names(kind: str) -> list[str]:
            return [f"{output}_{kind}_{number}" for number in range(pieces)]

        indices, weights, made = names("index"), names("weight"), names("sums")
        nodes = [
            helper.make_node("Split", [source], parts, f"{output}_{kind}", num_outputs=pieces)
            for source, parts, kind in (
                (self._index, indices, "indices"),
                (self._weight, weights, "weights"),
            )
        ]
        for index, weight, sums in zip(indices, weights, made, strict=True):
            taken, row = f"{sums}_taken", f"{sums}_row"
            nodes += [
                helper.make_node("Gather", [self._rows, index], [taken], taken, axis=0),
                helper.make_node("Unsqueeze", [weight, self._axes], [row], row),
                helper.make_node("MatMul", [row, taken], [sums], sums),
            ]
        return [*nodes, helper.make_node("Concat", made, [output], str(self._node.name), axis=0)]


def _sum_of_rows(
    node: NodeProto, makers: Mapping[str, NodeProto], constants: Mapping[str, np.ndarray]
) -> _SumOfRows | None:
    """Return the sum that a node ends, as `model.view_transform.gather_cells` is exported."""
    if node.op_type != "MatMul":
        return None
    row, taken = (makers.get(name) for name in node.input)
    gather = _source(taken, "Reshape", makers)
    flat = None if gather is None or gather.op_type != "Gather" else makers.get(gather.input[1])
    if row is None or taken is None or gather is None or flat is None:
        return None
    shape, axes = constants.get(taken.input[1]), constants.get(row.input[-1])
    is_known = flat.op_type == "Reshape" and row.op_type == "Unsqueeze"
    if not is_known or shape is None or axes is None or len(shape) != 3 or axes.tolist() != [1]:
        return None
    cells, taps = shape.tolist()[:2]
    if constants.get(flat.input[1], np.zeros(0)).tolist() not in ([cells * taps], [-1]):
        return None
    index, weight = str(flat.input[0]), str(row.input[0])
    return _SumOfRows(node, str(gather.input[0]), index, weight, str(row.input[1]), cells)


def _source(
    node: NodeProto | None, operator: str, makers: Mapping[str, NodeProto]
) -> NodeProto | None:
    """Return what makes the first input of a node of an operator."""
    return None if node is None or node.op_type != operator else makers.get(node.input[0])
