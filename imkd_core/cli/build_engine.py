# SPDX-License-Identifier: Apache-2.0
"""Build a bundle's TensorRT engine and keep it where the node looks for it.

The node does the same by itself when it is configured with model.backend: tensorrt; building
beforehand spares it the minutes. An engine is for one GPU, one TensorRT, one number of cameras and
one file; if any of them changes, it is built again. With --compute-capability the engine is built
by TensorRT-RTX for another machine (8.9 = GeForce RTX 40): copy the folder there as the user who
runs the node, `chmod -R go-w` it, name it in model.engine_folder, and the engine is found.

An engine is native code. It is loaded only from a folder, and of a file, that belongs to this user
and that nobody else may write, and only with its digest; anything else is built again. Of each GPU,
precision and number of cameras the folder keeps the four engines that were used last, and 4 GiB in
all; older ones are deleted when a new one is kept.

Examples:
  imkd build-engine --model models/imkd_tiny
  imkd build-engine --model models/imkd_tiny --compute-capability 8.9 --cache engines
  imkd build-engine --model runs/tiny/bundle --role fp16
"""

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from imkd_core.errors import BackendError, ConfigError

if TYPE_CHECKING:
    from imkd_core.runtime.tensorrt.keys import Target

#: Cameras of the sensor file that comes with the package.
CAMERAS = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("--model", type=Path, required=True, help="folder of the model bundle")
    parser.add_argument(
        "--role",
        default="auto",
        help="which of its files, as model.precision (default: auto, what the bundle recommends "
        "for TensorRT, else fp32)",
    )
    parser.add_argument(
        "--cameras",
        type=int,
        default=CAMERAS,
        help=f"of the vehicle's sensor file (default: {CAMERAS})",
    )
    parser.add_argument(
        "--compute-capability",
        metavar="X.Y",
        help="build ahead of time, by TensorRT-RTX, for any GPU of this compute capability "
        "(default: the GPU of this machine)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        help="folder of engines (default: $XDG_CACHE_HOME/imkd/engines or ~/.cache/imkd/engines)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Build or find the engine; print progress, key, size and time."""
    from imkd_core.runtime.bundle import load_bundle
    from imkd_core.runtime.roles import role_for
    from imkd_core.runtime.tensorrt.builder import Source
    from imkd_core.runtime.tensorrt.engine_cache import EngineCache, default_folder
    from imkd_core.runtime.tensorrt.keys import CameraRange, Target
    from imkd_core.runtime.tensorrt.packages import AHEAD_OF_TIME_PACKAGE, import_tensorrt

    bundle = load_bundle(arguments.model)
    role = role_for(bundle, arguments.role, "tensorrt")
    source = Source.read(bundle.path(role), role)
    if arguments.compute_capability:
        target = Target.ahead_of_time(parse_compute_capability(arguments.compute_capability))
        tensorrt = import_tensorrt((AHEAD_OF_TIME_PACKAGE,))
    else:
        tensorrt, target = import_tensorrt(), _local_target()
    cache = EngineCache(tensorrt, arguments.cache or default_folder(), _print)
    engine = cache.obtain(source, target, CameraRange.exactly(arguments.cameras))
    seconds = "found" if engine.build_s is None else f"built in {engine.build_s:.1f} s"
    _print(f"key    {engine.key}")
    _print(f"plan   {len(engine.plan) / 1e6:.1f} MB, {seconds}")
    _print(f"file   {engine.path or 'not kept'}")
    return 0 if engine.path else 1


def _local_target() -> "Target":
    """Return this machine's GPU.

    Raises:
        BackendError: there is none.
    """
    from imkd_core.runtime.tensorrt.cuda import load_cuda

    try:
        return load_cuda().device()
    except BackendError as error:
        raise BackendError(
            f"{error}; for another machine's GPU give --compute-capability, as 8.9"
        ) from None


def parse_compute_capability(text: str) -> tuple[int, int]:
    """Return (8, 9) of "8.9".

    Raises:
        ConfigError: it is not of that form.
    """
    match = re.fullmatch(r"(\d{1,2})\.(\d)", text)
    if match is None:
        raise ConfigError(
            f"--compute-capability takes X.Y, as 8.9, got '{text}'; see "
            "'nvidia-smi --query-gpu=compute_cap --format=csv' on the vehicle"
        )
    return int(match[1]), int(match[2])


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
