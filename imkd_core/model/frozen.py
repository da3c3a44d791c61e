# SPDX-License-Identifier: Apache-2.0
"""Modules that never learn again: in evaluation mode for ever, without gradients of their own.

A parent's `train()` reaches every child; a frozen child must not follow, or its batch-norm
statistics drift while the student trains (method.md 4.1).
"""

from types import MethodType
from typing import TypeVar

from torch import nn

_Module = TypeVar("_Module", bound=nn.Module)


def freeze(module: _Module) -> _Module:
    """Freeze a module and all its children, in place, and return it.

    Gradients still flow through it to its inputs; its parameters get none.
    """
    module.requires_grad_(False)
    module.eval()
    for child in module.modules():
        child.__dict__["train"] = MethodType(_stay_in_evaluation, child)
    return module


def is_frozen(module: nn.Module) -> bool:
    """Return whether neither weights nor buffers of a module can move any more."""
    return all("train" in child.__dict__ and not child.training for child in module.modules())


def _stay_in_evaluation(module: nn.Module, _mode: bool = True) -> nn.Module:
    """Stand in for `nn.Module.train`."""
    return module
