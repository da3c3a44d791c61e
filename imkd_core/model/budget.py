# SPDX-License-Identifier: Apache-2.0
"""Parameters and multiply-adds of a network, counted from its modules while it runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from imkd_core.model.temporal import HistoryAlignment
from imkd_core.model.view_transform import ViewTransform

_COUNTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, ViewTransform, HistoryAlignment)


@dataclass(frozen=True, kw_only=True)
class BlockCost:
    """What one block of a network costs.

    Attributes:
        parameters: learned numbers.
        macs: multiply-adds of one call (one multiplication and one addition count as one).
    """

    parameters: int
    macs: int


def count_cost(network: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, BlockCost]:
    """Run a network once and return the cost of each direct child, by its name.

    Convolutions, linear layers, the view transform's products and the four neighbours that each
    cell of a remembered map is read from are counted; norms, which export folds away, and
    element-wise work are not.

    Args:
        network: the network; its mode is kept, its buffers may move when it trains.
        inputs: passed by name.
    """
    macs = {name: 0 for name, _ in network.named_children()}
    hooks = [
        module.register_forward_hook(_adder(macs, name))
        for name, child in network.named_children()
        for module in child.modules()
        if isinstance(module, _COUNTED)
    ]
    try:
        with torch.no_grad():
            network(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return {
        name: BlockCost(parameters=sum(p.numel() for p in child.parameters()), macs=macs[name])
        for name, child in network.named_children()
    }


def total_cost(costs: Mapping[str, BlockCost]) -> BlockCost:
    """Return the sum over all blocks."""
    return BlockCost(
        parameters=sum(cost.parameters for cost in costs.values()),
        macs=sum(cost.macs for cost in costs.values()),
    )


def _adder(macs: dict[str, int], name: str) -> Any:
    """Return a forward hook that adds a module's multiply-adds to the block `name`."""

    def add(module: nn.Module, arguments: tuple[Tensor, ...], output: Any) -> None:
        macs[name] += _module_macs(module, arguments, output)

    return add


def _module_macs(module: nn.Module, arguments: tuple[Tensor, ...], output: Any) -> int:
    if isinstance(module, nn.Linear):
        return output.numel() * module.in_features
    if isinstance(module, nn.Conv2d):
        return output.numel() * module.weight[0].numel()
    if isinstance(module, nn.ConvTranspose2d):
        return arguments[0].numel() * module.weight[0].numel()
    if isinstance(module, HistoryAlignment):
        return 4 * int(output.numel())
    depth_logits, context, _, _, lut_index, _ = arguments
    channels = context.shape[2] + 1
    return depth_logits.numel() * channels + lut_index.numel() * channels
