# SPDX-License-Identifier: Apache-2.0
"""Which samples make the batch of a step, and the chance that each is changed with.

Position p of the global batch of step s is number s * batch_size + p of an endless row of epochs,
each a permutation seeded by (seed, epoch). Its chance is seeded by (seed, step, position). So
nothing depends on the number of processes or workers, or on where a run was interrupted.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from imkd_core.errors import ConfigError, DataError, ImkdError
from imkd_core.recipe import TrainConfig
from imkd_core.training.task import ArraySample, Batch, SampleSource, collate

#: Batches prepared ahead of the step that uses them, by each worker.
PREFETCHED = 2

#: A sample that cannot be read is replaced by another one, so often at most.
REPLACEMENTS = 20

#: Parts the seeds of permutations from those of samples.
_PERMUTATION = 1 << 32


@dataclass(frozen=True, kw_only=True)
class Share:
    """A process's part of every global batch: positions rank, rank + size, ...

    Attributes:
        rank, size: place among the processes.
    """

    rank: int = 0
    size: int = 1

    def positions(self, batch_size: int) -> range:
        """Return this process's positions.

        Raises:
            ConfigError: the batch cannot be parted evenly.
        """
        if batch_size % self.size:
            raise ConfigError(
                f"train.batch_size {batch_size} cannot be shared by {self.size} processes; make "
                f"it a multiple of {self.size}"
            )
        return range(self.rank, batch_size, self.size)


@dataclass(frozen=True, kw_only=True)
class DrawnBatch:
    """A process's part of a step's batch.

    Attributes:
        step: that it is for.
        batch: the samples.
        skipped: index -> error of the samples that could not be read and were replaced.
    """

    step: int
    batch: Batch
    skipped: dict[int, str]

    def pin_memory(self) -> "DrawnBatch":
        """Return the same with the batch in page-locked memory."""
        return DrawnBatch(step=self.step, batch=self.batch.pin_memory(), skipped=self.skipped)


def sample_index(seed: int, step: int, position: int, batch_size: int, length: int) -> int:
    """Return which of `length` samples stands at a position of a step's global batch."""
    epoch, place = divmod(step * batch_size + position, length)
    return int(_permutation(seed, epoch, length)[place])


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, length: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, _PERMUTATION, epoch)).permutation(length)


class StepBatches:
    """The batches of a stage by step, as one process sees them.

    Args:
        source: the samples.
        train: seed and batch size.
        share: this process's place among all.
        can_skip: replace samples that cannot be read, instead of failing.

    Raises:
        ConfigError: the batch cannot be parted evenly.
    """

    def __init__(
        self, source: SampleSource, train: TrainConfig, share: Share, can_skip: bool = False
    ) -> None:
        self._source, self._train, self._can_skip = source, train, can_skip
        self._positions = share.positions(train.batch_size)

    def draw(self, step: int) -> DrawnBatch:
        """Return the batch of a step.

        Raises:
            ImkdError: a sample cannot be read.
        """
        skipped: dict[int, str] = {}
        samples = [self._draw(step, position, skipped) for position in self._positions]
        return DrawnBatch(step=step, batch=collate(samples), skipped=skipped)

    def _draw(self, step: int, position: int, skipped: dict[int, str]) -> ArraySample:
        """Return a sample, or another one where it cannot be read and that is allowed."""
        seed, length = self._train.seed, len(self._source)
        index = sample_index(seed, step, position, self._train.batch_size, length)
        for attempt in range(REPLACEMENTS):
            rng = np.random.default_rng((seed, step, position, attempt))
            try:
                return self._source.sample(index, rng)
            except ImkdError as error:
                if not self._can_skip:
                    raise
                skipped[index] = str(error)
            index = int(rng.integers(length))
        raise DataError(
            f"{REPLACEMENTS} samples in a row cannot be read; the last: {skipped.popitem()[1]}"
        )


def draw_batches(
    batches: StepBatches, steps: range, workers: int = 0, pin_memory: bool = False
) -> Iterator[DrawnBatch]:
    """Yield the batches of steps in order, prepared ahead.

    Args:
        batches: by step.
        steps: wanted ones.
        workers: processes that prepare them, each with one thread; 0 is a thread in this process.
        pin_memory: for copies to a GPU.
    """
    if workers == 0:
        yield from _by_thread(batches, steps)
        return
    cv2.setNumThreads(1)  # before the fork: a worker would wait for threads that it has not
    loader = DataLoader(
        _Guarded(batches),
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        prefetch_factor=PREFETCHED,
        multiprocessing_context="fork",
        worker_init_fn=_one_thread,
        pin_memory=pin_memory,
    )
    for drawn in loader:
        if isinstance(drawn, ImkdError):
            raise drawn
        yield drawn


class _Guarded(Dataset[DrawnBatch | ImkdError]):
    """Hands a user's error over as a value; torch would wrap it in a worker's stack trace."""

    def __init__(self, batches: StepBatches) -> None:
        self._batches = batches

    def __getitem__(self, step: int) -> DrawnBatch | ImkdError:
        try:
            return self._batches.draw(step)
        except ImkdError as error:
            return error


def _by_thread(batches: StepBatches, steps: range) -> Iterator[DrawnBatch]:
    with ThreadPoolExecutor(1) as pool:
        waiting: list[Future[DrawnBatch]] = []
        for step in steps:
            waiting.append(pool.submit(batches.draw, step))
            if len(waiting) > PREFETCHED:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def _one_thread(worker: int) -> None:
    """Keep numpy in a worker to one thread; torch itself sees to torch."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    del worker
    threadpool_limits(1)
