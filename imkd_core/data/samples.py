# SPDX-License-Identifier: Apache-2.0
"""What a data set must offer to be trained on, and where taught maps come from.

`nuscenes.SampleRecord` is a `Sample`; readers of other layouts are, too, when they have these
members. Files are read by the methods, each time anew.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64
from imkd_core.types import CameraImage, Detections, Frame, LidarCloud, SensorRig


@runtime_checkable
class SampleTruth(Protocol):
    """True objects of a sample; `nuscenes_truth.Truth` is one."""

    @property
    def detections(self) -> Detections:
        """Boxes in the ego frame of the reference time; velocity NaN where it is unknown."""

    @property
    def num_lidar_points(self) -> NDArray[np.int64]:
        """(N,) LiDAR returns on each object."""

    @property
    def num_radar_points(self) -> NDArray[np.int64]:
        """(N,) radar returns on each object."""

    @property
    def annotation_tokens(self) -> tuple[str, ...]:
        """One for each object, unique in the data set."""


@runtime_checkable
class Sample(Protocol):
    """One key frame: what the sensors saw, and what was there.

    A sample that can lack LiDAR says so by an attribute `has_lidar`; without one it has LiDAR.
    """

    @property
    def token(self) -> str:
        """Name of the sample, unique in the data set."""

    @property
    def scene(self) -> str:
        """Name of the drive that the sample belongs to."""

    @property
    def stamp_ns(self) -> int:
        """The reference time; truth is in the ego frame of this time."""

    @property
    def rig(self) -> SensorRig:
        """Calibration of the cameras and radars that this sample has."""

    def frame(
        self,
        radar_sweeps: int = 1,
        target_width_px: int | None = None,
        with_images: bool = True,
    ) -> Frame:
        """Read images and radar scans (newest first); see `nuscenes.SampleRecord.frame`.

        A sample that `HasPose` gives its pose to the frame.
        """

    def lidar(self, sweeps: int = 1, min_distance_m: float = 0.0) -> tuple[LidarCloud, Float64]:
        """Read the LiDAR, merged with past sweeps, and return it with (4, 4) `ego_from_lidar`.

        Raises:
            DataError: there is none, or a file is missing or malformed.
        """

    def truth(self) -> SampleTruth:
        """Return the true objects in the ego frame of the reference time."""


class StoredReading(Protocol):
    """One stored image of a camera; `nuscenes_reading.Reading` is one."""

    @property
    def stamp_ns(self) -> int:
        """Time of exposure."""

    def image(self, target_width_px: int | None = None) -> CameraImage:
        """Decode the image; see `imaging.decode_jpeg` for `target_width_px`."""


@runtime_checkable
class HasHistory(Protocol):
    """A sample that knows earlier images; others simply never have a stale camera."""

    def history(self, sensor: str, count: int) -> Sequence[StoredReading]:
        """Return up to `count` readings of a sensor, newest (the key frame) first."""

    def reference_from_ego(self, reading: Any) -> Float64:
        """Return (4, 4) from the ego frame at a reading's stamp to the reference ego frame."""


@runtime_checkable
class HasPose(Protocol):
    """A sample that knows where the vehicle was; others never have a memory of earlier frames."""

    @property
    def odom_from_ego(self) -> Float64:
        """(4, 4) pose of the reference ego frame in a frame that all samples of a scene share."""


@runtime_checkable
class Teaching(Protocol):
    """What the teachers say about one sample, in its unchanged reference ego frame.

    `teacher_maps.TeacherMaps` is one. Maps lie on the student's BEV grid.
    """

    @property
    def f_lidar(self) -> NDArray[np.float32]:
        """(Kp, Y, X) features of the LiDAR teacher, projected and normalised."""

    @property
    def f_label(self) -> NDArray[np.float32]:
        """(Kp, Y, X) features of the label teacher, likewise."""

    @property
    def i_lidar(self) -> NDArray[np.float32]:
        """(Y, X) voxelised intensity, 0..1."""

    @property
    def heat(self) -> NDArray[np.float32]:
        """(classes, Y, X) probabilities of the LiDAR teacher's heat maps."""

    @property
    def boxes(self) -> Detections:
        """The teacher's box of each true object that it answers for; `scores` are c_k."""

    @property
    def annotation_tokens(self) -> tuple[str, ...]:
        """The true object of each of `boxes`."""

    @property
    def quality(self) -> float:
        """How good the teacher is on this sample; 1 is usual."""

    @property
    def has_lidar(self) -> bool:
        """False where there was no LiDAR, and `f_label` alone is meant."""

    @property
    def depth_points(self) -> Mapping[str, NDArray[np.float32]]:
        """Camera -> (P, 3) u, v in pixels of the unchanged network image, and depth in metres."""


class TeachingSource(Protocol):
    """Where a dataset gets the teaching of its samples from, for example a cache on disk."""

    def load(self, token: str) -> Teaching | None:
        """Return what the teachers say about a sample; None where there is nothing (no LiDAR).

        Raises:
            DataError: there should be something, and it cannot be read.
        """
