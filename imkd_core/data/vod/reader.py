# SPDX-License-Identifier: Apache-2.0
"""Reader of View-of-Delft: one front camera, one 3+1D radar, a 64-beam LiDAR (method.md 9.4).

    vod = ViewOfDelft(Path("/data/view_of_delft"))
    for sample in vod.samples("train"):
        frame, truth = sample.frame(radar_sweeps=5), sample.truth()

The ego frame stands on the ground below the LiDAR: x forward, y left, z up. The files bear no
clock: a frame's stamp is its number at 10 Hz. Velocities are not annotated; they are NaN.
"""

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from imkd_core.data.nuscenes.truth import Truth
from imkd_core.data.point_clouds import to_lidar_cloud
from imkd_core.data.vod.files import (
    VOD_LIDAR_COLUMNS,
    VOD_RADAR_COLUMNS,
    VodCalibration,
    VodLabel,
    read_calibration,
    read_labels,
    read_points,
    read_pose,
)
from imkd_core.errors import DataError, SensorError
from imkd_core.geometry import (
    Float64,
    invert_transform,
    rigid_transform,
    transform_points,
    wrap_angle,
)
from imkd_core.imaging import decode_jpeg
from imkd_core.types import (
    CameraImage,
    CameraModel,
    Detections,
    Frame,
    LidarCloud,
    RadarCloud,
    SensorRig,
)

VOD_CLASSES = ("Car", "Pedestrian", "Cyclist")

CAMERA, RADAR, LIDAR = "front_camera", "front_radar", "lidar"

#: Size of the images.
IMAGE_SIZE_PX = (1936, 1216)

#: Time between frames, and between radar scans (13 Hz).
FRAME_PERIOD_NS = 100_000_000
RADAR_PERIOD_S = 1 / 13

#: Frame 0 has this stamp: stamps must lie after 1970.
FIRST_STAMP_NS = 1_000_000_000_000_000_000

#: Scans in a radar file -> its folder.
_RADAR_FOLDERS = ((1, "radar"), (3, "radar_3frames"), (5, "radar_5frames"))

#: A LiDAR frame before is merged only when the car moved less than this in between.
_MAX_STEP_M = 5.0


