# SPDX-License-Identifier: Apache-2.0
"""What a run leaves beside its weights: `log.jsonl`, and scalars and pictures for TensorBoard.

<output>/log.jsonl       one object a step; continued on resume, no step twice
<output>/tensorboard/    `tensorboard --logdir <output>` shows it (not needed for training)
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imkd_core.errors import DataError
from imkd_core.training.engine import StepReport
from imkd_core.training.logbook.board_file import BoardFile, write_whole

LOG_FILE = "log.jsonl"
BOARD_FOLDER = "tensorboard"


class TrainingLog:
    """Writes the logs of one run; what an interrupted run wrote after `first_step` is taken back.

    Args:
        directory: the run's folder; made where it is missing.
        first_step: steps done so far, 0 for a new run.

    Raises:
        DataError: the files cannot be written.
    """

    def __init__(self, directory: Path, first_step: int) -> None:
        self._path = directory / LOG_FILE
        try:
            directory.mkdir(parents=True, exist_ok=True)
            _keep_steps(self._path, first_step)
            self._file = self._path.open("ab", buffering=0)
            self._board = BoardFile(directory / BOARD_FOLDER, first_step + 1)
        except OSError as error:
            raise _unwritable(self._path, error) from None

    def write(self, report: StepReport) -> None:
        """Append one step.

        Raises:
            DataError: the disk is full.
        """
        values: dict[str, Any] = {
            "step": report.step,
            "loss": report.loss,
            **{f"loss/{name}": value for name, value in report.terms.items()},
            "learning_rate": report.learning_rate,
            "gradient_norm": report.gradient_norm,
            "samples_per_s": round(report.samples_per_s, 3),
        }
        scalars = {name: value for name, value in values.items() if name != "step"}
        if report.skipped:
            values["skipped"] = {str(index): text for index, text in report.skipped.items()}
        line = json.dumps({k: _finite(v) for k, v in values.items()}, allow_nan=False)
        try:
            write_whole(self._file, f"{line}\n".encode())
            for name, value in scalars.items():
                self._board.scalar(name, value, report.step)
        except OSError as error:
            raise _unwritable(self._path, error) from None

    def show(self, pictures: Mapping[str, NDArray[np.uint8]], step: int) -> None:
        """Keep (H, W, 3) RGB pictures by name.

        Raises:
            DataError: the disk is full.
        """
        try:
            for name, picture in pictures.items():
                self._board.picture(name, picture, step)
        except OSError as error:
            raise _unwritable(self._path.with_name(BOARD_FOLDER), error) from None

    def close(self) -> None:
        """Close the files."""
        self._board.close()
        self._file.close()


def _keep_steps(path: Path, last_step: int) -> None:
    """Drop the lines of later steps, and a line that was cut off, from a log."""
    if not path.exists():
        return
    found = path.read_text(encoding="utf-8").splitlines()
    lines = [line for line in found if _step(line) <= last_step]
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    partial.replace(path)


def _step(line: str) -> float:
    """Return the step of a line; infinity where it is no whole line of ours."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def _finite(value: Any) -> Any:
    """Return None for a number that JSON cannot say."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"cannot write {path} ({error.strerror}); free space on that disk or move the run, then "
        "continue with --resume"
    )
