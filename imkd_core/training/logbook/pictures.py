# SPDX-License-Identifier: Apache-2.0
"""Pictures of a batch for the log: what the network says beside what is true, and one camera."""

import numpy as np
from jaxtyping import Float, Num
from numpy.typing import NDArray
from torch import Tensor

from imkd_core.bev_grid import BevGrid
from imkd_core.visualization import heat_map

#: Height of a view from above, pixels.
HEIGHT_PX = 384


def heat_map_pair(
    logits: Float[Tensor, "K Y X"], target: Float[Tensor, "K Y X"], grid: BevGrid
) -> NDArray[np.uint8]:
    """Return predicted and true heat map side by side, forward up, the largest over all classes."""
    views = [
        heat_map(_highest(heat), grid, title=title, height_px=HEIGHT_PX)
        for heat, title in ((logits.float().sigmoid(), "predicted"), (target, "true"))
    ]
    return np.concatenate(views, axis=1)


def camera_picture(image: Num[Tensor, "3 H W"]) -> NDArray[np.uint8]:
    """Return an (H, W, 3) RGB picture of a network image (grey levels 0..255)."""
    pixels = image.detach().cpu().numpy().transpose(1, 2, 0)
    return np.ascontiguousarray(pixels.clip(0, 255).astype(np.uint8))


def _highest(heat: Float[Tensor, "K Y X"]) -> NDArray[np.float32]:
    return np.asarray(heat.detach().amax(0).float().cpu().numpy())