@dataclass(frozen=True, kw_only=True, eq=False)
class VodSample:
    """One frame; a `data.samples.Sample`. Files are read by the methods, each time anew."""

    token: str
    source: "ViewOfDelft" = field(repr=False)

    @property
    def scene(self) -> str:
        """Name of the data set: frames are not grouped into drives."""
        return "view_of_delft"

    @property
    def stamp_ns(self) -> int:
        """The frame's number at 10 Hz."""
        return FIRST_STAMP_NS + int(self.token) * FRAME_PERIOD_NS

    @cached_property
    def rig(self) -> SensorRig:
        """Camera and radar, in the ego frame."""
        lidar, radar = self._calibration("lidar"), self._calibration("radar")
        ego_from_cam = self.source.ego_from_lidar @ invert_transform(lidar.cam_from_sensor)
        width, height = IMAGE_SIZE_PX
        camera = CameraModel(
            width_px=width,
            height_px=height,
            pixel_from_cam=lidar.pixel_from_cam,
            ego_from_cam=ego_from_cam,
        )
        return SensorRig(
            cameras={CAMERA: camera}, radars={RADAR: ego_from_cam @ radar.cam_from_sensor}
        )

    def frame(
        self,
        radar_sweeps: int = 1,
        target_width_px: int | None = None,
        with_images: bool = True,
    ) -> Frame:
        """Read the image and the radar's merged scans.

        Args:
            radar_sweeps: 1, 3 or 5 scans; other numbers take the next smaller file.
            target_width_px: the image may be decoded at a reduced size not below this width.
            with_images: False leaves the camera out.

        Raises:
            DataError: a file is missing or malformed.
        """
        cameras = {CAMERA: self._image(target_width_px)} if with_images else {}
        radar = self._radar(radar_sweeps)
        return Frame(stamp_ns=self.stamp_ns, cameras=cameras, radars={RADAR: (radar,)})

    def lidar(self, sweeps: int = 1, min_distance_m: float = 0.0) -> tuple[LidarCloud, Float64]:
        """Read the LiDAR, merged with the frames before, and (4, 4) `ego_from_lidar`.

        Columns as `LIDAR_FIELDS`; the ring is not known and 0.

        Raises:
            DataError: a file is missing or malformed.
        """
        parts = []
        for number, lidar_from_past in enumerate(self._history(sweeps)):
            token = f"{int(self.token) - number:05d}"
            points = read_points(
                self.source.path("lidar", "velodyne", token, "bin"), VOD_LIDAR_COLUMNS
            )
            padded = np.column_stack([points, np.zeros(len(points), np.float32)])
            parts.append((padded, lidar_from_past, number * FRAME_PERIOD_NS * 1e-9))
        cloud = to_lidar_cloud(parts, LIDAR, self.stamp_ns, min_distance_m)
        return cloud, self.source.ego_from_lidar

    def labels(self) -> tuple[VodLabel, ...]:
        """Read all labels, of every class, as they stand in the file.

        Raises:
            DataError: the file is missing (the test split has none) or malformed.
        """
        return read_labels(self.source.path("lidar", "label_2", self.token, "txt"))

    def truth(self) -> Truth:
        """Return the labels of the three evaluated classes in the ego frame.

        View-of-Delft annotates what its LiDAR sees, so every box counts as having one return.

        Raises:
            DataError: the labels are missing or malformed.
        """
        every = self.labels()
        labels = [label for label in every if label.name in VOD_CLASSES]
        dropped = [label.name for label in every if label.name not in VOD_CLASSES]
        tokens = tuple(
            f"{self.token}-{i}" for i, one in enumerate(every) if one.name in VOD_CLASSES
        )
        n = len(labels)
        return Truth(
            detections=self.boxes(labels),
            num_lidar_points=np.ones(n, np.int64),
            num_radar_points=np.zeros(n, np.int64),
            visibility=np.zeros(n, np.int64),
            annotation_tokens=tokens,
            instance_tokens=tokens,
            attributes=("",) * n,
            dropped_categories={name: dropped.count(name) for name in sorted(set(dropped))},
        )

    def boxes(self, labels: "list[VodLabel]") -> Detections:
        """Return labels of the three classes as boxes in the ego frame.

        The box is built upright in the LiDAR frame on its bottom centre: the camera is tilted, so
        KITTI's formula in the camera frame would be wrong (data.md 2).
        """
        n = len(labels)
        bottoms_cam = np.array([one.bottom_cam_m for one in labels], np.float64).reshape(n, 3)
        size_m = np.array([one.size_m for one in labels], np.float64).reshape(n, 3)
        cam_from_lidar = self._calibration("lidar").cam_from_sensor
        ego_from_cam = self.source.ego_from_lidar @ invert_transform(cam_from_lidar)
        center_m = transform_points(ego_from_cam, bottoms_cam)
        center_m[:, 2] += size_m[:, 2] / 2
        yaw_rad = wrap_angle(np.array([one.yaw_lidar_rad for one in labels], np.float64))
        return Detections(
            stamp_ns=self.stamp_ns,
            class_names=VOD_CLASSES,
            center_m=center_m.astype(np.float32),
            size_m=size_m.astype(np.float32),
            yaw_rad=yaw_rad.astype(np.float32),
            velocity_mps=np.full((n, 2), np.nan, np.float32),
            scores=np.clip([one.score for one in labels], 0, 1).astype(np.float32),
            labels=np.array([VOD_CLASSES.index(one.name) for one in labels], np.int64),
        )

    def _calibration(self, sensor: str) -> VodCalibration:
        return self.source.calibration(sensor, self.token)

    def _image(self, target_width_px: int | None) -> CameraImage:
        path = self.source.path("lidar", "image_2", self.token, "jpg")
        try:
            pixels = decode_jpeg(path.read_bytes(), CAMERA, target_width_px)
            return CameraImage(sensor=CAMERA, stamp_ns=self.stamp_ns, pixels=pixels)
        except OSError as error:
            raise DataError(f"cannot read {path} ({error.strerror}); it is missing") from None
        except SensorError as error:
            raise DataError(f"{path}: {error}") from None

    def _radar(self, sweeps: int) -> RadarCloud:
        """Return the scans of one file; the speed over ground becomes a vector along the ray."""
        folder = next(name for count, name in reversed(_RADAR_FOLDERS) if count <= max(1, sweeps))
        raw = read_points(
            self.source.path(folder, "velodyne", self.token, "bin"), VOD_RADAR_COLUMNS
        )
        distance = np.linalg.norm(raw[:, :3], axis=1, keepdims=True)
        direction = raw[:, :2] / np.maximum(distance, np.float32(1e-6))
        age_s = -raw[:, 6:7] * np.float32(RADAR_PERIOD_S)
        points = np.concatenate([raw[:, :4], raw[:, 5:6] * direction, age_s], axis=1)
        return RadarCloud(sensor=RADAR, stamp_ns=self.stamp_ns, points=points)

    def _history(self, sweeps: int) -> list[Float64]:
        """Return (4, 4) `lidar_from_past` of this frame and of those right before it."""
        transforms = [np.eye(4)]
        cam_from_lidar = self._calibration("lidar").cam_from_sensor
        if sweeps == 1:
            return transforms
        cam_from_odom = read_pose(self.source.path("lidar", "pose", self.token, "json"))
        for number in range(1, sweeps):
            token = f"{int(self.token) - number:05d}"
            if int(self.token) < number or not self.source.has_frame(token):
                break
            past_from_odom = read_pose(self.source.path("lidar", "pose", token, "json"))
            cam_from_past = cam_from_odom @ invert_transform(past_from_odom)
            step = invert_transform(cam_from_lidar) @ cam_from_past @ cam_from_lidar
            if np.linalg.norm(step[:3, 3] - transforms[-1][:3, 3]) > _MAX_STEP_M:
                break
            transforms.append(np.asarray(step))
        return transforms


