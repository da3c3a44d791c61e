# SPDX-License-Identifier: Apache-2.0
"""Would TensorRT take the file? Its parser and builder are asked; no GPU is needed.

TensorRT-RTX builds ahead of time on any machine. The full TensorRT is asked where only it is
installed; its builder wants a GPU. The builder is the one of `imkd_core.runtime.tensorrt`.
"""

from dataclasses import dataclass
from pathlib import Path

from imkd_core.runtime.tensorrt import packages
from imkd_core.runtime.tensorrt.builder import Source, build_engine
from imkd_core.runtime.tensorrt.cuda import load_cuda
from imkd_core.runtime.tensorrt.keys import CameraRange, Target

#: Packages that are asked, first choice first: the one that needs no GPU.
PACKAGES = tuple(reversed(packages.PACKAGES))

#: GPU that TensorRT-RTX builds for: Ada, its most common one.
COMPUTE_CAPABILITY = (8, 9)


@dataclass(frozen=True, kw_only=True)
class TensorRtReport:
    """A successful build.

    Attributes:
        package: name and version of what built it.
        plan_bytes: size of the serialised engine.
        seconds: that parsing and building took.
    """

    package: str
    plan_bytes: int
    seconds: float


def is_tensorrt_installed() -> bool:
    """Whether any of the packages can be imported."""
    return packages.is_tensorrt_installed(PACKAGES)


def check_tensorrt(model: Path, cameras: CameraRange | None = None) -> TensorRtReport:
    """Parse and build a file; the engine is thrown away.

    Args:
        model: ONNX file; its types decide the precision.
        cameras: numbers of cameras that the engine takes; None = 1 to 8.

    Raises:
        BackendError: no TensorRT is installed, or it needs a GPU that is not there.
        BundleError: the parser or the builder refuses the file; the message holds its words.
    """
    tensorrt = packages.import_tensorrt(PACKAGES)
    if packages.is_rtx(tensorrt):
        target = Target.ahead_of_time(COMPUTE_CAPABILITY)
    else:
        target = load_cuda().device()
    source = Source.read(model, precision="the file's own")
    built = build_engine(tensorrt, source, target, cameras or CameraRange())
    return TensorRtReport(
        package=f"{tensorrt.__name__} {tensorrt.__version__}",
        plan_bytes=len(built.plan),
        seconds=built.seconds,
    )
