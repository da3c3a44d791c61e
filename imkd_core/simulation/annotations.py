# SPDX-License-Identifier: Apache-2.0
"""True boxes of made-up key frames: what is near, was seen, and how many returns lie on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from imkd_core.data.nuscenes.writing import Row, linked, pose_fields, token_of
from imkd_core.geometry import Float64, invert_transform, points_in_box, transform_points, yaw_of
from imkd_core.simulation.ranging.ray_casting import cast
from imkd_core.simulation.world.scene import Placed, Shape, Snapshot
from imkd_core.types import CameraModel

#: Bodies up to here from the own vehicle are annotated.
ANNOTATED_M = 60.0

#: Boxes are larger than bodies by this in all, as an annotator draws them; upwards by half.
SLACK_M = 0.05

#: Rays to each body, from the camera that sees it.
_RAYS = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Sighting:
    """One body at one key frame.

    Attributes:
        number: of the body.
        category, attribute: of nuScenes.
        global_from_box: (4, 4).
        size_m: length, width, height of the box.
        lidar_points, radar_points: in the box, in the key frame's readings.
        visibility: 1 (at most 40 %) to 4 (80 % or more).
    """

    number: int
    category: str
    attribute: str
    global_from_box: Float64
    size_m: tuple[float, float, float]
    lidar_points: int
    radar_points: int
    visibility: int

    @property
    def is_seen(self) -> bool:
        """Whether LiDAR or radar hit it."""
        return self.lidar_points + self.radar_points > 0


def sight(
    snapshot: Snapshot,
    cameras: Mapping[str, CameraModel],
    lidar_points: Float64,
    radar_points: Float64,
) -> list[Sighting]:
    """Return the bodies with a category near the own vehicle.

    Args:
        snapshot: the world at the key frame's time.
        cameras: of the vehicle.
        lidar_points: (N, 3) all returns of the key frame, global frame.
        radar_points: likewise, of all radars.
    """
    ego = snapshot.global_from_ego[:2, 3]
    near = [
        i
        for i, placed in enumerate(snapshot.placed)
        if placed.body.category
        and float(np.hypot(*(placed.global_from_body[:2, 3] - ego))) <= ANNOTATED_M
    ]
    visible = visible_shares(snapshot, cameras, near)
    found = []
    for i, share in zip(near, visible, strict=True):
        placed = snapshot.placed[i]
        pose, size = annotated_box(placed)
        found.append(
            Sighting(
                number=placed.body.number,
                category=placed.body.category,
                attribute=placed.attribute,
                global_from_box=pose,
                size_m=size,
                lidar_points=_count_inside(lidar_points, pose, size),
                radar_points=_count_inside(radar_points, pose, size),
                visibility=1 + int(np.searchsorted([0.4, 0.6, 0.8], share)),
            )
        )
    return found


def annotated_box(placed: Placed) -> tuple[Float64, tuple[float, float, float]]:
    """Return pose (4, 4) and size of the box around a body."""
    length, width, height = placed.body.shape.size_m
    pose = placed.global_from_body.copy()
    pose[2, 3] += SLACK_M / 4
    return pose, (length + SLACK_M, width + SLACK_M, height + SLACK_M / 2)


def visible_shares(
    snapshot: Snapshot, cameras: Mapping[str, CameraModel], chosen: Sequence[int]
) -> NDArray[np.float64]:
    """Return the share (0..1) of each chosen body that the cameras see, by casting rays.

    Args:
        snapshot: the world.
        cameras: of the vehicle.
        chosen: indices into `snapshot.placed`.
    """
    points = [_points_on(snapshot.placed[i]) for i in chosen]
    if not points:
        return np.zeros(0)
    targets = np.concatenate(points)
    owner = np.repeat(np.asarray(chosen), [len(part) for part in points])
    origins, is_in_view = _viewpoints(snapshot, cameras, targets)
    rays = targets - origins
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    hit = np.zeros(len(targets), dtype=bool)
    if is_in_view.any():
        hits = cast(snapshot, origins[is_in_view], rays[is_in_view], ANNOTATED_M + 20.0)
        hit[is_in_view] = hits.placed_index == owner[is_in_view]
    starts = np.cumsum([0, *(len(part) for part in points[:-1])])
    return np.asarray(np.add.reduceat(hit, starts) / [len(part) for part in points])


def annotation_rows(
    scene: str, samples: Sequence[str], sightings: Sequence[Sequence[Sighting]]
) -> tuple[list[Row], list[Row]]:
    """Return the rows of `instance` and `sample_annotation` of a drive.

    A body is annotated from the first to the last key frame at which it was seen, where it is near.

    Args:
        scene: name.
        samples: tokens of the key frames.
        sightings: of each key frame.
    """
    tracks: dict[int, list[tuple[int, Sighting]]] = {}
    for key, found in enumerate(sightings):
        for sighting in found:
            tracks.setdefault(sighting.number, []).append((key, sighting))
    instances: list[Row] = []
    annotations: list[Row] = []
    for number, track in sorted(tracks.items()):
        seen = [key for key, sighting in track if sighting.is_seen]
        kept = [(k, s) for k, s in track if seen and seen[0] <= k <= seen[-1]]
        if kept:
            instance, rows = _track_rows(scene, samples, number, kept)
            instances.append(instance)
            annotations.extend(rows)
    return instances, annotations


def _track_rows(
    scene: str, samples: Sequence[str], number: int, track: Sequence[tuple[int, Sighting]]
) -> tuple[Row, list[Row]]:
    tokens = [token_of("sample_annotation", scene, number, key) for key, _ in track]
    instance = token_of("instance", scene, number)
    rows = []
    for (key, sighting), token, link in zip(track, tokens, linked(tokens), strict=True):
        length, width, height = sighting.size_m
        has_attribute = bool(sighting.attribute)
        rows.append(
            {
                "token": token,
                "sample_token": samples[key],
                "instance_token": instance,
                "visibility_token": str(sighting.visibility),
                "attribute_tokens": [token_of("attribute", sighting.attribute)]
                if has_attribute
                else [],
                **pose_fields(sighting.global_from_box),
                "size": [width, length, height],
                **link,
                "num_lidar_pts": sighting.lidar_points,
                "num_radar_pts": sighting.radar_points,
            }
        )
    head = {
        "token": instance,
        "category_token": token_of("category", track[0][1].category),
        "nbr_annotations": len(tokens),
        "first_annotation_token": tokens[0],
        "last_annotation_token": tokens[-1],
    }
    return head, rows


def _count_inside(points: Float64, pose: Float64, size: tuple[float, float, float]) -> int:
    center = pose[:3, 3]
    reach = 0.5 * float(np.hypot(size[0], size[1])) + 0.1
    near = (np.abs(points[:, 0] - center[0]) < reach) & (np.abs(points[:, 1] - center[1]) < reach)
    return int(points_in_box(points[near], center, size, yaw_of(pose)).sum())


def _points_on(placed: Placed) -> Float64:
    """Return (P, 3) points inside the body, all over it, in the global frame."""
    return transform_points(placed.global_from_body, _points_in(placed.body.shape))


@lru_cache(maxsize=1024)
def _points_in(shape: Shape) -> Float64:
    """Return (P, 3) points inside a shape, all over it."""
    inside = []
    for solid in shape.solids:
        corners = solid.corners_m
        middle = corners.mean(axis=0)
        inside.append(middle + 0.8 * (corners[::3] - middle))
    points = np.concatenate(inside)
    return points[np.linspace(0, len(points) - 1, min(_RAYS, len(points))).astype(int)]


def _viewpoints(
    snapshot: Snapshot, cameras: Mapping[str, CameraModel], targets: Float64
) -> tuple[Float64, NDArray[np.bool_]]:
    """Return the camera centre (R, 3) from which each target is seen, and whether any sees it."""
    origins = np.repeat(snapshot.global_from_ego[None, :3, 3], len(targets), axis=0)
    is_in_view = np.zeros(len(targets), dtype=bool)
    for camera in cameras.values():
        global_from_cam = snapshot.global_from_ego @ camera.ego_from_cam
        x, y, z = transform_points(invert_transform(global_from_cam), targets).T
        k = camera.pixel_from_cam
        u = k[0, 0] * x / np.maximum(z, 1e-3) + k[0, 2]
        v = k[1, 1] * y / np.maximum(z, 1e-3) + k[1, 2]
        inside = (z > 0.3) & (u > 0) & (u < camera.width_px) & (v > 0) & (v < camera.height_px)
        origins[inside & ~is_in_view] = global_from_cam[:3, 3]
        is_in_view |= inside
    return origins, is_in_view