class ViewOfDelft:
    """A View-of-Delft folder with `lidar`, `radar`, `radar_3frames` and `radar_5frames`.

    Args:
        root: the folder.
        lidar_height_m: of the LiDAR above the ground, which is the ego frame's plane; our
            estimate, not a published figure.

    Raises:
        DataError: `lidar/training` is not there.
    """

    def __init__(self, root: Path, lidar_height_m: float = 1.8) -> None:
        self.root = Path(root)
        self.ego_from_lidar = rigid_transform(np.eye(3), (0.0, 0.0, lidar_height_m))
        if not (self.root / "lidar" / "training").is_dir():
            raise DataError(
                f"{root} has no lidar/training; name the folder of View-of-Delft that holds lidar, "
                "radar, radar_3frames and radar_5frames"
            )
        self.calibration = lru_cache(maxsize=64)(self._read_calibration)

    def samples(self, split: str = "train") -> tuple[VodSample, ...]:
        """Return the frames of a split, in the order of its list.

        Args:
            split: "train", "val" or another file of `lidar/ImageSets`.

        Raises:
            DataError: there is no such list, or a line is no frame number.
        """
        path = self.root / "lidar" / "ImageSets" / f"{split}.txt"
        try:
            tokens = path.read_text(encoding="utf-8").split()
        except OSError as error:
            known = ", ".join(sorted(item.stem for item in path.parent.glob("*.txt"))) or "none"
            raise DataError(
                f"no split '{split}' ({path}: {error.strerror}); there are {known}"
            ) from None
        for token in tokens:
            if not (token.isascii() and token.isdigit() and len(token) < 10):
                raise DataError(f"{path}: '{token}' is no frame number")
        return tuple(VodSample(token=token, source=self) for token in tokens)

    def path(self, modality: str, kind: str, token: str, suffix: str) -> Path:
        """Return where a file stands."""
        return self.root / modality / "training" / kind / f"{token}.{suffix}"

    def has_frame(self, token: str) -> bool:
        """Return whether a frame has a LiDAR file and a pose."""
        return (
            self.path("lidar", "velodyne", token, "bin").is_file()
            and self.path("lidar", "pose", token, "json").is_file()
        )

    def _read_calibration(self, sensor: str, token: str) -> VodCalibration:
        return read_calibration(self.path(sensor, "calib", token, "txt"))
