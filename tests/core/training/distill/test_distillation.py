# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from imkd_core.errors import DataError
from imkd_core.training.losses import LossTerms
from imkd_core.training.task import Batch
from tests.core.training.taught_batch import (
    ALL_TERMS,
    config_with,
    made_up_batch,
    one_sample,
    small_task,
)

#: method.md 5.8: parts of the student and adaptors that each term alone moves.
STUDENT = {"image", "depth", "context", "radar", "gates", "merge", "trunk", "head"}
GRADIENT_MAP = {
    "lidar_to_radar": {"radar", "adaptor lidar_to_radar"},
    "lidar_to_fused": STUDENT - {"trunk", "head"} | {"adaptor lidar_to_fused"},
    "label_to_fused": STUDENT - {"trunk", "head"} | {"adaptor label_to_fused"},
    "response_class": STUDENT,
    "response_box": STUDENT,
    "doppler": STUDENT,
    "gate": {"image", "depth", "context", "radar", "gates"},
}


def part_of(name):
    if name.startswith("distillation."):
        return "adaptor " + name.split(".")[2]
    places = {
        "backbone": "image",
        "neck": "image",
        "radar_encoder": "radar",
        "fusion.merge": "merge",
        "fusion": "gates",
        "trunk": "trunk",
        "head": "head",
        "line_of_sight": "head",
        "depth_net.depth": "depth",
        "depth_net": "context",
    }
    return next(part for start, part in places.items() if name.startswith(f"student.{start}"))


def moved_parts(task):
    return {
        part_of(name)
        for name, parameter in task.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().max() > 0
    }


@pytest.mark.parametrize("term", GRADIENT_MAP)
def test_each_term_reaches_the_parts_that_the_gradient_map_names_and_no_other(term):
    task = small_task(config_with(**ALL_TERMS))
    batch = made_up_batch()
    terms = task(batch, 0)
    (terms.weights[term] * terms.values[term]).backward()
    assert moved_parts(task) == GRADIENT_MAP[term]


def test_the_detection_and_depth_terms_move_no_adaptor():
    task = small_task(config_with(**ALL_TERMS))
    terms = task(made_up_batch(), 0)
    sum(terms.values[name] for name in ("heatmap", "box", "depth")).backward()
    assert moved_parts(task) == STUDENT


def test_teachers_get_no_gradient():
    task = small_task(config_with(**ALL_TERMS))
    batch = made_up_batch()
    names = ("f_lidar", "f_label", "i_lidar", "label_mask", "heat_teacher", "code_teacher")
    for name in names:
        batch.targets[name].requires_grad_()
    task(batch, 0).total().backward()
    assert {name: batch.targets[name].grad for name in names} == dict.fromkeys(names)


def test_every_parameter_of_the_task_is_moved_by_the_total():
    task = small_task(config_with(**ALL_TERMS))
    task(made_up_batch(), 0).total().backward()
    assert [n for n, p in task.named_parameters() if p.grad is None] == []


def teacher_terms(task, batch):
    values = task(batch, 0).as_floats()
    return {name: value for name, value in values.items() if name in GRADIENT_MAP}


@pytest.mark.parametrize("quality", [1.0, 0.25])
def test_a_mixed_batch_costs_what_its_samples_cost_alone(quality):
    task = small_task(config_with(**ALL_TERMS)).eval()
    batch = made_up_batch(samples=3)
    batch.targets["has_lidar"][1] = 0
    batch.targets["teacher_quality"][2] = quality
    batch.inputs["radar_mask"][0] = 0
    alone = [teacher_terms(task, one_sample(batch, index)) for index in range(3)]
    together = teacher_terms(task, batch)
    for term in ("lidar_to_radar", "lidar_to_fused", "label_to_fused", "response_class"):
        mean = sum(terms[term] for terms in alone) / 3
        assert together[term] == pytest.approx(mean, rel=1e-4), term
    from_lidar = ("lidar_to_radar", "lidar_to_fused", "response_class", "response_box")
    assert [alone[1][term] for term in from_lidar] == [0, 0, 0, 0]
    assert alone[1]["label_to_fused"] > 0
    assert alone[0]["lidar_to_radar"] == 0  # its radar was taken away
    assert alone[0]["lidar_to_fused"] > 0


def test_a_poor_teacher_weighs_less_and_only_by_choice():
    batch = made_up_batch(samples=1)
    full = teacher_terms(small_task(config_with(**ALL_TERMS)).eval(), batch)
    batch.targets["teacher_quality"][:] = 0.5
    scaled = teacher_terms(small_task(config_with(**ALL_TERMS)).eval(), batch)
    for term in ("lidar_to_radar", "lidar_to_fused", "response_class", "response_box"):
        assert scaled[term] == pytest.approx(0.5 * full[term], rel=1e-5), term
    assert scaled["label_to_fused"] == pytest.approx(full["label_to_fused"])
    unscaled = config_with(**ALL_TERMS, teacher_quality=False)
    assert teacher_terms(small_task(unscaled).eval(), batch) == pytest.approx(full)


def test_without_lidar_the_student_still_learns_from_labels():
    task = small_task(config_with(**ALL_TERMS))
    batch = made_up_batch()
    for name in ("f_lidar", "i_lidar", "heat_teacher", "code_teacher", "has_lidar"):
        batch.targets[name].zero_()
    batch.targets["depth_bin"][:] = -1
    terms = task(batch, 0)
    terms.total().backward()
    assert torch.isfinite(terms.total())
    values = terms.as_floats()
    assert values["label_to_fused"] > 0
    assert values["lidar_to_fused"] == values["response_box"] == values["depth"] == 0
    assert "adaptor label_to_fused" in moved_parts(task)
    assert "adaptor lidar_to_fused" not in moved_parts(task)


