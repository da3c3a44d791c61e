# SPDX-License-Identifier: Apache-2.0
"""The view of one camera: ego frame -> pixels of its tile, and what is drawn on it."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from imkd_core import drawing
from imkd_core.drawing import LabelPlacer, Picture, class_color
from imkd_core.geometry import (
    BOX_EDGES,
    Float64,
    box_corners,
    invert_transform,
    project_points,
    transform_points,
)
from imkd_core.types import CameraImage, CameraModel, Detections

#: Parts of a box nearer to the camera's image plane than this are not drawn.
NEAR_M = 0.3
#: Boxes lower than this in the tile are labelled with their score alone.
_SMALL_BOX_PX = 28.0
#: Corners that lines over a picture join: the edges, and a cross on the front face.
_BOX_LINES = (*BOX_EDGES, (0, 2), (1, 3))
#: Pieces that a line is cut into where a lens bends it, and from which length on, pixels.
_PIECES, _LONG_PX = 4, 60.0
#: No line is drawn farther from the axis of a lens.
_STEEPEST_RAD = math.radians(88.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageLines:
    """Lines over one camera's picture.

    Attributes:
        ends_px: (L, 2, 2) both ends (u, v) of each, on the calibrated image, not rectified; the
            centre of its top-left pixel is (0, 0).
        labels: (L,) class of the box that each belongs to.
    """

    ends_px: Float64
    labels: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class CameraView:
    """One camera's tile and its projection.

    Attributes:
        tile: (H, W, 3) uint8 RGB, drawn on in place.
        pixel_from_cam: (3, 3) intrinsic matrix for the tile's size.
        cam_from_reference: (4, 4) from the ego frame at the reference time to the camera at its
            exposure.
    """

    tile: Picture
    pixel_from_cam: Float64
    cam_from_reference: Float64

    def draw_points(self, points_ego: ArrayLike, far_m: float) -> None:
        """Draw (P, 3) points as dots, yellow when near and dark at `far_m`, the farthest first."""
        points = np.asarray(points_ego, dtype=np.float64).reshape(-1, 3)
        points_cam = transform_points(self.cam_from_reference, points)
        pixels, depth_m = project_points(self.pixel_from_cam, points_cam)
        colors = drawing.range_colors(points, far_m)
        for i in np.argsort(-depth_m):
            if depth_m[i] > NEAR_M:
                drawing.draw_dot(self.tile, pixels[i], colors[i], self.tile.shape[1] / 250)

    def draw_boxes(self, boxes: Detections, *, thin: bool) -> None:
        """Draw wireframes, the farthest first: in class colours, or thin and white."""
        corners_cam = self._corners_cam(boxes)
        for i in np.argsort(-corners_cam[..., 2].mean(axis=1)):
            color = drawing.WHITE if thin else class_color(int(boxes.labels[i]))
            draw_wireframe(self.tile, corners_cam[i], self.pixel_from_cam, color, thin=thin)

    def draw_ways(self, boxes: Detections) -> None:
        """Draw an arrow on the ground, one second's way, for boxes that move."""
        for i, way in zip(*_ways(boxes), strict=True):
            pixels, depth_m = project_points(
                self.pixel_from_cam, transform_points(self.cam_from_reference, way)
            )
            if (depth_m > NEAR_M).all():
                color = class_color(int(boxes.labels[i]))
                drawing.draw_arrow(self.tile, pixels[0], pixels[1], drawing.BLACK, 4)
                drawing.draw_arrow(self.tile, pixels[0], pixels[1], color, 2)

    def label_boxes(self, labels: LabelPlacer, boxes: Detections, *, scores: bool) -> None:
        """Write class and score above the boxes in the picture; the nearest find a place first."""
        corners_cam = self._corners_cam(boxes)
        size_px = np.array(self.tile.shape[1::-1])
        for i in np.argsort(corners_cam[..., 2].mean(axis=1)):
            pixels, depth_m = project_points(self.pixel_from_cam, corners_cam[i])
            center = pixels.mean(axis=0)
            if (depth_m < NEAR_M).any() or (center < 0).any() or (center >= size_px).any():
                continue
            is_small = np.ptp(pixels[:, 1]) < _SMALL_BOX_PX
            words = [] if is_small and scores else [boxes.names[i].replace("_", " ")]
            words += [f"{boxes.scores[i]:.2f}"] if scores else []
            top = pixels[:, 1].min()
            beside = (center[0], top, center[0], top)
            labels.place(" ".join(words), beside, class_color(int(boxes.labels[i])))

    def _corners_cam(self, boxes: Detections) -> Float64:
        corners = box_corners(boxes.center_m, boxes.size_m, boxes.yaw_rad)
        return transform_points(self.cam_from_reference, corners)


