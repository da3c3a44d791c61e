# SPDX-License-Identifier: Apache-2.0
"""Decoders of recorded data: bags, nuScenes folders, View-of-Delft folders, point files."""

import json
import shutil
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np

from imkd_core.data.bags.bag_writer import BagWriter
from imkd_core.data.bags.messages import serialize
from imkd_core.data.bags.recording import open_bag
from imkd_core.data.nuscenes.boxes import read_true_boxes
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.data.point_clouds import (
    RadarFilter,
    read_lidar_bin,
    read_radar_pcd,
    to_lidar_cloud,
    to_radar_cloud,
)
from imkd_core.data.vod.boxes import true_vod
from imkd_core.data.vod.files import VOD_RADAR_COLUMNS, read_labels, read_points, read_pose
from imkd_core.data.vod.reader import ViewOfDelft
from tests.core.data.made_up import RADAR_STRUCT, radar_file, write_dataroot
from tests.core.data.vod.vod_folder import LIDAR_CAM, calibration_text, label_line, pose_text
from tests.faults.fuzz_cdr import STAMP_NS, TYPES, messages
from tests.faults.fuzz_mutation import broken_json
from tests.faults.fuzz_target import Attempt, Target, not_finite

#: Messages that are read of one bag, and bytes that they may hold together.
_MOST_MESSAGES, _MOST_BYTES = 100, 1 << 24

_VERSION = "v1.0-mini"
_VOD_FILES = ("lidar/training/calib", "lidar/training/label_2", "lidar/training/pose")


def bag(folder: Path, storage: str = "mcap") -> Attempt:
    """A bag gives the messages that are whole, or is refused; never half of one."""
    path = folder / f"drive.{'mcap' if storage == 'mcap' else 'db3'}"

    def attempt(data: bytes) -> str:
        path.write_bytes(data)
        return _read_bag(path)

    return attempt


def metadata(folder: Path) -> Attempt:
    """metadata.yaml decides what is read of a bag's folder, and nothing outside of it."""
    path = folder / "bag"
    shutil.rmtree(path, ignore_errors=True)
    _write_bag(path, "mcap")

    def attempt(data: bytes) -> str:
        (path / "metadata.yaml").write_bytes(data)
        return _read_bag(path)

    return attempt


def _read_bag(path: Path) -> str:
    size = 0
    with open_bag(path) as opened:
        for number, message in enumerate(opened.messages()):
            opened.decode(message)
            size += len(message.cdr)
            if number > _MOST_MESSAGES or size > _MOST_BYTES:
                return f"range: more than was written: {number} messages, {size} bytes"
    return ""


def _write_bag(path: Path, storage: str) -> None:
    with BagWriter(path, storage=storage) as writer:
        for number, (name, cdr) in enumerate((TYPES[m[0]], m[1:]) for m in messages()):
            writer.write(f"/{name.rsplit('/', 1)[1].lower()}{number}", name, STAMP_NS + number, cdr)
        text = serialize("std_msgs/msg/String", _string("hello"))
        writer.write("/note", "std_msgs/msg/String", STAMP_NS + 99, text)


def _string(text: str) -> Any:
    from imkd_core.data.bags.messages import make

    return make("std_msgs/msg/String", data=text)


def bag_bytes(storage: str) -> list[bytes]:
    """Return the bytes of a small bag's only file."""
    return [_in_folder(partial(_bag_file, storage=storage, ending=("mcap", "db3")))]


def metadata_bytes() -> list[bytes]:
    """Return metadata.yaml of a small bag, as it is and as JSON, whose tree can be broken."""
    import yaml

    text = _in_folder(partial(_bag_file, storage="mcap", ending=("yaml",)))
    return [text, json.dumps(yaml.safe_load(text)).encode()]


def _bag_file(folder: Path, storage: str, ending: tuple[str, ...]) -> bytes:
    _write_bag(folder / "bag", storage)
    files = [p for p in (folder / "bag").iterdir() if p.suffix[1:] in ending]
    return files[0].read_bytes()


