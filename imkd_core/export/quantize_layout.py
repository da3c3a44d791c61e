# SPDX-License-Identifier: Apache-2.0
"""A float32 graph of the same function that ONNX Runtime runs faster once it is in 8 bits.

Its integer kernels want channels last and four of them at a time, know no transposed convolution,
and read images as they are. For its file alone: TensorRT and OpenVINO are better served with the
graph as it was exported.
"""

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from imkd_core.export.quantize_ranges import Array
from imkd_core.export.quantize_wiring import added_channels, joins_channels

#: Grey level that stands for 0: half way, so that differences from it are small.
GREY_ZERO = 116

#: Level of a fourth channel inside an image; around it there is `GREY_ZERO`, as everywhere.
INSIDE = 255

#: Operators that leave the numbers as they are.
_PASSING = ("Cast", "Unsqueeze", "Reshape", "Squeeze")

_UINT8 = TensorProto.UINT8

_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)

#: Operator, inputs behind the first, attributes.
_Step = tuple[str, list[str], dict[str, Any]]


def read_levels(model: ModelProto) -> ModelProto:
    """Return a graph of the same function whose first convolution reads an image's grey levels.

    The image's norm becomes part of the weights. Elsewhere nothing changes.
    """
    editor = _Editor(model)
    for node in [node for node in editor.nodes if node.op_type == "Conv"]:
        _read_levels(editor, node)
    return editor.written()


def for_integer_kernels(model: ModelProto) -> ModelProto:
    """Return a graph of the same function.

    - Transposed convolutions whose stride is their kernel become 1 x 1 convolutions, which can be
      quantised, and a shuffle of cells.
    - Signed maps that are joined to those of layers are parted by their sign: a ReLU is free where
      8-bit numbers begin at 0, and nowhere else.
    - 1 x 1 convolutions behind a layer that stay in float32 become matrix products, which need no
      other order of the numbers.
    """
    editor = _Editor(model)
    for node in [node for node in editor.nodes if node.op_type == "Concat"]:
        _part_signs(editor, node)
    for node in list(editor.nodes):
        if node.op_type == "ConvTranspose":
            _shuffle(editor, node)
        elif node.op_type == "Conv":
            _multiply(editor, node)
    return editor.written()


class _Editor:
    """A graph whose nodes are replaced."""

    def __init__(self, model: ModelProto) -> None:
        self._model = ModelProto()
        self._model.CopyFrom(model)
        graph = self._model.graph
        self.nodes = list(graph.node)
        self.constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
        self.makers = {name: node for node in self.nodes for name in node.output}
        self.levels = {
            item.name for item in graph.input if item.type.tensor_type.elem_type == _UINT8
        }
        inferred = shape_inference.infer_shapes(model).graph
        self.sizes = {
            item.name: tuple(dim.dim_value for dim in item.type.tensor_type.shape.dim)
            for item in (*inferred.value_info, *inferred.input, *inferred.output)
        }
        self.outputs = {item.name for item in graph.output}

    def readers(self, tensor: str) -> list[NodeProto]:
        """Return the nodes that read a tensor."""
        return [node for node in self.nodes if tensor in node.input]

    def own_weights(self, node: NodeProto) -> tuple[Array, Array] | None:
        """Return weight and bias of a convolution that no other reads, None otherwise."""
        if len(node.input) != 3:
            return None
        found = [self.constants.get(name) for name in node.input[1:]]
        is_own = all(len(self.readers(name)) == 1 for name in node.input[1:])
        weight, bias = found
        return None if weight is None or bias is None or not is_own else (weight, bias)

    def replace(self, node: NodeProto, steps: list[_Step]) -> None:
        """Put a chain of operators in a node's place; each reads the one before."""
        place, source = self.nodes.index(node), str(node.input[0])
        made = []
        for number, (operator, others, attributes) in enumerate(steps):
            is_last = number == len(steps) - 1
            output = str(node.output[0]) if is_last else f"{node.output[0]}_step_{number}"
            inputs = [source, *others]
            made.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
            source = output
        self.nodes[place : place + 1] = made
        self.makers |= {str(step.output[0]): step for step in made}

    def constant(self, name: str, values: Array) -> str:
        """Add a constant, or change one; return its name."""
        self.constants[name] = values
        return name

    def written(self) -> ModelProto:
        """Return the graph without what nobody reads."""
        graph = self._model.graph
        read, kept = set(self.outputs), []
        for node in reversed(self.nodes):
            if read & set(node.output):
                kept.append(node)
                read |= set(node.input)
        del graph.node[:]
        graph.node.extend(reversed(kept))
        del graph.initializer[:]
        used = {name: value for name, value in self.constants.items() if name in read}
        graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in used.items())
        del graph.value_info[:]
        return self._model


