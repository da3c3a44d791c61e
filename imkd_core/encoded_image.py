# SPDX-License-Identifier: Apache-2.0
"""Compressed images: what can be told from their bytes, and their pixels.

One decoder for training and vehicle. Checking (microseconds) and decoding (milliseconds) are
apart, so that a vehicle can let an image in at once and decode it when and where it suits.
"""

import struct
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from imkd_core.errors import SensorError

#: Images with more pixels are refused before they are decoded (a decompression bomb is small).
MAX_PIXELS = 50_000_000

#: A JPEG's brightness takes at least a bit for each block of 8 x 8 pixels, and a PNG's lines at
#: least 1 / 1032 of their size: fewer bytes cannot hold what the header promises.
_JPEG_PIXELS_A_BYTE, _PNG_RATIO = 512, 1032

#: Channels of a PNG by its colour type.
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}

#: Chunks of animated PNGs, which have sizes of their own.
_PNG_MOVING = (b"acTL", b"fcTL", b"fdAT")

_JPEG_MAGIC = b"\xff\xd8\xff"
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_FIRST = b"\x00\x00\x00\x0dIHDR"

#: JPEG markers without a length field: TEM and the restart markers.
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
#: Start-of-frame markers: C0..CF without DHT (C4), JPG (C8) and DAC (CC).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN = 0xDA
_JPEG_END = b"\xff\xd9"

#: What compressed images may come as.
Bytes = bytes | memoryview | NDArray[np.uint8]

_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


@dataclass(frozen=True, kw_only=True)
class EncodedImage:
    """A compressed image whose header and length were checked; its pixels were not.

    Attributes:
        sensor: name of the camera.
        data: (B,) uint8, the bytes; never copied where they come in one piece.
        width_px: of the image in full.
        height_px: of the image in full.
        reduction: it is decoded at 1 / this.
    """

    sensor: str
    data: NDArray[np.uint8]
    width_px: int
    height_px: int
    reduction: int


def decode_jpeg(data: Bytes, sensor: str, target_width_px: int | None = None) -> NDArray[np.uint8]:
    """Decode a JPEG or PNG image to (H, W, 3) uint8 RGB.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size (three times faster) where the result is
    still at least `target_width_px` wide and both sides divide without rest, so that pixels
    stay where the calibration says. EXIF orientation is ignored: the calibration knows none.

    Raises:
        SensorError: empty, truncated or corrupt data, another format, or more than
            `MAX_PIXELS` (judged by the header, before anything is decoded).
    """
    return decode_pixels(check_encoded(data, sensor, target_width_px))


def check_encoded(data: Bytes, sensor: str, target_width_px: int | None = None) -> EncodedImage:
    """Check everything of a JPEG or PNG image that can be told without decoding it.

    Raises:
        SensorError: empty or truncated data, another format, more than `MAX_PIXELS`, or more than
            so few bytes can hold (a decompression bomb).
    """
    array = _one_piece(data)
    raw = array.data
    is_jpeg = raw[: len(_JPEG_MAGIC)] == _JPEG_MAGIC
    try:
        width, height, least_bytes = _jpeg_size(raw) if is_jpeg else _png_size(raw)
    except (ValueError, IndexError, struct.error) as error:
        raise SensorError(
            f"camera '{sensor}': compressed image of {len(raw)} bytes refused: {error}; check the "
            "driver and the network for lost packets"
        ) from None
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise SensorError(
            f"camera '{sensor}': image of {width} x {height} px refused; 1 to {MAX_PIXELS} pixels "
            "are accepted"
        )
    if len(raw) < least_bytes:
        raise SensorError(
            f"camera '{sensor}': {len(raw)} bytes cannot hold an image of {width} x {height} px; "
            "the header is wrong, and nothing was decoded"
        )
    return EncodedImage(
        sensor=sensor,
        data=array,
        width_px=width,
        height_px=height,
        reduction=_reduction(width, height, target_width_px) if is_jpeg else 1,
    )


