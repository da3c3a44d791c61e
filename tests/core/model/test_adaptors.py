# SPDX-License-Identifier: Apache-2.0
import onnx
import pytest
import torch

from imkd_core.errors import ConfigError
from imkd_core.export.graph import deploy
from imkd_core.export.onnx_export import write_graph
from imkd_core.model.adaptors import Adaptor, taught_channels
from imkd_core.model.example import example_inputs
from imkd_core.model.student import Student
from tests.core.model.small import INPUTS
from tests.core.training.taught_batch import ALL_TERMS, config_with, small_task


@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_an_adaptor_gives_the_taught_channels_on_the_same_grid(blocks):
    adaptor = Adaptor(5, 3, signed=True, blocks=blocks)
    assert adaptor(torch.randn(2, 5, 8, 11)).shape == (2, 3, 8, 11)


@pytest.mark.parametrize("blocks", [0, 1])
def test_only_principal_components_may_be_negative(blocks):
    maps = torch.randn(2, 5, 8, 11)
    assert Adaptor(5, 3, signed=True, blocks=blocks)(maps).min() < 0
    assert Adaptor(5, 3, signed=False, blocks=blocks)(maps).min() == 0


@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_the_border_of_the_grid_is_no_edge(blocks):
    adaptor = Adaptor(4, 3, signed=True, blocks=blocks).eval()
    out = adaptor(torch.randn(1, 4, 1, 1).expand(1, 4, 8, 11))
    torch.testing.assert_close(out, out[:, :, :1, :1].expand_as(out))


@pytest.mark.parametrize(("asked", "given"), [(3, 3), (0, 8), (8, 8)])
def test_no_number_of_components_means_all_channels(asked, given):
    assert taught_channels(config_with(channels=asked)) == given


def test_more_components_than_channels_are_refused():
    with pytest.raises(ConfigError, match=r"is 9, .* only 8"):
        taught_channels(config_with(channels=9))


def test_the_delivered_student_has_no_parameter_of_the_distillation():
    task = small_task(config_with(**ALL_TERMS))
    names = set(task.delivered.state_dict())
    assert names == set(Student.from_config(config_with()).state_dict())
    assert {name.split(".")[0] for name in task.state_dict()} == {"student", "distillation"}


def graph_of(student, path):
    frame = example_inputs(INPUTS, 2)
    write_graph(deploy(student.eval(), frame), frame, path, {})
    return onnx.load(path).graph


def test_a_taught_student_exports_the_same_graph_as_one_without_teachers(tmp_path):
    """Same seed: the initial values must be the same numbers, too."""
    taught = graph_of(small_task(config_with(**ALL_TERMS)).delivered, tmp_path / "taught.onnx")
    alone = graph_of(small_task(config_with()).delivered, tmp_path / "alone.onnx")
    assert [node.op_type for node in taught.node] == [node.op_type for node in alone.node]
    weights = {item.name: item.SerializeToString() for item in taught.initializer}
    assert weights == {item.name: item.SerializeToString() for item in alone.initializer}
    text = " ".join([*weights, *(node.name for node in taught.node)])
    assert "adaptor" not in text
    assert "distill" not in text
