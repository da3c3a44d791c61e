# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imkd_core.model.center_head import decode
from imkd_core.model.example import INPUT_NAMES, batched, example_inputs
from imkd_core.model.student import Student
from tests.core.model.small import CONFIG, GRID, HEAD, INPUTS, MODEL, small_student

Y, X = GRID.shape
HF, WF = INPUTS.feature_shape
D = INPUTS.depth.count


@pytest.fixture(scope="module")
def student():
    return small_student().eval()


def outputs_differ(first, second):
    return {
        name
        for name, a, b in zip(first._fields, first, second, strict=True)
        if a.shape != b.shape or not torch.equal(a, b)
    }


def test_the_test_grid_has_unequal_sides():
    assert Y != X
    assert HF != WF


@settings(max_examples=6)
@given(cameras=st.integers(1, 8), frames=st.integers(1, 3))
def test_every_map_has_the_shape_that_the_contract_names(cameras, frames):
    student = small_student().eval()
    one = example_inputs(INPUTS, cameras)
    assert tuple(one) == INPUT_NAMES
    output = student(**batched(*[one] * frames))
    shapes = {name: tuple(value.shape) for name, value in output._asdict().items()}
    assert shapes == {
        "heatmap_logits": (frames, 3, Y, X),
        "codes": (frames, 20, Y, X),
        "depth_logits": (frames, cameras, D, HF, WF),
        "context": (frames, cameras, 7, HF, WF),
        "camera_bev": (frames, 7, Y, X),
        "radar_bev": (frames, 5, Y, X),
        "fused_bev": (frames, 9, Y, X),
        "i_cam": (frames, 1, Y, X),
        "i_rad": (frames, 1, Y, X),
        "memory": (frames, 9, Y, X),
    }


