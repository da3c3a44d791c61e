# SPDX-License-Identifier: Apache-2.0
"""Drawing primitives on RGB pictures: colours, clipped lines and polygons, text that keeps apart.

Pictures are (H, W, 3) uint8 RGB and are drawn on in place. Pixels are (u, v) with the centre of the
top-left pixel at (0, 0) and may be anything, also far outside: lines are clipped before OpenCV,
which keeps only 16 bits of some coordinates, sees them.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from imkd_core.geometry import Float64

Picture = NDArray[np.uint8]
Color = tuple[int, int, int]

WHITE: Color = (255, 255, 255)
MUTED: Color = (150, 160, 175)
DARK: Color = (18, 22, 29)
BLACK: Color = (0, 0, 0)
WARNING: Color = (255, 176, 80)

#: Ten colours for classes, in label order: Okabe and Ito's set, brightened for dark ground, and
#: three that differ from it in lightness. They can be told apart with any kind of colour vision.
PALETTE: tuple[Color, ...] = (
    (86, 190, 255),
    (40, 120, 255),
    (245, 230, 66),
    (0, 200, 150),
    (170, 130, 255),
    (190, 190, 150),
    (230, 85, 20),
    (235, 140, 200),
    (255, 170, 0),
    (255, 60, 110),
)

#: Part of the colour ramp that is too dark for dots.
_DARKEST_DOT = 0.2
_SUBPIXEL_BITS = 4

#: Slower objects get no arrow; an arrow is the way of one second.
SLOW_MPS = 0.5
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def class_color(label: int) -> Color:
    """Return the colour of a class."""
    return PALETTE[label % len(PALETTE)]


def color_ramp(fraction: ArrayLike) -> Picture:
    """Return (..., 3) colours of values 0..1 on viridis, which stays ordered in grey."""
    levels = np.clip(np.asarray(fraction, dtype=np.float64), 0, 1) * 255
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_VIRIDIS)
    return np.asarray(table[:, 0, ::-1][levels.round().astype(np.int64)], dtype=np.uint8)


def range_colors(points: Float64, far_m: float) -> list[Color]:
    """Return a colour for each of (P, 2 or more) points: yellow at the origin, dark at `far_m`."""
    range_m = np.linalg.norm(points[:, :2], axis=1)
    ramp = color_ramp(1 - (1 - _DARKEST_DOT) * range_m / far_m)
    return [(int(r), int(g), int(b)) for r, g, b in ramp]


def clip_polygon(points: ArrayLike, normal: ArrayLike, offset: float) -> Float64:
    """Return the (M, D) part of a convex polygon (N, D) where `point @ normal >= offset`.

    Sutherland and Hodgman's rule for one half space. A segment is a polygon of two points: the
    first two points of the result are the clipped segment.
    """
    corners = np.asarray(points, dtype=np.float64)
    depth = corners @ np.asarray(normal, dtype=np.float64) - offset
    if (depth >= 0).all():
        return corners
    kept = []
    for i, j in zip(range(len(corners)), np.roll(np.arange(len(corners)), -1), strict=True):
        if depth[i] >= 0:
            kept.append(corners[i])
        if (depth[i] >= 0) != (depth[j] >= 0):
            part = depth[i] / (depth[i] - depth[j])
            kept.append(corners[i] + part * (corners[j] - corners[i]))
    return np.array(kept).reshape(-1, corners.shape[1])


def clip_to_picture(picture: Picture, pixels: ArrayLike, margin_px: float = 8.0) -> Float64:
    """Return the (M, 2) part of a convex polygon, or segment, that lies on the picture."""
    clipped = np.asarray(pixels, dtype=np.float64)
    size = np.array(picture.shape[1::-1])
    for axis in (0, 1):
        normal = np.eye(2)[axis]
        clipped = clip_polygon(clipped, normal, -margin_px)
        clipped = clip_polygon(clipped, -normal, -(size[axis] - 1 + margin_px))
    return clipped


def draw_line(
    picture: Picture, start: ArrayLike, end: ArrayLike, color: Color, thickness_px: int = 1
) -> None:
    """Draw an anti-aliased line between two pixels (u, v), clipped to the picture."""
    segment = clip_to_picture(picture, np.array([start, end]))[:2]
    if len(segment) == 2 and np.isfinite(segment).all():
        first, last = _fixed_point(segment)
        cv2.line(
            picture, first.tolist(), last.tolist(), color, thickness_px, cv2.LINE_AA, _SUBPIXEL_BITS
        )


def draw_path(
    picture: Picture, pixels: ArrayLike, color: Color, thickness_px: int = 1, closed: bool = True
) -> None:
    """Draw an anti-aliased path through (N, 2) pixels."""
    points = np.asarray(pixels, dtype=np.float64)
    for i in range(len(points) if closed else len(points) - 1):
        draw_line(picture, points[i], points[(i + 1) % len(points)], color, thickness_px)


def fill_polygon(picture: Picture, pixels: ArrayLike, color: Color, opacity: float) -> None:
    """Blend a convex polygon of (N, 2) pixels over the picture."""
    polygon = clip_to_picture(picture, pixels)
    if len(polygon) < 3:
        return
    low = np.clip(np.floor(polygon.min(axis=0)).astype(int), 0, None)
    high = np.ceil(polygon.max(axis=0)).astype(int) + 1
    part = picture[low[1] : high[1], low[0] : high[0]]
    if part.size:
        over = part.copy()
        cv2.fillConvexPoly(over, _fixed_point(polygon - low), color, cv2.LINE_AA, _SUBPIXEL_BITS)
        part[:] = np.rint(part * (1 - opacity) + over * opacity).astype(np.uint8)


def draw_arrow(
    picture: Picture, start: ArrayLike, end: ArrayLike, color: Color, thickness_px: int = 1
) -> None:
    """Draw an arrow between two pixels; its head is a third of its length, at most 10 px."""
    first, last = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    length = float(np.linalg.norm(last - first))
    draw_line(picture, first, last, color, thickness_px)
    if length > 1:
        back = (first - last) / length * min(length / 3, 10.0)
        side = np.array([-back[1], back[0]]) * 0.6
        draw_line(picture, last, last + back + side, color, thickness_px)
        draw_line(picture, last, last + back - side, color, thickness_px)


def draw_dot(picture: Picture, pixel: ArrayLike, color: Color, radius_px: float) -> None:
    """Draw a disc with a dark rim at a pixel (u, v); nothing outside the picture."""
    center = np.asarray(pixel, dtype=np.float64)
    size = np.array(picture.shape[1::-1])
    if not ((center >= -radius_px) & (center <= size + radius_px)).all():
        return
    for radius, shade in ((radius_px + 1.2, BLACK), (radius_px, color)):
        cv2.circle(
            picture,
            _fixed_point(center).tolist(),
            round(radius * (1 << _SUBPIXEL_BITS)),
            shade,
            -1,
            cv2.LINE_AA,
            _SUBPIXEL_BITS,
        )


def _fixed_point(pixels: Float64) -> NDArray[np.int32]:
    return np.rint(pixels * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def text_size(text: str, scale: float) -> tuple[int, int]:
    """Return (width, height) of a text in pixels, what hangs below the line included."""
    (width, height), below = cv2.getTextSize(text, _FONT, scale, 1)
    return width, height + below


def draw_text(
    picture: Picture, text: str, top_left: tuple[float, float], color: Color, scale: float = 0.45
) -> None:
    """Write a line of text with its upper left corner at a pixel (u, v)."""
    (_, height), _ = cv2.getTextSize(text, _FONT, scale, 1)
    origin = (round(top_left[0]), round(top_left[1] + height))
    cv2.putText(picture, text, origin, _FONT, scale, color, 1, cv2.LINE_AA)


@dataclass
class LabelPlacer:
    """Writes labels on dark plates where none stands yet; one without a place is left out.

    Attributes:
        picture: what is written on.
        scale: of the text.
        taken: rectangles (left, top, right, bottom) already covered, pixels.
    """

    picture: Picture
    scale: float = 0.4
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)

    def place(self, text: str, beside: ArrayLike, color: Color) -> bool:
        """Write a text above or beside a rectangle; return whether it found a place.

        Args:
            text: one line.
            beside: (left, top, right, bottom), pixels.
            color: of the text.
        """
        left, top, right, bottom = np.asarray(beside, dtype=np.float64).tolist()
        width, height = (side + 4 for side in text_size(text, self.scale))
        middle_u, middle_v = (left + right - width) / 2, (top + bottom - height) / 2
        places = (
            (middle_u, top - height - 3),
            (right + 3, middle_v),
            (left - width - 3, middle_v),
            (middle_u, bottom + 3),
            (middle_u, top - 2 * height - 4),
        )
        room_u, room_v = self.picture.shape[1] - width, self.picture.shape[0] - height
        for u, v in places:
            first_u, first_v = min(max(u, 0.0), room_u), min(max(v, 0.0), room_v)
            box = (first_u, first_v, first_u + width, first_v + height)
            if not any(_overlap(box, other) for other in self.taken):
                self._write(text, box, color)
                return True
        return False

    def _write(self, text: str, box: tuple[float, float, float, float], color: Color) -> None:
        left, top, right, bottom = (round(side) for side in box)
        plate = self.picture[max(top, 0) : bottom, max(left, 0) : right]
        plate[:] = plate // 4
        draw_text(self.picture, text, (left + 2, top + 2), color, self.scale)
        self.taken.append(box)


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def legend_strip(items: list[tuple[str, Picture]], width_px: int, scale: float = 0.45) -> Picture:
    """Return a dark strip (h, width_px, 3) with (text, swatch) items, in as many rows as needed."""
    gap, line_px = 10, 24
    places: list[tuple[int, int]] = []
    u, v = gap, 2
    for text, picture in items:
        needed = picture.shape[1] + 6 + text_size(text, scale)[0] + gap
        if u > gap and u + needed > width_px:
            u, v = gap, v + line_px
        places.append((u, v))
        u += needed + gap
    strip = np.full((v + line_px + 4, width_px, 3), DARK, dtype=np.uint8)
    for (text, picture), (left, top) in zip(items, places, strict=True):
        height, width = picture.shape[:2]
        first = top + (line_px - height) // 2
        room = strip[first : first + height, left : left + width]
        room[:] = picture[: room.shape[0], : room.shape[1]]
        text_top = top + (line_px - text_size(text, scale)[1]) / 2 + 1
        draw_text(strip, text, (left + width + 6, text_top), WHITE, scale)
    return strip


def swatch(color: Color, width_px: int = 18, height_px: int = 12) -> Picture:
    """Return a plain (height, width, 3) field of one colour, for a legend."""
    return np.full((height_px, width_px, 3), color, dtype=np.uint8)


def ramp_swatch(start: float = 0.0, end: float = 1.0, width_px: int = 110) -> Picture:
    """Return a (12, width, 3) field with the colour ramp from one fraction to another."""
    return np.tile(color_ramp(np.linspace(start, end, width_px))[None], (12, 1, 1))


def range_swatch() -> Picture:
    """Return the colours of `range_colors`, from near to far."""
    return ramp_swatch(1.0, _DARKEST_DOT)
