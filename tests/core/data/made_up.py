# SPDX-License-Identifier: Apache-2.0
"""A small made-up drive in the nuScenes v1.0 layout, for tests; nothing in it is from nuScenes.

    from tests.core.data.made_up import write_dataroot
    drive = write_dataroot(tmp_path, frames=3)
    nuscenes = NuScenes(drive.root)

The vehicle drives an arc among eleven objects of constant velocity; the ego pose rolls and
pitches a little, every sensor has stamps of its own, and the unmodified nuscenes-devkit loads it.
"""

import hashlib
import json
import struct
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from imkd_core.geometry import (
    box_corners,
    invert_transform,
    points_in_box,
    project_points,
    quaternion_from_rotation,
    transform_points,
)

CAMERA_YAW_DEG = {
    "CAM_FRONT": 0.0,
    "CAM_FRONT_RIGHT": -55.0,
    "CAM_BACK_RIGHT": -110.0,
    "CAM_BACK": 180.0,
    "CAM_BACK_LEFT": 110.0,
    "CAM_FRONT_LEFT": 55.0,
}
#: name -> (x, y, yaw in degrees) in the ego frame
RADAR_MOUNTS = {
    "RADAR_FRONT": (3.4, 0.0, 0.0),
    "RADAR_FRONT_LEFT": (2.4, 0.8, 90.0),
    "RADAR_FRONT_RIGHT": (2.4, -0.8, -90.0),
    "RADAR_BACK_LEFT": (-0.6, 0.6, 175.0),
    "RADAR_BACK_RIGHT": (-0.6, -0.6, -175.0),
}
RADAR_HEADER = """# .PCD v0.7 - Point Cloud Data file format
VERSION 0.7
FIELDS x y z dyn_prop id rcs vx vy vx_comp vy_comp is_quality_valid ambig_state x_rms y_rms \
invalid_state pdh0 vx_rms vy_rms
SIZE 4 4 4 1 2 4 4 4 4 4 1 1 1 1 1 1 1 1
TYPE F F F I I F F F F F I I I I I I I I
COUNT 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1
WIDTH {count}
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS {count}
DATA binary
"""
RADAR_STRUCT = struct.Struct("<fffbhfffffbbbbbbbb")
START_US = 1_600_000_000_000_000
KEY_PERIOD_US = 500_000
START_YAW_RAD = 0.5
WIDTH_PX, HEIGHT_PX = 1600, 900
PIXEL_FROM_CAM = [[1250.0, 0.0, 805.0], [0.0, 1250.0, 470.0], [0.0, 0.0, 1.0]]


@dataclass(frozen=True, kw_only=True)
class MadeUpObject:
    """A thing that moves steadily; position and velocity in the first ego frame, level ground."""

    category: str
    position_m: tuple[float, float]
    size_wlh_m: tuple[float, float, float]
    yaw_rad: float = 0.0
    velocity_mps: tuple[float, float] = (0.0, 0.0)
    attribute: str = ""
    color_rgb: tuple[int, int, int] = (200, 60, 60)
    #: key frames in which it is annotated; None is all
    frames: tuple[int, ...] | None = None


