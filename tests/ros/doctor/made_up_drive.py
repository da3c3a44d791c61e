# SPDX-License-Identifier: Apache-2.0
"""A small recording that nothing is wrong with: three cameras and two radars of sensors.yaml, 3 s.

The vehicle drives straight on at 5 m/s between posts that stand.
"""

from pathlib import Path

import cv2
import numpy as np
import yaml

from imkd_core.data.bags.bag_writer import BagWriter
from imkd_core.data.bags.messages import make, make_header, make_point_cloud, make_transform
from imkd_core.geometry import rigid_transform
from imkd_core.resources import share_folder

START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000
SPEED_MPS = 5.0
WIDTH, HEIGHT = 64, 32

#: Sensor -> azimuth it looks to, degrees.
CAMERAS = {"CAM_FRONT": 0.0, "CAM_FRONT_RIGHT": -55.0, "CAM_FRONT_LEFT": 55.0}
RADARS = {"RADAR_FRONT": 0.0, "RADAR_FRONT_LEFT": 90.0}


def write_sensors(path: Path) -> Path:
    """Write the part of config/sensors.yaml that the recording has."""
    raw = yaml.safe_load((share_folder() / "config" / "sensors.yaml").read_text(encoding="utf-8"))
    kept = {
        kind: {name: raw[kind][name] for name in names}
        for kind, names in (("cameras", CAMERAS), ("radars", RADARS))
    }
    path.write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")
    return path


def pose_of(sensor: str) -> np.ndarray:
    """Return (4, 4) `ego_from_sensor`."""
    azimuth = np.radians({**CAMERAS, **RADARS}[sensor])
    forward = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    left, up = np.array([-forward[1], forward[0], 0.0]), np.array([0.0, 0.0, 1.0])
    columns = [-left, -up, forward] if sensor in CAMERAS else [forward, left, up]
    place = (1.0 + forward[0], forward[1], 1.5)
    return rigid_transform(np.column_stack(columns), place)


def camera_info(stamp_ns: int, frame: str):
    """Return a CameraInfo of 90 degrees."""
    k = np.array([[32.0, 0.0, 31.5], [0.0, 32.0, 15.5], [0.0, 0.0, 1.0]])
    whole = {"x_offset": 0, "y_offset": 0, "height": 0, "width": 0, "do_rectify": False}
    return make(
        "sensor_msgs/msg/CameraInfo",
        header=make_header(stamp_ns, frame),
        height=HEIGHT,
        width=WIDTH,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=k.reshape(-1),
        r=np.eye(3).reshape(-1),
        p=np.hstack([k, np.zeros((3, 1))]).reshape(-1),
        binning_x=0,
        binning_y=0,
        roi=make("sensor_msgs/msg/RegionOfInterest", **whole),
    )


def scan(stamp_ns: int, frame: str, rng: np.random.Generator):
    """Return a scan of 30 returns that stand, with the fields that sensors.yaml names."""
    count = 30
    azimuth, range_m = rng.uniform(-1.0, 1.0, count), rng.uniform(3.0, 60.0, count)
    zeros = np.zeros(count, np.float32)
    columns = {
        "x": range_m * np.cos(azimuth),
        "y": range_m * np.sin(azimuth),
        "z": zeros,
        "rcs": rng.uniform(-5.0, 15.0, count),
        "vx_comp": zeros,
        "vy_comp": zeros,
    }
    floats = {name: values.astype(np.float32) for name, values in columns.items()}
    states = {"invalid_state": 0, "dyn_prop": 1, "ambig_state": 3}
    codes = {name: np.full(count, value, np.int8) for name, value in states.items()}
    return make_point_cloud(stamp_ns, frame, {**floats, **codes})


def transforms(stamp_ns: int, items):
    """Return a TFMessage of (parent, child, pose)."""
    made = [make_transform(stamp_ns, *item) for item in items]
    return make("tf2_msgs/msg/TFMessage", transforms=made)


def frame_of(sensor: str) -> str:
    return f"{sensor.lower()}_optical_frame" if sensor in CAMERAS else sensor.lower()


def write_drive(path: Path, storage: str = "mcap", frames: int = 30) -> Path:
    """Write the recording."""
    rng = np.random.default_rng(5)
    picture = rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    jpeg = cv2.imencode(".jpg", picture)[1].reshape(-1)
    fixed = [("base_link", frame_of(name), pose_of(name)) for name in (*CAMERAS, *RADARS)]
    tf = "tf2_msgs/msg/TFMessage"
    with BagWriter(path, storage=storage) as bag:
        bag.write("/tf_static", tf, START_NS, transforms(START_NS, fixed))
        for i in range(frames * 2 + 3):
            stamp_ns = START_NS + i * PERIOD_NS // 2 - PERIOD_NS // 2
            pose = rigid_transform(np.eye(3), (SPEED_MPS * i * PERIOD_NS / 2e9, 0.0, 0.0))
            item = ("odom", "base_link", pose)
            bag.write("/tf", tf, stamp_ns + 5_000_000, transforms(stamp_ns, [item]))
            if i % 2 or i >= frames * 2:
                continue
            write_readings(bag, stamp_ns, stamp_ns + 20_000_000, jpeg, rng)
    return path


def write_readings(bag: BagWriter, stamp_ns: int, log_ns: int, jpeg, rng) -> None:
    """Write one reading of each sensor, 20 ms after it was taken."""
    for name in CAMERAS:
        base, frame = f"/sensing/{name.lower()}", frame_of(name)
        info = camera_info(stamp_ns, frame)
        bag.write(f"{base}/camera_info", "sensor_msgs/msg/CameraInfo", log_ns, info)
        image = make(
            "sensor_msgs/msg/CompressedImage",
            header=make_header(stamp_ns, frame),
            format="jpeg",
            data=jpeg,
        )
        topic = f"{base}/image/compressed"
        bag.write(topic, "sensor_msgs/msg/CompressedImage", log_ns, image)
    for name in RADARS:
        topic = f"/sensing/{name.lower()}/points"
        message = scan(stamp_ns, frame_of(name), rng)
        bag.write(topic, "sensor_msgs/msg/PointCloud2", log_ns, message)
