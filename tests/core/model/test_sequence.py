# SPDX-License-Identifier: Apache-2.0
from functools import cache

import pytest
import torch

from imkd_core.model.example import batched
from imkd_core.model.sequence import with_history
from imkd_core.model.student import Student
from tests.core.model.remembering import (
    CHANNELS,
    RECURRENT,
    WINDOW,
    motion,
    past_of,
    remembering_student,
    sensors,
)
from tests.core.model.small import CONFIG, GRID

NONE = (
    torch.zeros(1, 1, CHANNELS, *GRID.shape),
    motion()[None, None],
    torch.zeros(1, 1),
    torch.zeros(1, 1),
)
#: From each frame to the frame before it, and the time between them.
STEPS = (motion(-2.0, 0.1, 0.05), motion(-1.0, 0.0, -0.1), motion(-3.0, 0.4, 0.0))
TIMES_S = (0.5, 0.6, 1.0)


@cache
def frames():
    """A key frame and the three frames before it, newest first."""
    return sensors(4)


def inputs_of(past: dict) -> dict:
    return {**batched(frames()[0]), **past}


def recurrent_past(mask=(1, 1, 1)):
    return past_of(frames()[1:], STEPS, TIMES_S, mask)


def differences(first, second):
    """Largest difference of each map, in units of its largest value."""
    pairs = zip(first._fields, first, second, strict=True)
    return {name: float((a - b).abs().max() / b.abs().max()) for name, a, b in pairs}


def test_a_student_with_a_memory_starts_as_the_one_without():
    torch.manual_seed(0)
    plain = Student.from_config(CONFIG)
    state = remembering_student(WINDOW, gamma=0.0).state_dict()
    own = plain.state_dict()
    assert {key for key in state if key not in own} == {
        key for key in state if key.startswith("temporal.")
    }
    assert all(torch.equal(state[key], value) for key, value in own.items())


@pytest.mark.parametrize("mask", [0.0, 1.0])
def test_at_gamma_zero_its_answer_is_that_of_one_frame(mask):
    torch.manual_seed(0)
    plain = Student.from_config(CONFIG).eval()
    student = remembering_student(RECURRENT, gamma=0.0).eval()
    history = torch.rand(1, 1, CHANNELS, *GRID.shape)
    with torch.no_grad():
        alone = plain(**batched(frames()[0]))
        output = student(
            **batched(frames()[0]),
            history=history,
            history_transform=STEPS[0][None, None],
            history_age_s=torch.ones(1, 1),
            history_mask=torch.full((1, 1), mask),
        )
    assert max(differences(alone, output).values()) == 0


def test_a_memory_that_is_not_given_is_refused():
    with pytest.raises(ValueError, match="history"):
        remembering_student(WINDOW)(**batched(frames()[0]))


def test_a_recurrent_sequence_at_once_is_the_sequence_step_by_step():
    student = remembering_student(RECURRENT).eval()
    with torch.no_grad():
        at_once = student(**with_history(student, inputs_of(recurrent_past())))
        output = student(**batched(frames()[3]), **_history(*NONE))
        for newer, step, time_s in zip(frames()[2::-1], STEPS[::-1], TIMES_S[::-1], strict=True):
            output = student(
                **batched(newer),
                **_history(
                    output.memory[:, None],
                    step[None, None],
                    torch.tensor([[time_s]]),
                    torch.ones(1, 1),
                ),
            )
    assert max(differences(at_once, output).values()) < 1e-5
    assert torch.equal(output.memory, output.fused_bev)


def test_what_is_older_counts_in_a_recurrent_sequence_and_what_is_masked_does_not():
    student = remembering_student(RECURRENT).eval()
    whole = with_history(student, inputs_of(recurrent_past()))["history"]
    cut = with_history(student, inputs_of(recurrent_past((1, 0, 0))))["history"]
    assert not torch.allclose(whole, cut)
    past = recurrent_past((1, 0, 0))
    past["past_radar_grid"][:, 1:] += 5
    past["past_transform"][:, 1:] += 5
    assert torch.equal(with_history(student, inputs_of(past))["history"], cut)
    none = with_history(student, inputs_of(recurrent_past((0, 0, 0))))
    assert not none["history"].any()
    assert not none["history_mask"].any()


def test_a_window_holds_the_merged_map_of_each_frame():
    student = remembering_student(WINDOW).eval()
    past = past_of(frames()[1:3], STEPS[:2], TIMES_S[:2], (1, 0))
    with torch.no_grad():
        given = with_history(student, inputs_of(past))
        alone = student.encode(**batched(frames()[1])).merged_bev
        output = student(**given)
    torch.testing.assert_close(given["history"][:, 0], alone)
    assert not given["history"][:, 1].any()
    assert torch.equal(given["history_transform"], past["past_transform"])
    merged = student.encode(**batched(frames()[0])).merged_bev
    torch.testing.assert_close(output.memory, merged)


def test_samples_of_a_batch_keep_their_own_history():
    student = remembering_student(RECURRENT).eval()
    one = inputs_of(recurrent_past((1, 1, 0)))
    other = {**batched(frames()[2]), **recurrent_past((0, 0, 0))}
    both = {name: torch.cat([one[name], other[name]]) for name in one}
    with torch.no_grad():
        together = student(**with_history(student, both))
        apart = [student(**with_history(student, inputs)) for inputs in (one, other)]
    for index, output in enumerate(apart):
        mine = type(output)(*(value[index : index + 1] for value in together))
        assert max(differences(mine, output).values()) < 1e-5


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_gradient_flows_through_the_key_frame_alone(kind):
    student = remembering_student(RECURRENT).train()
    inputs = inputs_of(recurrent_past())
    inputs["past_radar_grid"].requires_grad_()
    inputs["radar_grid"].requires_grad_()
    with torch.autocast("cpu", kind, enabled=kind != torch.float32):
        output = student(**with_history(student, inputs))
    (output.heatmap_logits.float().square().sum() + output.codes.float().square().sum()).backward()
    assert inputs["past_radar_grid"].grad is None
    assert inputs["radar_grid"].grad.any()
    assert {name for name, p in student.named_parameters() if p.grad is None} == set()


def test_looking_back_moves_no_norm_and_keeps_every_mode():
    student = remembering_student(WINDOW).train()
    student.fusion.eval()
    before = {key: value.clone() for key, value in student.state_dict().items()}
    with_history(student, inputs_of(past_of(frames()[1:3], STEPS[:2], TIMES_S[:2])))
    assert all(torch.equal(value, before[key]) for key, value in student.state_dict().items())
    assert student.training
    assert student.trunk.training
    assert not student.fusion.training
    assert not student.fusion.merge.bn2.training


def _history(maps, transform, age_s, mask) -> dict:
    return {
        "history": maps,
        "history_transform": transform,
        "history_age_s": age_s,
        "history_mask": mask,
    }
