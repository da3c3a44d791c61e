# SPDX-License-Identifier: Apache-2.0
"""A real, tiny bundle: an ONNX graph that answers with what it was given.

Box 0 stands at x = number of live cameras, y = fx / W of the first camera, z = 1 with a radar and
0 without, moves at vx = mean grey of all images, and has score 0.9. Box 1 stands at (5, 0, 0) with
score 0.5. The rest is below every threshold.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from imkd_core.bev_grid import BevGrid
from imkd_core.config import DepthBins, HeadSpec, InputSpec
from imkd_core.runtime.bundle import Bundle, write_bundle
from imkd_core.runtime.contract import input_contract

CLASSES = ("car", "pedestrian")
CANDIDATES = 4

INPUTS = InputSpec(
    image_height_px=32,
    image_width_px=64,
    bev=BevGrid(x_min_m=-12.8, x_max_m=25.6, y_min_m=-6.4, y_max_m=19.2, cell_m=1.6),
    depth=DepthBins(min_m=1.0, max_m=17.0, step_m=2.0),
    radar_refinement=1,
    lut_taps=4,
)
HEAD = HeadSpec(
    class_names=CLASSES,
    tasks=(("car",), ("pedestrian",)),
    candidates=CANDIDATES,
    nms_radius_m={"car": 1.0, "pedestrian": 0.4},
    score_threshold=0.3,
)

_TYPES = {"uint8": TensorProto.UINT8, "int32": TensorProto.INT32, "float32": TensorProto.FLOAT}


def write_tiny_bundle(root: Path, heavy: int = 0, **changes: int) -> Bundle:
    """Write the bundle; `heavy` squares of a large matrix make every inference slow.

    Changes are of its inputs, and must leave the arrays as they are.
    """
    root.mkdir(parents=True, exist_ok=True)
    onnx.save(_model(heavy), root / "model.onnx")
    return write_bundle(
        root,
        name="tiny",
        inputs=replace(INPUTS, **changes),
        head=HEAD,
        files={"fp32": "model.onnx"},
        provenance={"training_data": "none"},
        producer={"onnx": onnx.__version__},
        created="2024-01-01T00:00:00+00:00",
    )


def _model(heavy: int) -> onnx.ModelProto:
    inputs = [
        helper.make_tensor_value_info(
            name,
            _TYPES[spec.dtype.name],
            ["N" if size is None else size for size in spec.shape],
        )
        for name, spec in input_contract(INPUTS).items()
    ]
    y, x = INPUTS.bev.shape
    outputs = [
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, [CANDIDATES]),
        helper.make_tensor_value_info("labels", TensorProto.INT32, [CANDIDATES]),
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [CANDIDATES, 10]),
        helper.make_tensor_value_info("i_cam", TensorProto.FLOAT, [y, x]),
        helper.make_tensor_value_info("i_rad", TensorProto.FLOAT, [y, x]),
    ]
    rest = np.zeros((CANDIDATES, 10), np.float32)
    rest[:, 3:6] = (4.0, 2.0, 1.5)
    rest[:, 7] = 1.0
    rest[1:, 0] = (5.0, 8.0, 11.0)
    first = np.zeros((CANDIDATES, 4), np.float32)
    first[0] = 1.0
    constants = {
        "rest": rest,
        "first": first,
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "axis0": np.array([0], np.int64),
        "axis1": np.array([1], np.int64),
        "pads_xyz": np.array([0, 0, 0, 7], np.int64),
        "fraction": np.float32(1 / 255),
    }
    nodes = [
        helper.make_node("ReduceSum", ["camera_mask"], ["live"], keepdims=0),
        helper.make_node("Unsqueeze", ["live", "axis0"], ["live1"]),
        helper.make_node("Slice", ["camera_params", "zero", "one", "axis0"], ["params0"]),
        helper.make_node("Slice", ["params0", "zero", "one", "axis1"], ["fx11"]),
        helper.make_node("Squeeze", ["fx11", "axis1"], ["fx1"]),
        helper.make_node("Cast", ["images"], ["grey"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["grey"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "fraction"], ["mean0"]),
        helper.make_node("Unsqueeze", ["mean0", "axis0"], ["mean1"]),
        helper.make_node("Concat", ["live1", "fx1", "radar_mask", "mean1"], ["facts"], axis=0),
        helper.make_node("Mul", ["first", "facts"], ["rows"]),
        helper.make_node("Slice", ["rows", "c0", "c3", "axis1"], ["xyz"]),
        helper.make_node("Slice", ["rows", "c3", "c4", "axis1"], ["vx"]),
        helper.make_node("Pad", ["xyz", "pads_xyz"], ["xyz_wide"]),
        helper.make_node("Pad", ["vx", "pads_vx"], ["vx_wide"]),
        helper.make_node("Add", ["rest", "xyz_wide"], ["with_xyz"]),
        helper.make_node("Add", ["with_xyz", "vx_wide"], ["boxes"]),
        helper.make_node("Identity", ["all_scores"], ["scores"]),
        helper.make_node("Identity", ["all_labels"], ["labels"]),
        helper.make_node("Identity", ["gate_cam"], ["i_cam"]),
        helper.make_node("Identity", ["gate_rad"], ["i_rad"]),
    ]
    constants |= {
        "c0": np.array([0], np.int64),
        "c3": np.array([3], np.int64),
        "c4": np.array([4], np.int64),
        "pads_vx": np.array([0, 8, 0, 1], np.int64),
        "gate_cam": np.full((y, x), 0.75, np.float32),
        "gate_rad": np.full((y, x), 0.25, np.float32),
        "all_labels": np.array([0, 1, 0, 1], np.int32),
    }
    scores = np.array([0.9, 0.5, 0.02, 0.01], np.float32)
    if heavy:
        nodes, constants = _slowed(nodes, constants, scores, heavy)
    else:
        constants["all_scores"] = scores
    initializers = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return model


def _slowed(nodes, constants, scores, heavy):
    """Make the scores wait for a chain of products that starts at an input."""
    size = 1000
    chain = [
        helper.make_node("ReduceSum", ["radar_mask"], ["seed"], keepdims=0),
        helper.make_node("Mul", ["matrix", "seed"], ["power0"]),
    ]
    chain += [
        helper.make_node("MatMul", [f"power{i}", "matrix"], [f"power{i + 1}"]) for i in range(heavy)
    ]
    chain += [
        helper.make_node("ReduceSum", [f"power{heavy}"], ["total"], keepdims=0),
        helper.make_node("Mul", ["total", "nothing"], ["silent"]),
        helper.make_node("Add", ["base_scores", "silent"], ["all_scores"]),
    ]
    extra = {
        "matrix": np.eye(size, dtype=np.float32),
        "nothing": np.float32(0),
        "base_scores": scores,
    }
    return [*chain, *nodes], {**constants, **extra}
