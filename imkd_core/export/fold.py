# SPDX-License-Identifier: Apache-2.0
"""Batch norms folded into the convolutions before them, whatever the modules are called."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_norms(network: nn.Module, inputs: Mapping[str, Tensor]) -> None:
    """Fold every batch norm, in place, into the convolution whose output it takes.

    Args:
        network: in evaluation mode.
        inputs: by name; only their shapes matter, for the network runs on the meta device.
    """
    for conv_name, norm_name in _Pairing(copy.deepcopy(network).to("meta")).run(inputs):
        conv, norm = network.get_submodule(conv_name), network.get_submodule(norm_name)
        if isinstance(conv, nn.Conv2d | nn.ConvTranspose2d) and isinstance(norm, nn.BatchNorm2d):
            is_transposed = isinstance(conv, nn.ConvTranspose2d)
            network.set_submodule(conv_name, fuse_conv_bn_eval(conv, norm, is_transposed))
            network.set_submodule(norm_name, nn.Identity())


class _Pairing:
    """Follows tensors from convolutions to norms while a network runs."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._made_by: dict[int, str] = {}
        self._alive: list[Tensor] = []
        self._pairs: list[tuple[str, str]] = []

    def run(self, inputs: Mapping[str, Tensor]) -> list[tuple[str, str]]:
        """Return (convolution, norm) names in the order of the calls."""
        for name, module in self._network.named_modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.register_forward_hook(self._convolved(name))
            elif isinstance(module, nn.BatchNorm2d):
                module.register_forward_pre_hook(self._normed(name))
        with torch.no_grad():
            self._network(**{name: value.to("meta") for name, value in inputs.items()})
        return self._pairs

    def _convolved(self, name: str) -> Any:
        def hook(_module: nn.Module, _arguments: Any, output: Tensor) -> None:
            self._made_by[id(output)] = name
            self._alive.append(output)  # or another tensor could take over its id

        return hook

    def _normed(self, name: str) -> Any:
        def hook(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            if id(arguments[0]) in self._made_by:
                self._pairs.append((self._made_by[id(arguments[0])], name))

        return hook
