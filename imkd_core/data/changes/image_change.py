# SPDX-License-Identifier: Apache-2.0
"""Changes of one camera's network image: drawn by one function, applied by another.

Zoom, crop, rotation and mirror move the picture by an affine map that the camera's projection
follows, so the look-up table, the frustum mask, the camera parameters and depth bins are those of
the changed picture. The small shift is not followed: it stands for what calibration misses.
Source: method.md 6.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from imkd_core.config import InputSpec
from imkd_core.geometry import Float64
from imkd_core.imaging import ImageWindow, fit_window, window_pixels
from imkd_core.recipe import AugmentConfig
from imkd_core.types import CameraImage, CameraModel

Pixels = NDArray[np.uint8]

#: Share of blanked cameras that are masked; the others deliver a picture without content.
MASKED_SHARE = 0.5

#: Standard deviations, in network pixels, between which a blur is drawn.
BLUR_PX = (0.4, 1.5)

#: Whole images are kept as they were decoded up to this multiple of the network's resolution;
#: reading them bilinearly leaves no detail out that matters.
LARGEST_KEPT = 1.5

#: Normal numbers from which pixel noise is taken; about six images of 704 x 256.
NOISE_LENGTH = 1 << 20

#: Weights of red, green and blue in grey (ITU-R BT.601).
LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True, kw_only=True)
class ImageChange:
    """What happens to one camera's image.

    Attributes:
        zoom: factor on the size of the picture; its lower border stays where it is.
        crop: -1..1, where the window lies in what a zoom leaves to the left and right.
        rotation_rad: of the picture about its centre, clockwise on the screen.
        flip: whether left and right are swapped.
        shift_px: (right, down) shift in network pixels that the geometry does not follow.
        gain, contrast, saturation: factors; contrast is about the picture's mean.
        noise: standard deviation of grey pixel noise, grey levels.
        noise_seed: of that noise and of made-up contents.
        blur_px: standard deviation of a Gaussian blur; 0 for none.
        blank: "" for a good image; "masked" for none at all; "plain" for one colour; "noise" for
            coloured noise; "scrambled" for its own tiles in another order.
    """

    zoom: float = 1.0
    crop: float = 0.0
    rotation_rad: float = 0.0
    flip: bool = False
    shift_px: tuple[int, int] = (0, 0)
    gain: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    noise: float = 0.0
    noise_seed: int = 0
    blur_px: float = 0.0
    blank: str = ""

    @property
    def keeps_geometry(self) -> bool:
        """Whether the camera's projection stays as it is."""
        return self.zoom == 1 and self.rotation_rad == 0 and not self.flip

    def changed_from_network(self, spec: InputSpec) -> Float64:
        """Return the (3, 3) affine map from pixels of the unchanged network image."""
        if self.keeps_geometry:
            return np.eye(3)
        width, height = spec.image_width_px, spec.image_height_px
        left = -0.5 - (1 + self.crop) / 2 * (self.zoom - 1) * width
        top = height - 0.5 - self.zoom * height
        scaled = np.array(
            [
                [self.zoom, 0, left + 0.5 * self.zoom],
                [0, self.zoom, top + 0.5 * self.zoom],
                [0, 0, 1],
            ]
        )
        cos, sin = np.cos(self.rotation_rad), np.sin(self.rotation_rad)
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
        turned = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        turned[:2, 2] = middle - turned[:2, :2] @ middle
        mirrored = np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]])
        changed = turned @ scaled
        return mirrored @ changed if self.flip else changed


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A camera image as training keeps it: no larger than some change can need.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, undistorted.
        network_from_picture: (3, 3) map of its pixels to those of the unchanged network image.
    """

    pixels: Pixels
    network_from_picture: Float64

    @property
    def is_network_image(self) -> bool:
        """Whether the picture is the unchanged network image itself."""
        return bool((self.network_from_picture == np.eye(3)).all())


def keep_picture(
    image: CameraImage, camera: CameraModel, spec: InputSpec, is_cut_later: bool
) -> Picture:
    """Return what training keeps of an image.

    Args:
        image: what the camera saw.
        camera: its calibration.
        spec: what the network expects.
        is_cut_later: False keeps the network image alone; True the whole image, at no less than
            the network image's resolution, for changes that zoom or turn.

    Raises:
        SensorError: the image does not fit its calibration.
    """
    network = fit_window(camera, spec)
    if not is_cut_later:
        size_px = (spec.image_width_px, spec.image_height_px)
        pixels = np.ascontiguousarray(window_pixels(image, network, size_px))
        return Picture(pixels=pixels, network_from_picture=np.eye(3))
    height_px, width_px = image.pixels.shape[:2]
    is_small = width_px <= LARGEST_KEPT * network.resized_width_px
    size_px = (
        (width_px, height_px) if is_small else (network.resized_width_px, network.resized_height_px)
    )
    whole = ImageWindow(
        camera=camera,
        resized_width_px=size_px[0],
        resized_height_px=size_px[1],
        left_px=0,
        top_px=0,
    )
    return Picture(
        pixels=window_pixels(image, whole, size_px),
        network_from_picture=network.input_from_image @ np.linalg.inv(whole.input_from_image),
    )


def sample_image_change(
    rng: np.random.Generator, augment: AugmentConfig, all_blanked: bool
) -> ImageChange:
    """Draw shift, brightness, noise and blanking; `sample_view_change` draws the rest."""
    limit = augment.pixel_shift_px
    shift = rng.integers(-limit, limit + 1, size=2)
    gain = 1 + augment.brightness * rng.uniform(-1, 1)
    noise = augment.noise * rng.random()
    blank = _sample_blank(rng) if all_blanked or rng.random() < augment.blank_camera else ""
    return ImageChange(
        shift_px=(int(shift[0]), int(shift[1])),
        gain=float(gain),
        noise=float(noise),
        noise_seed=int(rng.integers(1 << 31)),
        blank=blank,
    )


def sample_view_change(
    rng: np.random.Generator, augment: AugmentConfig, change: ImageChange
) -> ImageChange:
    """Return a change of `sample_image_change` with the rest drawn: geometry, colour, blur."""
    zoom, crop, turn, contrast, saturation = rng.uniform(-1, 1, size=5)
    flip, is_blurred, blur = rng.random(size=3)
    low, high = BLUR_PX
    return replace(
        change,
        zoom=float(1 + augment.zoom * zoom),
        crop=float(crop),
        rotation_rad=float(np.deg2rad(augment.rotation_deg) * turn),
        flip=bool(flip < augment.flip_image),
        contrast=float(1 + augment.contrast * contrast),
        saturation=float(1 + augment.saturation * saturation),
        blur_px=float(low + (high - low) * blur) if is_blurred < augment.blur else 0.0,
    )


def _sample_blank(rng: np.random.Generator) -> str:
    if rng.random() < MASKED_SHARE:
        return "masked"
    return str(rng.choice(["plain", "noise", "scrambled"], p=[0.25, 0.25, 0.5]))


def changed_image(picture: Picture, change: ImageChange, spec: InputSpec) -> Pixels:
    """Return the (H, W, 3) changed network image; pixels that the camera did not see are black.

    A masked camera has no image: asking for it gives the unblanked one.
    """
    pixels = _moved(picture, change, spec)
    if change.blank in ("plain", "noise", "scrambled"):
        return _blanked(pixels, change)
    if change.shift_px != (0, 0):
        pixels = _shifted(pixels, change.shift_px)
    if change.blur_px:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), change.blur_px), dtype=np.uint8)
    return _recoloured(pixels, change)


def _moved(picture: Picture, change: ImageChange, spec: InputSpec) -> Pixels:
    if change.keeps_geometry and picture.is_network_image:
        return picture.pixels
    changed_from_picture = change.changed_from_network(spec) @ picture.network_from_picture
    size_px = (spec.image_width_px, spec.image_height_px)
    return np.asarray(
        cv2.warpAffine(picture.pixels, changed_from_picture[:2], size_px, flags=cv2.INTER_LINEAR),
        dtype=np.uint8,
    )


def _recoloured(pixels: Pixels, change: ImageChange) -> Pixels:
    """Return pixels with brightness, contrast, saturation and noise changed, rounded once."""
    colours = np.zeros((3, 4))
    colours[:, :3] = change.saturation * np.eye(3) + (1 - change.saturation) * LUMA
    colours *= change.gain * change.contrast
    if change.contrast != 1:
        mean = LUMA @ np.array(cv2.mean(pixels)[:3])
        colours[:, 3] = change.gain * (1 - change.contrast) * mean
    is_same = (change.gain, change.contrast, change.saturation) == (1, 1, 1)
    if not is_same:
        pixels = np.asarray(cv2.transform(pixels, colours), dtype=np.uint8)
    if not change.noise:
        return pixels
    grey = _noise(change.noise_seed, pixels.shape[0] * pixels.shape[1]).reshape(pixels.shape[:2])
    grey = grey * np.float32(change.noise)
    noisy = cv2.add(pixels, cv2.merge([grey, grey, grey]), dtype=cv2.CV_8U)
    return np.asarray(noisy, dtype=np.uint8)


def _noise(seed: int, count: int) -> NDArray[np.float32]:
    """Return `count` normal numbers: a stretch of a fixed sequence, because drawing takes longer.

    The sequence has `NOISE_LENGTH` numbers; longer stretches repeat it.
    """
    sequence = _noise_sequence()
    start = seed % max(1, len(sequence) - count)
    stretch = sequence[start : start + count]
    return stretch if len(stretch) == count else np.resize(sequence, count)


@lru_cache(maxsize=1)
def _noise_sequence() -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(NOISE_LENGTH, dtype=np.float32)


def _blanked(pixels: Pixels, change: ImageChange) -> Pixels:
    rng = np.random.default_rng(change.noise_seed)
    if change.blank == "plain":
        return np.full_like(pixels, rng.integers(0, 256, size=3, dtype=np.uint8))
    if change.blank == "noise":
        coarse = rng.integers(0, 256, (9, 16, 3), dtype=np.uint8)
        rows = np.arange(pixels.shape[0]) * 9 // pixels.shape[0]
        columns = np.arange(pixels.shape[1]) * 16 // pixels.shape[1]
        return coarse[rows][:, columns]
    return _scrambled(rng, pixels)


def _scrambled(rng: np.random.Generator, pixels: Pixels) -> Pixels:
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


def _shifted(pixels: Pixels, shift_px: tuple[int, int]) -> Pixels:
    """Return the image moved by whole pixels; uncovered borders repeat the edge."""
    right, down = shift_px
    height, width = pixels.shape[:2]
    rows = slice(max(0, -down), height - max(0, down))
    columns = slice(max(0, -right), width - max(0, right))
    borders = (max(0, down), max(0, -down), max(0, right), max(0, -right))
    shifted = cv2.copyMakeBorder(pixels[rows, columns], *borders, cv2.BORDER_REPLICATE)
    return np.asarray(shifted, dtype=np.uint8)
