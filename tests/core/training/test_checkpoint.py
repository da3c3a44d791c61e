# SPDX-License-Identifier: Apache-2.0
import pickle

import pytest
import torch
from torch import nn

from imkd_core.bev_grid import BevGrid
from imkd_core.config import HeadSpec, InputSpec
from imkd_core.errors import DataError
from imkd_core.recipe import Config, ModelConfig, TrainConfig
from imkd_core.training.checkpoint import FILE_NAME, load_checkpoint, save_checkpoint

CONFIG = Config(
    name="tiny",
    inputs=InputSpec(
        image_height_px=64,
        image_width_px=96,
        bev=BevGrid(x_min_m=-8.0, x_max_m=8.0, y_min_m=-4.0, y_max_m=4.0, cell_m=0.5),
    ),
    head=HeadSpec(),
    model=ModelConfig(backbone="resnet18"),
    train=TrainConfig(steps=7),
)


def trained(seed, steps):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 3)).square().mean().backward()
        optimizer.step()
    return model, optimizer


def test_what_was_saved_comes_back_with_the_optimiser_and_the_configuration(tmp_path):
    model, optimizer = trained(0, 3)
    checkpoint = load_checkpoint(save_checkpoint(tmp_path, CONFIG, 3, model, optimizer))
    assert (checkpoint.step, checkpoint.config) == (3, CONFIG)
    other, other_optimizer = trained(1, 1)
    checkpoint.restore(other, other_optimizer)
    for both in (model, optimizer), (other, other_optimizer):
        torch.manual_seed(9)
        both[1].zero_grad()
        both[0](torch.randn(8, 3)).square().mean().backward()
        both[1].step()
    for ours, theirs in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_a_folder_stands_for_the_checkpoint_inside(tmp_path):
    save_checkpoint(tmp_path, CONFIG, 1, *trained(0, 1))
    assert load_checkpoint(tmp_path).step == 1
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_weights_of_another_model_are_refused(tmp_path):
    save_checkpoint(tmp_path, CONFIG, 1, *trained(0, 1))
    with pytest.raises(DataError, match="does not fit"):
        load_checkpoint(tmp_path).restore(nn.Linear(3, 4))


def test_a_missing_checkpoint_says_how_to_make_one(tmp_path):
    with pytest.raises(DataError, match="imkd train"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x80", pickle.dumps({"step": 1}), b"\xff" * 64])
def test_anything_but_safetensors_is_refused_unread(tmp_path, content):
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(DataError, match="not a readable safetensors"):
        load_checkpoint(tmp_path)


def test_a_truncated_checkpoint_is_refused(tmp_path):
    path = save_checkpoint(tmp_path, CONFIG, 1, *trained(0, 1))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="safetensors"):
        load_checkpoint(path)


def test_foreign_safetensors_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="names no step"):
        load_checkpoint(tmp_path / "other.safetensors")
