# SPDX-License-Identifier: Apache-2.0
"""What is told from an image's bytes alone, and that decoding later gives the same pixels."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imkd_core import encoded_image
from imkd_core.encoded_image import check_encoded, decode_jpeg, decode_pixels
from imkd_core.errors import SensorError


def encoded(suffix=".jpg", height=64, width=128):
    rng = np.random.default_rng(height)
    small = rng.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return cv2.imencode(suffix, cv2.resize(small, (width, height)))[1].tobytes()


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("target_px", [None, 32])
def test_checking_first_and_decoding_later_gives_the_pixels_of_doing_both(suffix, target_px):
    raw = encoded(suffix)
    image = check_encoded(raw, "CAM", target_px)
    assert (image.sensor, image.width_px, image.height_px) == ("CAM", 128, 64)
    assert image.reduction == (4 if (suffix, target_px) == (".jpg", 32) else 1)
    np.testing.assert_array_equal(decode_pixels(image), decode_jpeg(raw, "CAM", target_px))


def test_nothing_is_decoded_by_the_check(monkeypatch):
    monkeypatch.setattr(encoded_image.cv2, "imdecode", None)
    assert check_encoded(encoded(), "CAM").width_px == 128


def test_bytes_in_one_piece_are_not_copied_and_others_are_gathered():
    raw = np.frombuffer(encoded(), np.uint8)
    for data in (raw, memoryview(raw), raw.reshape(1, -1)):
        assert np.shares_memory(check_encoded(data, "CAM").data, raw)
    doubled = np.repeat(raw, 2)
    np.testing.assert_array_equal(check_encoded(doubled[::2], "CAM").data, raw)


@given(st.binary(max_size=40))
@settings(max_examples=60)
def test_padding_behind_the_end_changes_nothing(padding):
    raw = encoded()
    np.testing.assert_array_equal(decode_jpeg(raw + padding, "CAM"), decode_jpeg(raw, "CAM"))


def test_a_jpeg_that_is_whole_and_corrupt_is_let_in_and_refused_by_the_decoder():
    raw = bytearray(encoded())
    raw[raw.index(b"\xff\xc4") + 4] = 0xFF  # an impossible Huffman table
    image = check_encoded(bytes(raw), "CAM")
    with pytest.raises(SensorError, match=rf"'CAM': corrupt image data \({len(raw)} bytes\)"):
        decode_pixels(image)


def claiming(raw, width, height):
    """The same file with another size in its header (a PNG's checksum fits)."""
    changed = bytearray(raw)
    if raw[:1] == b"\xff":
        at = raw.index(b"\xff\xc0") + 5
        changed[at : at + 4] = struct.pack(">HH", height, width)
    else:
        changed[16:24] = struct.pack(">II", width, height)
        changed[29:33] = struct.pack(">I", zlib.crc32(bytes(changed[12:29])))
    return bytes(changed)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_small_file_that_claims_a_large_image_is_refused_before_it_is_decoded(suffix):
    raw = encoded(suffix)
    assert claiming(raw, 128, 64) == raw
    for width, height in ((7000, 7000), (50_000, 1000)):
        with pytest.raises(SensorError, match=f"bytes cannot hold an image of {width} x {height}"):
            check_encoded(claiming(raw, width, height), "CAM")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("shape", [(1000, 2000), (1001, 997, 3), (8, 8)])
def test_the_emptiest_image_is_let_in(suffix, shape):
    how = [] if suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 9]
    for flags in ([], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_OPTIMIZE, 1]):
        if suffix == ".png" and flags:
            continue
        raw = cv2.imencode(suffix, np.zeros(shape, np.uint8), [*how, *flags])[1].tobytes()
        assert decode_jpeg(raw, "CAM").shape == (*shape[:2], 3)


def test_a_picture_of_single_bits_is_refused_for_what_it_is():
    bits = np.zeros((16, 16), np.uint8)
    raw = cv2.imencode(".png", bits, [cv2.IMWRITE_PNG_BILEVEL, 1])[1].tobytes()
    with pytest.raises(SensorError, match="8 or 16 bits"):
        check_encoded(raw, "CAM")


@pytest.mark.parametrize("length", [1, 1 << 20, 0x7FFFFFFF, 0xFFFFFF7F])
def test_a_png_whose_last_chunk_claims_bytes_is_refused_before_they_are_allocated(length):
    raw = encoded(".png")
    at = raw.rindex(b"IEND") - 4
    with pytest.raises(SensorError, match="truncated PNG"):
        check_encoded(raw[:at] + struct.pack(">I", length) + raw[at + 4 :], "CAM")


@pytest.mark.parametrize("kind", [b"acTL", b"fcTL", b"fdAT"])
def test_an_animated_png_is_refused(kind):
    raw = encoded(".png")
    body = kind + bytes(8)
    chunk = struct.pack(">I", 8) + body + struct.pack(">I", zlib.crc32(body))
    with pytest.raises(SensorError, match="animated"):
        check_encoded(raw[:33] + chunk + raw[33:], "CAM")


def test_a_png_that_does_not_begin_with_its_header_is_refused():
    raw = encoded(".png")
    with pytest.raises(SensorError, match="without its header"):
        check_encoded(raw[:8] + raw[33:], "CAM")
