# SPDX-License-Identifier: Apache-2.0
"""Training samples of the two teachers: LiDAR points with targets, and label maps with targets.

Both change the scene as the student's samples are changed (method.md 6); labels are drawn after
the change.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from imkd_core.data.changes.bev_change import BevChange, sample_bev_change
from imkd_core.data.learning.label_maps import label_maps
from imkd_core.data.learning.lidar_points import (
    prepare_points,
    read_points,
    without_clutter,
    without_share,
)
from imkd_core.data.learning.targets import DetectionTargets, make_targets
from imkd_core.data.samples import Sample, SampleTruth
from imkd_core.errors import DataError
from imkd_core.recipe import Config
from imkd_core.types import Detections

Float32 = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class TeachingSample:
    """One sample of a teacher as arrays.

    Attributes:
        inputs: of the LiDAR teacher `points` and `mask`, of the label encoder `maps`.
        targets: heat maps and box codes.
    """

    inputs: dict[str, NDArray[np.generic]]
    targets: DetectionTargets

    def target_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the fields of `targets` by name."""
        return {item.name: getattr(self.targets, item.name) for item in fields(self.targets)}


def lidar_points(sample: Sample, config: Config) -> Float32:
    """Read a sample's points for the teacher: (N, 5), merged sweeps, clutter removed if chosen.

    Raises:
        DataError: a file is missing or malformed.
    """
    points = read_points(sample, config.teacher.lidar_sweeps)
    return without_clutter(points) if config.teacher.filter_clutter else points


class _TeachingDataset:
    """Recorded samples, some of whose true boxes are to be found."""

    def __init__(
        self,
        samples: Sequence[Sample],
        config: Config,
        is_trainable: Callable[[SampleTruth], NDArray[np.bool_]],
    ) -> None:
        if not samples:
            raise DataError("no samples to train on; check the data folder and the scene filter")
        self._samples = tuple(samples)
        self._config = config
        self._is_trainable = is_trainable

    def __len__(self) -> int:
        """Return the number of recorded samples."""
        return len(self._samples)

    def _change(self, rng: np.random.Generator | None) -> BevChange:
        return BevChange() if rng is None else sample_bev_change(rng, self._config.augment)

    def _boxes(self, index: int, change: BevChange) -> Detections:
        truth = self._samples[index].truth()
        return change.apply_to_boxes(truth.detections.select(self._is_trainable(truth)))

    def _targets(self, boxes: Detections) -> DetectionTargets:
        return make_targets(boxes, self._config.inputs.bev, self._config.head)


class TeacherDataset(_TeachingDataset):
    """Samples of the LiDAR teacher; the boxes to be found have LiDAR returns.

    Args:
        samples: of a reader.
        config: its `teacher` and `augment` sections say how points are prepared and changed.

    Raises:
        DataError: there is no sample.
    """

    def __init__(self, samples: Sequence[Sample], config: Config) -> None:
        super().__init__(samples, config, lambda truth: truth.num_lidar_points > 0)

    def sample(self, index: int, rng: np.random.Generator | None) -> TeachingSample:
        """Return one training sample, changed by `rng`; unchanged where `rng` is None.

        Raises:
            DataError: a file is missing or malformed.
        """
        change = self._change(rng)
        points = lidar_points(self._samples[index], self._config)
        if rng is not None:
            points = without_share(points, self._config.teacher.drop_points, rng)
        return TeachingSample(
            inputs=prepare_points(
                change.apply_to_points(points),
                self._config.inputs,
                self._config.teacher,
                np.random.default_rng(0) if rng is None else rng,
            ),
            targets=self._targets(self._boxes(index, change)),
        )


class LabelDataset(_TeachingDataset):
    """Samples of the label encoder: any true box that some sensor saw.

    Args:
        samples: of a reader.
        config: its `augment` section says how the scene is changed.

    Raises:
        DataError: there is no sample.
    """

    def __init__(self, samples: Sequence[Sample], config: Config) -> None:
        super().__init__(
            samples, config, lambda truth: truth.num_lidar_points + truth.num_radar_points > 0
        )

    def sample(self, index: int, rng: np.random.Generator | None) -> TeachingSample:
        """Return one training sample, changed by `rng`; unchanged where `rng` is None."""
        boxes = self._boxes(index, self._change(rng))
        return TeachingSample(
            inputs={"maps": label_maps(boxes, self._config.inputs.bev)},
            targets=self._targets(boxes),
        )
