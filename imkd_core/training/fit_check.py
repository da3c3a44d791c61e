# SPDX-License-Identifier: Apache-2.0
"""Does a configuration fit the data? Asked before anything is trained, answered with what to do."""

from collections.abc import Sequence

import numpy as np

from imkd_core.config import InputSpec
from imkd_core.data.samples import HasPose, Sample
from imkd_core.errors import ConfigError, DataError
from imkd_core.recipe import Config
from imkd_core.types import SensorRig

#: Samples whose sensors are looked at, spread evenly.
LOOKED_AT = 32


def check_fits(samples: Sequence[Sample], config: Config, stage: str) -> None:
    """Refuse data that a stage cannot be trained on with this configuration.

    Args:
        samples: of the training set.
        config: to be trained.
        stage: "teacher", "labels" or "student".

    Raises:
        DataError: there is no sample, or no LiDAR where the teacher needs it.
        ConfigError: classes, sensors or image sizes do not fit.
    """
    if not samples:
        raise DataError("no samples to train on; check the data folder and the scene filter")
    _check_classes(samples[0], config)
    if stage == "teacher":
        _check_lidar(samples[0])
    if stage == "student":
        chosen = np.unique(np.linspace(0, len(samples) - 1, LOOKED_AT).astype(int))
        rigs = [(samples[index].token, samples[index].rig) for index in chosen]
        _check_sensors(rigs, config.inputs)
        if config.inputs.memory.kind != "none":
            _check_poses(samples)


def _check_classes(sample: Sample, config: Config) -> None:
    found, wanted = sample.truth().detections.class_names, config.head.class_names
    if tuple(found) != tuple(wanted):
        raise ConfigError(
            f"the data have the classes {', '.join(found)}; head.class_names are "
            f"{', '.join(wanted)}: take the configuration that was written for this data set, or "
            "set head.class_names and head.tasks"
        )


def _check_lidar(sample: Sample) -> None:
    try:
        cloud, _ = sample.lidar()
    except DataError as error:
        raise DataError(
            f"the LiDAR teacher cannot learn from sample '{sample.token}': {error}; train it on "
            "data with LiDAR, and the student in label-only mode (--skip-bad)"
        ) from None
    if not len(cloud.points):
        raise DataError(f"sample '{sample.token}': the LiDAR cloud is empty; check the data")


def _check_poses(samples: Sequence[Sample]) -> None:
    for sample in samples:
        if not isinstance(sample, HasPose):
            raise ConfigError(
                f"sample '{sample.token}' does not know where the vehicle was, so nothing can be "
                "remembered from frame to frame; set inputs.memory.kind to none"
            )


def _check_sensors(rigs: Sequence[tuple[str, SensorRig]], spec: InputSpec) -> None:
    """Refuse samples without cameras or radars, with other numbers of cameras, or small images."""
    first_token, first = rigs[0]
    for token, rig in rigs:
        if not rig.cameras or not rig.radars:
            raise ConfigError(
                f"sample '{token}' has {len(rig.cameras)} cameras and {len(rig.radars)} radars; a "
                "student needs one of each at least"
            )
        if rig.cameras.keys() != first.cameras.keys():
            raise ConfigError(
                f"sample '{token}' has the cameras {', '.join(rig.cameras)}, sample "
                f"'{first_token}' {', '.join(first.cameras)}; train on drives of one vehicle, "
                "chosen with --scenes"
            )
        for name, camera in rig.cameras.items():
            if camera.width_px < spec.image_width_px or camera.height_px < spec.image_height_px:
                raise ConfigError(
                    f"{name} takes images of {camera.width_px} x {camera.height_px}, smaller than "
                    f"inputs.image_width_px x inputs.image_height_px = {spec.image_width_px} x "
                    f"{spec.image_height_px}; lower those"
                )
