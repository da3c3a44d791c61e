# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from imkd_core.data.learning.dataset import DetectionDataset
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.errors import ConfigError, DataError, ImkdError
from imkd_core.model.student import Student
from imkd_core.recipe import AugmentConfig
from imkd_core.training.checkpoint import load_checkpoint
from imkd_core.training.engine import set_norm_mode
from imkd_core.training.student_task import StudentTask
from imkd_core.training.train import Run, stage_train, train
from tests.core.training.small_stage import CONFIG, run, with_train


def weights(directory):
    checkpoint = load_checkpoint(directory)
    return {**checkpoint.model, **{f"ema.{k}": v for k, v in checkpoint.average.items()}}


def assert_same_weights(one, other):
    torch.testing.assert_close(weights(one), weights(other), rtol=0, atol=0)


def test_the_loss_falls_and_every_step_is_reported(drive_root, tmp_path):
    unchanged = dataclasses.replace(CONFIG, augment=AugmentConfig())
    samples = DetectionDataset(NuScenes(drive_root).samples(), unchanged)
    reports = run(samples, tmp_path, with_train(steps=24))
    assert [report.step for report in reports] == list(range(1, 25))
    assert reports[0].terms.keys() == {"heatmap", "box", "depth"}
    assert all(report.samples_per_s > 0 for report in reports)
    first, last = (np.mean([r.loss for r in part]) for part in (reports[:5], reports[-5:]))
    assert last < 0.85 * first


class CutOffError(Exception):
    pass


def cut_off(dataset, directory, config, after_step):
    def die(report):
        if report.step == after_step:
            raise CutOffError

    how = Run(directory=directory, device="cpu")
    with pytest.raises(CutOffError):
        train(lambda: StudentTask.from_config(config), dataset, config, how, die)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_that_was_cut_off_continues_to_the_same_weights(dataset, tmp_path, precision):
    config = with_train(precision=precision, ema_decay=0.9, batch_size=2)
    cut_off(dataset, tmp_path / "cut", config, after_step=5)  # step 3 is kept, 4 and 5 are lost
    assert load_checkpoint(tmp_path / "cut").step == 3
    resumed = run(dataset, tmp_path / "cut", config, resume=True)
    whole = run(dataset, tmp_path / "whole", config)
    assert [report.step for report in resumed] == [4, 5, 6, 7, 8]
    assert [r.loss for r in resumed] == [r.loss for r in whole[3:]]
    assert_same_weights(tmp_path / "cut", tmp_path / "whole")


def test_workers_and_pictures_change_nothing_but_the_speed(dataset, tmp_path):
    config = with_train(batch_size=2, steps=4)
    run(dataset, tmp_path / "thread", config, picture_every_steps=0)
    run(dataset, tmp_path / "workers", config, workers=2, picture_every_steps=1)
    assert_same_weights(tmp_path / "thread", tmp_path / "workers")


def test_a_finished_run_that_is_resumed_does_nothing(dataset, tmp_path):
    run(dataset, tmp_path, with_train(steps=2))
    assert run(dataset, tmp_path, with_train(steps=2), resume=True) == []


def test_an_existing_run_is_never_overwritten_nor_mixed_up(dataset, tmp_path):
    run(dataset, tmp_path, with_train(steps=2))
    with pytest.raises(ConfigError, match="--resume"):
        run(dataset, tmp_path, with_train(steps=2))
    with pytest.raises(ConfigError, match=r"another configuration \(train.steps: 2 there, 3 here"):
        run(dataset, tmp_path, with_train(steps=3), resume=True)
    with pytest.raises(ConfigError, match="stage 'student', not 'labels'"):
        run(dataset, tmp_path, with_train(steps=2), resume=True, stage="labels")
    assert load_checkpoint(tmp_path).step == 2


def test_a_loss_that_is_not_finite_stops_the_run_by_name(dataset, tmp_path):
    with pytest.raises(ImkdError, match=r"step \d.* not finite .*heatmap"):
        run(dataset, tmp_path, with_train(learning_rate=1e30, warmup_steps=0, clip_norm=1e30))


class Unreadable:
    """Samples some of which cannot be read."""

    def __init__(self, dataset, bad):
        self._dataset, self._bad = dataset, bad

    def __len__(self):
        return 5 * len(self._dataset)

    def sample(self, index, rng):
        if index in self._bad:
            raise DataError(f"radar_{index}.pcd is truncated; fetch it again")
        return self._dataset.sample(index % len(self._dataset), rng)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_sample_stops_the_run_in_its_own_words(dataset, tmp_path, workers):
    source = Unreadable(dataset, bad=set(range(10)))
    with pytest.raises(DataError, match=r"^radar_\d.pcd is truncated; fetch it again$"):
        run(source, tmp_path, with_train(steps=1), workers=workers)


def test_unreadable_samples_are_skipped_by_choice_counted_and_told(dataset, tmp_path):
    source, config = Unreadable(dataset, bad={1, 7}), with_train(steps=10, batch_size=2)
    reports = run(source, tmp_path / "a", config, skip_bad=2)
    skipped = {index for report in reports for index in report.skipped}
    assert skipped == {1, 7}
    lines = (tmp_path / "a" / "log.jsonl").read_text().splitlines()
    told = [json.loads(line).get("skipped", {}) for line in lines]
    assert {key for entry in told for key in entry} == {"1", "7"}
    with pytest.raises(DataError, match=r"2 samples cannot be read, more than --skip-bad 1.*radar"):
        run(source, tmp_path / "b", config, skip_bad=1)


def test_data_of_which_nothing_can_be_read_do_not_loop_for_ever(dataset, tmp_path):
    with pytest.raises(DataError, match="in a row"):
        run(Unreadable(dataset, set(range(10))), tmp_path, with_train(steps=1), skip_bad=99)


def test_several_samples_make_one_batch(dataset, tmp_path):
    assert math.isfinite(run(dataset, tmp_path, with_train(batch_size=2, steps=1))[0].loss)


def test_held_statistics_do_not_move_and_the_weights_still_learn():
    model = Student.from_config(CONFIG)
    set_norm_mode(model, is_held=True)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)
    assert all(norm.weight.requires_grad for norm in norms)
    set_norm_mode(model, is_held=False)
    assert all(norm.training for norm in norms)


def test_every_stage_has_a_section_of_its_own():
    config = dataclasses.replace(
        CONFIG,
        teacher_train=dataclasses.replace(CONFIG.train, steps=2),
        labels_train=dataclasses.replace(CONFIG.train, steps=3),
    )
    found = [stage_train(config, stage).steps for stage in ("student", "teacher", "labels")]
    assert found == [8, 2, 3]


@pytest.mark.parametrize("change", [{"stage": "head"}, {"workers": -1}, {"skip_bad": -1}])
def test_a_broken_run_is_refused_by_name(tmp_path, change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        Run(directory=tmp_path, **change)


def test_half_floats_on_a_cpu_are_refused(dataset, tmp_path):
    with pytest.raises(ConfigError, match="fp16 needs a CUDA device"):
        run(dataset, tmp_path, with_train(precision="fp16"))
