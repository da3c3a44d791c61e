# SPDX-License-Identifier: Apache-2.0
"""From recorded samples to training samples: change, prepare, make targets.

The inputs come from `preprocess.prepare_inputs`, the function that the vehicle uses.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from imkd_core.data.augmentation import apply_change, sample_change, seen_only_by, visible_in
from imkd_core.data.nuscenes import SampleRecord
from imkd_core.data.targets import DetectionTargets, depth_bins, make_targets
from imkd_core.errors import DataError
from imkd_core.geometry import transform_points
from imkd_core.imaging import fit_window
from imkd_core.preprocess import effective_cameras, prepare_inputs
from imkd_core.recipe import Config
from imkd_core.types import Detections, Frame, SensorRig

#: Decoded samples that are kept in memory (about 27 MB each with six 1600 x 900 images).
CACHED_SAMPLES = 16


@dataclass(frozen=True, kw_only=True)
class TrainingSample:
    """One sample as arrays; `training.engine.collate` stacks several into a batch.

    Attributes:
        inputs: the model's inputs by name (see `preprocess.prepare_inputs`).
        targets: heat maps and box codes.
        depth_bin: (N, Hf, Wf) int64 depth bins, -1 where unknown or where the camera is blanked.
    """

    inputs: dict[str, NDArray[np.generic]]
    targets: DetectionTargets
    depth_bin: NDArray[np.int64]

    def target_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the fields of `targets`, and `depth_bin`, by name."""
        targets = {item.name: getattr(self.targets, item.name) for item in fields(self.targets)}
        return {**targets, "depth_bin": self.depth_bin}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Decoded:
    frame: Frame
    rig: SensorRig
    truth: Detections
    depth_bin: NDArray[np.int64]
    visible: dict[str, NDArray[np.bool_]]


class DetectionDataset:
    """Training samples made from recorded ones.

    Args:
        records: samples of a reader.
        config: the student; its `augment` section says how samples are changed.

    Raises:
        DataError: there is no sample.
    """

    def __init__(self, records: Sequence[SampleRecord], config: Config) -> None:
        if not records:
            raise DataError("no samples to train on; check the data folder and the scene filter")
        self._records = tuple(records)
        self._config = config
        self._decoded = lru_cache(maxsize=CACHED_SAMPLES)(self._decode)

    def __len__(self) -> int:
        """Return the number of recorded samples."""
        return len(self._records)

    def sample(self, index: int, rng: np.random.Generator | None) -> TrainingSample:
        """Return one training sample, changed by `rng`; unchanged where `rng` is None."""
        decoded = self._decoded(index)
        frame, truth, depth_bin = decoded.frame, decoded.truth, decoded.depth_bin
        if rng is not None:
            cameras = tuple(decoded.rig.cameras)
            change = sample_change(rng, cameras, self._config.augment)
            frame = apply_change(frame, change, self._config.inputs)
            truth = truth.select(~seen_only_by(decoded.visible, change.blanked))
            blanked = np.array([name in change.blanked for name in cameras])
            depth_bin = np.where(blanked[:, None, None], -1, depth_bin)
        return TrainingSample(
            inputs=prepare_inputs(frame, decoded.rig, self._config.inputs),
            targets=make_targets(truth, self._config.inputs.bev, self._config.head),
            depth_bin=depth_bin,
        )

    def _decode(self, index: int) -> _Decoded:
        record, spec = self._records[index], self._config.inputs
        frame = record.frame(spec.radar_sweeps, spec.image_width_px)
        rig, truth = record.rig, record.truth()
        trainable = truth.num_lidar_points + truth.num_radar_points > 0
        boxes = truth.detections.select(trainable)
        cloud, ego_from_lidar = record.lidar()
        points_ego = transform_points(
            frame.motion_at(cloud.stamp_ns) @ ego_from_lidar, cloud.points[:, :3]
        )
        poses = effective_cameras(frame, rig)
        cameras = [(fit_window(camera, spec).pixel_from_cam, pose) for camera, pose in poses]
        return _Decoded(
            frame=frame,
            rig=rig,
            truth=boxes,
            depth_bin=depth_bins(points_ego, cameras, spec),
            visible=visible_in(boxes, frame, rig, spec),
        )
