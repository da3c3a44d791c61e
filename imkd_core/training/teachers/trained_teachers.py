# SPDX-License-Identifier: Apache-2.0
"""Teachers read from the folders of their runs, frozen for ever.

teacher = load_teacher(Path("runs/teacher"), config)
labels = load_labels(Path("runs/labels"), config)
"""

from pathlib import Path

from imkd_core.errors import ConfigError
from imkd_core.model.frozen import freeze
from imkd_core.model.label_encoder import LabelEncoder
from imkd_core.model.teacher import Teacher
from imkd_core.recipe import Config
from imkd_core.training.checkpoint import Checkpoint, differing_keys, load_checkpoint

#: Keys of a configuration that decide what a teacher's numbers mean.
_TEACHER_KEYS = (
    "inputs.bev.",
    "inputs.z_",
    "head.class_names",
    "head.tasks",
    "teacher.",
    "intensity.variant",
)
_LABEL_KEYS = ("inputs.bev.", "head.class_names", "head.tasks", "labels.", "teacher.channels")

#: Keys among them that are about training alone.
_FREE_KEYS = ("teacher.drop_points",)


def load_teacher(run: Path, config: Config) -> Teacher:
    """Return the frozen LiDAR teacher of a run.

    Args:
        run: folder of `imkd train teacher`, or its checkpoint.
        config: the configuration it is to serve; grid, classes and teacher must be those it was
            trained with. Another variant of I_L is fine, unless one of the two is "learned".

    Raises:
        DataError: there is no checkpoint, or it cannot be read.
        ConfigError: it is of another stage or configuration.
    """
    checkpoint = load_checkpoint(run)
    wants_gate = "learned" in (config.intensity.variant, checkpoint.config.intensity.variant)
    keys = _TEACHER_KEYS if wants_gate else _TEACHER_KEYS[:-1]
    _check(checkpoint, config, "teacher", keys)
    teacher = Teacher.from_config(config)
    checkpoint.load_delivered(teacher)
    return freeze(teacher)


def load_labels(run: Path, config: Config) -> LabelEncoder:
    """Return the frozen label encoder of a run.

    Args:
        run: folder of `imkd train labels`, or its checkpoint.
        config: the configuration it is to serve; grid, classes and widths must be those it was
            trained with.

    Raises:
        DataError: there is no checkpoint, or it cannot be read.
        ConfigError: it is of another stage or configuration.
    """
    checkpoint = load_checkpoint(run)
    _check(checkpoint, config, "labels", _LABEL_KEYS)
    labels = LabelEncoder.from_config(config)
    checkpoint.load_delivered(labels)
    return freeze(labels)


def _check(checkpoint: Checkpoint, config: Config, stage: str, keys: tuple[str, ...]) -> None:
    """Refuse a checkpoint of another stage, or whose numbers would mean something else."""
    if checkpoint.stage != stage:
        raise ConfigError(
            f"{checkpoint.path} is of stage '{checkpoint.stage}'; give the folder of a run of "
            f"'imkd train {stage}'"
        )
    differences = [
        text
        for text in differing_keys(checkpoint.config, config)
        if text.startswith(keys) and not text.startswith(_FREE_KEYS)
    ]
    if differences:
        raise ConfigError(
            f"{checkpoint.path} is of another configuration ({'; '.join(differences)}); give the "
            f"one it was trained with, or run 'imkd train {stage}' again"
        )
