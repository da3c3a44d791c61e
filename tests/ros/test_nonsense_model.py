# SPDX-License-Identifier: Apache-2.0
"""A model that returns NaN, through the real node: never published, said, forgotten when over."""

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("rclpy")

import numpy as np

from imkd_core.resources import bundles
from imkd_core.runtime.bundle import load_bundle, write_bundle
from tests.ros.node_bench import benches
from tests.ros.tiny_bundle import write_tiny_bundle

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]

#: Mean of all images, of 255, above which the tiny model loses its head.
BRIGHT = 0.5


def rewritten(bundle, root, model):
    """The same bundle with another graph: its hashes fit, as after a bad training or export."""
    root.mkdir()
    onnx.save(model, root / "model.onnx")
    facts = {name: getattr(bundle, name) for name in ("name", "inputs", "head")}
    return write_bundle(
        root, **facts, files={"fp32": "model.onnx"}, provenance={}, producer={}
    ).root


def nan_where_bright(folder):
    """The tiny bundle; its boxes gain 0 * sqrt(BRIGHT - brightness), NaN for bright images."""
    bundle = write_tiny_bundle(folder / "sound")
    model = onnx.load(bundle.path("fp32"))
    graph = model.graph
    (last,) = (node for node in graph.node if "boxes" in node.output)
    last.output[0] = "sound_boxes"
    for name, value in (("bright", BRIGHT), ("nought", 0.0)):
        graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
    graph.node.extend(
        [
            helper.make_node("Sub", ["bright", "mean0"], ["margin"]),
            helper.make_node("Sqrt", ["margin"], ["root"]),
            helper.make_node("Mul", ["root", "nought"], ["nothing_or_nan"]),
            helper.make_node("Add", ["sound_boxes", "nothing_or_nan"], ["boxes"]),
        ]
    )
    onnx.checker.check_model(model)
    return rewritten(bundle, folder / "spoilt", model)


def student_with_a_nan_weight(folder):
    """The student that ships, with one weight of its first convolution spoilt."""
    bundle = load_bundle(next(path for path in bundles() if path.name == "imkd_tiny"))
    model = onnx.load(bundle.path("fp32"))
    weight = next(
        item
        for item in model.graph.initializer
        if len(item.dims) == 4 and item.data_type == TensorProto.FLOAT
    )
    values = numpy_helper.to_array(weight).copy()
    values.flat[0] = np.nan
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    return rewritten(bundle, folder / "spoilt", model)


@pytest.fixture
def make_bench(tmp_path, ros_environment):
    with benches(tmp_path, **{"diagnostics.latency_warn_ms": 10_000.0}) as make:

        def start(bundle):
            bench = make(bundle=bundle)
            bench.start()
            bench.listen_to_boxes()
            bench.calibrate()
            return bench

        yield start


def test_frames_that_are_nan_are_suppressed_and_said_and_the_next_good_one_is_published(
    make_bench, tmp_path
):
    bench = make_bench(nan_where_bright(tmp_path))
    assert bench.feed(lambda: bench.boxes and bench.level("frames") == 0, grey=51)
    assert bench.feed(lambda: bench.level("frames") == 2, grey=250)
    assert "not finite in 'boxes'" in bench.status("frames").message
    assert "export the model again" in bench.status("frames").message
    bench.boxes.clear()
    assert not bench.feed(lambda: bench.boxes, seconds=0.5, grey=250)
    assert bench.state() == "active"
    assert bench.feed(lambda: bench.boxes and bench.level("frames") == 0, grey=51)
    values = np.array([box.bbox.center.position.x for box in bench.boxes[-1].detections])
    assert np.isfinite(values).all()


def test_a_student_with_a_spoilt_weight_publishes_nothing_and_says_so(make_bench, tmp_path):
    bench = make_bench(student_with_a_nan_weight(tmp_path))
    assert bench.feed(lambda: bench.level("frames") == 2, seconds=20.0)
    assert "not finite" in bench.status("frames").message
    state = bench.node._session._state
    assert bench.feed(lambda: state.frames_in >= 5)
    assert state.frames_out == 0
    assert not bench.boxes
    assert bench.state() == "active"
