# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.data.changes.image_change import ImageChange
from imkd_core.data.changes.views import view_depth_bins, view_images, views_geometry
from imkd_core.data.learning.targets import camera_points, depth_bins
from imkd_core.imaging import fit_window
from imkd_core.view_lut import build_view_geometry
from tests.core.data.example_views import CAMERA, SPEC, view

K = fit_window(CAMERA, SPEC).pixel_from_cam


def points_ego(seed, n=300):
    rng = np.random.default_rng(seed)
    return np.stack([rng.uniform(2, 40, n), rng.uniform(-20, 20, n), rng.uniform(-1, 3, n)], axis=1)


@given(
    st.integers(0, 99),
    st.builds(
        ImageChange,
        zoom=st.floats(0.8, 1.3),
        crop=st.floats(-1, 1),
        rotation_rad=st.floats(-0.1, 0.1),
        flip=st.booleans(),
    ),
)
def test_depth_follows_the_changed_picture(seed, change):
    """Points of the unchanged image, moved, give the bins that the changed projection gives."""
    points = points_ego(seed)
    changed_k = change.changed_from_network(SPEC) @ K
    expected = depth_bins(points, [(changed_k, CAMERA.ego_from_cam)], SPEC)
    kept = {"front": camera_points(points, K, CAMERA.ego_from_cam)}
    found = view_depth_bins([view(change=change)], None, kept, SPEC)
    assert (found == expected).mean() > 0.99  # float32 pixels at the border of a cell
    assert (expected >= 0).any()


def test_known_bins_are_taken_where_the_picture_did_not_move():
    exact = np.random.default_rng(0).integers(-1, 9, (1, *SPEC.feature_shape))
    np.testing.assert_array_equal(
        view_depth_bins([view(change=ImageChange(gain=2.0))], exact, {}, SPEC), exact
    )
    moved = view_depth_bins([view(change=ImageChange(zoom=1.1))], exact, {}, SPEC)
    assert (moved == -1).all()  # nobody knows its points


@pytest.mark.parametrize(
    "changes",
    [
        {"picture": None},
        {"is_stale": True},
        {"change": ImageChange(blank="masked")},
        {"change": ImageChange(blank="noise")},
    ],
)
def test_a_camera_that_does_not_show_the_scene_has_no_depth(changes):
    exact = np.ones((1, *SPEC.feature_shape), np.int64)
    points = {"front": np.array([[80.0, 32.0, 10.0]], np.float32)}
    assert (view_depth_bins([view(**changes)], exact, points, SPEC) == -1).all()


def test_masked_and_missing_cameras_have_no_image_and_blank_ones_have():
    views = [
        view(),
        view(picture=None),
        view(change=ImageChange(blank="masked")),
        view(change=ImageChange(blank="plain")),
    ]
    images = view_images(views, SPEC)
    assert [bool(image.any()) for image in images] == [True, False, False, True]
    assert [one.is_live for one in views] == [True, False, False, True]
    np.testing.assert_array_equal(images[0].transpose(1, 2, 0), views[0].picture.pixels)


def test_the_geometry_of_unchanged_views_is_the_vehicles():
    found = views_geometry([view()], None, SPEC)
    expected = build_view_geometry([(CAMERA, CAMERA.ego_from_cam)], SPEC)
    for item in dataclasses.fields(expected):
        if item.name != "cameras":
            np.testing.assert_array_equal(getattr(found, item.name), getattr(expected, item.name))


def test_the_geometry_of_a_changed_picture_is_that_of_its_projection():
    change = ImageChange(zoom=1.2, crop=0.4)
    found = views_geometry([view(change=change)], None, SPEC)
    k = change.changed_from_network(SPEC) @ K
    expected = build_view_geometry([(CAMERA, CAMERA.ego_from_cam)], SPEC, [k])
    np.testing.assert_array_equal(found.lut_weight, expected.lut_weight)
    np.testing.assert_allclose(found.camera_params[0, 0], 1.2 * K[0, 0] / SPEC.image_width_px)
