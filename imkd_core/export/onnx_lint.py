# SPDX-License-Identifier: Apache-2.0
"""Operators that some target cannot run: found in the ONNX file, not on the vehicle.

The rules hold for TensorRT 10 and 11 without plugins and for ONNX Runtime in half precision; each
was met while view transforms were tried out.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from imkd_core.errors import BundleError

#: TensorRT's limit on K of TopK.
MAX_TOP_K = 3840

_STANDARD_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True, kw_only=True)
class LintFinding:
    """One node that a target would refuse.

    Attributes:
        node: its name, or its first output where it has none.
        operator: its type.
        reason: why it is refused.
    """

    node: str
    operator: str
    reason: str


@dataclass(frozen=True)
class _Facts:
    """What is known of a graph's tensors: element types, ranks, constants."""

    types: Mapping[str, int]
    ranks: Mapping[str, int]
    constants: Mapping[str, TensorProto]


def check_operators(model: Path | ModelProto) -> None:
    """Refuse a graph with operators that a target cannot run.

    Raises:
        BundleError: naming every offending node and why.
    """
    findings = lint_operators(model)
    if findings:
        lines = "; ".join(f"{f.operator} '{f.node}': {f.reason}" for f in findings)
        raise BundleError(f"the exported graph cannot run everywhere: {lines}")


def lint_operators(model: Path | ModelProto) -> list[LintFinding]:
    """Return the nodes that a target would refuse, in the order of the graph."""
    proto = onnx.load(model) if isinstance(model, Path) else model
    inferred = onnx.shape_inference.infer_shapes(proto)
    facts = _facts_of(inferred)
    found = []
    for node in _all_nodes(inferred.graph):
        reason = _refusal(node, facts)
        if reason:
            name = node.name or (node.output[0] if node.output else "?")
            found.append(LintFinding(node=name, operator=node.op_type, reason=reason))
    return found


def _all_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield a graph's nodes and those of the graphs inside them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            graphs = [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs
            for inner in graphs:
                yield from _all_nodes(inner)


def _facts_of(model: ModelProto) -> _Facts:
    graph = model.graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    ranks = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        types[value.name] = value.type.tensor_type.elem_type
        if value.type.tensor_type.HasField("shape"):
            ranks[value.name] = len(value.type.tensor_type.shape.dim)
    for node in _all_nodes(graph):
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    return _Facts(types, ranks, constants)


def _refusal(node: NodeProto, facts: _Facts) -> str | None:
    """Return why a node is refused, or None."""
    if node.domain not in _STANDARD_DOMAINS:
        return f"domain '{node.domain}' needs a plugin or custom operator"
    reads_uint8 = any(facts.types.get(name) == TensorProto.UINT8 for name in node.input)
    if reads_uint8 and node.op_type not in ("Cast", "DequantizeLinear"):
        return "reads uint8; TensorRT allows only a Cast there"
    rule = _RULES.get(node.op_type)
    return rule(node, facts) if rule else None


def _scatter(node: NodeProto, _facts: _Facts) -> str | None:
    reductions = [a.s.decode() for a in node.attribute if a.name == "reduction"]
    if reductions and reductions[0] != "none":
        return f"reduction '{reductions[0]}' is unknown to TensorRT"
    return None


def _cumulative_sum(_node: NodeProto, _facts: _Facts) -> str | None:
    return "running sums lose all accuracy in float16"


def _grid_sample(node: NodeProto, facts: _Facts) -> str | None:
    if facts.ranks.get(node.input[0]) != 4:
        return "TensorRT 10 samples 4-D maps only"
    return None


def _dequantize(node: NodeProto, facts: _Facts) -> str | None:
    if facts.types.get(node.input[0]) == TensorProto.INT32:
        return "int32 biases cannot be dequantised by TensorRT"
    return None


def _top_k(node: NodeProto, facts: _Facts) -> str | None:
    constant = facts.constants.get(node.input[1])
    if constant is None:
        return "K must be a constant"
    k = int(np.ravel(numpy_helper.to_array(constant))[0])
    return f"K = {k} is above TensorRT's {MAX_TOP_K}" if k > MAX_TOP_K else None


_RULES: Mapping[str, Callable[[NodeProto, _Facts], str | None]] = {
    "ScatterND": _scatter,
    "ScatterElements": _scatter,
    "Scatter": _scatter,
    "CumSum": _cumulative_sum,
    "GridSample": _grid_sample,
    "DequantizeLinear": _dequantize,
    "TopK": _top_k,
}
