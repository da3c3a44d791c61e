# SPDX-License-Identifier: Apache-2.0
"""Samples of any data set that can be trained on, by the name of its format."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imkd_core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from imkd_core.data.samples import Sample

FORMATS = ("nuscenes", "vod", "bag")


def open_samples(
    data_format: str, folder: Path, version: str | None, scenes: tuple[str, ...] = ()
) -> "Sequence[Sample]":
    """Return the samples of a data set in time order.

    Args:
        data_format: one of `FORMATS`.
        folder: of the data set.
        version: nuScenes' table folder, or View-of-Delft's split (default: train).
        scenes: to be taken; all where empty.

    Raises:
        ConfigError: the format is unknown, or does not have what was asked for.
        DataError: the folder does not hold such a data set, or a scene is missing.
    """
    if data_format not in FORMATS:
        raise ConfigError(f"unknown --format '{data_format}'; use {', '.join(FORMATS)}")
    if data_format == "nuscenes":
        from imkd_core.cli.common import open_nuscenes

        reader = open_nuscenes(folder, version)
        names = scenes or reader.scenes
        return [sample for name in names for sample in reader.samples(name)]
    if scenes:
        raise ConfigError(f"--scenes chooses scenes of nuScenes folders; '{data_format}' has none")
    if data_format == "vod":
        from imkd_core.data.vod.reader import ViewOfDelft

        return ViewOfDelft(folder).samples(version or "train")
    raise DataError(
        f"recordings are trained on as nuScenes folders: convert them once, with 'imkd bag dataset "
        f"{folder} --output DIR', then train with --format nuscenes --data DIR"
    )