def _in_folder(work: Callable[[Path], bytes]) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return work(Path(folder))


def nuscenes(folder: Path) -> Attempt:
    """A dataroot with one broken table is read soundly, or refused by the table's name."""
    root = folder / "nuscenes"
    whole = {name: json.dumps(rows).encode() for name, rows in _dataroot(root).items()}
    names = tuple(whole)

    def attempt(data: bytes) -> str:
        name = names[(data[0] if data else 0) % len(names)]
        table = root / _VERSION / f"{name}.json"
        table.write_bytes(data[1:])
        try:
            return _read_nuscenes(root)
        finally:
            table.write_bytes(whole[name])

    return attempt


def _read_nuscenes(root: Path) -> str:
    reader = NuScenes(root, _VERSION)
    records = reader.samples()
    for record in records:
        for reading in record.readings.values():
            if not reading.path.resolve().is_relative_to(root.resolve()):
                return f"range: {reading.path} lies outside the dataroot"
        frame, truth = record.frame(radar_sweeps=2, with_images=False), record.truth().detections
        poses = [*frame.reference_from_ego.values(), *record.rig.radars.values()]
        wrong = not_finite("a pose", *poses) or not_finite("a box", truth.center_m, truth.size_m)
        if wrong:
            return wrong
    boxes = read_true_boxes(records).boxes
    return not_finite("a true box", boxes.center_m, boxes.size_m, boxes.yaw_rad)


@cache
def _tables() -> dict[str, list[dict[str, Any]]]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return _dataroot(Path(folder))


def _dataroot(root: Path) -> dict[str, list[dict[str, Any]]]:
    shutil.rmtree(root, ignore_errors=True)
    made = write_dataroot(
        root, 2, cameras=("CAM_FRONT",), radars=("RADAR_FRONT",), sweeps=1, lidar_points=20
    )
    return {name: made.tables[name] for name in made.tables if name not in ("log", "map")}


def table_bytes() -> list[bytes]:
    """Return every table of a small dataroot, its number before it."""
    rows = _tables().values()
    return [bytes([i]) + json.dumps(table).encode() for i, table in enumerate(rows)]


def broken_table(data: bytes, rng: Random) -> bytes:
    """Return a table that is broken; the number before it is kept."""
    return data[:1] + broken_json(data[1:], rng)


def radar_pcd(folder: Path) -> Attempt:
    """Radar files become finite returns, or are refused."""
    path = folder / "radar.pcd"

    def attempt(data: bytes) -> str:
        path.write_bytes(data)
        found = read_radar_pcd(path, RadarFilter.none())
        return not_finite("a return", to_radar_cloud(found, "RADAR", STAMP_NS).points)

    return attempt


def lidar_bin(folder: Path) -> Attempt:
    """LiDAR files become finite points, or are refused."""
    path = folder / "lidar.pcd.bin"

    def attempt(data: bytes) -> str:
        path.write_bytes(data)
        points = read_lidar_bin(path)
        cloud = to_lidar_cloud([(points, np.eye(4), 0.0)], "LIDAR", STAMP_NS, 1.0)
        return not_finite("a point", cloud.points)

    return attempt


