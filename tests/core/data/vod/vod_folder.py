# SPDX-License-Identifier: Apache-2.0
"""A made-up View-of-Delft folder in the exact layout, with a scene known to the digit."""

import json
from pathlib import Path

import cv2
import numpy as np

#: Intrinsics as View-of-Delft prints them (a calibration fact, data.md 2).
P2 = "1495.468642 0.0 961.272442 0.0 0.0 1495.468642 624.89592 0.0 0.0 0.0 1.0 0.0"

TILT_RAD = 0.1


def cam_from_sensor(offset_m=(0.0, 0.0, 0.0), tilt_rad=TILT_RAD):
    """Axes x forward, y left, z up to a camera that looks down by `tilt_rad`."""
    upright = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
    c, s = np.cos(tilt_rad), np.sin(tilt_rad)
    look_down = np.array([[1.0, 0, 0], [0, c, -s], [0, s, c]])
    matrix = np.eye(4)
    matrix[:3, :3] = look_down @ upright
    matrix[:3, 3] = matrix[:3, :3] @ np.asarray(offset_m)
    return matrix


LIDAR_CAM = cam_from_sensor((0.3, 0.0, 0.2))
RADAR_CAM = cam_from_sensor((-1.5, 0.1, 1.4))


def _text(matrix):
    return " ".join(f"{value:.8f}" for value in matrix[:3].ravel())


def calibration_text(matrix, p2=P2):
    return (
        f"P0: {p2}\nP1: {p2}\nP2: {p2}\nP3: {p2}\nR0_rect: 1 0 0 0 1 0 0 0 1\n"
        f"Tr_velo_to_cam: {_text(matrix)}\nTr_imu_to_velo:\n"
    )


def label_line(
    name, bottom_lidar_m, size_m, yaw_lidar_rad, occlusion=0, box_px=(100, 100, 200, 200)
):
    """One of our boxes as View-of-Delft would write it."""
    x, y, z = (LIDAR_CAM @ [*bottom_lidar_m, 1.0])[:3]
    length, width, height = size_m
    rotation = -yaw_lidar_rad - np.pi / 2
    left, top, right, bottom = box_px
    return (
        f"{name} 0 {occlusion} 0.0 {left} {top} {right} {bottom} {height} {width} {length} "
        f"{x:.6f} {y:.6f} {z:.6f} {rotation:.6f} 1.0"
    )


def write_vod(root: Path, frames=3, labels=(), radar=None, lidar=None, speed_mps=5.0):
    """Write frames 00000.. that drive straight ahead; the same content in each."""
    radar = np.zeros((0, 7)) if radar is None else radar
    lidar = np.array([[10.0, 1, -1, 50], [20, -2, 0, 200]]) if lidar is None else lidar
    folders = ["lidar/ImageSets"]
    kinds = ("calib", "image_2", "label_2", "pose", "velodyne")
    folders += [f"lidar/training/{kind}" for kind in kinds]
    for name in ("radar", "radar_3frames", "radar_5frames"):
        folders += [f"{name}/training/calib", f"{name}/training/velodyne"]
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
    tokens = [f"{i:05d}" for i in range(frames)]
    (root / "lidar/ImageSets/train.txt").write_text("\n".join(tokens) + "\n")
    picture = cv2.imencode(".jpg", np.full((1216, 1936, 3), 90, np.uint8))[1].tobytes()
    for i, token in enumerate(tokens):
        training = root / "lidar/training"
        (training / f"calib/{token}.txt").write_text(calibration_text(LIDAR_CAM))
        (training / f"image_2/{token}.jpg").write_bytes(picture)
        (training / f"label_2/{token}.txt").write_text("\n".join(labels) + "\n")
        (training / f"pose/{token}.json").write_text(pose_text(i * 0.1 * speed_mps))
        (training / f"velodyne/{token}.bin").write_bytes(lidar.astype("<f4").tobytes())
        for name, scans in (("radar", 1), ("radar_3frames", 3), ("radar_5frames", 5)):
            (root / f"{name}/training/calib/{token}.txt").write_text(calibration_text(RADAR_CAM))
            kept = radar[radar[:, 6] > -scans]
            path = root / f"{name}/training/velodyne/{token}.bin"
            path.write_bytes(kept.astype("<f4").tobytes())
    return root


def pose_text(forward_m):
    """Three JSON objects, one a line; the vehicle has moved forward along the LiDAR's x axis."""
    odom_from_lidar = np.eye(4)
    odom_from_lidar[0, 3] = forward_m
    cam_from_odom = LIDAR_CAM @ np.linalg.inv(odom_from_lidar)
    rows = [float(value) for value in cam_from_odom.ravel()]
    return "\n".join(
        json.dumps({name: rows}) for name in ("odomToCamera", "mapToCamera", "UTMToCamera")
    )