OBJECTS = (
    MadeUpObject(
        category="vehicle.car",
        position_m=(18.0, 1.5),
        size_wlh_m=(1.9, 4.6, 1.7),
        velocity_mps=(9.0, 0.6),
        yaw_rad=0.07,
        attribute="vehicle.moving",
    ),
    MadeUpObject(
        category="vehicle.truck",
        position_m=(30.0, -7.0),
        size_wlh_m=(2.6, 8.0, 3.2),
        yaw_rad=-0.4,
        attribute="vehicle.parked",
        color_rgb=(60, 60, 200),
    ),
    MadeUpObject(
        category="vehicle.bus.rigid",
        position_m=(-20.0, 4.0),
        size_wlh_m=(2.9, 11.0, 3.4),
        velocity_mps=(5.0, 0.0),
        attribute="vehicle.moving",
        color_rgb=(220, 200, 40),
    ),
    MadeUpObject(
        category="vehicle.trailer",
        position_m=(38.0, -9.0),
        size_wlh_m=(2.5, 10.0, 3.5),
        yaw_rad=1.2,
        attribute="vehicle.parked",
        color_rgb=(150, 150, 220),
    ),
    MadeUpObject(
        category="vehicle.construction",
        position_m=(-14.0, -12.0),
        size_wlh_m=(2.4, 5.5, 3.0),
        yaw_rad=2.4,
        attribute="vehicle.parked",
        color_rgb=(240, 140, 20),
    ),
    MadeUpObject(
        category="human.pedestrian.adult",
        position_m=(11.0, 5.0),
        size_wlh_m=(0.7, 0.6, 1.75),
        yaw_rad=-1.6,
        velocity_mps=(0.0, -1.2),
        attribute="pedestrian.moving",
        color_rgb=(40, 200, 60),
    ),
    MadeUpObject(
        category="human.pedestrian.child",
        position_m=(11.7, 5.2),
        size_wlh_m=(0.5, 0.5, 1.2),
        yaw_rad=-1.6,
        velocity_mps=(0.0, -1.1),
        attribute="pedestrian.moving",
        color_rgb=(40, 230, 160),
        frames=(1, 2),
    ),
    MadeUpObject(
        category="vehicle.motorcycle",
        position_m=(2.0, -11.0),
        size_wlh_m=(0.8, 2.1, 1.4),
        yaw_rad=3.0,
        velocity_mps=(-6.0, 0.8),
        attribute="cycle.with_rider",
        color_rgb=(200, 40, 200),
    ),
    MadeUpObject(
        category="vehicle.bicycle",
        position_m=(3.0, 9.0),
        size_wlh_m=(0.6, 1.7, 1.2),
        yaw_rad=0.4,
        attribute="cycle.without_rider",
        color_rgb=(40, 200, 220),
    ),
    MadeUpObject(
        category="movable_object.barrier",
        position_m=(22.0, 8.0),
        size_wlh_m=(2.0, 0.5, 1.0),
        yaw_rad=1.5,
        color_rgb=(230, 230, 230),
    ),
    MadeUpObject(
        category="movable_object.trafficcone",
        position_m=(13.0, -4.0),
        size_wlh_m=(0.4, 0.4, 0.8),
        color_rgb=(255, 100, 0),
    ),
    MadeUpObject(
        category="movable_object.pushable_pullable",
        position_m=(8.0, 10.0),
        size_wlh_m=(0.7, 0.9, 1.1),
        color_rgb=(120, 120, 120),
    ),
)


@dataclass(frozen=True, kw_only=True)
class MadeUpDrive:
    """What was written: where, and the tokens of the key frames in time order, scene by scene."""

    root: Path
    version: str
    scene_names: tuple[str, ...]
    sample_tokens: tuple[str, ...]
    objects: tuple[MadeUpObject, ...]
    tables: dict[str, list[dict]] = field(repr=False)

    def rewrite(self, table: str) -> None:
        """Write one table again after a test changed it in `tables`."""
        path = self.root / self.version / f"{table}.json"
        path.write_text(json.dumps(self.tables[table]), encoding="utf-8")