def _integers(node: NodeProto, name: str, default: int) -> tuple[int, ...]:
    """Return integers of a node; two of the default where it does not say."""
    found = [tuple(int(v) for v in item.ints) for item in node.attribute if item.name == name]
    return found[0] if found and found[0] else (default, default)


def _is_plain(node: NodeProto) -> bool:
    """Whether a convolution has one group and no holes, and takes its padding as it is told."""
    texts = {item.name: item.s.decode() for item in node.attribute}
    groups = [item.i for item in node.attribute if item.name == "group"]
    is_told = texts.get("auto_pad", "NOTSET") == "NOTSET"
    return is_told and groups in ([], [1]) and set(_integers(node, "dilations", 1)) == {1}


def _part_signs(editor: _Editor, join: NodeProto) -> None:
    """Join the positive and the negative part of a signed map instead of it."""
    readers = editor.readers(join.output[0])
    if not joins_channels(join) or join.output[0] in editor.outputs:
        return
    makers = [editor.makers.get(name) for name in join.input]
    signed = [
        n for n, m in zip(join.input, makers, strict=True) if m is None or m.op_type != "Relu"
    ]
    if len(signed) != 1 or len(join.input) < 2 or not readers:
        return
    if any(node.op_type != "Conv" or editor.own_weights(node) is None for node in readers):
        return
    place = list(join.input).index(signed[0])
    widths = [(*editor.sizes.get(name, ()), 0, 0)[1] for name in join.input]
    if 0 in widths:
        return
    begin, end = sum(widths[:place]), sum(widths[: place + 1])
    for node in readers:
        weight = editor.constants[node.input[1]]
        parts = [weight[:, :end], -weight[:, begin:end], weight[:, end:]]
        editor.constant(node.input[1], np.concatenate(parts, axis=1))
    above, turned, below = (f"{signed[0]}_{part}" for part in ("above", "turned", "below"))
    if above not in editor.makers:  # another join may have parted the same map
        at = editor.nodes.index(join)
        editor.nodes[at:at] = [
            helper.make_node("Relu", [signed[0]], [above], name=above),
            helper.make_node("Neg", [signed[0]], [turned], name=turned),
            helper.make_node("Relu", [turned], [below], name=below),
        ]
        editor.makers |= {str(n.output[0]): n for n in editor.nodes[at : at + 3]}
    join.input[:] = [*join.input[:place], above, below, *join.input[place + 1 :]]


def _shuffle(editor: _Editor, node: NodeProto) -> None:
    """Make a transposed convolution and the ReLU behind it a 1 x 1 convolution and a shuffle."""
    weights, readers = editor.own_weights(node), editor.readers(node.output[0])
    height, width = (editor.sizes.get(node.input[0]) or (0, 0))[-2:]
    if weights is None or [n.op_type for n in readers] != ["Relu"] or not height * width:
        return
    if node.output[0] in editor.outputs:
        return
    channels, rows, columns = weights[0].shape[1:]
    is_tiled = _is_plain(node) and _integers(node, "strides", 1) == (rows, columns)
    if not is_tiled or any(_integers(node, "pads", 0) + _integers(node, "output_padding", 0)):
        return
    flat = weights[0].transpose(2, 3, 1, 0).reshape(-1, len(weights[0]), 1, 1)
    editor.constant(node.input[1], np.ascontiguousarray(flat))
    editor.constant(node.input[2], np.tile(weights[1], rows * columns))
    names = list(node.input[1:])
    editor.replace(node, [("Conv", names, {"kernel_shape": [1, 1]})])
    stem = str(node.output[0])
    apart = np.array([-1, height, width, rows, columns * channels], np.int64)
    joined = np.array([-1, height * rows, width * columns, channels], np.int64)
    editor.replace(
        readers[0],
        [
            ("Relu", [], {}),
            ("Transpose", [], {"perm": _TO_LAST}),
            ("Reshape", [editor.constant(f"{stem}_apart", apart)], {}),
            ("Transpose", [], {"perm": (0, 1, 3, 2, 4)}),
            ("Reshape", [editor.constant(f"{stem}_joined", joined)], {}),
            ("Transpose", [], {"perm": _TO_FIRST}),
        ],
    )


