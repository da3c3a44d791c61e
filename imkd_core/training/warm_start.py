# SPDX-License-Identifier: Apache-2.0
"""Begin a training from the weights of another one, and say what became of every key.

Not to be confused with --resume, which continues a run: here step, optimiser and running mean
start anew, and the two networks may differ, for example by a memory.
"""

from pathlib import Path

from imkd_core.errors import DataError
from imkd_core.model.pretrained import LoadReport
from imkd_core.training.checkpoint import load_checkpoint
from imkd_core.training.state import delivered_name
from imkd_core.training.task import TrainingTask


def start_from(task: TrainingTask, path: Path, stage: str) -> LoadReport:
    """Fill a task with the weights of a checkpoint, as far as names and shapes agree.

    What is delivered comes from the checkpoint's running mean where it has one; the rest of the
    task (adaptors, heads that only training has) from its last weights.

    Args:
        task: with its own start; what the checkpoint does not have keeps it.
        path: a run's folder or its checkpoint file.
        stage: that the checkpoint must be of.

    Returns:
        Which keys were taken; which the checkpoint has and the task has no place for, or one of
        another shape; and which the checkpoint did not fill.

    Raises:
        DataError: the checkpoint cannot be read, is of another stage, or nothing of what is
            delivered fits.
    """
    checkpoint = load_checkpoint(path, stage)
    name = delivered_name(task)
    delivered = {f"{name}.{key}": value for key, value in checkpoint.delivered_state().items()}
    given = delivered | checkpoint.others
    skipped = tuple(f"{part}." for part in task.not_saved)
    own = {k: v for k, v in task.state_dict().items() if not k.startswith(skipped)}
    taken = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
    if not taken.keys() & delivered.keys():
        raise DataError(f"{checkpoint.path} has no weight that fits this network; start anew")
    task.load_state_dict(taken, strict=False)
    return LoadReport(
        loaded=tuple(taken),
        left_out=tuple(key for key in given if key not in taken),
        not_filled=tuple(key for key in own if key not in taken),
    )