def write_dataroot(
    root: Path,
    frames: int = 3,
    *,
    scenes: int = 1,
    cameras: tuple[str, ...] = tuple(CAMERA_YAW_DEG),
    radars: tuple[str, ...] = tuple(RADAR_MOUNTS),
    lidar: bool = True,
    sweeps: int = 2,
    camera_sweeps: int = 0,
    lidar_points: int = 2000,
    objects: tuple[MadeUpObject, ...] = OBJECTS,
    velocities: bool = False,
    version: str = "v1.0-mini",
    seed: int = 0,
) -> MadeUpDrive:
    """Write a made-up dataroot under `root` (0.4 s for 3 frames of 6 cameras); tell what it holds.

    Args:
        root: folder to fill; made where it is missing.
        frames: key frames a scene, 2 Hz.
        scenes: scenes, named "made-up-0", "made-up-1", ...
        cameras, radars: channels to write, names of `CAMERA_YAW_DEG` and `RADAR_MOUNTS`; may be
            empty. Cameras are 1600 x 900 JPEGs in which each object is a coloured silhouette.
        lidar: whether LIDAR_TOP is written (the reader needs it as the reference).
        sweeps: LiDAR and radar readings between two key frames.
        camera_sweeps: images between two key frames.
        lidar_points: ground points a LiDAR sweep; up to 150 a box come on top.
        objects: what is in the world; annotated in their `frames`.
        velocities: also write velocities.json with the true velocities (global frame).
        version: name of the table folder.
        seed: of LiDAR and radar points.

    Truth: every object moves steadily, so the devkit's neighbour rule gives its exact velocity;
    num_lidar_pts is counted. The last object of `OBJECTS` is in no detection class.
    """
    writer = _Writer(root, version, objects, lidar_points, np.random.default_rng(seed))
    channels = (*cameras, *radars, *(("LIDAR_TOP",) if lidar else ()))
    between = {name: camera_sweeps if name in cameras else sweeps for name in channels}
    writer.write_constants(channels)
    for scene in range(scenes):
        writer.write_scene(scene, frames, between)
    writer.write_tables(velocities)
    return MadeUpDrive(
        root=root,
        version=version,
        scene_names=tuple(row["name"] for row in writer.tables["scene"]),
        sample_tokens=tuple(row["token"] for row in writer.tables["sample"]),
        objects=objects,
        tables=writer.tables,
    )


def radar_file(points: list[tuple], padding: int | None = None) -> bytes:
    """Return a nuScenes radar file of 18-field points, padded to 4096 + 43 * N bytes."""
    header = RADAR_HEADER.format(count=len(points)).encode()
    padding = 4096 - len(header) if padding is None else padding
    return header + b"".join(RADAR_STRUCT.pack(*point) for point in points) + bytes(padding)


