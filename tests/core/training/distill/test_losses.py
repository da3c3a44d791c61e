# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from imkd_core.training.distill.losses import (
    cell_distance,
    codes_at,
    doppler_loss,
    radar_guidance_weight,
    response_box_loss,
    response_class_loss,
    swapped_label_weight,
    taught_intensity,
    total_weight,
    weighted_mean,
)

ONE = torch.ones(1)


def test_the_distance_is_the_sum_of_squares_over_the_root_of_the_channels():
    student = torch.zeros(1, 2, 1, 2)
    teacher = torch.tensor([1.0, 2.0, 3.0, 0.0]).reshape(1, 2, 1, 2)
    distance = cell_distance(student, teacher, channels=4, huber=0.0)
    torch.testing.assert_close(distance.flatten(), torch.tensor([10.0, 4.0]) / 2)


def test_far_from_the_teacher_the_distance_grows_linearly_and_without_a_step():
    lengths = torch.tensor([2.9, 3.0, 3.1, 30.0, 60.0])
    student = lengths.reshape(1, 1, 1, 5).requires_grad_()
    distance = cell_distance(student, torch.zeros(1, 1, 1, 5), channels=1, huber=3.0)
    distance.sum().backward()
    values = distance.detach().flatten().tolist()
    assert values == pytest.approx([2.9**2, 9, 6 * 3.1 - 9, 171, 351], rel=1e-5)
    assert student.grad.flatten().tolist() == pytest.approx([5.8, 6, 6, 6, 6], rel=1e-5)


def test_at_equality_distance_and_gradient_are_zero():
    teacher = torch.randn(1, 3, 2, 4)
    student = teacher.clone().requires_grad_()
    distance = cell_distance(student, teacher, channels=3, huber=3.0)
    distance.sum().backward()
    assert distance.abs().max() == 0
    assert student.grad.abs().max() == 0


def test_a_rotated_basis_gives_the_same_distance():
    """Principal components teach what all channels teach."""
    rotation, _ = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0)))
    student, teacher = torch.randn(2, 1, 6, 2, 3) * 4
    turned = [torch.einsum("kc,bcyx->bkyx", rotation, maps) for maps in (student, teacher)]
    expected = cell_distance(student, teacher, 6, 3.0)
    torch.testing.assert_close(cell_distance(*turned, 6, 3.0), expected, rtol=1e-4, atol=1e-4)


def test_the_weighted_mean_does_not_depend_on_the_scale_of_the_weights():
    distance, weight = torch.rand(2, 3, 4), torch.rand(2, 3, 4)
    ones = torch.ones(2)
    first = weighted_mean(distance, weight, total_weight(weight), ones)
    second = weighted_mean(distance, 7 * weight, total_weight(7 * weight), ones)
    assert float(first) == pytest.approx(float(second))
    zero = torch.zeros(2, 3, 4)
    assert float(weighted_mean(distance, zero, total_weight(zero), ones)) == 0


def test_dark_objects_are_taught_and_unseen_ones_left_alone():
    i_lidar = torch.tensor([[[0.02, 0.05, 0.9, 0.05]]])
    mask = torch.tensor([[[1.0, 1.0, 1.0, 0.0]]])
    raised = taught_intensity(i_lidar, mask, object_floor=0.5, minimum=0.02)
    torch.testing.assert_close(raised, torch.tensor([[[0.02, 0.5, 0.9, 0.05]]]))
    same = taught_intensity(i_lidar, mask, object_floor=0.0, minimum=0.02)
    torch.testing.assert_close(same, i_lidar)


def test_radar_guidance_leaves_returns_and_objects_alone_where_lidar_is_empty():
    intensity = torch.tensor([[[0.0, 0.0, 0.0, 1.0]]])
    occupied = torch.tensor([[[1.0, 0.0, 0.0, 1.0]]])
    mask = torch.tensor([[[0.0, 1.0, 0.0, 0.0]]])
    weight = radar_guidance_weight(intensity, occupied, mask)
    torch.testing.assert_close(weight, torch.tensor([[[0.0, 0.0, 0.05, 1.0]]]))


