# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from imkd_core.errors import DataError
from imkd_core.training.cache.feature_projection import measure_projection

C, SHAPE = 12, (9, 14)


def lessons(samples=4, rank=3, label_rank=3, seed=0):
    """Features in a few directions, of channels with very different scales, and a dead channel."""
    rng = np.random.default_rng(seed)
    lidar_basis = rng.random((C, rank))
    label_basis = rng.random((C, label_rank)) if label_rank != rank else lidar_basis
    scale = np.geomspace(0.1, 30, C)[:, None]
    scale[4] = 0
    for _ in range(samples):
        lidar = scale * (lidar_basis @ rng.random((rank, SHAPE[0] * SHAPE[1])))
        label = scale * (label_basis @ rng.random((label_basis.shape[1], SHAPE[0] * SHAPE[1])))
        on_objects = rng.random(SHAPE) > 0.7
        yield (
            lidar.reshape(C, *SHAPE).astype(np.float32),
            label.reshape(C, *SHAPE).astype(np.float32),
            on_objects,
        )


def test_all_channels_keep_everything_and_only_lose_their_scale():
    projection = measure_projection(lessons(), C)
    assert projection.kept_lidar == projection.kept_label == 1
    features = next(iter(lessons()))[0]
    scaled = projection.apply(features)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled * projection.std[:, None, None], features, rtol=1e-5)
    live = np.delete(scaled.std(axis=(1, 2)), 4)
    np.testing.assert_allclose(live, 1, atol=0.25)
    assert np.isfinite(scaled).all()


def test_as_many_components_as_directions_keep_everything():
    projection = measure_projection(lessons(rank=3, label_rank=3), 3)
    assert projection.kept_lidar == pytest.approx(1, abs=1e-3)
    assert projection.kept_label == pytest.approx(1, abs=1e-3)
    assert projection.kept_lidar_variance == pytest.approx(1, abs=1e-3)


def test_too_few_components_say_what_they_leave_out():
    projection = measure_projection(lessons(rank=6, label_rank=4), 2)
    assert 0.5 < projection.kept_lidar < 1
    assert 0.5 < projection.kept_label < 1
    assert projection.kept_lidar_variance < projection.kept_lidar


def test_the_components_keep_lengths_so_losses_do_not_depend_on_the_basis():
    whole, few = measure_projection(lessons(), C), measure_projection(lessons(), 3)
    features = next(iter(lessons(seed=9)))[0]
    wanted = (whole.apply(features) ** 2).sum(axis=0)
    projected = (few.apply(next(iter(lessons()))[0]) ** 2).sum(axis=0)
    expected = (whole.apply(next(iter(lessons()))[0]) ** 2).sum(axis=0)
    np.testing.assert_allclose(projected, expected, rtol=1e-3)
    assert wanted.shape == SHAPE


def test_nothing_stays_nothing_and_scaling_commutes():
    """I_L * F_L is taught: the components about 0 scale with it (method.md 5.3)."""
    projection = measure_projection(lessons(), 3)
    features = next(iter(lessons()))[0]
    assert np.abs(projection.apply(np.zeros_like(features))).max() == 0
    intensity = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    np.testing.assert_allclose(
        projection.apply(intensity * features), intensity * projection.apply(features), atol=1e-4
    )


def test_the_same_samples_give_the_same_basis():
    first, second = measure_projection(lessons(), 3), measure_projection(lessons(), 3)
    np.testing.assert_array_equal(first.basis, second.basis)


def test_no_sample_and_too_many_components_are_refused():
    with pytest.raises(DataError, match="no sample with LiDAR"):
        measure_projection([], 3)
    with pytest.raises(DataError, match="12 channels, not 13"):
        measure_projection(lessons(), 13)


def test_labels_have_a_scale_of_their_own():
    """Their encoder is not held to the teacher's scale; twelve times as large drowned the rest."""
    large = ((lidar, 12 * label, cells) for lidar, label, cells in lessons())
    usual, other = measure_projection(lessons(), 3), measure_projection(large, 3)
    np.testing.assert_allclose(other.label_std, 12 * usual.label_std, rtol=1e-4)
    label = next(iter(lessons()))[1]
    lengths = [
        (maps**2).sum() for maps in (usual.apply_label(label), other.apply_label(12 * label))
    ]
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-3)
