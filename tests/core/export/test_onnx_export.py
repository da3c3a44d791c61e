# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from imkd_core.errors import BundleError
from imkd_core.export.fold import fold_norms
from imkd_core.export.graph import deploy
from imkd_core.export.onnx_export import FILE_NAMES, export_onnx, write_graph
from imkd_core.export.onnx_lint import check_operators
from imkd_core.export.parity import check_parity, measure_parity
from imkd_core.export.tensorrt_check import check_tensorrt, is_tensorrt_installed
from imkd_core.model.example import batched, example_inputs
from imkd_core.model.student import Student
from imkd_core.recipe import load_config
from imkd_core.runtime.backends import OnnxRuntimeBackend, open_backend
from imkd_core.runtime.bundle import load_bundle
from tests.core.model.small import CONFIG, GRID, HEAD, INPUTS, small_student
from tests.core.runtime.tensorrt.tiny_onnx import refused_source


def settled_student(peak_window=1):
    """A student whose norms have seen data, so that folding them has something to fold."""
    config = replace(CONFIG, head=replace(HEAD, peak_window=peak_window))
    torch.manual_seed(0)
    student = Student.from_config(config).train()
    with torch.no_grad():
        for seed in range(3):
            student(**batched(example_inputs(INPUTS, 3, seed)))
        for norm in (m for m in student.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.3, 0.3)
    return config, student


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    config, student = settled_student()
    folder = tmp_path_factory.mktemp("bundle")
    frames = [example_inputs(INPUTS, 3, seed) for seed in (7, 8)]
    bundle = export_onnx(student, config, folder, "small", {"data": "noise"}, frames)
    return student, bundle


def test_the_bundle_loads_with_both_precisions_and_its_facts(exported):
    _, bundle = exported
    again = load_bundle(bundle.root)
    assert {role: file.file for role, file in again.files.items()} == FILE_NAMES
    assert (again.inputs, again.name) == (CONFIG.inputs, "small")
    assert again.provenance["data"] == "noise"
    assert again.producer["opset"] == 20
    assert again.producer["parity"]["fp32"]["score"] < 1e-3
    assert again.producer["parity"]["fp32"]["center_m"] < 0.01
    assert again.producer["parity"]["fp16"]["score"] < 0.05


@pytest.mark.parametrize("cameras", range(1, 9))
def test_one_file_serves_any_number_of_cameras(exported, cameras):
    student, bundle = exported
    frame = example_inputs(INPUTS, cameras, seed=cameras)
    figures = check_parity(deploy(student, frame), open_backend(bundle), frame)
    assert figures.score < 1e-4
    assert figures.center_m < 1e-3
    assert figures.candidates > HEAD.candidates // 2


def test_a_head_that_keeps_local_maxima_alone_exports_as_well(tmp_path):
    config, student = settled_student(peak_window=3)
    frame = example_inputs(INPUTS, 2)
    network, path = deploy(student, frame), tmp_path / "peaks.onnx"
    write_graph(network, frame, path, {})
    check_operators(path)
    backend = OnnxRuntimeBackend(path, inputs=config.inputs, head=config.head)
    assert check_parity(network, backend, frame).center_m < 1e-3
    if is_tensorrt_installed():
        assert check_tensorrt(path).plan_bytes > 0


def test_a_masked_camera_is_masked_in_the_file_too(exported):
    _, bundle = exported
    frame = example_inputs(INPUTS, 3)
    frame["camera_mask"][1] = 0
    other = {name: value.clone() for name, value in frame.items()}
    other["images"][1] = 0
    backend = open_backend(bundle)
    first, second = (
        backend.run({k: v.numpy() for k, v in inputs.items()}) for inputs in (frame, other)
    )
    for name, value in first.items():
        assert (value == second[name]).all(), name


def test_half_precision_stays_close_and_keeps_float32_at_its_border(exported):
    student, bundle = exported
    path = bundle.path("fp16")
    backend = OnnxRuntimeBackend(path, inputs=CONFIG.inputs, head=CONFIG.head)
    frame = example_inputs(INPUTS, 4, seed=3)
    figures = measure_parity(deploy(student, frame), backend, frame)
    assert figures.score < 0.05
    assert figures.gate < 0.01
    weights = onnx.load(path).graph.initializer
    large = [w for w in weights if len(w.dims) == 4]
    assert large
    assert {w.data_type for w in large} == {onnx.TensorProto.FLOAT16}


def test_the_softmax_of_the_half_precision_file_is_float32(exported):
    _, bundle = exported
    model = onnx.shape_inference.infer_shapes(onnx.load(bundle.path("fp16")))
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    powers = [types[node.output[0]] for node in model.graph.node if node.op_type == "Exp"]
    assert powers == [onnx.TensorProto.FLOAT] * 2  # of depths, and of the sizes of boxes


def test_no_norm_is_left_in_the_file_and_the_file_names_its_classes(exported):
    _, bundle = exported
    model = onnx.load(bundle.path("fp32"))
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    properties = {item.key: item.value for item in model.metadata_props}
    assert json.loads(properties["imkd.class_names"]) == list(HEAD.class_names)
    assert json.loads(properties["imkd.inputs"])["bev"]["cell_m"] == GRID.cell_m
    assert properties["imkd.role"] == "fp32"


