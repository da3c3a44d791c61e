# SPDX-License-Identifier: Apache-2.0
"""Pictures of a frame: what the cameras saw with boxes on it, the bird's-eye view, heat maps.

All pictures are (H, W, 3) uint8 RGB. Predictions have the colour of their class, true boxes are
thin and white; the front of a box is shaded. Seen from above, forward is up and left is left.
"""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import ArrayLike

from imkd_core import drawing
from imkd_core.bev_grid import BevGrid
from imkd_core.bev_view import BevView, EgoShape
from imkd_core.camera_view import open_view, tile_height
from imkd_core.drawing import LabelPlacer, Picture, class_color
from imkd_core.geometry import Float64, transform_points
from imkd_core.types import Detections, Frame, SensorRig

#: Range at which the colour of radar returns ends.
RADAR_RANGE_M = 60.0

#: Radar returns slower than this get no line: most of the world stands still.
_SLOW_RETURN_MPS = 1.0

#: Lines that cross out the tile of a camera without an image.
_CROSS: drawing.Color = (52, 60, 72)


def encode_png(picture: Picture) -> bytes:
    """Return an (H, W, 3) uint8 RGB picture as PNG."""
    return _encode(picture, ".png", [])


def encode_jpeg(picture: Picture, quality: int = 90) -> bytes:
    """Return an (H, W, 3) uint8 RGB picture as JPEG of a quality 1..100."""
    return _encode(picture, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encode(picture: Picture, suffix: str, options: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, np.ascontiguousarray(picture[..., ::-1]), options)
    if not done:
        raise ValueError(f"OpenCV could not encode a picture of shape {picture.shape} as {suffix}")
    return data.tobytes()


def camera_mosaic(
    frame: Frame,
    rig: SensorRig,
    detections: Detections | None,
    truth: Detections | None,
    *,
    radar: bool = True,
    tile_width_px: int = 800,
    missing: Mapping[str, str] | None = None,
    suspect: Mapping[str, str] | None = None,
    legend: bool = True,
) -> Picture:
    """Return all cameras of the rig side by side, with boxes and radar returns.

    Cameras that look forward stand above those that look back, each row from the vehicle's left
    to its right; no picture is mirrored. A camera without an image gets a dark tile that says why.
    Boxes and returns are brought to the ego frame at each camera's exposure. Images of cameras
    with lens distortion are shown rectified.

    Args:
        frame: images and radar scans; cameras that the rig lacks are not shown.
        rig: calibration.
        detections: predictions, in the ego frame of `frame.stamp_ns`.
        truth: true boxes, likewise.
        radar: whether to draw the radar returns.
        tile_width_px: width of each camera's tile.
        missing: camera -> why it has no image; "no image" where it is not told.
        suspect: camera -> fault of an image that is shown all the same; written beside its name.
        legend: whether a strip below says what the colours mean.
    """
    points_ego = radar_points(frame, rig) if radar else np.zeros((0, 3))
    reasons, faults, size_px = missing or {}, suspect or {}, tile_width_px
    tiles = {
        name: _camera_tile(
            frame, rig, name, (detections, truth), points_ego, size_px, faults.get(name, "")
        )
        if name in frame.cameras
        else _empty_tile(rig, name, reasons.get(name, "no image"), size_px)
        for name in rig.cameras
    }
    rows = [[tiles[name] for name in row] for row in driving_order(rig)]
    parts = [_joined_row(row, max(len(other) for other in rows)) for row in rows]
    width_px = parts[0].shape[1] if parts else tile_width_px
    items = _legend_items(detections, truth, with_radar=len(points_ego) > 0)
    strips = [drawing.legend_strip(items, width_px)] if legend or not parts else []
    return np.concatenate([*parts, *strips])


def driving_order(rig: SensorRig, most_columns: int = 4) -> list[list[str]]:
    """Return the camera names in rows as a driver sees them: front row, then back row."""
    axes = {name: camera.ego_from_cam[:2, 2] for name, camera in rig.cameras.items()}
    bearing = {name: float(np.arctan2(axis[1], axis[0])) for name, axis in axes.items()}
    forward = [name for name, angle in bearing.items() if abs(angle) <= np.pi / 2 + 1e-6]
    backward = [name for name in bearing if name not in forward]
    forward.sort(key=lambda name: -bearing[name])
    backward.sort(key=lambda name: bearing[name] % (2 * np.pi))
    return [
        row[i : i + most_columns]
        for row in (forward, backward)
        for i in range(0, len(row), most_columns)
    ]


def _joined_row(tiles: list[Picture], columns: int) -> Picture:
    """Put tiles side by side, centred in a row of `columns` tiles."""
    height, width = max(tile.shape[0] for tile in tiles), tiles[0].shape[1]
    row = np.full((height, width * columns, 3), drawing.DARK, dtype=np.uint8)
    left = (columns - len(tiles)) * width // 2
    for i, tile in enumerate(tiles):
        row[: tile.shape[0], left + i * width : left + (i + 1) * width] = tile
    row[:, ::width][:, 1:] = drawing.DARK
    row[-1:] = drawing.DARK
    return row


def radar_points(frame: Frame, rig: SensorRig) -> Float64:
    """Return (P, 3) positions of all radar returns in the ego frame of `frame.stamp_ns`."""
    clouds = [
        transform_points(frame.motion_at(cloud.stamp_ns) @ rig.radars[name], cloud.points[:, :3])
        for name, scans in frame.radars.items()
        if name in rig.radars
        for cloud in scans
    ]
    return np.concatenate([np.zeros((0, 3)), *clouds])


def radar_velocities(frame: Frame, rig: SensorRig) -> Float64:
    """Return (P, 2) radial velocities over ground of `radar_points`, metres a second, likewise."""
    turned = [
        _turned(frame.motion_at(cloud.stamp_ns) @ rig.radars[name], cloud.points[:, 4:6])
        for name, scans in frame.radars.items()
        if name in rig.radars
        for cloud in scans
    ]
    return np.concatenate([np.zeros((0, 2)), *turned])


def _turned(to_from: Float64, velocities: ArrayLike) -> Float64:
    """Return (P, 2) level vectors, given in one frame, in another."""
    return np.asarray(velocities, dtype=np.float64) @ to_from[:2, :2].T


def _camera_tile(
    frame: Frame,
    rig: SensorRig,
    name: str,
    boxes: tuple[Detections | None, Detections | None],
    points_ego: Float64,
    width_px: int,
    fault: str,
) -> Picture:
    """Return one camera's picture with (predicted, true) boxes and (P, 3) radar points."""
    image = frame.cameras[name]
    view = open_view(image, rig.cameras[name], frame.motion_at(image.stamp_ns), width_px)
    detections, truth = boxes
    if detections is not None:
        view.draw_boxes(detections, thin=False)
        view.draw_ways(detections)
    if truth is not None:
        view.draw_boxes(truth, thin=True)
    view.draw_points(points_ego, RADAR_RANGE_M)
    labels = LabelPlacer(view.tile, max(width_px / 1850, 0.35))
    age_ms = (image.stamp_ns - frame.stamp_ns) / 1e6
    title, color = f"{name}  {age_ms:+.0f} ms", drawing.WHITE
    if fault:
        title, color = f"{title}  {fault}", drawing.WARNING
    labels.place(title, (0, 0, 0, 0), color)
    named = truth if detections is None else detections
    if named is not None:
        view.label_boxes(labels, named, scores=detections is not None)
    return view.tile


def _empty_tile(rig: SensorRig, name: str, reason: str, width_px: int) -> Picture:
    """Return a dark tile, crossed out, with the camera's name and why it has no image."""
    height_px = tile_height(rig.cameras[name], width_px)
    tile = np.full((height_px, width_px, 3), drawing.DARK, dtype=np.uint8)
    for start, end in (((0, 0), (width_px, height_px)), ((0, height_px), (width_px, 0))):
        drawing.draw_line(tile, start, end, _CROSS)
    center_v = height_px / 2
    for text, color, top in ((name, drawing.MUTED, -1.1), (reason, drawing.WARNING, 0.3)):
        scale = min(0.6, 0.6 * 0.92 * width_px / drawing.text_size(text, 0.6)[0])
        width, height = drawing.text_size(text, scale)
        left, top_v = (width_px - width) / 2, center_v + top * height - height / 2
        tile[
            max(round(top_v) - 3, 0) : round(top_v) + height + 4, round(left) : round(left) + width
        ] = drawing.DARK
        drawing.draw_text(tile, text, (left, top_v), color, scale)
    return tile


def _legend_items(
    detections: Detections | None, truth: Detections | None, *, with_radar: bool
) -> list[tuple[str, Picture]]:
    """Return (text, swatch) of what is in a picture."""
    items: list[tuple[str, Picture]] = []
    if detections is not None:
        counts = np.bincount(detections.labels, minlength=len(detections.class_names))
        items += [
            (f"{name.replace('_', ' ')} ({count})", drawing.swatch(class_color(label)))
            for label, (name, count) in enumerate(zip(detections.class_names, counts, strict=True))
            if count
        ]
        if not len(detections):
            items.append(("no predictions", drawing.swatch(drawing.MUTED)))
    if truth is not None:
        items.append((f"true boxes ({len(truth)})", drawing.swatch(drawing.WHITE, height_px=2)))
    if with_radar:
        items.append((f"radar, 0 to {RADAR_RANGE_M:g} m", drawing.range_swatch()))
    return items


def bev_picture(
    detections: Detections | None,
    truth: Detections | None,
    radar_points_ego: ArrayLike | None,
    grid: BevGrid,
    *,
    ego: EgoShape | None = None,
    ring_step_m: float = 10.0,
    height_px: int = 1000,
    radar_velocity_mps: ArrayLike | None = None,
    legend: bool = True,
) -> Picture:
    """Return the bird's-eye view of boxes and radar returns; forward is up, left is left.

    Args:
        detections: predictions: class colour, front edge thick, arrow of one second's way, score.
        truth: true boxes, thin and white, with arrows.
        radar_points_ego: (P, 2 or more) radar returns x, y in metres, ego frame.
        grid: the range that is shown.
        ego: outline of the own vehicle.
        ring_step_m: distance between range rings.
        height_px: height of the view; the legend below comes on top.
        radar_velocity_mps: (P, 2) of the returns: a line of one second's way at those that move.
        legend: whether a strip below says what the colours mean.
    """
    view = BevView(grid, height_px)
    picture = view.background(ring_step_m)
    points = np.zeros((0, 2)) if radar_points_ego is None else np.asarray(radar_points_ego)
    _draw_returns(picture, view, points, radar_velocity_mps)
    view.draw_ego(picture, ego or EgoShape())
    if detections is not None:
        view.draw_boxes(picture, detections)
    if truth is not None:
        view.draw_boxes(picture, truth, color=drawing.WHITE)
    if detections is not None:
        _write_scores(picture, view, detections)
    if not legend:
        return picture
    items = _legend_items(detections, truth, with_radar=len(points) > 0)
    items.append(("arrow: way in 1 s", drawing.swatch(drawing.MUTED, height_px=2)))
    return np.concatenate([picture, drawing.legend_strip(items, picture.shape[1])])


def _draw_returns(
    picture: Picture, view: BevView, points: Float64, velocity_mps: ArrayLike | None
) -> None:
    """Draw (P, 2 or more) radar returns, those that move with a line of one second's way."""
    start = view.pixels(points[:, :2])
    way_m = np.zeros((len(points), 2)) if velocity_mps is None else np.asarray(velocity_mps)
    end = view.pixels(points[:, :2] + way_m)
    moves = np.linalg.norm(way_m, axis=1) > _SLOW_RETURN_MPS
    for i, color in enumerate(drawing.range_colors(points, RADAR_RANGE_M)):
        if moves[i]:
            drawing.draw_line(picture, start[i], end[i], color)
        drawing.draw_dot(picture, start[i], color, view.size_px[1] / 400)


def _write_scores(picture: Picture, view: BevView, boxes: Detections) -> None:
    """Write scores beside the boxes, never on one; the surest find a place first."""
    outlines = view.corners(boxes)
    low, high = outlines.min(axis=1), outlines.max(axis=1)
    beside = np.hstack([low, high])
    labels = LabelPlacer(picture, 0.36, [(a, b, c, d) for a, b, c, d in beside.tolist()])
    for i in np.argsort(-boxes.scores):
        if (low[i] >= 0).all() and (high[i] < picture.shape[1::-1]).all():
            labels.place(f"{boxes.scores[i]:.2f}", beside[i], class_color(int(boxes.labels[i])))


def heat_map(
    values: ArrayLike,
    grid: BevGrid,
    *,
    title: str = "",
    low: float = 0.0,
    high: float = 1.0,
    boxes: Detections | None = None,
    ego: EgoShape | None = None,
    ring_step_m: float = 10.0,
    height_px: int = 700,
) -> Picture:
    """Return a BEV map as colours with a colour bar; forward is up, left is left.

    Args:
        values: (Y, X) map on the grid; values that are not finite become grey.
        grid: of the map.
        title: written above the map.
        low: value at the lower end of the colour ramp.
        high: value at its upper end.
        boxes: outlined in white, to show what the map answers to.
        ego: outline of the own vehicle.
        ring_step_m: distance between range rings.
        height_px: height of the map; title and bar come on top.

    Raises:
        ValueError: the map does not have the grid's shape, or `low` is not below `high`.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.shape != grid.shape or not low < high:
        raise ValueError(
            f"expected a map {grid.shape} and low < high, got {array.shape}, {low}, {high}"
        )
    view = BevView(grid, height_px)
    colors = drawing.color_ramp(np.nan_to_num((array - low) / (high - low)))
    colors[~np.isfinite(array)] = drawing.MUTED
    picture = view.from_map(colors)
    view.draw_rings(picture, ring_step_m, drawing.WHITE, 0.25)
    if boxes is not None:
        view.draw_boxes(picture, boxes, color=drawing.WHITE, arrows=False)
    view.draw_ego(picture, ego or EgoShape())
    width_px = picture.shape[1]
    bar = [(f"{high:g}", drawing.ramp_swatch(width_px=width_px // 2))]
    items = [(f"{low:g}", drawing.swatch(drawing.DARK, width_px=0)), *bar]
    heading = np.full((30, width_px, 3), drawing.DARK, dtype=np.uint8)
    drawing.draw_text(heading, title, (10, 8), drawing.WHITE, 0.5)
    return np.concatenate([heading, picture, drawing.legend_strip(items, width_px)])