def view_of_delft(folder: Path) -> Attempt:
    """A folder with one broken calibration, label or pose file is read soundly or refused."""
    root = folder / "vod"
    for kind in (*_VOD_FILES, "radar/training/calib", "radar/training/velodyne"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    whole = dict(zip(_VOD_FILES, (text.encode() for text in _vod_texts()), strict=True))
    for kind, text in whole.items():
        _vod_path(root, kind).write_bytes(text)
    (root / "radar/training/calib/00000.txt").write_bytes(whole[_VOD_FILES[0]])
    radar = root / "radar/training/velodyne/00000.bin"
    radar.write_bytes(np.ones((2, 7), "<f4").tobytes())
    (root / "lidar/ImageSets").mkdir(exist_ok=True)
    (root / "lidar/ImageSets/train.txt").write_text("00000\n")

    def attempt(data: bytes) -> str:
        number = (data[0] if data else 0) % 4
        if number == 3:
            radar.write_bytes(data[1:])
            return not_finite("a return", read_points(radar, VOD_RADAR_COLUMNS))
        path = _vod_path(root, _VOD_FILES[number])
        path.write_bytes(data[1:])
        try:
            return _read_vod(root, path, number)
        finally:
            path.write_bytes(whole[_VOD_FILES[number]])

    return attempt


def _read_vod(root: Path, path: Path, number: int) -> str:
    if number == 2:
        return not_finite("a pose", read_pose(path))
    (sample,) = ViewOfDelft(root).samples()
    if number == 1:
        read_labels(path)
        boxes, vod = sample.truth().detections, true_vod(sample)
        return not_finite("a box", boxes.center_m, boxes.size_m, vod.position_cam_m, vod.height_px)
    camera = sample.rig.cameras["front_camera"]
    return not_finite("a calibration", camera.pixel_from_cam, camera.ego_from_cam)


def _vod_path(root: Path, kind: str) -> Path:
    return root / kind / f"00000.{'json' if kind.endswith('pose') else 'txt'}"


def _vod_texts() -> tuple[str, str, str]:
    labels = [
        label_line("Car", (10.0, 2.0, -1.0), (4.0, 1.8, 1.5), 0.3),
        label_line("Pedestrian", (8.0, -2.0, -1.0), (0.6, 0.6, 1.7), -2.0, occlusion=2),
        label_line("rider", (8.0, -4.0, -1.0), (0.6, 0.6, 1.7), 1.0),
    ]
    return calibration_text(LIDAR_CAM), "\n".join(labels), pose_text(1.0)


def vod_bytes() -> list[bytes]:
    """Return one file of each kind, its number before it."""
    texts = [bytes([i]) + text.encode() for i, text in enumerate(_vod_texts())]
    return [*texts, b"\x03" + np.arange(21, dtype="<f4").tobytes()]


def radar_bytes() -> list[bytes]:
    """Return small radar files, padded and not."""
    row = (1.0, 2.0, 0.0, 0, 7, 3.5, 1.0, 0.0, 1.0, 0.0, 1, 3, 19, 19, 0, 1, 16, 3)
    assert len(RADAR_STRUCT.pack(*row)) == 43
    return [radar_file([row] * count, padding) for count, padding in ((0, 0), (1, 0), (5, 60))]


def image_file(folder: Path) -> Attempt:
    """An image file of a sample is an image, or is refused by its path."""
    root = folder / "nuscenes"
    _dataroot(root)
    record = NuScenes(root, _VERSION).samples()[0]
    path = record.readings["CAM_FRONT"].path

    def attempt(data: bytes) -> str:
        path.write_bytes(data)
        pixels = record.frame(target_width_px=16).cameras["CAM_FRONT"].pixels
        return "" if pixels.ndim == 3 else "range: no image"

    return attempt


def image_bytes() -> list[bytes]:
    """Return a small JPEG."""
    pixels = np.arange(48 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(48, 64, 3)
    return [cv2.imencode(".jpg", pixels)[1].tobytes()]


FILES = (
    Target(name="MCAP", share=4, open=bag, seeds=partial(bag_bytes, "mcap")),
    Target(
        name="SQLite bag",
        share=4,
        open=partial(bag, storage="sqlite3"),
        seeds=partial(bag_bytes, "sqlite3"),
    ),
    Target(name="metadata.yaml", share=2, open=metadata, seeds=metadata_bytes, mutate=broken_json),
    Target(name="nuScenes tables", share=8, open=nuscenes, seeds=table_bytes, mutate=broken_table),
    Target(name="nuScenes image", share=4, open=image_file, seeds=image_bytes),
    Target(name="radar .pcd", share=50, open=radar_pcd, seeds=radar_bytes),
    Target(
        name="LiDAR .bin",
        share=30,
        open=lidar_bin,
        seeds=lambda: [np.arange(n, dtype="<f4").tobytes() for n in (0, 5, 50)],
    ),
    Target(name="View-of-Delft", share=40, open=view_of_delft, seeds=vod_bytes),
)