def token_of(*parts: object) -> str:
    """Return the token of a record; the same parts give the same token."""
    return hashlib.md5("/".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def ego_pose_at(time_s: float) -> np.ndarray:
    """Return global_from_ego, (4, 4): an arc at 8 m/s and 0.2 rad/s that rolls and pitches."""
    yaw0, rate, speed = START_YAW_RAD, 0.2, 8.0
    yaw = yaw0 + rate * time_s
    x = 400 + speed / rate * (np.sin(yaw) - np.sin(yaw0))
    y = 1100 - speed / rate * (np.cos(yaw) - np.cos(yaw0))
    pitch, roll = 0.01 * np.sin(time_s + 1), 0.006 * np.cos(3 * time_s)
    rotation = _rotation_z(yaw) @ _rotation_y(pitch) @ _rotation_x(roll)
    return _pose(rotation, (x, y, 0.0))


class _Writer:
    """Collects the tables and writes the sensor files of one made-up dataroot."""

    def __init__(self, root, version, objects, lidar_points, rng):
        self.root, self.version, self.objects = root, version, objects
        self.lidar_points, self.rng = lidar_points, rng
        names = "category attribute visibility instance sensor calibrated_sensor ego_pose log"
        names += " scene sample sample_data sample_annotation map"
        self.tables = {name: [] for name in names.split()}
        self.velocities = {}
        level = _pose(_rotation_z(START_YAW_RAD), (400.0, 1100.0, 0.0))
        self.global_from_world = level
        self.ego_from_sensor = {}
        self.background = _background()

    def write_constants(self, channels):
        categories = sorted({item.category for item in self.objects} | {"animal", "vehicle.car"})
        attributes = sorted({item.attribute for item in self.objects} - {""})
        for table, names in (("category", categories), ("attribute", attributes)):
            self.tables[table] = [
                {"token": token_of(table, name), "name": name, "description": ""} for name in names
            ]
        self.tables["visibility"] = [
            {"token": str(i + 1), "level": level, "description": ""}
            for i, level in enumerate(("v0-40", "v40-60", "v60-80", "v80-100"))
        ]
        for channel in channels:
            self._write_sensor(channel)
        log = {"logfile": "made-up", "vehicle": "m1", "date_captured": "2020-09-13"}
        self.tables["log"] = [{"token": token_of("log"), **log, "location": "nowhere"}]
        map_row = {"token": token_of("map"), "category": "semantic_prior"}
        map_row |= {"filename": "maps/blank.png", "log_tokens": [token_of("log")]}
        self.tables["map"] = [map_row]
        (self.root / "maps").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(self.root / "maps" / "blank.png"), np.zeros((1, 1), np.uint8))

    def _write_sensor(self, channel):
        pose = _mount(channel)
        self.ego_from_sensor[channel] = pose
        modality = {"C": "camera", "R": "radar", "L": "lidar"}[channel[0]]
        sensor = {"token": token_of("sensor", channel), "channel": channel, "modality": modality}
        self.tables["sensor"].append(sensor)
        self.tables["calibrated_sensor"].append(
            {
                "token": token_of("calibrated_sensor", channel),
                "sensor_token": sensor["token"],
                "translation": pose[:3, 3].tolist(),
                "rotation": quaternion_from_rotation(pose[:3, :3]).tolist(),
                "camera_intrinsic": PIXEL_FROM_CAM if modality == "camera" else [],
            }
        )
        for folder in ("samples", "sweeps"):
            (self.root / folder / channel).mkdir(parents=True, exist_ok=True)

    def write_scene(self, scene, frames, between):
        start_us = START_US + scene * 100_000_000
        tokens = [token_of("sample", scene, k) for k in range(frames)]
        links = _links(tokens)
        counts = [dict.fromkeys(range(len(self.objects)), 0) for _ in range(frames)]
        for channel, extra in between.items():
            self._write_channel(scene, start_us, channel, extra, tokens, counts)
        for k, token in enumerate(tokens):
            sample = {"token": token, "timestamp": start_us + k * KEY_PERIOD_US}
            scene_token = token_of("scene", scene)
            self.tables["sample"].append({**sample, **links[k], "scene_token": scene_token})
        self._write_annotations(scene, tokens, counts)
        self.tables["scene"].append(
            {
                "token": token_of("scene", scene),
                "log_token": token_of("log"),
                "nbr_samples": frames,
                "first_sample_token": tokens[0],
                "last_sample_token": tokens[-1],
                "name": f"made-up-{scene}",
                "description": "an arc among steady objects",
            }
        )

    def _write_channel(self, scene, start_us, channel, extra, tokens, counts):
        readings = len(tokens) + (len(tokens) - 1) * extra
        names = [token_of("sample_data", scene, channel, i) for i in range(readings)]
        links = _links(names)
        for i, token in enumerate(names):
            key, part = divmod(i, extra + 1)
            period_us = KEY_PERIOD_US // (extra + 1)
            time_us = start_us + key * KEY_PERIOD_US + part * period_us + _offset_us(channel)
            folder, is_key = ("samples", True) if part == 0 else ("sweeps", False)
            suffix = {"C": "jpg", "R": "pcd", "L": "pcd.bin"}[channel[0]]
            filename = f"{folder}/{channel}/made-up-{scene}__{channel}__{time_us}.{suffix}"
            time_s = (time_us - start_us) * 1e-6
            global_from_ego = ego_pose_at(time_s)
            found = self._write_file(channel, self.root / filename, time_s, global_from_ego)
            if is_key and found:
                counts[key].update(found)
            self.tables["ego_pose"].append(
                {
                    "token": token,
                    "timestamp": time_us,
                    "rotation": quaternion_from_rotation(global_from_ego[:3, :3]).tolist(),
                    "translation": global_from_ego[:3, 3].tolist(),
                }
            )
            self.tables["sample_data"].append(
                {
                    "token": token,
                    "sample_token": tokens[key if is_key else key + 1],
                    "ego_pose_token": token,
                    "calibrated_sensor_token": token_of("calibrated_sensor", channel),
                    "timestamp": time_us,
                    "fileformat": suffix.split(".")[0],
                    "is_key_frame": is_key,
                    "height": HEIGHT_PX if channel[0] == "C" else 0,
                    "width": WIDTH_PX if channel[0] == "C" else 0,
                    "filename": filename,
                    **links[i],
                }
            )

    def _write_file(self, channel, path, time_s, global_from_ego):
        sensor_from_global = invert_transform(global_from_ego @ self.ego_from_sensor[channel])
        if channel[0] == "C":
            pixels = self._draw(sensor_from_global, time_s)
            cv2.imwrite(str(path), pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
            return None
        if channel[0] == "R":
            path.write_bytes(radar_file(self._scan_radar(sensor_from_global, time_s)))
            return None
        points, counts = self._scan_lidar(sensor_from_global, time_s)
        path.write_bytes(points.tobytes())
        return counts

    def _box(self, item, time_s):
        """Return centre (3,), size l, w, h (3,), yaw and velocity (3,) in the global frame."""
        width, length, height = item.size_wlh_m
        x = item.position_m[0] + item.velocity_mps[0] * time_s
        y = item.position_m[1] + item.velocity_mps[1] * time_s
        center = transform_points(self.global_from_world, (x, y, height / 2 + 0.05))
        velocity = self.global_from_world[:3, :3] @ (*item.velocity_mps, 0.0)
        return center, np.array([length, width, height]), item.yaw_rad + START_YAW_RAD, velocity

    def _draw(self, cam_from_global, time_s):
        pixels = self.background.copy()
        silhouettes = []
        for item in self.objects:
            center, size, yaw, _ = self._box(item, time_s)
            corners = transform_points(cam_from_global, box_corners(center, size, yaw)[0])
            if corners[:, 2].min() > 0.5:
                outline, depth = project_points(PIXEL_FROM_CAM, corners)
                silhouettes.append((depth.mean(), outline, item.color_rgb))
        for _, outline, color in sorted(silhouettes, key=lambda entry: -entry[0]):
            hull = cv2.convexHull(np.clip(outline, -4000, 4000).astype(np.int32).reshape(-1, 1, 2))
            cv2.fillConvexPoly(pixels, hull, color)
            cv2.polylines(pixels, [hull], True, (0, 0, 0), 2)
        return pixels

    def _scan_lidar(self, lidar_from_global, time_s):
        angle = self.rng.uniform(-np.pi, np.pi, self.lidar_points)
        range_m = self.rng.uniform(4.0, 50.0, self.lidar_points)
        center = ego_pose_at(time_s)[:2, 3]
        ground = np.stack([range_m * np.cos(angle), range_m * np.sin(angle)], axis=1) + center
        clouds = [np.column_stack([ground, np.zeros(self.lidar_points)])]
        for item in self.objects:
            box_center, size, yaw, _ = self._box(item, time_s)
            distance_m = np.linalg.norm(box_center[:2] - center)
            count = int(min(150, 4000 * size.prod() ** 0.5 / distance_m**2))
            local = self.rng.uniform(-0.45, 0.45, (count, 3)) * size
            clouds.append(local @ _rotation_z(yaw).T + box_center)
        points_global = np.concatenate(clouds)
        points = np.zeros((len(points_global), 5), dtype=np.float32)
        points[:, :3] = transform_points(lidar_from_global, points_global)
        points[:, 3] = self.rng.integers(0, 256, len(points))
        points[:, 4] = self.rng.integers(0, 32, len(points))
        stored = transform_points(invert_transform(lidar_from_global), points[:, :3])
        counts = {}
        for index, item in enumerate(self.objects):
            box_center, size, yaw, _ = self._box(item, time_s)
            counts[index] = int(points_in_box(stored, box_center, size, yaw).sum())
        return points, counts

    def _scan_radar(self, radar_from_global, time_s):
        returns = []
        ego_velocity = (ego_pose_at(time_s + 0.01) - ego_pose_at(time_s - 0.01))[:3, 3] / 0.02
        for item in self.objects:
            center, _, _, velocity = self._box(item, time_s)
            x, y, _ = transform_points(radar_from_global, center)
            if x < 0.5 or np.hypot(x, y) > 100 or abs(np.arctan2(y, x)) > np.radians(60):
                continue
            direction = np.array([x, y]) / np.hypot(x, y)
            over_ground = (radar_from_global[:3, :3] @ velocity)[:2] @ direction * direction
            own = (radar_from_global[:3, :3] @ ego_velocity)[:2] @ direction * direction
            dynamic = 0 if np.any(velocity) else 1
            returns.append((x, y, dynamic, 10.0, over_ground - own, over_ground, 3, 0))
        for i in range(8):
            x, y = self.rng.uniform(0.2, 60), self.rng.uniform(-20, 20)
            states = (i, 2 if i == 6 else 3, 4 if i == 5 else 0)
            zero = np.zeros(2)
            returns.append((x, y, states[0], -5.0, zero, zero, states[1], states[2]))
        return [
            (x, y, 0.0, dyn, i, rcs, *relative, *ground, 1, ambiguous, 19, 19, invalid, 1, 16, 3)
            for i, (x, y, dyn, rcs, relative, ground, ambiguous, invalid) in enumerate(returns)
        ]

    def _write_annotations(self, scene, tokens, counts):
        for index, item in enumerate(self.objects):
            keys = [k for k in range(len(tokens)) if item.frames is None or k in item.frames]
            names = [token_of("annotation", scene, index, k) for k in keys]
            if not names:
                continue
            instance = token_of("instance", scene, index)
            self.tables["instance"].append(
                {
                    "token": instance,
                    "category_token": token_of("category", item.category),
                    "nbr_annotations": len(names),
                    "first_annotation_token": names[0],
                    "last_annotation_token": names[-1],
                }
            )
            for k, token, link in zip(keys, names, _links(names), strict=True):
                center, _, yaw, velocity = self._box(item, k * KEY_PERIOD_US * 1e-6)
                self.velocities[token] = velocity[:2].tolist()
                self.tables["sample_annotation"].append(
                    {
                        "token": token,
                        "sample_token": tokens[k],
                        "instance_token": instance,
                        "visibility_token": str(index % 4 + 1),
                        "attribute_tokens": [token_of("attribute", item.attribute)]
                        if item.attribute
                        else [],
                        "translation": center.tolist(),
                        "size": list(item.size_wlh_m),
                        "rotation": [np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)],
                        "num_lidar_pts": counts[k][index],
                        "num_radar_pts": index % 3,
                        **link,
                    }
                )

    def write_tables(self, velocities):
        folder = self.root / self.version
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in self.tables.items():
            (folder / f"{name}.json").write_text(json.dumps(rows), encoding="utf-8")
        if velocities:
            text = json.dumps(self.velocities)
            (folder / "velocities.json").write_text(text, encoding="utf-8")


