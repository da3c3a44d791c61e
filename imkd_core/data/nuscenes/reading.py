# SPDX-License-Identifier: Apache-2.0
"""One file of one sensor in a nuScenes dataroot: its stamp, calibration and ego pose."""

from dataclasses import dataclass
from pathlib import Path

from imkd_core.data.nuscenes.tables import Record, Tables
from imkd_core.data.point_clouds import (
    MAX_RADAR_POINTS,
    RadarFilter,
    read_radar_pcd,
    to_radar_cloud,
)
from imkd_core.errors import CalibrationError, DataError, SensorError
from imkd_core.geometry import Float64, transform_from_quaternion
from imkd_core.imaging import decode_jpeg
from imkd_core.types import CameraImage, CameraModel, RadarCloud


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """One file of one sensor, with its calibration and the ego pose of its own stamp.

    Attributes:
        token: of the sample_data record.
        sensor: channel name.
        modality: "camera", "radar" or "lidar".
        stamp_ns: time of the measurement.
        path: the file; it is not opened before it is asked for.
        is_key_frame: whether it belongs to a sample, or lies between two.
        ego_from_sensor, global_from_ego: (4, 4) rigid transforms.
        previous: token of the sensor's reading before, "" at the first.
        camera: calibration of a camera, None for other sensors.
        max_points: a radar file that claims more returns is refused.
    """

    token: str
    sensor: str
    modality: str
    stamp_ns: int
    path: Path
    is_key_frame: bool
    ego_from_sensor: Float64
    global_from_ego: Float64
    previous: str
    camera: CameraModel | None
    max_points: int = MAX_RADAR_POINTS

    def read_bytes(self) -> bytes:
        """Return the file as it is: JPEG, PCD or LiDAR points.

        Raises:
            DataError: the file cannot be read.
        """
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise DataError(
                f"sensor '{self.sensor}': cannot read {self.path} ({error.strerror}); the dataroot "
                "is incomplete"
            ) from None

    def image(self, target_width_px: int | None = None) -> CameraImage:
        """Decode the image of a camera; see `imaging.decode_jpeg` for `target_width_px`.

        Raises:
            DataError: the file is missing or no image.
        """
        try:
            pixels = decode_jpeg(self.read_bytes(), self.sensor, target_width_px)
            return CameraImage(sensor=self.sensor, stamp_ns=self.stamp_ns, pixels=pixels)
        except SensorError as error:
            raise DataError(f"{self.path}: {error}") from None

    def radar_cloud(self, radar_filter: RadarFilter) -> RadarCloud:
        """Read the scan of a radar, in its frame.

        Raises:
            DataError: the file is missing or malformed.
        """
        points = read_radar_pcd(self.path, radar_filter, self.max_points)
        return to_radar_cloud(points, self.sensor, self.stamp_ns)


def read_reading(tables: Tables, record: Record) -> Reading:
    """Return the reading of a sample_data record; its file is not opened.

    Two fields that nuScenes does not have are understood: `max_points` of a radar's sensor record,
    and `distortion_model` with `distortion` (`CameraModel`) of a camera's calibration.

    Raises:
        DataError: a record that it needs is missing or malformed, or the file lies elsewhere.
    """
    calibrated = tables.get("calibrated_sensor", record["calibrated_sensor_token"])
    sensor = tables.get("sensor", calibrated["sensor_token"])
    ego_from_sensor = read_pose(calibrated, "calibrated_sensor")
    is_camera = sensor["modality"] == "camera"
    return Reading(
        token=record["token"],
        sensor=sensor["channel"],
        modality=sensor["modality"],
        stamp_ns=record["timestamp"] * 1000,
        path=tables.path(record["filename"]),
        is_key_frame=record["is_key_frame"],
        ego_from_sensor=ego_from_sensor,
        global_from_ego=read_pose(tables.get("ego_pose", record["ego_pose_token"]), "ego_pose"),
        previous=record["prev"],
        camera=_camera(record, calibrated, ego_from_sensor) if is_camera else None,
        max_points=_max_points(sensor),
    )


def read_pose(record: Record, table: str) -> Float64:
    """Return the (4, 4) transform of a record with translation and rotation.

    Raises:
        DataError: the rotation is none; the message names the table and the record.
    """
    try:
        return transform_from_quaternion(record["translation"], record["rotation"])
    except CalibrationError as error:
        raise DataError(f"{table}.json: record '{record['token']}': {error}") from None


def _max_points(sensor: Record) -> int:
    number = sensor.get("max_points", MAX_RADAR_POINTS)
    if type(number) is not int or number < 0:
        raise DataError(
            f"sensor.json: record '{sensor['token']}': max_points must be a whole number, got "
            f"{number!r}"
        )
    return number


def _camera(record: Record, calibrated: Record, ego_from_cam: Float64) -> CameraModel:
    try:
        return CameraModel(
            width_px=record["width"],
            height_px=record["height"],
            pixel_from_cam=calibrated["camera_intrinsic"],
            ego_from_cam=ego_from_cam,
            distortion_model=calibrated.get("distortion_model", "none"),
            distortion=tuple(calibrated.get("distortion", ())),
        )
    except (CalibrationError, ValueError, TypeError, OverflowError) as error:
        raise DataError(
            f"calibrated_sensor.json: record '{calibrated['token']}': {error}"
        ) from None
