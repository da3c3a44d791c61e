# SPDX-License-Identifier: Apache-2.0
"""Weights kept in half the bytes: float16 in the file, float32 wherever they are used.

A file in float32 is mostly weights, and they need no more than float16's 11 bits: rounded to it
they move by 0.02 % at the mean. The graph casts each back to float32; ONNX Runtime, TensorRT and
OpenVINO do so once, when the file is opened, so nothing is slower and every product is computed in
float32.
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import nn

#: Weights of fewer numbers are left as they are; a cast each would outweigh what they save.
_LEAST_NUMBERS = 1024

_SUFFIX = ".float16"


def round_weights(network: nn.Module) -> None:
    """Round, in place, the large float32 weights of a network to what float16 can say.

    A weight with a value that leaves float16's range is left alone.

    Args:
        network: that is about to be exported, norms folded.
    """
    with torch.no_grad():
        for parameter in network.parameters():
            rounded = parameter.half().float()
            if parameter.numel() >= _LEAST_NUMBERS and bool(rounded.isfinite().all()):
                parameter.copy_(rounded)


def store_as_half(path: Path) -> int:
    """Rewrite a file so that weights are float16 where that loses nothing; return their number.

    Args:
        path: an ONNX file in float32 without external data; of a network of `round_weights`.
    """
    model = onnx.load(path)
    casts = [cast for item in model.graph.initializer if (cast := _halved(item)) is not None]
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    path.write_bytes(model.SerializeToString())
    return len(casts)


def load_widened(path: Path) -> ModelProto:
    """Return a file's model with its weights in float32, as if `store_as_half` had not been used.

    For tools that read weights; runtimes need nothing of the kind.
    """
    model = onnx.load(path)
    weights = {item.name: item for item in model.graph.initializer}
    others = []
    for node in model.graph.node:
        if not _is_widening(node) or node.input[0] not in weights:
            others.append(node)
            continue
        weight = weights[node.input[0]]
        wide = numpy_helper.to_array(weight).astype(np.float32)
        weight.CopyFrom(numpy_helper.from_array(wide, node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(others)
    return model


def _halved(item: TensorProto) -> NodeProto | None:
    """Turn a weight into float16 where that is exact; return the cast that gives it back."""
    if item.data_type != TensorProto.FLOAT:
        return None
    values = numpy_helper.to_array(item)
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if values.size < _LEAST_NUMBERS or not np.array_equal(half.astype(np.float32), values):
        return None
    name = item.name
    item.CopyFrom(numpy_helper.from_array(half, name + _SUFFIX))
    return helper.make_node(
        "Cast", [name + _SUFFIX], [name], name=name + ".widen", to=TensorProto.FLOAT
    )


def _is_widening(node: NodeProto) -> bool:
    return node.op_type == "Cast" and node.input[0] == node.output[0] + _SUFFIX