def _links(tokens):
    padded = ["", *tokens, ""]
    return [{"prev": padded[i], "next": padded[i + 2]} for i in range(len(tokens))]


def _offset_us(channel):
    if channel[0] == "C":
        return -40_000 + 7_000 * list(CAMERA_YAW_DEG).index(channel)
    if channel[0] == "R":
        return 15_000 - 9_000 * list(RADAR_MOUNTS).index(channel)
    return 0


def _mount(channel):
    """Return ego_from_sensor of a channel, (4, 4)."""
    if channel in RADAR_MOUNTS:
        x, y, yaw_deg = RADAR_MOUNTS[channel]
        return _pose(_rotation_z(np.radians(yaw_deg)), (x, y, 0.5))
    if channel == "LIDAR_TOP":  # x right, y forward
        return _pose(_rotation_z(-np.pi / 2) @ _rotation_x(0.02), (0.9, 0.0, 1.84))
    yaw = np.radians(CAMERA_YAW_DEG[channel])
    body_from_optical = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    rotation = _rotation_z(yaw) @ _rotation_y(0.01) @ body_from_optical
    return _pose(rotation, (0.9 + 0.7 * np.cos(yaw), 0.5 * np.sin(yaw), 1.5))


def _background():
    """Return a (900, 1600, 3) picture of sky above ground, brighter to the right."""
    rows = np.linspace(0, 1, HEIGHT_PX)[:, None, None]
    columns = np.linspace(0.8, 1.0, WIDTH_PX)[None, :, None]
    sky, ground = np.array([130, 170, 220]), np.array([110, 105, 95])
    picture = np.where(rows < 0.52, sky * (0.8 + 0.3 * rows), ground * (0.5 + 0.5 * rows))
    return (picture * columns).clip(0, 255).astype(np.uint8)


def _pose(rotation, translation):
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, translation
    return pose


def _rotation_x(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _rotation_y(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _rotation_z(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
