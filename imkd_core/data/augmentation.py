# SPDX-License-Identifier: Apache-2.0
"""Changes of a training frame: drawn by one function, applied by another.

A change never alters geometry: images are shifted by less than a feature cell, dimmed, made
noisy, or taken away. Where cameras are taken away, the boxes that only they saw go with them, so
a student can't be rewarded for knowing positions by heart (method.md 12.3, sensor dropout).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imkd_core.config import InputSpec
from imkd_core.geometry import invert_transform, project_points, transform_points
from imkd_core.imaging import fit_window
from imkd_core.recipe import AugmentConfig
from imkd_core.types import CameraImage, Detections, Frame, SensorRig

#: Share of blanked cameras that are masked; the others deliver a picture without content.
MASKED_SHARE = 0.5

#: Probability that every camera is blanked at once.
ALL_BLANKED = 0.05


@dataclass(frozen=True, kw_only=True)
class CameraChange:
    """What happens to one camera's image.

    Attributes:
        shift_px: (right, down) shift in network pixels.
        gain: factor on the brightness.
        noise: standard deviation of pixel noise, grey levels.
        noise_seed: of that noise and of made-up contents.
        blank: "" for a good image; "masked" for none at all; "plain" for one colour; "noise" for
            coloured noise; "scrambled" for its own tiles in another order.
    """

    shift_px: tuple[int, int] = (0, 0)
    gain: float = 1.0
    noise: float = 0.0
    noise_seed: int = 0
    blank: str = ""


@dataclass(frozen=True, kw_only=True)
class FrameChange:
    """What happens to one frame."""

    cameras: Mapping[str, CameraChange]
    drop_radar: bool = False

    @property
    def blanked(self) -> frozenset[str]:
        """Cameras whose content is gone."""
        return frozenset(name for name, change in self.cameras.items() if change.blank)


def sample_change(
    rng: np.random.Generator, cameras: tuple[str, ...], augment: AugmentConfig
) -> FrameChange:
    """Draw a change for a frame with these cameras."""
    all_blanked = augment.blank_camera > 0 and rng.random() < ALL_BLANKED
    changes = {}
    for name in cameras:
        limit = augment.pixel_shift_px
        shift = rng.integers(-limit, limit + 1, size=2)
        gain = 1 + augment.brightness * rng.uniform(-1, 1)
        noise = augment.noise * rng.random()
        blank = _sample_blank(rng) if all_blanked or rng.random() < augment.blank_camera else ""
        changes[name] = CameraChange(
            shift_px=(int(shift[0]), int(shift[1])),
            gain=float(gain),
            noise=float(noise),
            noise_seed=int(rng.integers(1 << 31)),
            blank=blank,
        )
    return FrameChange(cameras=changes, drop_radar=bool(rng.random() < augment.drop_radar))


def _sample_blank(rng: np.random.Generator) -> str:
    if rng.random() < MASKED_SHARE:
        return "masked"
    return str(rng.choice(["plain", "noise", "scrambled"], p=[0.25, 0.25, 0.5]))


def apply_change(frame: Frame, change: FrameChange, spec: InputSpec) -> Frame:
    """Return the changed frame; a masked camera or dropped radar is no longer in it."""
    cameras = {}
    for name, image in frame.cameras.items():
        camera_change = change.cameras.get(name, CameraChange())
        if camera_change.blank != "masked":
            cameras[name] = CameraImage(
                sensor=image.sensor,
                stamp_ns=image.stamp_ns,
                pixels=_changed_pixels(image.pixels, camera_change, spec),
            )
    return Frame(
        stamp_ns=frame.stamp_ns,
        cameras=cameras,
        radars={} if change.drop_radar else frame.radars,
        reference_from_ego=frame.reference_from_ego,
    )


def _changed_pixels(
    pixels: NDArray[np.uint8], change: CameraChange, spec: InputSpec
) -> NDArray[np.uint8]:
    rng = np.random.default_rng(change.noise_seed)
    if change.blank == "plain":
        return np.full_like(pixels, rng.integers(0, 256, size=3, dtype=np.uint8))
    if change.blank == "noise":
        coarse = rng.integers(0, 256, (9, 16, 3), dtype=np.uint8)
        rows = np.arange(pixels.shape[0]) * 9 // pixels.shape[0]
        columns = np.arange(pixels.shape[1]) * 16 // pixels.shape[1]
        return coarse[rows][:, columns]
    if change.blank == "scrambled":
        return _scrambled(rng, pixels)
    shifted = _shifted(pixels, change.shift_px, pixels.shape[1] / spec.image_width_px)
    changed = shifted.astype(np.float32) * np.float32(change.gain)
    if change.noise:
        grey = rng.normal(0.0, change.noise, (*pixels.shape[:2], 1))
        changed += grey.astype(np.float32)
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def _scrambled(rng: np.random.Generator, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image whose tiles (4 x 6) stand in another order, some of them mirrored."""
    height, width = pixels.shape[0] // 4, pixels.shape[1] // 6
    tiles = [(row * height, column * width) for row in range(4) for column in range(6)]
    result = np.zeros_like(pixels)
    for (row, column), source in zip(tiles, rng.permutation(len(tiles)), strict=True):
        top, left = tiles[source]
        tile = pixels[top : top + height, left : left + width]
        result[row : row + height, column : column + width] = (
            tile[:, ::-1] if rng.random() < 0.5 else tile
        )
    return result


def _shifted(
    pixels: NDArray[np.uint8], shift_px: tuple[int, int], scale: float
) -> NDArray[np.uint8]:
    """Return the image moved by network pixels; uncovered borders repeat the edge."""
    right, down = (round(value * scale) for value in shift_px)
    rows = np.clip(np.arange(pixels.shape[0]) - down, 0, pixels.shape[0] - 1)
    columns = np.clip(np.arange(pixels.shape[1]) - right, 0, pixels.shape[1] - 1)
    return pixels[rows][:, columns]


def visible_in(
    boxes: Detections, frame: Frame, rig: SensorRig, spec: InputSpec
) -> dict[str, NDArray[np.bool_]]:
    """Return for each camera of the rig which box centres its network image shows.

    The frame gives the ego motion between the reference time and each exposure; a camera that is
    not in the frame is taken at the reference time.
    """
    seen = {}
    for name, camera in rig.cameras.items():
        image = frame.cameras.get(name)
        motion = frame.motion_at(image.stamp_ns) if image is not None else np.eye(4)
        cam_from_reference = invert_transform(motion @ camera.ego_from_cam)
        points_cam = transform_points(cam_from_reference, boxes.center_m)
        pixels, depth_m = project_points(fit_window(camera, spec).pixel_from_cam, points_cam)
        inside = (pixels >= -0.5) & (
            pixels < (spec.image_width_px - 0.5, spec.image_height_px - 0.5)
        )
        seen[name] = (depth_m > spec.depth.min_m) & inside.all(axis=1)
    return seen


def seen_only_by(
    visible: Mapping[str, NDArray[np.bool_]], cameras: frozenset[str]
) -> NDArray[np.bool_]:
    """Return which boxes are shown by at least one of `cameras` and by no other camera."""
    shape = next(iter(visible.values())).shape
    inside, outside = np.zeros(shape, bool), np.zeros(shape, bool)
    for name, shown in visible.items():
        target = inside if name in cameras else outside
        target |= shown
    return inside & ~outside
