# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
import torch
from torch import nn

from imkd_core.config import MemorySpec
from imkd_core.model.budget import BlockCost, count_cost, total_cost
from imkd_core.model.example import batched, example_inputs
from imkd_core.model.student import Student
from imkd_core.recipe import load_config

#: Millions of parameters and GMAC of imkd_r50, as its configuration file states them.
R50_BUDGET = {
    "image_norm": (0.0, 0.0),
    "backbone": (23.51, 88.1),
    "neck": (1.97, 5.0),
    "depth_net": (5.56, 22.6),
    "view_transform": (0.0, 0.05),
    "radar_encoder": (4.65, 12.2),
    "fusion": (0.38, 6.2),
    "trunk": (21.32, 15.9),
    "head": (0.23, 3.7),
    "line_of_sight": (0.04, 0.62),
}


def cost_of(config):
    """Count on the meta device: shapes flow, no number is computed."""
    student = Student.from_config(config).to("meta").eval()
    inputs = batched(example_inputs(config.inputs))
    return count_cost(student, {name: value.to("meta") for name, value in inputs.items()})


def test_convolution_linear_and_transposed_convolution_count_as_by_hand():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False)
            self.up = nn.ConvTranspose2d(6, 5, 2, 2)
            self.line = nn.Linear(10, 3)

        def forward(self, x):
            return self.line(self.up(self.conv(x)))

    costs = count_cost(Net(), {"x": torch.zeros(1, 4, 6, 10)})
    assert costs["conv"] == BlockCost(parameters=6 * 2 * 9, macs=3 * 5 * 6 * 2 * 9)
    assert costs["up"] == BlockCost(parameters=6 * 5 * 4 + 5, macs=3 * 5 * 6 * 5 * 4)
    assert costs["line"] == BlockCost(parameters=33, macs=5 * 6 * 10 * 3)
    assert total_cost(costs).parameters == 108 + 125 + 33


def test_imkd_r50_keeps_the_budget_of_its_configuration_file(project_root):
    costs = cost_of(load_config(project_root / "config" / "imkd_r50.yaml"))
    assert set(costs) == set(R50_BUDGET)
    for block, (millions, gmacs) in R50_BUDGET.items():
        assert costs[block].parameters == pytest.approx(millions * 1e6, rel=0.02, abs=1e4), block
        assert costs[block].macs == pytest.approx(gmacs * 1e9, rel=0.02, abs=1e7), block
    total = total_cost(costs)
    assert 57e6 < total.parameters < 59e6
    assert 150e9 < total.macs < 156e9


def test_the_written_budget_and_the_tested_one_are_the_same(project_root):
    text = (project_root / "config" / "imkd_r50.yaml").read_text()
    for block, (millions, gmacs) in R50_BUDGET.items():
        if block == "image_norm":
            continue
        line = next(line for line in text.splitlines() if line.startswith(f"#   {block} "))
        assert [float(word) for word in line.split()[2:4]] == [millions, gmacs]


def test_imkd_tiny_stays_near_twelve_gigaflop(project_root):
    total = total_cost(cost_of(load_config(project_root / "config" / "imkd_tiny.yaml")))
    assert 11e9 < 2 * total.macs < 12.5e9
    assert total.parameters < 4e6


def test_imkd_r101_is_the_large_student(project_root):
    costs = cost_of(load_config(project_root / "config" / "imkd_r101.yaml"))
    assert costs["backbone"].parameters == pytest.approx(42.5e6, rel=0.01)
    assert costs["backbone"].macs == pytest.approx(672.3e9, rel=0.01)


@pytest.mark.parametrize("frames", [1, 3])
def test_a_step_with_a_memory_costs_little_more_than_its_convolution(project_root, frames):
    """The rest of the network runs once a frame, whatever is remembered."""
    config = load_config(project_root / "config" / "imkd_tiny.yaml")
    memory = MemorySpec(kind="window", frames=frames, channels=config.model.fused_channels)
    costs = cost_of(replace(config, inputs=replace(config.inputs, memory=memory)))
    alone = total_cost(cost_of(config)).macs
    channels = config.model.fused_channels
    reduce = 9 * channels * (channels + frames * (channels + 2)) * config.inputs.bev.cells
    assert total_cost(costs).macs <= 1.15 * alone + reduce
    assert costs["temporal"].macs == reduce + 4 * frames * (channels + 1) * config.inputs.bev.cells
    assert total_cost(costs).macs - costs["temporal"].macs == alone
