# SPDX-License-Identifier: Apache-2.0
"""Public ImageNet weights for the image backbone: torchvision's files, as .pth or .safetensors.

A .pth file is a pickle; it is opened with `weights_only=True`, so that no code in it can run.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from imkd_core.errors import DataError
from imkd_core.model.mobilenet import MobileNetV2
from imkd_core.model.resnet import ResNet
from imkd_core.model.student import Student

#: A buffer that old files lack; it counts batches and changes no output.
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What became of a weight file.

    Attributes:
        loaded: keys that were taken.
        left_out: keys of the file that the backbone has no place for (the classifier).
        not_filled: keys of the network that the file did not give, and that keep what they had.
    """

    loaded: tuple[str, ...]
    left_out: tuple[str, ...]
    not_filled: tuple[str, ...] = ()

    def summary(self) -> str:
        """Return one line: how many keys were taken, and what was not."""
        left_out = ", ".join(self.left_out) or "none"
        return (
            f"{len(self.loaded)} tensors taken; left out of the file: {left_out}; "
            f"{len(self.not_filled)} tensors of the network keep their random start"
        )

    def as_text(self) -> str:
        """Return every key, one a line, under what became of it."""
        parts = {
            "taken": self.loaded,
            "left out of the file": self.left_out,
            "not filled": self.not_filled,
        }
        return "".join(
            f"# {title}: {len(keys)}\n" + "".join(f"{key}\n" for key in keys)
            for title, keys in parts.items()
        )


def init_student(student: Student, path: Path) -> LoadReport:
    """Fill a student's image backbone from a public file; see `load_backbone`.

    Returns:
        What was taken and left out, and every key of the whole student that was not filled.
    """
    report = load_backbone(student.backbone, path)
    filled = {f"backbone.{key}" for key in report.loaded}
    rest = tuple(key for key in student.state_dict() if key not in filled)
    return LoadReport(loaded=report.loaded, left_out=report.left_out, not_filled=rest)


def load_backbone(backbone: ResNet | MobileNetV2, path: Path) -> LoadReport:
    """Fill an image backbone from a file with torchvision's names; every weight must be there.

    Raises:
        DataError: the file cannot be read, a weight is missing or has another shape, or the file
            holds weights beyond the classifier that this backbone does not know.
    """
    given, own = _read_tensors(path), backbone.state_dict()
    left_out = tuple(key for key in given if key.startswith(backbone.unused_keys))
    taken = {key: value for key, value in given.items() if key not in left_out}
    missing = [key for key in own if key not in taken and not key.endswith(_COUNTER)]
    unknown = [key for key in taken if key not in own]
    misshaped = [key for key in taken if key in own and taken[key].shape != own[key].shape]
    for problem, keys in (
        ("lacks", missing),
        ("has unknown", unknown),
        ("has other shapes for", misshaped),
    ):
        if keys:
            raise DataError(
                f"{path.name} {problem} {len(keys)} of the backbone's weights, first '{keys[0]}'; "
                "give torchvision's file of this very network (ResNets of width 64)"
            )
    backbone.load_state_dict({**own, **taken}, strict=True)
    kept = tuple(key for key in own if key not in taken)
    return LoadReport(loaded=tuple(taken), left_out=left_out, not_filled=kept)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Return a file's tensors by name, without running anything that is in it."""
    if not path.is_file():
        raise DataError(f"no weight file {path}")
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bad bytes make torch's reader raise nearly anything
        raise DataError(
            f"{path} cannot be read as weights; expected .safetensors, or a .pth of plain tensors "
            f"(pickles with code in them are refused): {error}"
        ) from error
    is_plain = isinstance(content, dict) and all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    )
    if not is_plain:
        raise DataError(f"{path} holds more than named tensors; expected a plain state_dict")
    return content