@pytest.mark.parametrize("refinement", [1, 2, 3, 4])
@pytest.mark.parametrize("stride", [8, 16])
def test_other_radar_cells_and_feature_strides_fit_the_same_grid(refinement, stride):
    inputs = replace(INPUTS, radar_refinement=refinement, feature_stride_px=stride)
    student = Student(inputs, HEAD, MODEL).eval()
    output = student(**batched(example_inputs(inputs, 2)))
    assert output.radar_bev.shape[2:] == output.camera_bev.shape[2:] == (Y, X)
    assert output.depth_logits.shape[3:] == (64 // stride, 96 // stride)


@pytest.mark.parametrize("backbone", ["resnet50", "mobilenet_v2"])
def test_other_backbones_give_the_same_maps(backbone):
    student = Student(INPUTS, HEAD, replace(MODEL, backbone=backbone)).eval()
    output = student(**batched(example_inputs(INPUTS, 1)))
    assert output.heatmap_logits.shape == (1, 3, Y, X)


def test_the_gradient_reaches_every_parameter():
    student = small_student().train()
    frames = [example_inputs(INPUTS, 3, seed) for seed in range(2)]
    output = student(**batched(*frames))
    loss = sum((map_ - torch.rand_like(map_)).square().mean() for map_ in output)
    loss.backward()
    dry = [
        name
        for name, parameter in student.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert dry == []


def test_detection_alone_trains_both_sensors_depth_and_gates():
    student = small_student().train()
    output = student(**batched(example_inputs(INPUTS, 3)))
    output.heatmap_logits.square().mean().backward()
    for part in ("backbone", "neck", "depth_net", "radar_encoder", "fusion", "trunk"):
        assert any(p.grad is not None and p.grad.any() for p in getattr(student, part).parameters())


@settings(max_examples=5)
@given(missing=st.integers(0, 2), seed=st.integers(0, 100))
def test_a_masked_camera_changes_nothing_whatever_it_shows(missing, seed):
    student = small_student().eval()
    frame = example_inputs(INPUTS, 3, seed)
    frame["camera_mask"][missing] = 0
    other = {name: value.clone() for name, value in frame.items()}
    other["images"][missing] = 0
    other["camera_params"][missing] = 0
    other["frustum_mask"][missing] = 0
    with torch.no_grad():
        changed = outputs_differ(student(**batched(frame)), student(**batched(other)))
    assert changed == {"depth_logits", "context"}


def test_a_masked_camera_equals_a_rig_without_it(student):
    full = example_inputs(INPUTS, 3)
    full["camera_mask"][2] = 0
    rows = WF * D
    full["lut_index"] %= 2 * rows
    rig = ("images", "camera_mask", "camera_params", "frustum_mask")
    without = {name: value[:2] if name in rig else value for name, value in full.items()}
    with torch.no_grad():
        expected, actual = student(**batched(without)), student(**batched(full))
    torch.testing.assert_close(actual.camera_bev, expected.camera_bev, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(actual.heatmap_logits, expected.heatmap_logits, rtol=1e-4, atol=1e-4)


def test_without_any_camera_the_camera_map_is_zero_and_all_is_finite(student):
    frame = example_inputs(INPUTS, 3)
    frame["camera_mask"][:] = 0
    output = student(**batched(frame))
    assert not output.camera_bev.any()
    assert all(torch.isfinite(map_).all() for map_ in output)


def test_a_masked_radar_is_finite_zero_and_blind_to_the_grid(student):
    frame = example_inputs(INPUTS, 2)
    frame["radar_mask"][:] = 0
    other = dict(frame, radar_grid=frame["radar_grid"] * 1e3 + 7)
    with torch.no_grad():
        first, second = student(**batched(frame)), student(**batched(other))
    assert outputs_differ(first, second) == set()
    assert not first.radar_bev.any()
    assert all(torch.isfinite(map_).all() for map_ in first)


def test_a_live_radar_does_change_the_result(student):
    frame = example_inputs(INPUTS, 2)
    other = dict(frame, radar_grid=frame["radar_grid"] + 1)
    changed = outputs_differ(student(**batched(frame)), student(**batched(other)))
    assert {"radar_bev", "i_rad", "fused_bev", "heatmap_logits"} <= changed
    assert "camera_bev" not in changed


@settings(max_examples=5)
@given(order=st.permutations(range(4)))
def test_the_order_of_the_cameras_does_not_matter(order):
    student = small_student().eval()
    frame = example_inputs(INPUTS, 4)
    per_camera = WF * D
    place = torch.tensor([order.index(camera) for camera in range(4)], dtype=torch.int32)
    camera = frame["lut_index"] // per_camera
    moved = dict(frame)
    for name in ("images", "camera_mask", "camera_params", "frustum_mask"):
        moved[name] = frame[name][order]
    moved["lut_index"] = place[camera.long()] * per_camera + frame["lut_index"] % per_camera
    with torch.no_grad():
        expected, actual = student(**batched(frame)), student(**batched(moved))
    torch.testing.assert_close(actual.camera_bev, expected.camera_bev, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(actual.codes, expected.codes, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("is_training", [False, True])
def test_the_gates_start_open_between_085_and_092(is_training):
    student = small_student().train(is_training)
    output = student(**batched(example_inputs(INPUTS, 3)))
    for gate in (output.i_cam, output.i_rad):
        assert gate.min() > 0.85
        assert gate.max() < 0.92


def test_equal_seeds_give_equal_networks_and_equal_outputs():
    frame = batched(example_inputs(INPUTS, 2))
    with torch.no_grad():
        first, second = small_student(5).eval()(**frame), small_student(5).eval()(**frame)
        third = small_student(6).eval()(**frame)
    assert outputs_differ(first, second) == set()
    assert "codes" in outputs_differ(first, third)


def test_samples_of_a_batch_do_not_touch_each_other(student):
    frames = [example_inputs(INPUTS, 2, seed) for seed in (1, 2)]
    with torch.no_grad():
        together = student(**batched(*frames))
        alone = [student(**batched(frame)) for frame in frames]
    for index, single in enumerate(alone):
        torch.testing.assert_close(
            together.heatmap_logits[index], single.heatmap_logits[0], rtol=1e-4, atol=1e-4
        )


def test_the_first_heat_map_is_rare_everywhere(student):
    output = small_student().train()(**batched(example_inputs(INPUTS, 3)))
    assert output.heatmap_logits.sigmoid().mean() < 0.25


def test_the_network_can_be_built_from_its_configuration():
    ours, theirs = small_student(3), small_student(3)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert ours.inputs == CONFIG.inputs


@pytest.mark.parametrize("window", [1, 3])
def test_codes_at_the_candidates_alone_are_those_of_the_whole_map(window):
    torch.manual_seed(0)
    student = Student(INPUTS, replace(HEAD, peak_window=window), MODEL).eval()
    for module in (student.head, student.line_of_sight):  # as learned: nothing near 0 or equal
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    fused, doppler = torch.randn(2, MODEL.fused_channels, Y, X), torch.randn(2, 4, Y, X)
    with torch.no_grad():
        maps = student.decode_maps(fused, doppler)
        expected = decode(*maps, student.head_spec, GRID)
        found = student.candidates(fused, doppler)
    assert torch.equal(found.labels, expected.labels)
    assert torch.allclose(found.scores, expected.scores, atol=1e-6)
    assert torch.allclose(found.boxes, expected.boxes, rtol=1e-5, atol=1e-4)
    assert found.boxes.std(dim=1).min() > 0
