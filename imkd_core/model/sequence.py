# SPDX-License-Identifier: Apache-2.0
"""What a student remembers of the frames before, from those frames themselves.

A training sample brings the sensors of its past frames, newest first, as `past_images` and so on:
[B, L, ...] beside the key frame's [B, ...]. Here they become what a vehicle has cached, the
`history*` of `Student.forward`, without gradient and without moving a norm's statistics.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imkd_core.model.example import INPUT_NAMES
from imkd_core.model.student import Student

#: Before the names of a past frame's arrays.
PAST = "past_"


def with_history(student: Student, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the arguments of `Student.forward`: past frames replaced by what they left.

    A window has one past frame for each map. A recurrent memory has one or more: each frame is
    fused with the frame before it, as on the vehicle, and the last map is handed over.

    Args:
        student: that remembers; its mode is kept.
        inputs: of the key frames, and `past_<name>` [B, L, ...] for each of `INPUT_NAMES`, newest
            first; `past_mask` [B, L], 1 where the frame exists; `past_transform` [B, L, 2, 3] and
            `past_age_s` [B, L] as `history_transform` and `history_age_s`: from the key frame for
            a window, each from the next newer frame for a recurrent memory. Without `past_mask`
            nothing is replaced.
    """
    if PAST + "mask" not in inputs:
        return dict(inputs)
    past = {k.removeprefix(PAST): v for k, v in inputs.items() if k.startswith(PAST)}
    present = {k: v for k, v in inputs.items() if not k.startswith(PAST)}
    with _at_rest(student), torch.no_grad():
        maps = _merged_maps(student, past)
        if student.inputs.memory.kind == "recurrent":
            maps = _newest_fused(student, maps, past)
    torch.clear_autocast_cache()  # or the key frame would reuse casts that know no gradient
    count = maps.shape[1]
    return {
        **present,
        "history": maps,
        "history_transform": past["transform"][:, :count],
        "history_age_s": past["age_s"][:, :count],
        "history_mask": past["mask"][:, :count],
    }


def _merged_maps(student: Student, past: Mapping[str, Tensor]) -> Float[Tensor, "B L C Y X"]:
    """Return F_mrg of all past frames at once, zeros for those that do not exist."""
    mask = past["mask"]
    live = mask.flatten() > 0
    memory, bev = student.inputs.memory, student.inputs.bev
    maps = torch.zeros((len(live), memory.channels, *bev.shape), device=mask.device)
    if live.any():
        frames = {name: past[name].flatten(0, 1)[live] for name in INPUT_NAMES}
        maps[live] = student.encode(**frames).merged_bev.float()
    return maps.reshape(*mask.shape, *maps.shape[1:])


def _newest_fused(
    student: Student, merged: Float[Tensor, "B L C Y X"], past: Mapping[str, Tensor]
) -> Float[Tensor, "B 1 C Y X"]:
    """Return F_fus of the newest past frame, reached from the oldest one step by step."""
    steps = merged.shape[1]
    kept = torch.zeros_like(merged[:, :1])
    known = torch.zeros_like(past["mask"][:, :1])
    older = slice(steps - 1, steps)  # nothing is remembered before the oldest: any motion will do
    for step in reversed(range(steps)):
        fused = student.fuse(
            merged[:, step], kept, past["transform"][:, older], past["age_s"][:, older], known
        )
        known = past["mask"][:, step : step + 1]
        kept = fused.float()[:, None] * known[:, :, None, None, None]
        older = slice(step, step + 1)
    return kept


@contextmanager
def _at_rest(module: nn.Module) -> Iterator[None]:
    """Put a module in evaluation mode, and each part of it back to its own mode afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
