# SPDX-License-Identifier: Apache-2.0
"""Decoding refuses what it should, and pixels land where the calibration says."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imkd_core import imaging
from imkd_core.bev_grid import BevGrid
from imkd_core.config import InputSpec
from imkd_core.errors import SensorError
from imkd_core.imaging import decode_jpeg, fit_window, to_network_image
from imkd_core.types import CameraImage, CameraModel
from tests.core.rigs import STAMP_NS, camera_of, spec_of

BEV = BevGrid(x_min_m=0.0, x_max_m=12.8, y_min_m=-6.4, y_max_m=6.4, cell_m=0.8)
SPEC = spec_of()


def picture(height: int = 90, width: int = 160) -> np.ndarray:
    """Smooth colours that differ in every direction and channel; RGB."""
    v, u = np.mgrid[0:height, 0:width]
    channels = (u * 255 // width, v * 255 // height, (u + v) * 255 // (width + height))
    return np.stack(channels, axis=-1).astype(np.uint8)


def encoded(pixels: np.ndarray, suffix: str = ".jpg") -> bytes:
    return cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + header + b"\0\0\0\0IEND\xaeB`\x82"


def jpeg_header(width: int, height: int) -> bytes:
    frame = struct.pack(">BHHB", 8, height, width, 3) + bytes(9)
    scan = b"\xff\xda" + struct.pack(">H", 2)
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + scan + b"\xff\xd9"


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_colours_are_rgb(suffix):
    decoded = decode_jpeg(encoded(picture(), suffix), "CAM")
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - picture()).mean() < (4 if suffix == ".jpg" else 0.1)


@pytest.mark.parametrize("cast", [bytes, memoryview, lambda raw: np.frombuffer(raw, np.uint8)])
def test_all_kinds_of_bytes_are_taken(cast):
    raw = encoded(picture())
    np.testing.assert_array_equal(decode_jpeg(cast(raw), "CAM"), decode_jpeg(raw, "CAM"))


@pytest.mark.parametrize(
    ("target_px", "expected"),
    [
        (None, (256, 512)),
        (512, (256, 512)),
        (257, (256, 512)),
        (256, (128, 256)),
        (100, (64, 128)),
        (1, (32, 64)),
    ],
)
def test_a_jpeg_is_reduced_no_further_than_the_target(target_px, expected):
    pixels = picture(256, 512)
    decoded = decode_jpeg(encoded(pixels), "CAM", target_px)
    assert decoded.shape == (*expected, 3)
    area = cv2.resize(pixels, expected[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(decoded.astype(int) - area).mean() < 4


def test_a_reduction_that_leaves_a_rest_is_not_taken():
    assert decode_jpeg(encoded(picture(900, 1600)), "CAM", 10).shape == (225, 400, 3)


def test_the_exif_orientation_is_ignored():
    raw = encoded(picture())
    tiff = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + bytes(4)
    exif = b"Exif\0\0" + tiff
    turned = raw[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + raw[2:]
    np.testing.assert_array_equal(decode_jpeg(turned, "CAM"), decode_jpeg(raw, "CAM"))


def test_fill_bytes_between_jpeg_segments_are_legal():
    raw = encoded(picture())
    np.testing.assert_array_equal(
        decode_jpeg(raw[:2] + b"\xff\xff" + raw[2:], "CAM"), decode_jpeg(raw, "CAM")
    )


@given(st.floats(0, 1, exclude_max=True), st.sampled_from([".jpg", ".png"]))
@settings(max_examples=60)
def test_a_truncated_image_is_refused(share, suffix):
    raw = encoded(picture(), suffix)
    end = len(raw) - 1 if suffix == ".jpg" else len(raw) - 12
    with pytest.raises(SensorError, match=r"camera 'CAM'"):
        decode_jpeg(raw[: int(share * end)], "CAM")


@given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]))
@settings(max_examples=300)
def test_noise_is_refused_and_never_crashes(noise, magic):
    with pytest.raises(SensorError):
        decode_jpeg(magic + noise, "CAM")


@given(st.integers(0, 2**16), st.integers(0, 255))
@settings(max_examples=100)
def test_a_flipped_byte_is_refused_or_gives_an_image(position, value):
    raw = bytearray(encoded(picture(32, 48)))
    raw[position % len(raw)] = value
    try:
        decoded = decode_jpeg(bytes(raw), "CAM")
    except SensorError:
        return
    assert decoded.dtype == np.uint8
    assert decoded.shape[2] == 3


@pytest.mark.parametrize("size", [(65535, 65535), (0, 100), (100, 0), (50_001, 1000)])
@pytest.mark.parametrize("header", [jpeg_header, png_header])
def test_a_bomb_is_refused_by_its_header(header, size, monkeypatch):
    monkeypatch.setattr(imaging.cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(SensorError, match=f"{size[0]} x {size[1]} px refused"):
        decode_jpeg(header(*size), "CAM")


def test_a_jpeg_without_a_frame_is_refused():
    with pytest.raises(SensorError, match="frame header"):
        decode_jpeg(b"\xff\xd8\xff\xda\0\x02\xff\xd9", "CAM")


def nuscenes_camera() -> CameraModel:
    k = np.array([[1266.4, 0, 816.3], [0, 1266.4, 491.5], [0, 0, 1]])
    return CameraModel(
        width_px=1600, height_px=900, pixel_from_cam=k, ego_from_cam=camera_of().ego_from_cam
    )


def test_the_nuscenes_window_drops_the_top_70_rows():
    spec = InputSpec(image_height_px=128, image_width_px=352, bev=BEV)
    window = fit_window(nuscenes_camera(), spec)
    assert (window.resized_width_px, window.resized_height_px) == (352, 198)
    assert (window.left_px, window.top_px) == (0, 70)
    k = window.pixel_from_cam
    assert k[0, 0] == pytest.approx(0.22 * 1266.4)
    assert k[0, 2] == pytest.approx((816.3 + 0.5) * 0.22 - 0.5)
    assert k[1, 2] == pytest.approx((491.5 + 0.5) * 0.22 - 0.5 - 70)


@given(st.integers(100, 3200), st.integers(100, 3000))
def test_the_window_lies_in_the_image_and_at_its_bottom(width, height):
    window = fit_window(camera_of(size_px=(width, height)), SPEC)
    assert 0 <= window.left_px <= window.resized_width_px - SPEC.image_width_px
    assert abs(2 * window.left_px + SPEC.image_width_px - window.resized_width_px) <= 1
    assert window.top_px == window.resized_height_px - SPEC.image_height_px >= 0
    corner = window.input_from_image @ [width - 0.5, height - 0.5, 1]  # lower right
    assert corner[1] == pytest.approx(SPEC.image_height_px - 0.5)
    assert corner[0] >= SPEC.image_width_px - 0.5 - 1e-9


def blob(camera: CameraModel, pixel, reduction: int = 1) -> CameraImage:
    """A soft white dot, drawn at a pixel of the calibrated image."""
    v, u = np.mgrid[0 : camera.height_px, 0 : camera.width_px]
    sigma = camera.width_px / 60
    light = np.exp(-((u - pixel[0]) ** 2 + (v - pixel[1]) ** 2) / (2 * sigma**2))
    image = np.repeat((255 * light)[..., None], 3, axis=-1).astype(np.uint8)
    size = (camera.width_px // reduction, camera.height_px // reduction)
    pixels = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return CameraImage(sensor="CAM", stamp_ns=STAMP_NS, pixels=pixels)


def centroid(image: np.ndarray) -> np.ndarray:
    light = image[0].astype(float)
    light[light < 25] = 0
    v, u = np.mgrid[0 : light.shape[0], 0 : light.shape[1]]
    return np.array([(u * light).sum(), (v * light).sum()]) / light.sum()


@pytest.mark.parametrize("size", [(160, 64), (640, 360), (800, 320), (80, 60), (333, 222)])
@pytest.mark.parametrize("reduction", [1, 2])
def test_a_dot_lands_where_the_window_says(size, reduction):
    if size[0] % reduction or size[1] % reduction:
        size = (size[0] + size[0] % reduction, size[1] + size[1] % reduction)
    camera = camera_of(size_px=size)
    window = fit_window(camera, SPEC)
    target = np.array([90.0, 37.0, 1.0])
    pixel = np.linalg.inv(window.input_from_image) @ target
    image = to_network_image(blob(camera, pixel, reduction), camera, SPEC)
    assert image.shape == (3, SPEC.image_height_px, SPEC.image_width_px)
    assert image.flags.c_contiguous
    np.testing.assert_allclose(centroid(image), target[:2], atol=0.15)


@pytest.mark.parametrize("size", [(1600, 900), (1280, 720), (704, 396), (333, 222), (1001, 563)])
def test_an_image_that_shrinks_is_averaged_whatever_the_factor(size):
    """Every pixel counts: fine noise is flattened as much as area interpolation flattens it."""
    camera = camera_of(size_px=size)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    window = fit_window(camera, SPEC)
    scaled = (window.resized_width_px, window.resized_height_px)
    area = cv2.resize(noise, scaled, interpolation=cv2.INTER_AREA)
    image = CameraImage(sensor="CAM", stamp_ns=STAMP_NS, pixels=noise)
    found = to_network_image(image, camera, SPEC).astype(float)
    assert found.mean() == pytest.approx(area.mean(), abs=1)
    assert found.std() < 1.5 * area.std()


@pytest.mark.parametrize("size", [(1600, 900), (800, 450), (1001, 563)])
def test_a_smooth_image_shrinks_to_what_area_interpolation_makes_of_it(size):
    camera = camera_of(size_px=size)
    window = fit_window(camera, SPEC)
    v, u = np.mgrid[0 : size[1], 0 : size[0]]
    waves = 128 + 100 * np.sin(u / size[0] * 20) * np.cos(v / size[1] * 12)
    pixels = np.repeat(waves[..., None], 3, axis=-1).astype(np.uint8)
    scaled = (window.resized_width_px, window.resized_height_px)
    area = cv2.resize(pixels, scaled, interpolation=cv2.INTER_AREA)
    rows = slice(window.top_px, window.top_px + SPEC.image_height_px)
    columns = slice(window.left_px, window.left_px + SPEC.image_width_px)
    image = CameraImage(sensor="CAM", stamp_ns=STAMP_NS, pixels=pixels)
    found = to_network_image(image, camera, SPEC).astype(int)
    assert np.abs(found - area[rows, columns].transpose(2, 0, 1)).max() <= 3


DISTORTED = [
    ("plumb_bob", (-0.3, 0.1, 0.001, -0.002, 0.0)),
    ("plumb_bob", (-0.25, 0.08, 0.0, 0.001)),
    ("rational_polynomial", (-0.2, 0.05, 0.001, 0.0, 0.01, 0.1, 0.02, 0.003)),
    ("equidistant", (0.02, -0.01, 0.003, -0.001)),
]


@pytest.mark.parametrize(("model", "coefficients"), DISTORTED)
@pytest.mark.parametrize("ray", [(0.0, 0.0, 1.0), (0.3, 0.05, 1.0), (-0.35, 0.12, 1.0)])
@pytest.mark.parametrize("reduction", [1, 2])
def test_distortion_is_taken_out(model, coefficients, ray, reduction):
    camera = camera_of(
        size_px=(640, 320), focal_px=440.0, distortion_model=model, distortion=coefficients
    )
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    pixel = project(
        np.array(ray).reshape(1, 1, 3),
        np.zeros(3),
        np.zeros(3),
        camera.pixel_from_cam,
        np.array(coefficients),
    )[0].ravel()
    image = to_network_image(blob(camera, pixel, reduction), camera, SPEC)
    expected = fit_window(camera, SPEC).pixel_from_cam @ np.array(ray)
    np.testing.assert_allclose(centroid(image), expected[:2] / expected[2], atol=0.3)


def test_what_a_distorted_camera_did_not_see_is_black():
    camera = camera_of(distortion_model="plumb_bob", distortion=(0.6, 0.2, 0.0, 0.0))
    white = np.full((64, 160, 3), 255, np.uint8)
    image = CameraImage(sensor="CAM", stamp_ns=STAMP_NS, pixels=white)
    corners = to_network_image(image, camera, SPEC)[:, [0, -1]][:, :, [0, -1]]
    assert (corners == 0).all()


@pytest.mark.parametrize("size", [(640, 300), (300, 360), (1280, 720), (640, 361), (640, 358)])
def test_another_size_than_the_calibrations_is_refused(size):
    camera = camera_of(size_px=(640, 360))
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    image = CameraImage(sensor="CAM_LEFT", stamp_ns=STAMP_NS, pixels=pixels)
    with pytest.raises(SensorError, match=r"CAM_LEFT.*640 x 360 px"):
        to_network_image(image, camera, SPEC)


def test_real_images_keep_their_columns_when_they_are_decoded_at_a_quarter(nuscenes_one):
    spec = InputSpec(image_height_px=128, image_width_px=352, bev=BEV)
    camera = nuscenes_camera()
    for path in sorted(nuscenes_one.glob("samples/CAM_*/*.jpg")):
        full, quarter = (
            to_network_image(
                CameraImage(
                    sensor="CAM",
                    stamp_ns=STAMP_NS,
                    pixels=decode_jpeg(path.read_bytes(), "CAM", target_px),
                ),
                camera,
                spec,
            )
            for target_px in (None, 352)
        )
        assert np.abs(full.astype(int) - quarter).mean() < 4
