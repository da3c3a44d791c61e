# SPDX-License-Identifier: Apache-2.0
"""What an engine is good for: the key under which it is kept, and by which it is found again."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from imkd_core.errors import ConfigError

#: Stands for the name and CUDA version of a GPU that an engine is built for ahead of time.
ANY = "any"

#: Facts of what an engine computes; the others say on what, and by what.
_PURPOSE = ("onnx_sha256", "precision", "cameras")


@dataclass(frozen=True, kw_only=True)
class CameraRange:
    """Numbers of cameras that an engine takes; the only open axis of our networks.

    Attributes:
        least: number of cameras.
        likely: that it is tuned for.
        most: number of cameras.

    Raises:
        ConfigError: not 1 <= least <= likely <= most.
    """

    least: int = 1
    likely: int = 6
    most: int = 8

    def __post_init__(self) -> None:
        """Check the order."""
        if not 1 <= self.least <= self.likely <= self.most:
            raise ConfigError(
                f"cameras must be 1 <= least <= likely <= most, got {self.least}, {self.likely}, "
                f"{self.most}"
            )

    @staticmethod
    def exactly(count: int) -> "CameraRange":
        """Return the range of one number, which gives the fastest engine."""
        return CameraRange(least=count, likely=count, most=count)


@dataclass(frozen=True, kw_only=True)
class Target:
    """The GPU that an engine is for.

    Attributes:
        gpu_name: as CUDA says it; ANY ahead of time.
        compute_capability: as (8, 9).
        cuda_version: of the CUDA runtime, as "13.0"; ANY ahead of time.
    """

    gpu_name: str
    compute_capability: tuple[int, int]
    cuda_version: str

    @staticmethod
    def ahead_of_time(compute_capability: tuple[int, int]) -> "Target":
        """Return any GPU of a compute capability (TensorRT-RTX alone builds for it)."""
        return Target(gpu_name=ANY, compute_capability=compute_capability, cuda_version=ANY)

    @property
    def is_ahead_of_time(self) -> bool:
        """Whether the engine is for another machine."""
        return self.gpu_name == ANY


@dataclass(frozen=True, kw_only=True)
class EngineKey:
    """All that decides whether an engine may be used.

    Attributes:
        onnx_sha256: of the file it is built from, lower-case hexadecimal.
        package: "tensorrt" or "tensorrt_rtx".
        version: of the package.
        target: the GPU and its CUDA.
        cameras: numbers of cameras.
        precision: role of the file in its bundle; its types are the precision.
    """

    onnx_sha256: str
    package: str
    version: str
    target: Target
    cameras: CameraRange
    precision: str

    @property
    def facts(self) -> dict[str, Any]:
        """The key as JSON can say it."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @property
    def name(self) -> str:
        """Name of the engine's files, without suffix: the key's own hash."""
        return hashlib.sha256(_canonical(self.facts)).hexdigest()[:32]

    @property
    def timing_facts(self) -> dict[str, Any]:
        """What a timing cache is good for: every network of this TensorRT on this GPU."""
        facts = self.facts
        return {name: facts[name] for name in ("package", "version", "target")}

    @property
    def timing_name(self) -> str:
        """Name of the timing cache's files, without suffix."""
        return "timing-" + hashlib.sha256(_canonical(self.timing_facts)).hexdigest()[:24]

    def __str__(self) -> str:
        """For people."""
        major, minor = self.target.compute_capability
        cameras = f"{self.cameras.least}..{self.cameras.likely}..{self.cameras.most}"
        return (
            f"{self.precision}, {self.package} {self.version}, GPU {self.target.gpu_name} "
            f"(compute capability {major}.{minor}), CUDA {self.target.cuda_version}, cameras "
            f"{cameras}, ONNX {self.onnx_sha256[:12]}..."
        )


def differences(wanted: Mapping[str, Any], kept: Mapping[str, Any]) -> list[str]:
    """Return what keeps an engine of the same purpose from serving, in words.

    Args:
        wanted: `EngineKey.facts` of the engine that is looked for.
        kept: those of one that is there, as its sidecar has them.
    """
    if any(wanted[name] != kept.get(name) for name in _PURPOSE):
        return []
    here, there = _conditions(wanted), _conditions(kept)
    return [
        f"{name} {there[name]} (here {value})"
        for name, value in here.items()
        if there[name] != value
    ]


def _conditions(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return under what an engine can be used: name -> value, for people."""
    said = facts.get("target")
    target = said if isinstance(said, Mapping) else {}
    capability = target.get("compute_capability")
    numbers = capability if isinstance(capability, list) else []
    return {
        "TensorRT": f"'{facts.get('package')} {facts.get('version')}'",
        "GPU": f"'{target.get('gpu_name')}'",
        "compute capability": ".".join(str(number) for number in numbers),
        "CUDA": f"{target.get('cuda_version')}",
    }


def _canonical(facts: dict[str, Any]) -> bytes:
    return json.dumps(facts, sort_keys=True).encode()