def test_folding_keeps_the_function_and_leaves_the_student_alone():
    _, student = settled_student()
    frame = example_inputs(INPUTS, 2, seed=5)
    before = {key: value.clone() for key, value in student.state_dict().items()}
    network = deploy(student, frame)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    assert student.training
    with torch.no_grad():
        folded = network.student(**batched(frame))
        plain = student.eval()(**batched(frame))
    for name, value in plain._asdict().items():
        torch.testing.assert_close(getattr(folded, name), value, rtol=1e-3, atol=1e-3)
    for key, value in student.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_a_norm_that_follows_no_convolution_is_kept():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu, self.norm = nn.Conv2d(2, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)

        def forward(self, x):
            return self.norm(self.relu(self.conv(x)))

    network = Net().eval()
    fold_norms(network, {"x": torch.zeros(1, 2, 4, 6)})
    assert isinstance(network.norm, nn.BatchNorm2d)


def test_a_student_of_another_configuration_is_refused(tmp_path):
    other = replace(CONFIG, inputs=replace(INPUTS, lut_taps=8))
    with pytest.raises(BundleError, match="not built from"):
        export_onnx(small_student(), other, tmp_path, "x", {})
    assert not list(tmp_path.iterdir())


def test_a_bundle_of_one_file_leaves_no_old_one_behind(tmp_path):
    config, student = settled_student()
    (tmp_path / FILE_NAMES["fp16"]).write_bytes(b"old")
    bundle = export_onnx(student, config, tmp_path, "x", {}, roles=("fp32",))
    assert set(load_bundle(bundle.root).files) == {"fp32"}
    assert not (tmp_path / FILE_NAMES["fp16"]).exists()


@pytest.mark.parametrize("roles", [(), ("int4",)])
def test_files_that_no_bundle_holds_are_refused(tmp_path, roles):
    config, student = settled_student()
    with pytest.raises(BundleError, match="fp32, fp16"):
        export_onnx(student, config, tmp_path, "x", {}, roles=roles)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["imkd_tiny"])
def test_the_small_student_of_the_project_exports(project_root, tmp_path, name):
    config = load_config(project_root / "config" / f"{name}.yaml")
    torch.manual_seed(0)
    bundle = export_onnx(Student.from_config(config), config, tmp_path, name, {})
    parameters = sum(p.numel() for p in Student.from_config(config).parameters())
    assert 4 * parameters < bundle.files["fp32"].bytes < 4 * parameters * 1.1
    assert 2 * parameters < bundle.files["fp16"].bytes < 2 * parameters * 1.1


@pytest.mark.skipif(not is_tensorrt_installed(), reason="tensorrt-rtx is not installed")
@pytest.mark.parametrize("role", ["fp32", "fp16"])
def test_tensorrt_parses_and_builds_both_files(exported, role):
    _, bundle = exported
    report = check_tensorrt(bundle.path(role))
    assert report.plan_bytes > 100_000


@pytest.mark.skipif(not is_tensorrt_installed(), reason="tensorrt-rtx is not installed")
def test_tensorrt_refuses_a_scatter_with_reduction_in_its_own_words(tmp_path):
    with pytest.raises(BundleError, match=r"refuses .*scatter"):
        check_tensorrt(refused_source(tmp_path).path)


@pytest.mark.parametrize(
    ("share", "unseen"), [("drop_radar", "radars"), ("drop_cameras", "cameras")]
)
def test_a_sensor_that_training_never_showed_is_masked_in_the_file(tmp_path, share, unseen):
    config = replace(CONFIG, augment=replace(CONFIG.augment, **{share: 1.0}))
    torch.manual_seed(0)
    student = Student.from_config(config).train()
    masks = {"cameras": "camera_mask", "radars": "radar_mask"}
    frames = [example_inputs(INPUTS, 3, seed) for seed in range(4)]
    masked = [{**frame, masks[unseen]: frame[masks[unseen]] * 0} for frame in frames]
    with torch.no_grad():
        for _ in range(60):  # norms of that sensor learn that nothing ever varies
            student(**batched(*masked))
    bundle = export_onnx(student, config, tmp_path, "one kind", {}, frames[:1], ["fp32"])
    assert bundle.producer["unseen_sensors"] == [unseen]
    live, without = (
        open_backend(bundle).run({key: value.numpy() for key, value in frame.items()})
        for frame in (frames[0], masked[0])
    )
    for name, value in without.items():
        assert np.array_equal(live[name], value), name


def test_live_cameras_that_training_never_showed_make_nothing_that_is_not_finite():
    torch.manual_seed(0)
    student = Student.from_config(CONFIG).train()
    frames = [example_inputs(INPUTS, 3, seed) for seed in range(3)]
    dark = [{**f, "images": f["images"] * 0, "camera_mask": f["camera_mask"] * 0} for f in frames]
    for norm in (m for m in student.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.momentum = 0.5
    with torch.no_grad():
        for _ in range(30):
            student(**batched(*dark))
        student.eval()
        for layer in (student.depth_net.context[-1].weight, student.depth_net.context[-1].bias):
            layer.mul_(3e38 / 100)
        live, black = (student.encode(**batched(f)).context for f in (frames[0], dark[0]))
        assert black.isfinite().all()
        assert not live.isfinite().all()
        network = deploy(student, frames[0], unseen=["cameras"])
        for found, wanted in zip(network(**frames[0]), network(**dark[0]), strict=True):
            assert found.isfinite().all()
            assert torch.equal(found, wanted)
