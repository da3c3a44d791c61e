# SPDX-License-Identifier: Apache-2.0
"""The view from above: metres in the ego frame -> pixels, and what is drawn with it.

Forward (x) is up and left (y) is left.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike

from imkd_core import drawing
from imkd_core.bev_grid import BevGrid
from imkd_core.drawing import Color, Picture, class_color
from imkd_core.geometry import Float64, box_corners
from imkd_core.types import Detections


@dataclass(frozen=True, kw_only=True)
class EgoShape:
    """The vehicle's outline around the origin of its ego frame (default: a compact car's)."""

    front_m: float = 3.4
    rear_m: float = 0.7
    width_m: float = 1.75


class BevView:
    """A picture of a grid's range from above.

    Attributes:
        grid: the range.
        px_per_m: scale.
        size_px: (width, height) of the picture.
    """

    def __init__(self, grid: BevGrid, height_px: int) -> None:
        """Fit the range of x into a height; the width follows from the range of y."""
        self.grid = grid
        self.px_per_m = height_px / (grid.x_max_m - grid.x_min_m)
        self.size_px = (round((grid.y_max_m - grid.y_min_m) * self.px_per_m), height_px)

    def pixels(self, xy_m: ArrayLike) -> Float64:
        """Return (..., 2) pixels (u, v) of positions x, y."""
        xy = np.asarray(xy_m, dtype=np.float64)
        u = (self.grid.y_max_m - xy[..., 1]) * self.px_per_m - 0.5
        v = (self.grid.x_max_m - xy[..., 0]) * self.px_per_m - 0.5
        return np.stack([u, v], axis=-1)

    def from_map(self, colors: Picture) -> Picture:
        """Return a (Y, X, 3) map of colours as a picture."""
        upright = np.ascontiguousarray(colors.transpose(1, 0, 2)[::-1, ::-1])
        return np.asarray(cv2.resize(upright, self.size_px, interpolation=cv2.INTER_NEAREST))

    def background(self, ring_step_m: float) -> Picture:
        """Return an empty view: range rings on dark ground."""
        picture = np.full((*self.size_px[::-1], 3), drawing.DARK, dtype=np.uint8)
        self.draw_rings(picture, ring_step_m, drawing.MUTED, 0.35)
        return picture

    def draw_rings(self, picture: Picture, step_m: float, color: Color, opacity: float) -> None:
        """Draw range rings with their distance, and the forward and left axes."""
        over = picture.copy()
        grid = self.grid
        angle = np.linspace(0, 2 * np.pi, 181)
        farthest = max(abs(grid.x_min_m), grid.x_max_m, abs(grid.y_min_m), grid.y_max_m)
        for radius in np.arange(step_m, farthest * 1.4, step_m):
            ring = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
            drawing.draw_path(over, self.pixels(ring), color)
            text = f"{radius:g} m"
            u, v = self.pixels((radius, 0.0))
            drawing.draw_text(over, text, (u + 3, v + 3), color, 0.36)
        for line in (
            ((grid.x_min_m, 0), (grid.x_max_m, 0)),
            ((0, grid.y_min_m), (0, grid.y_max_m)),
        ):
            start, end = self.pixels(line)
            drawing.draw_line(over, start, end, color)
        picture[:] = np.rint(picture * (1 - opacity) + over * opacity).astype(np.uint8)

    def draw_ego(self, picture: Picture, ego: EgoShape) -> None:
        """Draw the own vehicle, with a wedge that points forward."""
        half = ego.width_m / 2
        body = [
            (ego.front_m, half),
            (ego.front_m, -half),
            (-ego.rear_m, -half),
            (-ego.rear_m, half),
        ]
        wedge = [(ego.front_m, 0.0), (ego.front_m - 1.5, -half), (ego.front_m - 1.5, half)]
        drawing.fill_polygon(picture, self.pixels(body), drawing.MUTED, 0.8)
        drawing.fill_polygon(picture, self.pixels(wedge), drawing.DARK, 0.9)

    def corners(self, boxes: Detections) -> Float64:
        """Return (N, 4, 2) pixels of the outlines, from the front left corner clockwise."""
        corners = box_corners(boxes.center_m, boxes.size_m, boxes.yaw_rad)
        return self.pixels(corners[:, [0, 1, 5, 4], :2])

    def draw_boxes(
        self,
        picture: Picture,
        boxes: Detections,
        color: Color | None = None,
        *,
        arrows: bool = True,
    ) -> None:
        """Draw outlines in class colours, or thin ones in a given colour, and velocity arrows."""
        heads = boxes.center_m[:, :2] + boxes.velocity_mps
        speed_mps = np.linalg.norm(boxes.velocity_mps, axis=1)
        for i, outline in enumerate(self.corners(boxes)):
            shade = color or class_color(int(boxes.labels[i]))
            thickness_px = 1 if color else 2
            if not color:
                drawing.fill_polygon(picture, outline, shade, 0.3)
            drawing.draw_path(picture, outline, shade, thickness_px)
            drawing.draw_line(picture, outline[0], outline[1], shade, thickness_px + 1)
            if arrows and speed_mps[i] > drawing.SLOW_MPS:
                start, end = self.pixels([boxes.center_m[i, :2], heads[i]])
                drawing.draw_arrow(picture, start, end, shade, thickness_px)