def _multiply(editor: _Editor, node: NodeProto) -> None:
    """Make a linear 1 x 1 convolution behind a ReLU a matrix product."""
    weights, maker = editor.own_weights(node), editor.makers.get(node.input[0])
    if weights is None or maker is None or maker.op_type != "Relu":
        return
    is_pointwise = weights[0].shape[2:] == (1, 1) and _integers(node, "strides", 1) == (1, 1)
    is_pointwise &= not any(_integers(node, "pads", 0))
    is_linear = all(n.op_type != "Relu" for n in editor.readers(node.output[0]))
    is_summed = any(n.op_type == "Add" for n in editor.readers(node.output[0]))
    if not (is_pointwise and _is_plain(node) and is_linear) or is_summed:
        return
    matrix = np.ascontiguousarray(weights[0][:, :, 0, 0].T)
    editor.constant(node.input[1], matrix)
    editor.replace(
        node,
        [
            ("Transpose", [], {"perm": _TO_LAST}),
            ("MatMul", [node.input[1]], {}),
            ("Add", [node.input[2]], {}),
            ("Transpose", [], {"perm": _TO_FIRST}),
        ],
    )


def _read_levels(editor: _Editor, node: NodeProto) -> None:
    """Let a convolution read an image's grey levels where it reads scaled ones.

    A fourth channel tells the inside of the image from the padding around it, which stands for 0
    behind the norm: its weight makes up for the difference of `GREY_ZERO` to each channel's mean.
    Two columns are read as one with twice the channels.
    """
    weights, norm = editor.own_weights(node), _norm_of(editor, node.input[0])
    if weights is None or norm is None or not _is_plain(node):
        return
    source, scale, shift = norm
    weight, width = weights[0], editor.sizes[source][-1]
    pads, kernel = _integers(node, "pads", 0) * 2, weight.shape[-1]
    is_halved = _integers(node, "strides", 1)[1] == 2 and width > 0 and width % 2 == 0
    if weight.shape[1] != 3 or not is_halved:
        return
    rest = np.einsum("oihw,i->ohw", weight, scale * GREY_ZERO + shift) / (INSIDE - GREY_ZERO)
    four = np.concatenate([weight * scale[:, None, None], rest[:, None]], axis=1)
    before = pads[1] % 2  # columns of padding that are missing to a pair
    after = (kernel + before) % 2
    wide = np.pad(four, ((0, 0), (0, 0), (0, 0), (before, after)))
    paired = wide.reshape(*wide.shape[:3], -1, 2).transpose(0, 4, 1, 2, 3)
    paired = paired.reshape(len(wide), 8, weight.shape[2], -1)
    outputs = (width + pads[1] + pads[3] - kernel) // 2 + 1
    first = (pads[1] + before) // 2
    last = outputs - 1 + paired.shape[-1] - first - width // 2
    editor.constant(node.input[1], paired.astype(np.float32))
    stem = str(node.output[0])
    names = _level_constants(editor, stem, editor.sizes[source][-2], width // 2)
    convolution: dict[str, Any] = {
        "strides": [_integers(node, "strides", 1)[0], 1],
        "pads": [pads[0], first, pads[2], last],
    }
    own = [str(name) for name in node.input[1:]]
    node.input[0] = source
    editor.replace(
        node,
        [
            ("Pad", names[:2], {}),
            ("Transpose", [], {"perm": _TO_LAST}),
            ("Reshape", names[2:3], {}),
            ("Transpose", [], {"perm": _TO_FIRST}),
            ("DequantizeLinear", names[3:], {}),
            ("Conv", own, convolution),
        ],
    )


def _level_constants(editor: _Editor, stem: str, height: int, pairs: int) -> list[str]:
    """Add what the steps before the first convolution read; return their names in order."""
    values = {
        "added": added_channels(1),
        "inside": np.array(INSIDE, np.uint8),
        "pairs": np.array([-1, height, pairs, 8], np.int64),
        "level_scale": np.array(1, np.float32),
        "level_zero": np.array(GREY_ZERO, np.uint8),
    }
    return [editor.constant(f"{stem}_{name}", value) for name, value in values.items()]


def _norm_of(editor: _Editor, tensor: str) -> tuple[str, Array, Array] | None:
    """Return the image, scale and shift (3,) behind a tensor that a norm makes, or None."""
    found: list[Array] = []
    for operator in ("Add", "Mul"):
        node = editor.makers.get(tensor)
        if node is None or node.op_type != operator or node.input[1] not in editor.constants:
            return None
        values = editor.constants[node.input[1]].astype(np.float64)
        if values.shape != (3, 1, 1):
            return None
        found.append(values.reshape(3))
        tensor = str(node.input[0])
    while (node := editor.makers.get(tensor)) is not None and node.op_type in _PASSING:
        tensor = str(node.input[0])
    return (tensor, found[1], found[0]) if tensor in editor.levels else None
