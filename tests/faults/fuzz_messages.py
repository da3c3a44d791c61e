# SPDX-License-Identifier: Apache-2.0
"""Decoders of ROS messages, fed with messages whose every field may be wrong."""

from pathlib import Path
from random import Random
from zlib import crc32

import cv2
import numpy as np

from imkd_core.encoded_image import decode_jpeg
from imkd_core.imaging import fit_window, to_network_image
from imkd_core.runtime.transform_tree import TransformTree
from imkd_core.types import CameraImage
from imkd_core.view_lut import build_view_geometry
from imkd_ros.bridge.calibration import CalibrationStore
from imkd_ros.bridge.convert import (
    MAX_RANGE_M,
    MAX_RCS_DBSM,
    MAX_SPEED_MPS,
    to_camera_image,
    to_lidar_points,
    to_radar_scan,
)
from imkd_ros.bridge.convert_out import from_objects_cloud
from imkd_ros.bridge.ground_truth import class_map, read_boxes
from imkd_ros.bridge.motion import EgoMotion
from imkd_ros.bridge.sensors import RadarFields, RadarSource, sensor_set_from_mapping
from tests.core.rigs import camera_of, spec_of
from tests.faults.fuzz_made import (
    STAMP_S,
    boxes_of,
    camera_info_of,
    cloud_of,
    image_of,
    odometry_of,
    transform_of,
)
from tests.faults.fuzz_mutation import Tape, broken_bytes, tapes
from tests.faults.fuzz_target import Attempt, Target, beyond, not_finite

RADAR_NAMES = ("x", "y", "z", "rcs", "vx_comp", "vy_comp")

_RADIAL = RadarFields(vx="", vy="", radial="vx_comp", age="vy_comp")
_SOURCES = (
    RadarSource(),
    RadarSource(velocity_is_compensated=False, velocity_scale=-0.27778),
    RadarSource(fields=_RADIAL, velocity_is_compensated=False, keep={"rcs": (0, 1, 8)}),
    RadarSource(fields=RadarFields(z="", rcs=""), max_points=2),
)

#: Pixels up to which an image of the calibrated size is made, to see the calibration used.
_FEW_PIXELS = 1 << 15

_PNG_HEAD = 8


def image(folder: Path) -> Attempt:
    """Raw images become what their header claims, or are refused."""

    def attempt(data: bytes) -> str:
        message = image_of(Tape(data))
        found = to_camera_image(message, "CAM")
        wanted = (message.height, message.width, 3)
        return "" if found.pixels.shape == wanted else f"range: {found.pixels.shape}, not {wanted}"

    return attempt


def compressed(folder: Path) -> Attempt:
    """JPEG and PNG become uint8 RGB of a size that may be, or are refused."""

    def attempt(data: bytes) -> str:
        pixels = decode_jpeg(data, "CAM", (None, 4, 8)[len(data) % 3])
        is_image = pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8
        return "" if is_image else f"range: no RGB image: {pixels.shape} {pixels.dtype}"

    return attempt


def camera_info(folder: Path) -> Attempt:
    """A calibration that is taken gives finite geometry and an image; others are refused."""
    spec, pose = spec_of(), camera_of().ego_from_cam
    sensors = sensor_set_from_mapping({"cameras": {"A": {}, "B": {"is_rectified": True}}})

    def attempt(data: bytes) -> str:
        tape = Tape(data)
        name = tape.pick("A", "B")
        tree = TransformTree()
        tree.set_static("base_link", "a_optical", pose)
        store = CalibrationStore(sensors, tree, "base_link")
        store.on_camera_info(name, camera_info_of(tape))
        store.refresh()
        if name not in store.rig.cameras:
            return ""
        camera = store.rig.cameras[name]
        wrong = not_finite("K", camera.pixel_from_cam, camera.distortion)
        return wrong or (_used(camera) if len(data) % 16 == 0 else "")

    def _used(camera) -> str:
        geometry = build_view_geometry([(camera, camera.ego_from_cam)], spec)
        wrong = not_finite("view geometry", geometry.camera_params, geometry.frustum_mask)
        wrong = wrong or not_finite("look-up table", *geometry.masked(np.ones(1, np.float32)))
        if wrong or camera.width_px * camera.height_px > _FEW_PIXELS:
            return wrong or not_finite("window", fit_window(camera, spec).pixel_from_cam)
        pixels = np.zeros((camera.height_px, camera.width_px, 3), np.uint8)
        picture = CameraImage(sensor="A", stamp_ns=1, pixels=pixels)
        to_network_image(picture, camera, spec)
        return ""

    return attempt


def points(folder: Path) -> Attempt:
    """Radar scans become returns within the documented ranges, or are refused."""

    def attempt(data: bytes) -> str:
        tape = Tape(data)
        source = _SOURCES[tape.byte() & 3]
        message = cloud_of(tape, RADAR_NAMES)
        velocity_mps = tape.pick((8.0, 0.5, 0.0), (None, (1e9, 0.0, 0.0)))
        found = to_radar_scan(message, "RADAR", source, velocity_mps).cloud.points
        return (
            not_finite("a return", found)
            or beyond("a position", found[:, :3], MAX_RANGE_M * 1.001)
            or beyond("a speed", found[:, 4:6], MAX_SPEED_MPS * 1.001)
            or beyond("an RCS", found[:, 3], MAX_RCS_DBSM * 1.001)
            or beyond("the number of returns", len(found), source.max_points)
        )

    return attempt