def test_a_sample_without_any_teaching_costs_nothing():
    task = small_task(config_with(**ALL_TERMS))
    batch = made_up_batch()
    for name in ("f_lidar", "f_label", "i_lidar", "heat_teacher", "code_teacher", "has_lidar"):
        batch.targets[name].zero_()
    values = task(batch, 0).as_floats()
    assert values["label_to_fused"] == 0


def test_a_batch_without_teacher_maps_is_refused_with_the_remedy():
    task = small_task(config_with(**ALL_TERMS))
    batch = made_up_batch()
    bare = Batch(
        inputs=batch.inputs,
        targets={k: v for k, v in batch.targets.items() if k not in ("f_lidar", "has_lidar")},
    )
    with pytest.raises(DataError, match=r"lack f_lidar, has_lidar.*--teacher"):
        task(bare, 0)


def test_a_term_that_is_off_needs_nothing_and_has_no_adaptor():
    task = small_task(config_with(doppler=0.1))
    batch = made_up_batch()
    kept = ("heatmap", "cell", "task", "code", "code_weight", "depth_bin", "doppler")
    bare = Batch(inputs=batch.inputs, targets={name: batch.targets[name] for name in kept})
    assert set(task(bare, 0).values) == {"heatmap", "box", "depth", "doppler"}
    assert [name for name, _ in task.distillation.named_parameters()] == []
    assert small_task(config_with()).distillation is None


@pytest.mark.parametrize("term", ["lidar_to_radar", "lidar_to_fused", "label_to_fused"])
def test_a_feature_term_is_zero_where_the_student_has_learned_the_teacher(term):
    settings = {"object_floor": 0.0, "l2r_form": "literal"}
    task = small_task(config_with(**ALL_TERMS, **settings)).eval()
    batch = made_up_batch()
    output = task.student(**batch.inputs)
    maps = {"lidar_to_radar": output.radar_bev}
    learned = task.distillation.adaptors[term](maps.get(term, output.fused_bev)).detach()
    if term == "lidar_to_radar":
        batch.targets["i_lidar"][:] = 1.0
    batch.targets["f_label" if term == "label_to_fused" else "f_lidar"] = learned
    assert task(batch, 0).as_floats()[term] == pytest.approx(0, abs=1e-10)


def test_the_literal_form_clears_the_radar_where_lidar_is_empty_and_the_masked_form_does_not():
    """method.md 5.3: the reason for the mask."""
    batch = made_up_batch(samples=1)
    for name in ("i_lidar", "f_lidar", "label_mask"):
        batch.targets[name].zero_()
    batch.targets["radar_occupied"][:] = 1
    seen = {}
    for form in ("literal", "masked"):
        task = small_task(config_with(lidar_to_radar=1.0, l2r_form=form)).eval()
        seen[form] = teacher_terms(task, batch)["lidar_to_radar"]
    assert seen["literal"] > 0.01
    assert seen["masked"] == 0


def test_the_response_forms_differ_and_labeldistills_trusts_every_box():
    batch = made_up_batch()
    batch.targets["code_teacher_weight"].zero_()
    quality = teacher_terms(small_task(config_with(**ALL_TERMS)).eval(), batch)
    exact = config_with(**ALL_TERMS, response_form="ld_exact")
    literal = teacher_terms(small_task(exact).eval(), batch)
    assert quality["response_box"] == 0
    assert literal["response_box"] > 0
    assert quality["response_class"] != pytest.approx(literal["response_class"], rel=0.05)


def test_the_gate_terms_open_gates_on_objects_and_shut_them_elsewhere():
    task = small_task(config_with(gate=1.0))
    batch = made_up_batch(samples=1)
    output = task.student(**batch.inputs)
    for gate in (output.i_cam, output.i_rad):
        gate.retain_grad()
    none = LossTerms(values={}, weights={})
    terms = task.distillation(output, batch.inputs["radar_mask"], batch.targets, none, 1)
    terms.values["gate"].backward()
    mask = batch.targets["label_mask"][0]
    occupied = batch.targets["radar_occupied"][0]
    assert (output.i_cam.grad[0, 0][mask > 0.99] < 0).all()
    assert (output.i_cam.grad[0, 0][mask == 0] > 0).all()
    assert (output.i_rad.grad[0, 0][(mask > 0.99) & (occupied > 0)] < 0).all()
    assert (output.i_rad.grad[0, 0][(mask == 0) & (occupied > 0)] > 0).all()
    assert output.i_rad.grad[0, 0][occupied == 0].abs().max() == 0


def test_half_precision_gives_finite_terms_close_to_full_precision():
    task = small_task(config_with(**ALL_TERMS))
    full = task(made_up_batch(), 1).as_floats()
    with torch.autocast("cpu", torch.bfloat16):
        terms = task(made_up_batch(), 1)
    assert all(value.dtype == torch.float32 for value in terms.values.values())
    for name, value in terms.as_floats().items():
        assert value == pytest.approx(full[name], rel=0.1, abs=0.02), name


def test_no_term_drowns_the_detection_at_the_start():
    """With the weights of the preset, on teacher maps of standard deviation 1 (method.md 5.7)."""
    task = small_task(config_with(**ALL_TERMS, guard_ratio=2.0))
    task(made_up_batch(), 0)
    ratios = dict(zip(task.distillation.terms, task.distillation.guard.ratio.tolist(), strict=True))
    assert ratios["lidar_to_radar"] == 0  # it does not reach the fused map
    assert max(ratios.values()) < 2.0, ratios
    assert min(value for name, value in ratios.items() if name.endswith("fused")) > 0.005, ratios
