# SPDX-License-Identifier: Apache-2.0
"""Bundles with a tiny real ONNX graph: boxes whose place tells what the graph was given."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from imkd_core.config import HeadSpec, InputSpec
from imkd_core.runtime.bundle import Bundle, write_bundle
from imkd_core.runtime.contract import input_contract, output_contract
from tests.core.rigs import spec_of

SPEC = spec_of()
HEAD = HeadSpec(candidates=4)

_TYPES = {"uint8": TensorProto.UINT8, "int32": TensorProto.INT32, "float32": TensorProto.FLOAT}


def save_model(
    path: Path,
    spec: InputSpec = SPEC,
    head: HeadSpec = HEAD,
    *,
    inputs: dict | None = None,
    outputs: dict | None = None,
    scale: float = 1.0,
    is_fragile: bool = False,
    is_afraid_of_the_dark: bool = False,
) -> Path:
    """Write a graph of the contract's form; names -> (dtype, shape) change it, None drops.

    Box 0 is a car whose x is 5 m plus the number of live cameras plus 10 if radar is live, and
    whose y is the mean of all image values / 255. `scale` multiplies boxes (inf breaks them). A
    fragile graph adds arrays that only fit each other for one camera; one that is afraid of the
    dark answers NaN to images that are black.

    With a memory the map to keep is 1 plus the sum of the means of the remembered maps, and box 0
    tells of the past: its z is the number of maps, vx that sum, vy the sum of all shifts.
    """
    takes = {n: (s.dtype.name, s.shape) for n, s in input_contract(spec).items()}
    gives = {n: (s.dtype.name, s.shape) for n, s in output_contract(spec, head).items()}
    takes = {n: v for n, v in {**takes, **(inputs or {})}.items() if v is not None}
    gives = {n: v for n, v in {**gives, **(outputs or {})}.items() if v is not None}
    m = head.candidates
    box = np.zeros((m, 10), np.float32)
    box[:, 0] = 20 * np.arange(m)
    box[:, 3:6] = (4.0, 2.0, 1.5)
    box[:, 7] = 1
    rows = np.zeros((m, 10), np.float32)
    first_x, first_y = rows.copy(), rows.copy()
    first_x[0, 0], first_y[0, 1] = 1, 1
    box[0, 0] = 5
    constants = {
        "scores_": np.linspace(0.9, 0.6, m, dtype=np.float32),
        "labels_": np.zeros(m, np.int32),
        "box": box,
        "first_x": first_x,
        "first_y": first_y,
        "ten": np.array([10], np.float32),
        "share": np.array([1 / 255], np.float32),
        "scale": np.array([scale], np.float32),
        "i_cam_": np.full(spec.bev.shape, 0.25, np.float32),
        "i_rad_": np.full(spec.bev.shape, 0.75, np.float32),
    }
    nodes = [
        helper.make_node("ReduceSum", ["camera_mask"], ["live"], keepdims=0),
        helper.make_node("Mul", ["radar_mask", "ten"], ["radar"]),
        helper.make_node("Add", ["live", "radar"], ["x"]),
        helper.make_node("Mul", ["first_x", "x"], ["offset_x"]),
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "share"], ["y"]),
        helper.make_node("Mul", ["first_y", "y"], ["offset_y"]),
        helper.make_node("Add", ["box", "offset_x"], ["moved"]),
        helper.make_node("Add", ["moved", "offset_y"], ["placed"]),
        helper.make_node("Mul", ["placed", "scale"], ["boxes"]),
    ]
    if is_fragile:
        constants["flat"] = np.array([-1], np.int64)
        nodes[0] = helper.make_node("ReduceSum", ["sum"], ["live"], keepdims=0)
        nodes.insert(0, helper.make_node("Reshape", ["camera_params", "flat"], ["all_params"]))
        nodes.insert(1, helper.make_node("Add", ["camera_mask", "all_params"], ["sum"]))
    if is_afraid_of_the_dark:
        constants["none"] = np.array([0], np.float32)
        at = next(i for i, node in enumerate(nodes) if node.output[0] == "y")
        nodes[at : at + 1] = [
            helper.make_node("Log", ["mean"], ["brightness"]),
            helper.make_node("Mul", ["brightness", "none"], ["fear"]),
            helper.make_node("Mul", ["mean", "share"], ["calm"]),
            helper.make_node("Add", ["calm", "fear"], ["y"]),
        ]
    if spec.memory.frames:
        nodes = _remembering(nodes, constants, spec, m)
    sources = {"scores": "scores_", "labels": "labels_", "i_cam": "i_cam_", "i_rad": "i_rad_"}
    nodes += [helper.make_node("Identity", [s], [n]) for n, s in sources.items() if n in gives]
    nodes += [
        helper.make_node("Identity", ["scores_"], [n])
        for n in gives
        if n not in (*sources, "boxes", "memory")
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [_value(n, *v) for n, v in takes.items()],
        [_value(n, *v) for n, v in gives.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


def _remembering(nodes, constants, spec, candidates):
    """Let box 0 tell of the past, and give a map to keep."""
    rows = np.zeros((3, candidates, 10), np.float32)
    rows[0, 0, 2], rows[1, 0, 8], rows[2, 0, 9] = 1, 1, 1
    constants |= {
        "first_z": rows[0],
        "first_vx": rows[1],
        "first_vy": rows[2],
        "map_axes": np.array([1, 2, 3], np.int64),
        "shift_column": np.array([2], np.int64),
        "one": np.array(1, np.float32),
        "ones": np.ones((spec.memory.channels, *spec.bev.shape), np.float32),
    }
    scaled = next(node for node in nodes if node.output[0] == "boxes")
    scaled.input[0] = "remembered"
    extra = [
        helper.make_node("ReduceMean", ["history", "map_axes"], ["means"], keepdims=0),
        helper.make_node("Mul", ["means", "history_mask"], ["live_means"]),
        helper.make_node("ReduceSum", ["live_means"], ["past"], keepdims=0),
        helper.make_node("ReduceSum", ["history_mask"], ["maps"], keepdims=0),
        helper.make_node("Gather", ["history_transform", "shift_column"], ["shifts"], axis=2),
        helper.make_node("ReduceSum", ["shifts"], ["shift"], keepdims=0),
        helper.make_node("Add", ["one", "past"], ["level"]),
        helper.make_node("Mul", ["ones", "level"], ["memory"]),
        helper.make_node("Mul", ["first_z", "maps"], ["told_maps"]),
        helper.make_node("Mul", ["first_vx", "past"], ["told_past"]),
        helper.make_node("Mul", ["first_vy", "shift"], ["told_shift"]),
        helper.make_node("Add", ["placed", "told_maps"], ["with_maps"]),
        helper.make_node("Add", ["with_maps", "told_past"], ["with_past"]),
        helper.make_node("Add", ["with_past", "told_shift"], ["remembered"]),
    ]
    at = nodes.index(scaled)
    return [*nodes[:at], *extra, *nodes[at:]]


def _value(name: str, dtype: str, shape) -> onnx.ValueInfoProto:
    sizes = ["N" if size is None else size for size in shape]
    return helper.make_tensor_value_info(name, _TYPES[dtype], sizes)


def make_bundle(root: Path, spec: InputSpec = SPEC, head: HeadSpec = HEAD, **changes) -> Bundle:
    """A bundle with one fp32 model."""
    root.mkdir(exist_ok=True)
    save_model(root / "model.onnx", spec, head, **changes)
    return write_bundle(
        root,
        name="tiny",
        inputs=spec,
        head=head,
        files={"fp32": "model.onnx"},
        provenance={"training_data": "none", "licence": "Apache-2.0"},
        producer={"imkd": "0.1", "opset": 18},
    )
