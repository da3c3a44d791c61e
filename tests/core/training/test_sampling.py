# SPDX-License-Identifier: Apache-2.0
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.errors import ConfigError, DataError
from imkd_core.recipe import TrainConfig
from imkd_core.training.sampling import Share, StepBatches, draw_batches, sample_index


@dataclass(frozen=True)
class Numbered:
    index: int
    chance: float

    @property
    def inputs(self):
        return {"index": np.array(self.index)}

    def target_arrays(self):
        return {"chance": np.array(self.chance)}


class Source:
    def __init__(self, length):
        self._length = length

    def __len__(self):
        return self._length

    def sample(self, index, rng):
        return Numbered(index, rng.random())


def pairs(batch):
    """Return (index, chance) of a batch's samples."""
    return list(zip(batch.inputs["index"].tolist(), batch.targets["chance"].tolist(), strict=True))


@given(st.integers(0, 9), st.integers(1, 40), st.integers(1, 7), st.integers(0, 4))
def test_every_epoch_holds_every_sample_once(seed, length, batch_size, epoch):
    places = range(epoch * length, (epoch + 1) * length)
    drawn = [sample_index(seed, *divmod(k, batch_size), batch_size, length) for k in places]
    assert sorted(drawn) == list(range(length))


def test_epochs_and_seeds_differ():
    def epoch(seed, number):
        return [sample_index(seed, k, 0, 1, 50) for k in range(50 * number, 50 * (number + 1))]

    assert epoch(0, 0) != epoch(0, 1)
    assert epoch(0, 0) != epoch(1, 0)


@given(st.integers(0, 9), st.integers(0, 30), st.sampled_from([1, 2, 3, 6]))
def test_the_processes_together_draw_what_one_would(seed, step, size):
    train, source = TrainConfig(seed=seed, batch_size=6), Source(11)
    whole = pairs(StepBatches(source, train, Share()).draw(step).batch)
    parts = [
        pairs(StepBatches(source, train, Share(rank=rank, size=size)).draw(step).batch)
        for rank in range(size)
    ]
    assert [parts[p % size][p // size] for p in range(6)] == whole


def test_chance_differs_between_seeds_steps_and_positions():
    source, drawn = Source(1), []
    for seed in range(3):
        batches = StepBatches(source, TrainConfig(seed=seed, batch_size=4), Share())
        drawn += [chance for step in range(3) for _, chance in pairs(batches.draw(step).batch)]
    assert len(set(drawn)) == 3 * 3 * 4


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_come_in_order_whoever_prepares_them(workers):
    batches = StepBatches(Source(7), TrainConfig(batch_size=3), Share())
    drawn = list(draw_batches(batches, range(4, 13), workers))
    assert [item.step for item in drawn] == list(range(4, 13))
    assert [pairs(item.batch) for item in drawn] == [
        pairs(batches.draw(step).batch) for step in range(4, 13)
    ]
    assert list(draw_batches(batches, range(0), workers)) == []


def test_a_batch_that_cannot_be_shared_evenly_is_refused():
    with pytest.raises(ConfigError, match="multiple of 2"):
        StepBatches(Source(7), TrainConfig(batch_size=3), Share(rank=0, size=2))


def test_numpy_in_a_worker_has_one_thread():
    class Threads(Source):
        def sample(self, index, rng):
            import threadpoolctl

            infos = threadpoolctl.threadpool_info()
            return Numbered(max(info["num_threads"] for info in infos), torch.get_num_threads())

    batches = StepBatches(Threads(1), TrainConfig(), Share())
    drawn = next(iter(draw_batches(batches, range(1), workers=1)))
    assert pairs(drawn.batch) == [(1, 1)]


def test_samples_of_different_shapes_are_refused_by_name():
    class Uneven(Source):
        def sample(self, index, rng):
            return Numbered(np.zeros(index + 1), 0.0)

    with pytest.raises(DataError, match=r"differ in 'index': \[\(1,\), \(2,\)\]"):
        StepBatches(Uneven(2), TrainConfig(batch_size=2), Share()).draw(0)
