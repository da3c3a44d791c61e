# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn

from imkd_core.training.ema import WeightAverage


def test_the_mean_follows_its_formula_with_a_ramp_at_the_start():
    module = nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(1.0)
    average, expected = WeightAverage(module, 0.9), 1.0
    for step in range(1, 120):
        module.weight.data.fill_(float(step % 5))
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * (step % 5)
        assert float(average.state_dict()["weight"]) == pytest.approx(expected, rel=1e-4)


def test_running_statistics_are_averaged_and_counters_are_copied():
    norm = nn.BatchNorm2d(2)
    average = WeightAverage(norm, 0.5)
    norm(torch.ones(1, 2, 3, 4) * 8)
    average.update(1000)
    state = average.state_dict()
    assert float(state["running_mean"][0]) == pytest.approx(0.4)  # 0.8 in the module
    assert int(state["num_batches_tracked"]) == 1


def test_a_mean_that_was_saved_goes_on():
    module = nn.Linear(2, 2)
    one, other = WeightAverage(module, 0.9), WeightAverage(nn.Linear(2, 2), 0.9)
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(other.state_dict(), one.state_dict(), rtol=0, atol=0)
