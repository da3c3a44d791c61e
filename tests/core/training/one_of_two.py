# SPDX-License-Identifier: Apache-2.0
"""What each process of `test_distributed` does; torchrun starts it.

torchrun --nproc_per_node 2 -m tests.core.training.one_of_two OUTPUT DRIVE
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from imkd_core.training.distributed import World, gather_over_processes, join_world, shared_count
from imkd_core.training.engine import fit
from imkd_core.training.losses import LossTerms
from imkd_core.training.sampling import Share, StepBatches, draw_batches
from imkd_core.training.state import TrainingState
from imkd_core.training.student_task import StudentTask
from imkd_core.training.task import TrainingTask
from imkd_core.training.train import Run, train
from tests.core.training.small_stage import drive, with_train

#: Two steps that see samples of unequal weight; SGD-like, so that weights show gradients.
PLAIN = with_train(steps=3, batch_size=4, learning_rate=1e-2, warmup_steps=0, seed=3).train
STUDENT = with_train(steps=4, batch_size=4, checkpoint_every_steps=2, ema_decay=0.9)


class Counted:
    """Samples of which some count more than others."""

    def __len__(self):
        return 7

    def sample(self, index, rng):
        return Numbers(rng.normal(size=(3, 5, 6)).astype(np.float32), float(index))


class Numbers:
    def __init__(self, image, weight):
        self.inputs = {"image": image}
        self._weight = weight

    def target_arrays(self):
        return {"weight": np.array(self._weight, np.float32)}


class PlainTask(TrainingTask):
    """A network without batch norm, and a loss divided by a count, as the detection loss is."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Conv2d(4, 1, 3))

    @property
    def delivered(self):
        return self.net

    def forward(self, batch, step):
        error = (self.net(batch.inputs["image"]) - 1).square().mean((1, 2, 3))
        weight = batch.targets["weight"]
        mean = (error * weight).sum() / shared_count(weight.sum())
        return LossTerms(values={"error": mean}, weights={"error": 2.0})


def plain_fit(world: World) -> dict:
    """Fit the plain task; return its weights, and the reported losses."""
    torch.manual_seed(0)
    state, losses = TrainingState(PlainTask(), PLAIN, world), []
    batches = StepBatches(Counted(), PLAIN, Share(rank=world.rank, size=world.size))
    drawn = draw_batches(batches, range(PLAIN.steps))
    fit(state, drawn, PLAIN, world, lambda report, _: losses.append(report.loss))
    return {**state.task.state_dict(), "losses": torch.tensor(losses)}


def student_fit(world: World, output: Path, source) -> dict:
    """Train a student, interrupted and resumed; return this process's weights."""
    tasks = []

    def make_task():
        tasks.append(StudentTask.from_config(STUDENT))
        return tasks[-1]

    how = Run(directory=output, device="cpu", resume=True)
    train(make_task, source, STUDENT, how, None, world)
    return dict(tasks[-1].named_parameters())


def main(output: Path, drive_root: Path) -> None:
    with join_world("cpu") as world:
        told = gather_over_processes({world.rank: f"rank {world.rank}"})
        student = student_fit(world, output / "student", drive(drive_root))
        values = {"plain": plain_fit(world), "student": student, "told": told}
        torch.save(values, output / f"{world.rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
