# SPDX-License-Identifier: Apache-2.0
"""Graphs of the same function for less work: what the exporter writes down and no runtime removes.

Every runtime gets the result; it holds plain operators alone, and as many numbers as before.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

#: End of a slice that means "to the last one".
_OPEN_END = 2**31 - 1


def simplify(model: ModelProto) -> ModelProto:
    """Return a graph without the operators that are not needed.

    - a softmax that is not over the last axis, by its definition: it is several times as fast,
      since runtimes bring the axis last and back;
    - `Gather` of the only row, which copies, as `Squeeze`, which does not;
    - maps that are cut and put together again, or put together twice;
    - indices widened to int64 for a `Gather`, which reads int32 as well.
    """
    copied = ModelProto()
    copied.CopyFrom(model)
    for replace in (_softmax, _only_row, _narrow_indices, _joined_slices, _nested_concat):
        _rewrite(copied, replace)
    return copied


@dataclass(kw_only=True)
class _Graph:
    """What the rules know of a graph.

    Attributes:
        shapes: of each tensor whose rank is known; None for an open axis.
        constants: tensor -> its values.
        makers: tensor -> the node that makes it.
        new: constants that a rule adds.
    """

    shapes: dict[str, list[int | None]]
    constants: dict[str, TensorProto]
    makers: dict[str, NodeProto]
    new: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.int64]]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: ModelProto) -> "_Graph":
        """Return what there is to know."""
        graph = shape_inference.infer_shapes(model).graph
        values = [*graph.value_info, *graph.input, *graph.output]
        return cls(
            shapes={
                item.name: _sizes(item.type.tensor_type.shape.dim)
                for item in values
                if item.type.tensor_type.HasField("shape")
            },
            constants={item.name: item for item in model.graph.initializer},
            makers={name: node for node in model.graph.node for name in node.output},
        )

    def integers(self, name: str) -> list[int] | None:
        """Return a constant's numbers, None if it is none."""
        if name not in self.constants:
            return None
        return [int(v) for v in numpy_helper.to_array(self.constants[name]).ravel()]

    def maker(self, name: str, operator: str) -> NodeProto | None:
        """Return the node that makes a tensor if it is of an operator."""
        node = self.makers.get(name)
        return node if node is not None and node.op_type == operator else None

    def axes(self, stem: str, axis: int) -> str:
        """Return the name of a constant that holds one axis."""
        self.new[f"{stem}_axes"] = np.array([axis], np.int64)
        return f"{stem}_axes"


def _sizes(dims: Collection[TensorProto]) -> list[int | None]:
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]


_Rule = Callable[[NodeProto, _Graph], list[NodeProto] | None]


def _rewrite(model: ModelProto, rule: _Rule) -> None:
    """Replace, in place, each node by what a rule makes of it; nodes that nobody reads go."""
    known = _Graph.of(model)
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        replaced = rule(node, known)
        nodes += [node] if replaced is None else replaced
    for name, values in known.new.items():
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    read = {item.name for item in model.graph.output}
    kept: list[NodeProto] = []
    for node in reversed(nodes):
        if read & set(node.output):
            kept.append(node)
            read |= set(node.input)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
    constants = [item for item in model.graph.initializer if item.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(constants)


def attribute(node: NodeProto, name: str, default: int) -> int:
    """Return an integer of a node."""
    found = [int(item.i) for item in node.attribute if item.name == name]
    return found[0] if found else default


def _axis(node: NodeProto, known: _Graph, default: int) -> int | None:
    """Return a node's axis counted from the front, None where its input's rank is not known."""
    shape = known.shapes.get(node.input[0])
    return None if shape is None else attribute(node, "axis", default) % len(shape)


def _softmax(node: NodeProto, known: _Graph) -> list[NodeProto] | None:
    axis = _axis(node, known, -1) if node.op_type == "Softmax" else None
    if axis is None or axis == len(known.shapes[node.input[0]]) - 1:
        return None
    source, output = node.input[0], node.output[0]
    peak, lowered, raised, total = (f"{output}_{n}" for n in ("peak", "lowered", "raised", "total"))
    axes = known.axes(output, axis)
    return [
        helper.make_node("ReduceMax", [source, axes], [peak], name=peak),
        helper.make_node("Sub", [source, peak], [lowered], name=lowered),
        helper.make_node("Exp", [lowered], [raised], name=raised),
        helper.make_node("ReduceSum", [raised, axes], [total], name=total),
        helper.make_node("Div", [raised, total], [output], name=node.name),
    ]


def _only_row(node: NodeProto, known: _Graph) -> list[NodeProto] | None:
    axis = _axis(node, known, 0) if node.op_type == "Gather" else None
    if axis is None or known.shapes[node.input[0]][axis] != 1:
        return None
    index = known.constants.get(node.input[1])
    if index is None or len(index.dims) or known.integers(node.input[1]) not in ([0], [-1]):
        return None
    axes = known.axes(node.output[0], axis)
    return [helper.make_node("Squeeze", [node.input[0], axes], node.output, name=node.name)]


def _narrow_indices(node: NodeProto, known: _Graph) -> list[NodeProto] | None:
    cast = known.maker(node.input[1], "Cast") if node.op_type == "Gather" else None
    if cast is None or attribute(cast, "to", 0) != TensorProto.INT64:
        return None
    source = cast.input[0]
    if not _is_int32(source, known):
        return None
    node.input[1] = source
    return [node]


def _is_int32(name: str, known: _Graph) -> bool:
    """Whether a tensor is the graph's int32 table of look-ups, or a reshaped one."""
    while (node := known.makers.get(name)) is not None:
        if node.op_type not in ("Reshape", "Squeeze", "Unsqueeze"):
            return False
        name = node.input[0]
    return name == "lut_index"


def _joined_slices(node: NodeProto, known: _Graph) -> list[NodeProto] | None:
    """Read a map where slices of it, which follow each other, are put together to all of it."""
    axis = _axis(node, known, 0) if node.op_type == "Concat" else None
    if axis is None:
        return None
    place = 0
    for name in node.input:
        piece = known.maker(name, "Slice")
        if piece is None or piece.input[0] != _source(node, known):
            return None
        start, end = _span(piece, axis, known)
        if start != place or end < start:
            return None
        place = end
    size = known.shapes.get(_source(node, known), [None] * (axis + 1))[axis]
    if size is None or place < size:
        return None
    return [helper.make_node("Identity", [_source(node, known)], node.output, name=node.name)]


def _source(concat: NodeProto, known: _Graph) -> str:
    return str(known.makers[concat.input[0]].input[0])


def _span(piece: NodeProto, axis: int, known: _Graph) -> tuple[int, int]:
    """Return the first and last + 1 of a slice along an axis; (-1, -1) if it is another kind."""
    start, end, *others = map(known.integers, piece.input[1:])
    axes, step = (others + [None, [1]][len(others) :])[:2]
    if axes != [axis] or step != [1] or not start or not end:
        return -1, -1
    return start[0], min(end[0], _OPEN_END)


def _nested_concat(node: NodeProto, known: _Graph) -> list[NodeProto] | None:
    axis = _axis(node, known, 0) if node.op_type == "Concat" else None
    if axis is None:
        return None
    inputs: list[str] = []
    for name in node.input:
        inner = known.maker(name, "Concat")
        is_same = inner is not None and _axis(inner, known, 0) == axis
        inputs += list(inner.input) if inner is not None and is_same else [name]
    if len(inputs) == len(node.input):
        return None
    del node.input[:]
    node.input.extend(inputs)
    return [node]