def open_view(
    image: CameraImage, camera: CameraModel, reference_from_ego: ArrayLike, width_px: int
) -> CameraView:
    """Return the view of an image, rectified and resized to a width.

    Args:
        image: the picture.
        camera: its calibration.
        reference_from_ego: (4, 4) from the ego frame at the exposure to that at the reference.
        width_px: of the tile.
    """
    scale = width_px / camera.width_px
    height_px = tile_height(camera, width_px)
    tile_from_image = np.array(
        [
            [scale, 0, (scale - 1) / 2],
            [0, height_px / camera.height_px, (height_px / camera.height_px - 1) / 2],
            [0, 0, 1],
        ]
    )
    return CameraView(
        tile=_rectified(image, camera, (width_px, height_px)),
        pixel_from_cam=tile_from_image @ camera.pixel_from_cam,
        cam_from_reference=_cam_from_reference(camera, reference_from_ego),
    )


def tile_height(camera: CameraModel, width_px: int) -> int:
    """Return the height of a camera's tile of a width, in whole pixels."""
    return max(round(camera.height_px * width_px / camera.width_px), 1)


def _rectified(image: CameraImage, camera: CameraModel, size_px: tuple[int, int]) -> Picture:
    """Return the image without lens distortion, at a size (width, height)."""
    pixels = image.pixels
    if camera.is_distorted:
        height, width = pixels.shape[:2]
        scale = np.diag((width / camera.width_px, height / camera.height_px, 1.0))
        k, coefficients = scale @ camera.pixel_from_cam, np.array(camera.distortion)
        if camera.distortion_model == "equidistant":
            pixels = cv2.fisheye.undistortImage(pixels, k, coefficients, Knew=k)
        else:
            pixels = cv2.undistort(pixels, k, coefficients)
    kernel = cv2.INTER_AREA if size_px[0] < pixels.shape[1] else cv2.INTER_LINEAR
    return np.array(cv2.resize(pixels, size_px, interpolation=kernel), dtype=np.uint8)


def draw_wireframe(
    picture: Picture,
    corners_cam: Float64,
    pixel_from_cam: Float64,
    color: drawing.Color,
    *,
    thin: bool = False,
) -> None:
    """Draw a box of (8, 3) corners in the camera frame; parts behind `NEAR_M` are cut off.

    The front face is shaded, so that the heading can be seen.
    """
    front = drawing.clip_polygon(corners_cam[:4], (0.0, 0.0, 1.0), NEAR_M)
    front_px, _ = project_points(pixel_from_cam, front)
    drawing.fill_polygon(picture, front_px, color, 0.12 if thin else 0.35)
    lines, _ = project_points(pixel_from_cam, lines_ahead(corners_cam[list(BOX_EDGES)]))
    lines = lines.reshape(-1, 2, 2)
    lines = lines[np.isfinite(lines).all(axis=(1, 2))]
    for shade, thickness_px in ((color, 1),) if thin else ((drawing.BLACK, 3), (color, 2)):
        for line in lines:
            drawing.draw_line(picture, line[0], line[1], shade, thickness_px)


def lines_ahead(lines_cam: ArrayLike) -> Float64:
    """Return (L, 2, 3) lines without what is nearer than `NEAR_M`; NaN where nothing is left.

    Args:
        lines_cam: (L, 2, 3) both ends of each, in the camera frame.
    """
    lines = np.asarray(lines_cam, dtype=np.float64).reshape(-1, 2, 3)
    depth_m = lines[..., 2] - NEAR_M
    is_near = depth_m < 0
    is_crossing = is_near.any(axis=1, keepdims=True) & ~is_near.all(axis=1, keepdims=True)
    share = np.where(is_crossing, depth_m, 0.0) / np.where(
        is_crossing, depth_m - depth_m[:, ::-1], 1.0
    )
    cut = lines + share[..., None] * (lines[:, ::-1] - lines)
    kept: Float64 = np.where(is_near[..., None], cut, lines)
    kept[is_near.all(axis=1)] = np.nan
    return kept


def image_lines(
    boxes: Detections, camera: CameraModel, reference_from_ego: ArrayLike
) -> ImageLines:
    """Return boxes as lines over the picture that a camera sends, lens distortion and all.

    Edges, a cross on the front face, and one second's way on the ground of those that move.

    Args:
        boxes: in the ego frame at the reference time.
        camera: its calibration.
        reference_from_ego: (4, 4) from the ego frame at the exposure to that at the reference.
    """
    cam_from_reference = _cam_from_reference(camera, reference_from_ego)
    corners = box_corners(boxes.center_m, boxes.size_m, boxes.yaw_rad)
    moving, ways = _ways(boxes)
    lines = np.concatenate([corners[:, list(_BOX_LINES)].reshape(-1, 2, 3), ways])
    owners = np.concatenate([np.repeat(np.arange(len(boxes)), len(_BOX_LINES)), moving])
    ahead = lines_ahead(transform_points(cam_from_reference, lines))
    straight, _ = project_points(camera.pixel_from_cam, ahead)
    length_px = np.hypot(*(straight[::2] - straight[1::2]).T)
    is_long = (length_px > _LONG_PX) & camera.is_distorted
    found = [
        _pieces(camera, ahead[chosen], owners[chosen], pieces)
        for chosen, pieces in (((length_px >= 0) & ~is_long, 1), (is_long, _PIECES))
    ]
    ends, kept = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return ImageLines(ends_px=ends, labels=boxes.labels[kept])