def lidar(folder: Path) -> Attempt:
    """LiDAR sweeps become finite points with intensities of 0..255, or are refused."""

    def attempt(data: bytes) -> str:
        message = cloud_of(Tape(data), ("x", "y", "z", "intensity", "ring"))
        found = to_lidar_points(message, "LIDAR", 255.0, 1000)
        return not_finite("a point", found) or beyond("an intensity", found[:, 3], 255.0)

    return attempt


def motion(folder: Path) -> Attempt:
    """TF and odometry give finite poses and velocities, or none."""
    start_ns = STAMP_S * 1_000_000_000

    def attempt(data: bytes) -> str:
        tape = Tape(data)
        tree = TransformTree(max_extrapolation_ns=100_000_000)
        is_from_odometry = bool(tape.byte() & 1)
        ego = EgoMotion(tree, "odom", "base_link", is_from_odometry)
        for i in range(4):
            stamp_ns, x_m = i * 50_000_000, 0.4 * i
            if is_from_odometry:
                ego.on_odometry(odometry_of(tape, stamp_ns, x_m), stamp_ns)
            else:
                link = transform_of(tape, stamp_ns, "odom", "base_link", x_m)
                ego.on_transform(link, False, stamp_ns)
        mount = transform_of(tape, 0, "base_link", "radar")
        ego.on_transform(mount, True, 0)
        ego_from_radar = tree.lookup("base_link", "radar")
        ask_ns = start_ns + tape.whole(120, 16) * 1_000_000
        asked = (ego.poses.relative(ask_ns, start_ns + late) for late in (0, 150_000_000))
        known = [pose for pose in (ego.poses.pose_at(ask_ns), *asked) if pose is not None]
        return (
            not_finite("a pose", *known)
            or not_finite("a mounting pose", ego_from_radar)
            or not_finite("a velocity", ego.velocity_of(ego_from_radar, ask_ns))
        )

    return attempt


def truth(folder: Path) -> Attempt:
    """True boxes in messages, with and without their table, become sound boxes or are refused."""
    classes = class_map({"van": "truck", "ghost": ""})
    columns = ("x", "y", "z", "length", "width", "height", "yaw", "vx", "vy", "score", "class_id")

    def attempt(data: bytes) -> str:
        tape = Tape(data)
        kind = tape.byte() % 3
        if kind == 0:
            found = from_objects_cloud(cloud_of(tape, columns), ("car", "bus", "truck"))
            return not_finite("a box", found.center_m, found.size_m, found.yaw_rad)
        message = boxes_of(tape)
        table = cloud_of(tape, columns, 0, 2, "base_link") if kind == 1 else None
        boxes = read_boxes(message, table, classes).boxes
        return not_finite("a box", boxes.center_m, boxes.size_m, boxes.yaw_rad) or (
            "range: infinite velocity" if np.isinf(boxes.velocity_mps).any() else ""
        )

    return attempt


def pictures() -> list[bytes]:
    """Small images of many kinds, as JPEG and PNG."""
    rng = np.random.default_rng(1)
    colour = rng.integers(0, 255, (24, 40, 3), dtype=np.uint8)
    flat = np.full((32, 48, 3), 90, np.uint8)
    found = []
    for pixels in (colour, flat, colour[..., 0]):
        found += [_encoded(".jpg", pixels, q) for q in ([], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])]
        found.append(_encoded(".jpg", pixels, [cv2.IMWRITE_JPEG_RST_INTERVAL, 1]))
        found.append(_encoded(".png", pixels, []))
    alpha = np.dstack([colour, colour[..., 0]])
    deep = colour.astype(np.uint16) * 257
    one_bit = _encoded(".png", flat[..., 0] // 255, [cv2.IMWRITE_PNG_BILEVEL, 1])
    return [*found, _encoded(".png", alpha, []), _encoded(".png", deep, []), one_bit]


def _encoded(suffix: str, pixels: np.ndarray, how: list[int]) -> bytes:
    return cv2.imencode(suffix, pixels, how)[1].tobytes()


def broken_picture(data: bytes, rng: Random) -> bytes:
    """Return a broken image; a PNG's chunks often get checksums that fit what was broken."""
    broken = broken_bytes(data, rng)
    if broken[1:4] == b"PNG" and rng.random() < 0.7:
        return _with_checksums(broken)
    return broken


def _with_checksums(data: bytes) -> bytes:
    raw, at = bytearray(data), _PNG_HEAD
    while at + 12 <= len(raw):
        end = at + 8 + int.from_bytes(raw[at : at + 4], "big")
        if end + 4 > len(raw):
            break
        raw[end : end + 4] = crc32(raw[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(raw)


MESSAGES = (
    Target(name="image", share=180, open=image, seeds=tapes),
    Target(
        name="compressed image", share=120, open=compressed, seeds=pictures, mutate=broken_picture
    ),
    Target(name="camera info", share=100, open=camera_info, seeds=tapes),
    Target(name="radar points", share=170, open=points, seeds=tapes),
    Target(name="LiDAR points", share=40, open=lidar, seeds=tapes),
    Target(name="TF and odometry", share=30, open=motion, seeds=tapes),
    Target(name="true boxes", share=50, open=truth, seeds=tapes),
)
