# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.data.changes.image_change import (
    ImageChange,
    Picture,
    changed_image,
    keep_picture,
    sample_image_change,
    sample_view_change,
)
from imkd_core.imaging import fit_window, to_network_image
from imkd_core.recipe import AugmentConfig
from imkd_core.types import CameraImage
from tests.core.rigs import STAMP_NS, camera_of, spec_of

SPEC = spec_of()
WIDTH, HEIGHT = SPEC.image_width_px, SPEC.image_height_px

geometries = st.builds(
    ImageChange,
    zoom=st.floats(0.8, 1.3),
    crop=st.floats(-1, 1),
    rotation_rad=st.floats(-0.2, 0.2),
    flip=st.booleans(),
)


def noise_pixels(seed=0, height=HEIGHT, width=WIDTH):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def network_picture(pixels):
    return Picture(pixels=pixels, network_from_picture=np.eye(3))


def blob(u, v, height, width, sigma=3.0):
    rows, columns = np.mgrid[:height, :width]
    value = 250 * np.exp(-((columns - u) ** 2 + (rows - v) ** 2) / (2 * sigma**2))
    return np.repeat(value[..., None], 3, axis=2).astype(np.uint8)


def centroid(pixels):
    weight = pixels[..., 0].astype(float)
    rows, columns = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()


def test_no_change_is_the_vehicles_network_image():
    camera = camera_of(size_px=(400, 240))
    image = CameraImage(sensor="a", stamp_ns=STAMP_NS, pixels=noise_pixels(0, 240, 400))
    picture = keep_picture(image, camera, SPEC, False)
    changed = changed_image(picture, ImageChange(), SPEC)
    np.testing.assert_array_equal(changed.transpose(2, 0, 1), to_network_image(image, camera, SPEC))


@pytest.mark.parametrize("is_cut_later", [False, True])
@pytest.mark.parametrize("size_px", [(160, 64), (200, 120), (400, 240), (800, 320)])
def test_kept_pictures_say_where_their_pixels_lie_in_the_network_image(is_cut_later, size_px):
    camera = camera_of(size_px=size_px)
    to_network = fit_window(camera, SPEC).input_from_image
    at = np.linalg.inv(to_network) @ (60.0, 40.0, 1)  # a point of the network image, in the camera
    scale = to_network[0, 0]
    pixels = blob(at[0], at[1], size_px[1], size_px[0], sigma=4 / scale)
    image = CameraImage(sensor="a", stamp_ns=STAMP_NS, pixels=pixels)
    picture = keep_picture(image, camera, SPEC, is_cut_later)
    found = picture.network_from_picture @ (*centroid(picture.pixels), 1)
    np.testing.assert_allclose(found[:2], (60, 40), atol=0.15)
    assert picture.pixels.shape[1] <= 1.5 * WIDTH


@given(geometries, st.floats(60, 100), st.floats(25, 40))
def test_a_point_of_the_picture_goes_where_the_map_says(change, u, v):
    picture = network_picture(blob(u, v, HEIGHT, WIDTH))
    expected = change.changed_from_network(SPEC) @ (u, v, 1)
    if 12 < expected[0] < WIDTH - 12 and 12 < expected[1] < HEIGHT - 12:
        found = centroid(changed_image(picture, change, SPEC))
        np.testing.assert_allclose(found, expected[:2], atol=0.2)


@given(st.floats(0.7, 1.4), st.floats(-1, 1))
def test_a_zoom_keeps_the_lower_border_and_stays_inside_or_around_the_picture(zoom, crop):
    change = ImageChange(zoom=zoom, crop=crop)
    corners = np.array([[-0.5, WIDTH - 0.5], [HEIGHT - 0.5, HEIGHT - 0.5], [1, 1]])
    (left, right), bottom, _ = change.changed_from_network(SPEC) @ corners
    np.testing.assert_allclose(bottom, HEIGHT - 0.5)
    if zoom > 1:
        assert left <= -0.499
        assert right >= WIDTH - 0.501
    else:
        assert left >= -0.501
        assert right <= WIDTH - 0.499


