# SPDX-License-Identifier: Apache-2.0
"""What a step with memory is made of, and the bound that it is held against; nothing is timed."""

import numpy as np
import pytest

from benchmarks import memory
from benchmarks.goals import AIMS
from benchmarks.harness import Timing
from benchmarks.memory import (
    ALLOWED,
    RECURRENT,
    SINGLE,
    WINDOW,
    Stepper,
    allowed_ratio,
    configurations,
    figures_of,
    multiply_adds,
    pose_at,
    steppers,
    without_network,
)
from imkd_core.resources import bundle_folder
from imkd_core.runtime.bundle import load_bundle
from tests.core.model.remembering import WINDOW as SMALL_WINDOW
from tests.core.model.remembering import config_with


@pytest.fixture(scope="module")
def configs():
    return configurations()


def test_the_three_differ_in_what_they_remember_and_in_nothing_else(configs):
    bundle = load_bundle(bundle_folder(""))
    assert configs[SINGLE].inputs == bundle.inputs
    assert {name: config.inputs.memory.frames for name, config in configs.items()} == {
        SINGLE: 0,
        WINDOW: 3,
        RECURRENT: 1,
    }
    assert len({config.inputs.bev for config in configs.values()}) == 1
    assert all(config.model == configs[SINGLE].model for config in configs.values())


def test_the_bound_of_the_goal_is_that_of_the_shipped_configuration(configs):
    single, window = multiply_adds(configs[SINGLE]), multiply_adds(configs[WINDOW])
    assert "reduce" not in single
    gathered = window["all"] - single["all"] - window["reduce"]
    assert 0 <= gathered < 0.02 * single["all"], "alignment is all else that a memory adds"
    aim = AIMS["memory_step"]
    assert aim.goal == pytest.approx(allowed_ratio(configs), abs=0.005)
    assert aim.goal > ALLOWED


def test_steps_fill_the_memory_and_give_it_to_the_network():
    config, seen = config_with(SMALL_WINDOW), []
    output = np.ones((SMALL_WINDOW.channels, *config.inputs.bev.shape), np.float32)

    def run(inputs):
        seen.append({name: np.copy(inputs[name]) for name in ("history", "history_mask")})
        return {"memory": output}

    stepper = Stepper(run, config)
    for _ in range(4):
        stepper.step()
    facts = stepper.memory.facts
    assert (facts.maps, facts.resets) == (SMALL_WINDOW.frames, {})
    assert [one["history_mask"].sum() for one in seen] == [0, 1, 2, 2], "every step keeps a map"
    assert seen[-1]["history"].all()


def test_without_the_network_a_step_recalls_and_keeps_all_the_same():
    stepper = without_network(config_with(SMALL_WINDOW))
    for _ in range(4):
        stepper.step()
    assert stepper.memory.facts.maps == SMALL_WINDOW.frames


def test_the_vehicle_moves_as_its_speed_says():
    np.testing.assert_allclose(pose_at(0.0), np.eye(4))
    assert pose_at(2.0)[0, 3] == 2 * memory.SPEED_MPS
    assert np.arctan2(pose_at(2.0)[1, 0], pose_at(2.0)[0, 0]) == pytest.approx(0.2)


def test_an_exported_student_is_stepped_with_what_it_kept(tmp_path):
    (stepper,) = steppers({WINDOW: config_with(SMALL_WINDOW)}, tmp_path, threads=1).values()
    for _ in range(3):
        stepper.step()
    assert stepper.memory.facts.maps == SMALL_WINDOW.frames


def test_ratios_are_to_the_single_frame_at_both_percentiles(configs):
    samples_ms = {SINGLE: (1.0, 3.0), WINDOW: (2.0, 3.0), RECURRENT: (1.0, 3.0)}
    times = {name: Timing(samples_ms=values) for name, values in samples_ms.items()}
    by_name = {figure.name: figure.value for figure in figures_of(times, configs)}
    assert by_name[f"{WINDOW}: p50 against {SINGLE}'s"] == pytest.approx(1.25)
    assert by_name[f"{WINDOW}: p95 against {SINGLE}'s"] == pytest.approx(2.95 / 2.9)