def _pieces(
    camera: CameraModel, lines_cam: Float64, owners: NDArray[np.int64], pieces: int
) -> tuple[Float64, NDArray[np.int64]]:
    """Return (M, 2, 2) pieces of (L, 2, 3) lines on the picture, and (M,) of their owners."""
    parts = np.linspace(0.0, 1.0, pieces + 1)[:, None]
    points = lines_cam[:, :1] + parts * (lines_cam[:, 1:] - lines_cam[:, :1])
    pixels = _lens_pixels(camera, points.reshape(-1, 3)).reshape(-1, pieces + 1, 2)
    ends = np.stack([pixels[:, :-1], pixels[:, 1:]], axis=2).reshape(-1, 2, 2)
    ends, kept = _on_picture(ends, (camera.width_px, camera.height_px))
    return ends, np.repeat(owners, pieces)[kept]


def _cam_from_reference(camera: CameraModel, reference_from_ego: ArrayLike) -> Float64:
    pose = np.asarray(reference_from_ego, dtype=np.float64)
    return invert_transform(pose @ camera.ego_from_cam)


def _ways(boxes: Detections) -> tuple[NDArray[np.int64], Float64]:
    """Return which boxes move, and (M, 2, 3) one second's way of each on the ground."""
    moving = np.flatnonzero(np.linalg.norm(boxes.velocity_mps, axis=1) > drawing.SLOW_MPS)
    start = (boxes.center_m - boxes.size_m * (0.0, 0.0, 0.5))[moving]
    end = start + np.pad(boxes.velocity_mps[moving], ((0, 0), (0, 1)))
    return moving, np.stack([start, end], axis=1).astype(np.float64)


def _lens_pixels(camera: CameraModel, points_cam: Float64) -> Float64:
    """Return (N, 2) where (N, 3) points ahead are in the picture as it is sent; NaN = nowhere."""
    if not camera.is_distorted:
        return project_points(camera.pixel_from_cam, points_cam)[0]
    pixels = np.full((len(points_cam), 2), np.nan)
    rays = points_cam[:, :2] / points_cam[:, 2:]
    steps = np.tan(np.linspace(0.0, _STEEPEST_RAD, 500))
    bent = np.hypot(*_bent(camera, np.stack([steps, np.zeros(500)], axis=1)).T)
    folds = np.flatnonzero(np.diff(bent) <= 0)  # beyond it the coefficients mean nothing
    reach = steps[folds[0]] if len(folds) else steps[-1]
    seen = np.hypot(*rays.T) <= reach  # NaN is not
    flat = np.pad(_bent(camera, rays[seen]), ((0, 0), (0, 1)), constant_values=1.0)
    pixels[seen] = project_points(camera.pixel_from_cam, flat)[0]
    return pixels


def _bent(camera: CameraModel, rays: Float64) -> Float64:
    """Return (N, 2) rays x/z, y/z behind the lens."""
    if not len(rays):
        return rays
    points = np.pad(rays, ((0, 0), (0, 1)), constant_values=1.0)[:, None]
    nothing, coefficients = np.zeros(3), np.array(camera.distortion)
    if camera.distortion_model == "equidistant":
        found = cv2.fisheye.projectPoints(points, nothing, nothing, np.eye(3), coefficients)[0]
    else:
        found = cv2.projectPoints(points, nothing, nothing, np.eye(3), coefficients)[0]
    return np.asarray(found, dtype=np.float64).reshape(-1, 2)


def _on_picture(ends_px: Float64, size_px: tuple[int, int]) -> tuple[Float64, NDArray[np.int64]]:
    """Return the (M, 2, 2) parts of (L, 2, 2) lines on a picture, and (M,) which lines are left."""
    start, way = ends_px[:, 0], ends_px[:, 1] - ends_px[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        sides = np.stack([(-0.5 - start) / way, (np.array(size_px) - 0.5 - start) / way])
    enter = np.fmax(np.fmin(*sides).max(axis=1), 0.0)
    leave = np.fmin(np.fmax(*sides).min(axis=1), 1.0)
    kept = np.flatnonzero(np.isfinite(ends_px).all(axis=(1, 2)) & (enter < leave))
    shares = np.stack([enter, leave], axis=1)[kept]
    return start[kept, None] + shares[..., None] * way[kept, None], kept