def test_a_mirror_swaps_left_and_right_exactly():
    picture = network_picture(noise_pixels())
    mirrored = changed_image(picture, ImageChange(flip=True), SPEC)
    np.testing.assert_array_equal(mirrored, picture.pixels[:, ::-1])


@pytest.mark.parametrize("blank", ["plain", "noise", "scrambled"])
def test_a_covered_camera_still_delivers_but_not_its_scene(blank):
    pixels = noise_pixels()
    change = ImageChange(blank=blank, noise_seed=3)
    changed = changed_image(network_picture(pixels), change, SPEC)
    assert changed.shape == pixels.shape
    assert (changed == pixels).all(axis=2).mean() < 0.2


def test_a_scrambled_image_keeps_its_tiles():
    spec = spec_of(image_width_px=192)
    pixels = noise_pixels(width=192)
    changed = changed_image(
        network_picture(pixels), ImageChange(blank="scrambled", noise_seed=1), spec
    )
    np.testing.assert_array_equal(np.sort(changed.reshape(-1)), np.sort(pixels.reshape(-1)))


@given(right=st.integers(-5, 5), down=st.integers(-5, 5))
def test_a_shift_moves_the_picture_by_network_pixels(right, down):
    pixels = noise_pixels()
    changed = changed_image(network_picture(pixels), ImageChange(shift_px=(right, down)), SPEC)
    moved = np.roll(pixels, (down, right), axis=(0, 1))
    inner = (slice(6, -6), slice(6, -6))
    np.testing.assert_array_equal(changed[inner], moved[inner])


def test_brightness_and_noise_act_and_stay_within_a_byte():
    pixels = noise_pixels()
    bright = changed_image(network_picture(pixels), ImageChange(gain=1.5), SPEC)
    np.testing.assert_array_equal(bright, np.clip(np.rint(pixels * 1.5), 0, 255))
    noisy = changed_image(network_picture(pixels), ImageChange(noise=10.0), SPEC)
    assert 3 < np.abs(noisy.astype(int) - pixels).mean() < 15


def test_contrast_keeps_the_mean_and_saturation_the_grey():
    pixels = np.clip(noise_pixels(), 60, 190)
    flat = changed_image(network_picture(pixels), ImageChange(contrast=0.5), SPEC)
    assert flat.std() == pytest.approx(pixels.std() / 2, rel=0.05)
    assert flat.mean() == pytest.approx(pixels.mean(), abs=1.5)
    grey = changed_image(network_picture(pixels), ImageChange(saturation=0.0), SPEC)
    assert np.ptp(grey, axis=2).max() == 0
    np.testing.assert_allclose(grey[..., 0], pixels @ [0.299, 0.587, 0.114], atol=0.75)


def test_a_blur_takes_detail_and_keeps_the_mean():
    pixels = noise_pixels()
    blurred = changed_image(network_picture(pixels), ImageChange(blur_px=1.5), SPEC)
    assert blurred.std() < 0.4 * pixels.std()
    assert blurred.mean() == pytest.approx(pixels.mean(), abs=2)


def test_draws_stay_in_their_ranges():
    rng = np.random.default_rng(0)
    augment = AugmentConfig(
        zoom=0.1, rotation_deg=2, flip_image=0.5, contrast=0.2, saturation=0.3, blur=0.25
    )
    drawn = [sample_view_change(rng, augment, ImageChange()) for _ in range(500)]
    for name, limit in (("zoom", 0.1), ("contrast", 0.2), ("saturation", 0.3)):
        off = np.abs([getattr(change, name) - 1 for change in drawn])
        assert 0.9 * limit < off.max() <= limit
    assert max(abs(change.rotation_rad) for change in drawn) <= np.deg2rad(2)
    assert np.mean([change.flip for change in drawn]) == pytest.approx(0.5, abs=0.07)
    assert np.mean([change.blur_px > 0 for change in drawn]) == pytest.approx(0.25, abs=0.07)


def test_the_default_configuration_draws_nothing():
    rng = np.random.default_rng(0)
    change = sample_view_change(
        rng, AugmentConfig(), sample_image_change(rng, AugmentConfig(), False)
    )
    assert dataclasses.replace(change, noise_seed=0, crop=0.0) == ImageChange()
    assert change.keeps_geometry
