# SPDX-License-Identifier: Apache-2.0
import torch

from imkd_core.model.label_encoder import LabelEncoder
from tests.core.model.small import GRID
from tests.core.model.small_teacher import small_labels

Y, X = GRID.shape


def random_maps(batch=2, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 13, Y, X, generator=rng)


def test_label_features_have_the_shape_and_sign_of_the_teachers():
    features = small_labels().eval()(random_maps())
    assert features.shape == (2, 8, Y, X)
    assert features.min() >= 0
    assert features.max() > 0


def test_no_weight_is_tied_to_a_place_on_the_map():
    encoder: LabelEncoder = small_labels()
    assert all(Y not in p.shape and X not in p.shape for p in encoder.parameters())


def test_an_empty_map_gives_the_same_features_in_every_inner_cell():
    features = small_labels().eval()(torch.zeros(1, 13, Y, X))
    inner = features[0, :, 4:-4, 4:-4]
    torch.testing.assert_close(inner, inner[:, :1, :1].expand_as(inner), rtol=1e-4, atol=1e-4)
    assert torch.isfinite(features).all()


def test_box_and_class_both_matter():
    encoder, maps = small_labels().eval(), random_maps()
    with torch.no_grad():
        plain = encoder(maps)
        for channels in (slice(0, 10), slice(10, None)):
            changed = maps.clone()
            changed[:, channels] = 0
            assert not torch.allclose(encoder(changed), plain)


def test_the_gradient_reaches_every_parameter():
    encoder = small_labels().train()
    features = encoder(random_maps())
    (features * torch.rand_like(features)).sum().backward()
    assert [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []
