# SPDX-License-Identifier: Apache-2.0
"""ONNX files of a few hundred bytes in the three precisions, with an open number of cameras."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from imkd_core.runtime.bundle import write_bundle
from imkd_core.runtime.tensorrt.builder import Source
from tests.core.runtime.made_up_bundle import HEAD, SPEC

ROLES = ("fp32", "fp16", "int8_s8")


def tiny_source(folder, role="fp32", seed=0, operator="Relu"):
    """A source whose file stands in `folder`: images [N, 3, 8, 12] uint8 -> sums [N, 4]."""
    path = folder / f"{role}_{seed}_{operator}.onnx"
    onnx.save(_model(role, seed, operator), path)
    return Source.read(path, role)


def tiny_bundle(root, roles=ROLES):
    """A bundle of such files, that nothing can run."""
    return write_bundle(
        root,
        name="tiny",
        inputs=SPEC,
        head=HEAD,
        files={role: tiny_source(root, role).path.name for role in roles},
        provenance={},
        producer={},
    )


def refused_source(folder):
    """A source with an operator that TensorRT's parser refuses: a scatter that adds up."""
    node = helper.make_node("ScatterND", ["data", "index", "update"], ["out"], reduction="add")
    takes = [
        helper.make_tensor_value_info("data", TensorProto.FLOAT, [4]),
        helper.make_tensor_value_info("index", TensorProto.INT64, [2, 1]),
        helper.make_tensor_value_info("update", TensorProto.FLOAT, [2]),
    ]
    gives = [helper.make_tensor_value_info("out", TensorProto.FLOAT, [4])]
    graph = helper.make_graph([node], "g", takes, gives)
    path = folder / "scatter.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)]), path)
    return Source.read(path, "fp32")


def _model(role, seed, operator):
    dtype = np.float32 if role == "fp32" else np.float16
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    weight = np.random.default_rng(seed).normal(0, 0.1, (4, 3, 3, 3))
    nodes = [helper.make_node("Cast", ["images"], ["pixels"], to=kind)]
    constants = {"axes": np.array([2, 3], np.int64)}
    if role == "int8_s8":
        constants |= {
            "x_scale": np.array(2.0, dtype),
            "w_scale": np.full(4, 0.004, dtype),
            "x_zero": np.array(0, np.int8),
            "w_zero": np.zeros(4, np.int8),
            "w_8": np.clip(np.round(weight / 0.004), -127, 127).astype(np.int8),
        }
        nodes += [
            helper.make_node("QuantizeLinear", ["pixels", "x_scale", "x_zero"], ["x_8"]),
            helper.make_node("DequantizeLinear", ["x_8", "x_scale", "x_zero"], ["x"]),
            helper.make_node("DequantizeLinear", ["w_8", "w_scale", "w_zero"], ["w"], axis=0),
        ]
    else:
        constants["w"] = weight.astype(dtype)
        nodes.append(helper.make_node("Identity", ["pixels"], ["x"]))
    nodes += [
        helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1]),
        helper.make_node(operator, ["y"], ["z"]),
        helper.make_node("ReduceSum", ["z", "axes"], ["sum_"], keepdims=0),
        helper.make_node("Cast", ["sum_"], ["sums"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 3, 8, 12])],
        [helper.make_tensor_value_info("sums", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
