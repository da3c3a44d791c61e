# SPDX-License-Identifier: Apache-2.0
import dataclasses
import math

import numpy as np
import pytest
import torch

from imkd_core.bev_grid import BevGrid
from imkd_core.config import DepthBins, HeadSpec
from imkd_core.data.dataset import DetectionDataset
from imkd_core.data.nuscenes import NuScenes
from imkd_core.errors import ConfigError, ImkdError
from imkd_core.model.student import Student
from imkd_core.recipe import TrainConfig
from imkd_core.training.checkpoint import load_checkpoint
from imkd_core.training.engine import draw_batch, set_norm_mode
from imkd_core.training.train import choose_device, train
from tests.core.data.made_up import write_dataroot
from tests.core.model.small import CONFIG as SMALL

CONFIG = dataclasses.replace(
    SMALL,
    head=HeadSpec(candidates=50),
    inputs=dataclasses.replace(
        SMALL.inputs,
        bev=BevGrid(x_min_m=-24.0, x_max_m=40.0, y_min_m=-24.0, y_max_m=24.0, cell_m=1.0),
        depth=DepthBins(min_m=2.0, max_m=42.0, step_m=4.0),
    ),
    train=TrainConfig(
        steps=8,
        learning_rate=2e-3,
        warmup_steps=2,
        pixel_shift_px=1,
        blank_camera=0.2,
        drop_radar=0.2,
        freeze_norm_from=0.5,
        checkpoint_every_steps=3,
    ),
)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    root = tmp_path_factory.mktemp("drive")
    write_dataroot(root, frames=2, lidar_points=500)
    return NuScenes(root).samples()


def with_train(**changes):
    return dataclasses.replace(CONFIG, train=dataclasses.replace(CONFIG.train, **changes))


def run(records, directory, config, **options):
    reports = []
    train(
        config,
        DetectionDataset(records, config),
        directory,
        on_step=reports.append,
        device="cpu",
        **options,
    )
    return reports


def test_the_loss_falls_and_every_step_is_reported(records, tmp_path):
    config = with_train(steps=40, blank_camera=0.0, pixel_shift_px=0, drop_radar=0.0)
    reports = run(records, tmp_path, config)
    assert [report.step for report in reports] == list(range(1, 41))
    assert reports[0].terms.keys() == {"heatmap", "box", "depth"}
    first, last = (np.mean([r.loss for r in part]) for part in (reports[:5], reports[-5:]))
    assert last < 0.75 * first


def test_a_run_that_was_cut_off_continues_to_the_same_weights(records, tmp_path):
    class CutOffError(Exception):
        pass

    def die(report):
        if report.step == 5:  # the checkpoint of step 3 is there, steps 4 and 5 are lost
            raise CutOffError

    dataset = DetectionDataset(records, CONFIG)
    with pytest.raises(CutOffError):
        train(CONFIG, dataset, tmp_path / "cut", on_step=die, device="cpu")
    assert load_checkpoint(tmp_path / "cut").step == 3
    resumed = run(records, tmp_path / "cut", CONFIG, resume=True)
    whole = run(records, tmp_path / "whole", CONFIG)
    assert [report.step for report in resumed] == [4, 5, 6, 7, 8]
    assert [r.loss for r in resumed] == pytest.approx([r.loss for r in whole[3:]], rel=1e-6)
    ours, theirs = (load_checkpoint(tmp_path / name) for name in ("cut", "whole"))
    for name, value in theirs.model.items():
        torch.testing.assert_close(ours.model[name], value, rtol=1e-6, atol=1e-7, msg=name)


def test_a_finished_run_that_is_resumed_does_nothing(records, tmp_path):
    run(records, tmp_path, with_train(steps=2))
    assert run(records, tmp_path, with_train(steps=2), resume=True) == []


def test_an_existing_run_is_never_overwritten_nor_mixed_up(records, tmp_path):
    run(records, tmp_path, with_train(steps=2))
    with pytest.raises(ConfigError, match="--resume"):
        run(records, tmp_path, with_train(steps=2))
    with pytest.raises(ConfigError, match="another configuration"):
        run(records, tmp_path, with_train(steps=3), resume=True)
    assert load_checkpoint(tmp_path).step == 2


def test_a_loss_that_is_not_finite_stops_the_run_by_name(records, tmp_path):
    with pytest.raises(ImkdError, match="not finite"):
        run(records, tmp_path, with_train(learning_rate=1e30, warmup_steps=0, clip_norm=1e30))


def test_batches_depend_on_seed_and_step_alone(records):
    dataset = DetectionDataset(records, CONFIG)
    first, again, later = (draw_batch(dataset, CONFIG, step) for step in (4, 4, 5))
    torch.testing.assert_close(first.inputs, again.inputs)
    assert any(not torch.equal(first.inputs[k], later.inputs[k]) for k in first.inputs)


def test_several_samples_stack_into_one_batch(records, tmp_path):
    config = with_train(batch_size=2, steps=1)
    batch = draw_batch(DetectionDataset(records, config), config, 0)
    assert batch.inputs["images"].shape[:2] == (2, 6)
    assert math.isfinite(run(records, tmp_path, config)[0].loss)


def test_held_statistics_do_not_move_and_the_weights_still_learn():
    model = Student.from_config(CONFIG)
    set_norm_mode(model, frozen=True)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)
    assert all(norm.weight.requires_grad for norm in norms)
    set_norm_mode(model, frozen=False)
    assert all(norm.training for norm in norms)


def test_devices_are_chosen_by_name():
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(ConfigError, match="unknown device"):
        choose_device("tpu")
    if not torch.cuda.is_available():
        assert choose_device("auto").type == "cpu"
        with pytest.raises(ConfigError, match="no CUDA"):
            choose_device("cuda")
