# SPDX-License-Identifier: Apache-2.0
"""The view of one camera: ego frame -> pixels of its tile, and what is drawn on it."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike

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
        start = boxes.center_m - boxes.size_m * (0.0, 0.0, 0.5)
        end = start + np.pad(boxes.velocity_mps, ((0, 0), (0, 1)))
        moves = np.linalg.norm(boxes.velocity_mps, axis=1) > drawing.SLOW_MPS
        for i in np.flatnonzero(moves):
            way = np.stack([start[i], end[i]])
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
        cam_from_reference=invert_transform(
            np.asarray(reference_from_ego, dtype=np.float64) @ camera.ego_from_cam
        ),
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
    ahead = (0.0, 0.0, 1.0)
    if (corners_cam[:, 2] < NEAR_M).all():
        return
    front = drawing.clip_polygon(corners_cam[:4], ahead, NEAR_M)
    front_px, _ = project_points(pixel_from_cam, front)
    drawing.fill_polygon(picture, front_px, color, 0.12 if thin else 0.35)
    edges = [drawing.clip_polygon(corners_cam[list(edge)], ahead, NEAR_M)[:2] for edge in BOX_EDGES]
    lines = [project_points(pixel_from_cam, edge)[0] for edge in edges if len(edge) == 2]
    for shade, thickness_px in ((color, 1),) if thin else ((drawing.BLACK, 3), (color, 2)):
        for line in lines:
            drawing.draw_line(picture, line[0], line[1], shade, thickness_px)