def test_labels_weigh_twice_where_lidar_sees_nothing():
    weight = swapped_label_weight(
        torch.tensor([[[1.0, 1.0, 0.0]]]), torch.tensor([[[0.0, 1.0, 0.0]]])
    )
    assert weight.flatten().tolist() == [2, 1, 0]


def logit(p):
    return math.log(p / (1 - p))


def class_loss(p, teacher, gaussian, form="quality", objects=1.0):
    logits = torch.full((1, 1, 1, 1), logit(p), requires_grad=True)
    one = torch.ones(1, 1, 1, 1)
    loss = response_class_loss(
        logits, teacher * one, gaussian * one, torch.tensor(objects), ONE, form
    )
    loss.backward()
    return float(loss.detach()), float(logits.grad)


def test_the_quality_term_pulls_both_ways_and_labeldistills_only_down():
    """method.md 5.6: the reason for the repair."""
    for gaussian in (1.0, 0.5):
        assert class_loss(0.1, 0.8, gaussian)[1] < 0
        assert class_loss(0.1, 0.8, gaussian, "ld_exact")[1] > 0
    assert class_loss(0.9, 0.5, 1.0)[1] > 0
    assert class_loss(0.4, 0.8, 0.5) == pytest.approx((0, 0), abs=1e-6)


def test_the_quality_term_equals_its_formula():
    p, q = 0.3, 0.8 * 0.5
    entropy = -(q * math.log(p) + (1 - q) * math.log(1 - p))
    assert class_loss(p, 0.8, 0.5)[0] == pytest.approx((p - q) ** 2 * entropy, rel=1e-5)
    assert class_loss(p, 0.8, 0.5, objects=4.0)[0] == pytest.approx(
        (p - q) ** 2 * entropy / 4, rel=1e-5
    )


CELL, TASK = torch.tensor([[7, 0]]), torch.tensor([[1, 0]])


def test_codes_are_read_from_the_right_task_at_the_right_cell():
    codes = torch.zeros(1, 20, 3, 5)
    codes[0, 10:20, 1, 2] = torch.arange(10.0)
    read = codes_at(codes, CELL, TASK)
    assert read[0, 0].tolist() == list(range(10))
    assert read[0, 1].tolist() == [0] * 10


def test_boxes_count_as_far_as_the_teacher_is_trusted():
    code = torch.zeros(1, 2, 10)
    teacher = torch.stack([torch.full((10,), 2.0), torch.full((10,), 50.0)])[None]
    for confidence, expected in (([0.9, 0.0], 18.0), ([2.0, 0.0], 20.0), ([0.0, 0.0], 0.0)):
        loss = response_box_loss(code, teacher, torch.tensor([confidence]), ONE)
        assert float(loss) == pytest.approx(expected), confidence


def test_only_the_radial_part_of_a_velocity_is_compared_with_the_radar():
    code = torch.zeros(1, 2, 10)
    code[0, 0, 8:] = torch.tensor([3.0, 100.0])
    doppler = torch.tensor([[[1.0, 0.0, 5.0, 1.0], [0.0, 1.0, 9.0, 0.0]]])
    assert float(doppler_loss(code, doppler)) == pytest.approx(2.0)
    doppler[..., 3] = 0
    assert float(doppler_loss(code, doppler)) == 0


def test_velocity_weighs_less_in_the_response_as_well():
    code, teacher = torch.zeros(1, 1, 10), torch.ones(1, 1, 10)
    trusted, sample = torch.ones(1, 1), torch.ones(1)
    assert float(response_box_loss(code, teacher, trusted, sample, 0.2)) == pytest.approx(8.4)
    assert float(response_box_loss(code, teacher, trusted, sample)) == pytest.approx(10)
