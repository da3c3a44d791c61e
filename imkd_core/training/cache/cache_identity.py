# SPDX-License-Identifier: Apache-2.0
"""Whose maps a teacher cache holds: what they depend on, and how that is compared."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from imkd_core.data.learning.teacher_maps import FORMAT
from imkd_core.errors import ConfigError
from imkd_core.mapping import to_mapping
from imkd_core.model.adaptors import taught_channels
from imkd_core.model.intensity import IntensityStatistics
from imkd_core.model.label_encoder import LabelEncoder
from imkd_core.model.teacher import Teacher
from imkd_core.recipe import Config

#: Sections of the configuration that the maps depend on, and keys in them that change no map.
_SECTIONS = ("inputs", "head", "teacher", "labels", "intensity")
_FREE_KEYS = frozenset(
    {
        *("radar_refinement", "radar_sweeps", "lut_taps", "feature_stride_px", "memory"),
        *("candidates", "peak_window", "score_threshold", "max_boxes", "drop_points"),
    }
)


def config_parts(config: Config) -> dict[str, Any]:
    """Return what the maps depend on, as JSON gives it back."""
    parts: dict[str, Any] = {}
    for name in _SECTIONS:
        section = to_mapping(getattr(config, name))
        parts[name] = {key: value for key, value in section.items() if key not in _FREE_KEYS}
    parts["channels"] = taught_channels(config)
    parts["format"] = FORMAT
    return dict(json.loads(json.dumps(parts)))


def fingerprints(
    lidar: Teacher, labels: LabelEncoder, statistics: IntensityStatistics
) -> dict[str, str]:
    """Return a hash of each teacher's weights and of what was measured for I_L."""
    measured = json.dumps(asdict(statistics), sort_keys=True)
    return {
        "teacher": _weights_hash(lidar),
        "labels": _weights_hash(labels),
        "intensity": hashlib.sha256(measured.encode()).hexdigest(),
    }


def _weights_hash(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def check_same(
    directory: Path, found: Mapping[str, Any], wanted: Mapping[str, Any], part: str
) -> None:
    """Refuse a cache of something else, naming what differs.

    Raises:
        ConfigError: `found`, of the cache, is not `wanted`; `part` is "config" or "teachers".
    """
    differing = [key for key in wanted if found.get(key) != wanted[key]]
    if differing:
        what = "other teachers" if part == "teachers" else "another configuration"
        raise ConfigError(
            f"{directory} is the cache of {what}: {', '.join(differing)} differ; choose another "
            "--cache, or delete the folder"
        )
