# SPDX-License-Identifier: Apache-2.0
"""Which TensorRT is installed: `tensorrt` and `tensorrt_rtx` have the same interface."""

import importlib
import importlib.util
import re
from collections.abc import Sequence
from typing import Any

from imkd_core.errors import BackendError

#: Packages with the same interface; a vehicle prefers the first.
PACKAGES = ("tensorrt", "tensorrt_rtx")

#: Builds engines for other GPUs than the one it runs on, and without any.
AHEAD_OF_TIME_PACKAGE = "tensorrt_rtx"

#: First TensorRT whose strongly typed networks hold all that we export.
OLDEST_VERSION = (10, 3)

_REMEDY = (
    "install it with 'pip install tensorrt' (or 'pip install tensorrt-rtx' for a GeForce or RTX "
    "GPU), or choose the backend 'onnxruntime', which runs on the CPU"
)


def is_tensorrt_installed(packages: Sequence[str] = PACKAGES) -> bool:
    """Whether any of the packages is installed (it may still lack its libraries)."""
    return any(importlib.util.find_spec(name) is not None for name in packages)


def import_tensorrt(packages: Sequence[str] = PACKAGES) -> Any:
    """Return the first of the packages that can be imported.

    Args:
        packages: their names, first choice first.

    Raises:
        BackendError: none can be imported, or it is too old.
    """
    reasons = []
    for name in packages:
        module, reason = _try_import(name)
        if module is not None:
            _check_version(module)
            return module
        reasons.append(reason)
    raise BackendError(f"TensorRT cannot be imported ({'; '.join(reasons)}); {_REMEDY}")


def is_rtx(tensorrt: Any) -> bool:
    """Whether a module is TensorRT-RTX, which compiles for the GPU when an engine is loaded."""
    return str(tensorrt.__name__) == AHEAD_OF_TIME_PACKAGE


def _try_import(name: str) -> tuple[Any, str]:
    """Return the module, or None and why not."""
    try:
        return importlib.import_module(name), ""
    except (ImportError, OSError) as error:  # installed without its libraries
        return None, f"{name}: {error}"


def _check_version(tensorrt: Any) -> None:
    """Refuse what is too old; TensorRT-RTX counts its versions apart and always is new enough."""
    version = tuple(int(part) for part in re.findall(r"\d+", tensorrt.__version__)[:2])
    if not is_rtx(tensorrt) and version < OLDEST_VERSION:
        oldest = ".".join(str(part) for part in OLDEST_VERSION)
        raise BackendError(
            f"TensorRT {tensorrt.__version__} is too old; {oldest} or newer is needed: {_REMEDY}"
        )