def decode_pixels(image: EncodedImage) -> NDArray[np.uint8]:
    """Decode an image that `check_encoded` let in, to (H, W, 3) uint8 RGB, as `decode_jpeg` says.

    Raises:
        SensorError: corrupt data.
    """
    flags = _REDUCED[image.reduction] | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        bgr = cv2.imdecode(image.data, flags)
    except cv2.error:
        bgr = None
    shape = (image.height_px // image.reduction, image.width_px // image.reduction, 3)
    if bgr is None or bgr.shape != shape:
        raise SensorError(
            f"camera '{image.sensor}': corrupt image data ({len(image.data)} bytes); frame dropped"
        )
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _one_piece(data: Bytes) -> NDArray[np.uint8]:
    """Return the bytes as one contiguous array; a view wherever they are contiguous."""
    if isinstance(data, bytes):
        return np.frombuffer(data, np.uint8) if data else np.zeros(0, np.uint8)
    return np.ascontiguousarray(np.asarray(data, dtype=np.uint8).reshape(-1))


def _reduction(width: int, height: int, target_width_px: int | None) -> int:
    """Return the largest of 8, 4, 2, 1 that divides both sides and keeps the target width."""
    if target_width_px is None:
        return 1
    return next(
        r
        for r in (8, 4, 2, 1)
        if r == 1 or (width % r == 0 and height % r == 0 and width // r >= target_width_px)
    )


def _jpeg_size(raw: memoryview) -> tuple[int, int, int]:
    """Return (width, height) of a complete JPEG, and the least bytes that can hold it.

    After the first scan marker, FF is followed by 00 or a restart marker until the end marker,
    so a missing FF D9 there means a truncated file (libjpeg would fill the rest with grey).
    """
    size: tuple[int, int] | None = None
    position = 2
    while True:
        if raw[position] != 0xFF:
            raise ValueError("broken JPEG segments")
        marker = raw[position + 1]
        if marker == 0xFF or marker in _JPEG_BARE:
            position += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", raw, position + 2)
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", raw, position + 5)
            size = (width, height)
        position += 2 + length
        if marker == _JPEG_SCAN:
            break
    if size is None:
        raise ValueError("a JPEG without a frame header")
    if not _has_jpeg_end(raw, position):
        raise ValueError("a truncated JPEG (no end marker)")
    return *size, size[0] * size[1] // _JPEG_PIXELS_A_BYTE


def _has_jpeg_end(raw: memoryview, position: int) -> bool:
    """Whether the end marker comes at or after a position: last of all, or before padding."""
    tail = len(_JPEG_END)
    if len(raw) - tail >= position and raw[-tail:] == _JPEG_END:
        return True
    return raw[position:].tobytes().find(_JPEG_END) >= 0


def _png_size(raw: memoryview) -> tuple[int, int, int]:
    """Return (width, height) of a PNG whose chunks are all there, and the least bytes for it."""
    if raw[: len(_PNG_MAGIC)] != _PNG_MAGIC:
        raise ValueError("neither JPEG nor PNG" if len(raw) else "no data")
    if raw[len(_PNG_MAGIC) : 16] != _PNG_FIRST:
        raise ValueError("a PNG without its header")
    width, height, depth, colour = struct.unpack_from(">IIBB", raw, 16)
    if depth not in (8, 16) or colour not in _PNG_CHANNELS:
        raise ValueError("a PNG of a kind that no camera sends (give it 8 or 16 bits a channel)")
    _check_png_chunks(raw)
    line_bytes = 1 + width * _PNG_CHANNELS[colour] * depth // 8
    return width, height, height * line_bytes // _PNG_RATIO


def _check_png_chunks(raw: memoryview) -> None:
    """Follow the chunks to the end; OpenCV allocates what each claims, the last one's too."""
    position, kind = len(_PNG_MAGIC), b""
    while kind != b"IEND":
        (length,) = struct.unpack_from(">I", raw, position)
        kind = bytes(raw[position + 4 : position + 8])
        position += 12 + length
        if position > len(raw) or (kind == b"IEND" and length):
            raise ValueError("a truncated PNG (no IEND chunk)")
        if kind in _PNG_MOVING:
            raise ValueError("an animated PNG")
