# SPDX-License-Identifier: Apache-2.0
import torch
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.model.view_transform import ViewTransform, collapse_columns, gather_cells

N, D, HF, WF, C, K = 2, 5, 3, 4, 6, 3
Y, X = 4, 7


def random_case(seed, batch=2):
    rng = torch.Generator().manual_seed(seed)
    depth = torch.rand(batch, N, D, HF, WF, generator=rng)
    context = torch.randn(batch, N, C, HF, WF, generator=rng)
    index = torch.randint(0, N * WF * D, (batch, Y * X, K), generator=rng, dtype=torch.int32)
    weight = torch.rand(batch, Y * X, K, generator=rng)
    return depth, context, index, weight


def lift_splat(depth, context, cell_of_point):
    """The exact lift-splat of one frame: each point is added to its cell; -1 drops it."""
    points = depth[:, :, None] * context[:, None]  # N D C H W
    flat = points.permute(0, 1, 3, 4, 2).reshape(-1, C)
    keep = cell_of_point.reshape(-1) >= 0
    bev = torch.zeros(Y * X, C)
    return bev.index_add(0, cell_of_point.reshape(-1)[keep], flat[keep])


@given(seed=st.integers(0, 10_000))
def test_columns_collapse_to_rows_in_the_order_camera_column_bin(seed):
    depth, context, _, _ = random_case(seed)
    rows = collapse_columns(depth, context)
    expected = torch.einsum("bndhw,bnchw->bnwdc", depth, context).reshape(2, N * WF * D, C)
    torch.testing.assert_close(rows, expected)


@given(seed=st.integers(0, 10_000))
def test_cells_take_their_rows_with_their_weights(seed):
    depth, context, index, weight = random_case(seed)
    rows = collapse_columns(depth, context)[0]
    expected = (rows[index[0].long()] * weight[0][..., None]).sum(1)
    torch.testing.assert_close(gather_cells(rows, index[0], weight[0]), expected)


@given(seed=st.integers(0, 10_000))
def test_with_level_cameras_and_enough_taps_it_is_the_exact_lift_splat(seed):
    rng = torch.Generator().manual_seed(seed)
    depth, context, _, _ = random_case(seed, batch=1)
    cell_of_row = torch.randint(-1, Y * X, (N, WF, D), generator=rng)
    cell_of_point = cell_of_row.permute(0, 2, 1)[:, :, None].expand(N, D, HF, WF)
    taps = N * WF * D
    index = torch.arange(taps, dtype=torch.int32).expand(Y * X, taps).contiguous()
    hits = cell_of_row.reshape(1, -1) == torch.arange(Y * X)[:, None]
    rows = collapse_columns(depth, context)[0]
    actual = gather_cells(rows, index, hits.float())
    expected = lift_splat(depth[0], context[0], cell_of_point)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_points_outside_the_height_range_are_left_out_as_lift_splat_drops_them():
    depth, context, index, weight = random_case(3, batch=1)
    logits = depth.log()
    mask = (torch.rand(depth.shape, generator=torch.Generator().manual_seed(1)) > 0.4).float()
    live = torch.ones(1, N)
    bev, _ = ViewTransform((Y, X))(logits, context, live, mask, index, weight)
    kept = logits.softmax(2) * mask
    rows = torch.einsum("bndhw,bnchw->bnwdc", kept, context).reshape(-1, C)
    expected = (rows[index[0].long()] * weight[0][..., None]).sum(1).T.reshape(C, Y, X)
    torch.testing.assert_close(bev[0], expected, rtol=1e-4, atol=1e-5)


def test_cells_are_laid_out_row_by_row():
    depth, context, index, weight = random_case(4, batch=1)
    weight[0, 2 * X + 5] = 0
    logits = depth.log()
    ones = torch.ones_like(depth)
    bev, confidence = ViewTransform((Y, X))(logits, context, torch.ones(1, N), ones, index, weight)
    assert not bev[0, :, 2, 5].any()
    assert not confidence[0, :, 2, 5].any()
    assert (bev[0].abs().sum(0) == 0).sum() == 1


def test_confidence_grows_as_the_depth_distribution_sharpens():
    depth, context, index, weight = random_case(5, batch=1)
    logits, live = depth.log(), torch.ones(1, N)
    ones = torch.ones_like(depth)
    transform = ViewTransform((Y, X))
    _, blurred = transform(logits * 0, context, live, ones, index, weight)
    _, sharp = transform(logits * 50, context, live, ones, index, weight)
    assert sharp.sum() > blurred.sum()
    torch.testing.assert_close(
        blurred[0, 0].reshape(-1), weight[0].sum(1) * HF / D**2, rtol=1e-4, atol=1e-6
    )


def test_softmax_stays_in_float32_for_half_precision_logits():
    logits = torch.zeros(1, 1, 4, 1, 1, dtype=torch.float16)
    logits[0, 0, 0] = 60_000
    context = torch.ones(1, 1, 2, 1, 1, dtype=torch.float16)
    index = torch.zeros(1, 1, 1, dtype=torch.int32)
    half_ones = torch.ones(1, 1, 4, 1, 1, dtype=torch.float16)
    bev, _ = ViewTransform((1, 1))(
        logits, context, torch.ones(1, 1).half(), half_ones, index, torch.ones(1, 1, 1).half()
    )
    assert bev.dtype == torch.float16
    assert bev.tolist() == [[[[1.0]], [[1.0]]]]
