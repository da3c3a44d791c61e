# SPDX-License-Identifier: Apache-2.0
"""Pictures of a frame: what the cameras saw with boxes on it, the bird's-eye view, heat maps.

All pictures are (H, W, 3) uint8 RGB. Predictions have the colour of their class, true boxes are
thin and white; the front of a box is shaded. Seen from above, forward is up and left is left.
"""

import cv2
import numpy as np
from numpy.typing import ArrayLike

from imkd_core import drawing
from imkd_core.bev_grid import BevGrid
from imkd_core.bev_view import BevView, EgoShape
from imkd_core.drawing import LabelPlacer, Picture, class_color
from imkd_core.geometry import (
    Float64,
    box_corners,
    invert_transform,
    project_points,
    transform_points,
)
from imkd_core.types import CameraImage, CameraModel, Detections, Frame, SensorRig

#: Range at which the colour of radar returns ends.
RADAR_RANGE_M = 60.0


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
) -> Picture:
    """Return all cameras of the rig side by side, with boxes and radar returns.

    Cameras that look forward stand above those that look back, each row from the vehicle's left
    to its right; no picture is mirrored. A camera without an image gets a dark tile that says so.
    Boxes and returns are brought to the ego frame at each camera's exposure. Images of cameras
    with lens distortion are shown rectified.

    Args:
        frame: images and radar scans; cameras that the rig lacks are not shown.
        rig: calibration.
        detections: predictions, in the ego frame of `frame.stamp_ns`.
        truth: true boxes, likewise.
        radar: whether to draw the radar returns.
        tile_width_px: width of each camera's tile.
    """
    points_ego = radar_points(frame, rig) if radar else np.zeros((0, 3))
    tiles = {
        name: camera_tile(
            frame, name, camera, detections, truth, points_ego, tile_width_px=tile_width_px
        )
        for name, camera in rig.cameras.items()
    }
    rows = [[tiles[name] for name in row] for row in driving_order(rig)]
    parts = [_joined_row(row, max(len(other) for other in rows)) for row in rows]
    width_px = parts[0].shape[1] if parts else tile_width_px
    return np.concatenate([*parts, _legend(detections, truth, len(points_ego) > 0, width_px)])


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


def camera_tile(
    frame: Frame,
    name: str,
    camera: CameraModel,
    detections: Detections | None = None,
    truth: Detections | None = None,
    points_ego: ArrayLike = (),
    *,
    tile_width_px: int = 800,
) -> Picture:
    """Return one camera's picture with boxes and the (P, 3) points; see `camera_mosaic`."""
    scale = tile_width_px / camera.width_px
    height_px = max(round(camera.height_px * scale), 1)
    image = frame.cameras.get(name)
    if image is None:
        tile = np.full((height_px, tile_width_px, 3), drawing.DARK, dtype=np.uint8)
        LabelPlacer(tile, 0.55).place(f"{name}: no image", (0, 0), drawing.MUTED)
        return tile
    tile = _rectified(image, camera, (tile_width_px, height_px))
    pixel_from_cam = np.diag((scale, height_px / camera.height_px, 1.0)) @ camera.pixel_from_cam
    pixel_from_cam[0, 2] += (scale - 1) / 2
    pixel_from_cam[1, 2] += (height_px / camera.height_px - 1) / 2
    cam_from_reference = invert_transform(frame.motion_at(image.stamp_ns) @ camera.ego_from_cam)
    labels = LabelPlacer(tile, 0.4)
    age_ms = (image.stamp_ns - frame.stamp_ns) / 1e6
    labels.place(f"{name}  {age_ms:+.0f} ms", (0, 0), drawing.WHITE)
    _draw_returns(tile, cam_from_reference, pixel_from_cam, points_ego)
    for boxes, is_truth in ((detections, False), (truth, True)):
        if boxes is not None:
            _draw_boxes(tile, boxes, cam_from_reference, pixel_from_cam, is_truth=is_truth)
    named = truth if detections is None else detections
    if named is not None:
        _label_boxes(labels, named, cam_from_reference, pixel_from_cam)
    return tile


def _rectified(image: CameraImage, camera: CameraModel, size_px: tuple[int, int]) -> Picture:
    """Return the image without lens distortion, at a size (width, height)."""
    pixels = image.pixels
    if camera.is_distorted:
        height, width = pixels.shape[:2]
        k = np.diag((width / camera.width_px, height / camera.height_px, 1.0))
        k = k @ camera.pixel_from_cam
        coefficients = np.array(camera.distortion)
        if camera.distortion_model == "equidistant":
            pixels = cv2.fisheye.undistortImage(pixels, k, coefficients, Knew=k)
        else:
            pixels = cv2.undistort(pixels, k, coefficients)
    kernel = cv2.INTER_AREA if size_px[0] < pixels.shape[1] else cv2.INTER_LINEAR
    return np.ascontiguousarray(cv2.resize(pixels, size_px, interpolation=kernel), dtype=np.uint8)


def _draw_returns(
    tile: Picture, cam_from_reference: Float64, pixel_from_cam: Float64, points_ego: ArrayLike
) -> None:
    points = np.asarray(points_ego, dtype=np.float64).reshape(-1, 3)
    range_m = np.linalg.norm(points[:, :2], axis=1)
    pixels, depth_m = project_points(pixel_from_cam, transform_points(cam_from_reference, points))
    colors = drawing.color_ramp(1 - range_m / RADAR_RANGE_M).tolist()
    radius_px = tile.shape[1] / 260
    for i in np.argsort(-depth_m):
        if depth_m[i] > drawing.NEAR_M:
            drawing.draw_dot(tile, pixels[i], tuple(colors[i]), radius_px)


def _corners_cam(boxes: Detections, cam_from_reference: Float64) -> Float64:
    corners = box_corners(boxes.center_m, boxes.size_m, boxes.yaw_rad)
    return transform_points(cam_from_reference, corners)


def _draw_boxes(
    tile: Picture,
    boxes: Detections,
    cam_from_reference: Float64,
    pixel_from_cam: Float64,
    *,
    is_truth: bool,
) -> None:
    """Draw wireframes, the farthest first."""
    corners_cam = _corners_cam(boxes, cam_from_reference)
    for i in np.argsort(-corners_cam[..., 2].mean(axis=1)):
        color = drawing.WHITE if is_truth else class_color(int(boxes.labels[i]))
        drawing.draw_wireframe(tile, corners_cam[i], pixel_from_cam, color, thin=is_truth)


def _label_boxes(
    labels: LabelPlacer, boxes: Detections, cam_from_reference: Float64, pixel_from_cam: Float64
) -> None:
    """Write class and score above the boxes that are in the picture, the nearest first."""
    corners_cam = _corners_cam(boxes, cam_from_reference)
    height, width = labels.picture.shape[:2]
    for i in np.argsort(corners_cam[..., 2].mean(axis=1)):
        pixels, depth_m = project_points(pixel_from_cam, corners_cam[i])
        if (depth_m < drawing.NEAR_M).any():
            continue
        center, top = pixels.mean(axis=0), pixels[:, 1].min()
        if 0 <= center[0] < width and 0 <= center[1] < height:
            text = f"{boxes.names[i].replace('_', ' ')} {boxes.scores[i]:.2f}"
            labels.place(text, (center[0], top), class_color(int(boxes.labels[i])))


def _legend(
    detections: Detections | None, truth: Detections | None, radar: bool, width_px: int
) -> Picture:
    """Return the strip that explains colours, for what is in the picture."""
    items: list[tuple[str, Picture]] = []
    if detections is not None:
        items += [
            (
                f"{detections.class_names[label].replace('_', ' ')}"
                f" ({int((detections.labels == label).sum())})",
                drawing.swatch(class_color(int(label))),
            )
            for label in np.unique(detections.labels)
        ]
        if not len(detections):
            items.append(("no predictions", drawing.swatch(drawing.MUTED)))
    if truth is not None:
        items.append((f"true boxes ({len(truth)})", drawing.swatch(drawing.WHITE, height_px=2)))
    if radar:
        items.append((f"radar, 0 to {RADAR_RANGE_M:g} m", drawing.ramp_swatch(reverse=True)))
    return drawing.legend_strip(items, width_px)


def bev_picture(
    detections: Detections | None,
    truth: Detections | None,
    radar_points_ego: ArrayLike | None,
    grid: BevGrid,
    *,
    ego: EgoShape | None = None,
    ring_step_m: float = 10.0,
    height_px: int = 1000,
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
    """
    view = BevView(grid, height_px)
    picture = view.background(ring_step_m)
    points = np.zeros((0, 2)) if radar_points_ego is None else np.asarray(radar_points_ego)
    colors = drawing.color_ramp(1 - np.linalg.norm(points[:, :2], axis=1) / RADAR_RANGE_M).tolist()
    for pixel, color in zip(view.pixels(points[:, :2]), colors, strict=True):
        drawing.draw_dot(picture, pixel, tuple(color), height_px / 400)
    view.draw_ego(picture, ego or EgoShape())
    if detections is not None:
        view.draw_boxes(picture, detections)
    if truth is not None:
        view.draw_boxes(picture, truth, color=drawing.WHITE)
    if detections is not None:
        _write_scores(picture, view, detections)
    legend = _legend(detections, truth, len(points) > 0, picture.shape[1])
    return np.concatenate([picture, legend])


def _write_scores(picture: Picture, view: BevView, boxes: Detections) -> None:
    labels = LabelPlacer(picture, 0.36)
    for i in np.argsort(-boxes.scores):
        corners = view.corners(boxes)[i]
        anchor = (corners[:, 0].mean(), corners[:, 1].min())
        if (corners >= 0).all() and (corners < picture.shape[1::-1]).all():
            labels.place(f"{boxes.scores[i]:.2f}", anchor, class_color(int(boxes.labels[i])))


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
        view.draw_boxes(picture, boxes, color=drawing.WHITE)
    view.draw_ego(picture, ego or EgoShape())
    width_px = picture.shape[1]
    bar = drawing.legend_strip(
        [(f"{low:g} to {high:g}", drawing.ramp_swatch(width_px // 2))], width_px
    )
    heading = np.full((30, width_px, 3), drawing.DARK, dtype=np.uint8)
    drawing.draw_text(heading, title, (10, 8), drawing.WHITE, 0.5)
    return np.concatenate([heading, picture, bar])
