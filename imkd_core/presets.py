# SPDX-License-Identifier: Apache-2.0
"""Named ways to be taught: overrides on a configuration file.

    load_config(path, {**preset_overrides("ours"), "train.steps": 3000})

`ours` repairs what the paper's losses get wrong (method.md 5.3 to 5.7, 12, 13); `paper_literal`
is the closest reading of figure and text (method.md 17); `none` teaches nothing.
"""

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from imkd_core.errors import ConfigError

#: Weights of method.md 5.7, for terms that do not depend on the teacher's width
#: (`training.distill.losses.cell_distance`).
_OURS: Mapping[str, Any] = MappingProxyType(
    {
        "distill.lidar_to_radar": 0.3,
        "distill.lidar_to_fused": 0.3,
        "distill.label_to_fused": 0.3,
        "distill.response": 1.0,
        "distill.gate": 0.05,
        "distill.doppler": 0.1,
        "distill.l2r_form": "masked",
        "distill.response_form": "quality",
        "distill.decay_from": 0.67,
        "distill.decay_to": 0.3,
        "distill.guard_ratio": 2.0,
        "distill.object_floor": 0.5,
        "distill.huber": 3.0,
        "distill.reliability_swap": True,
        "distill.teacher_quality": True,
        "intensity.variant": "analytic",
    }
)

#: As drawn: uniform radar guidance, LabelDistill's response, reflectance alone, all channels, no
#: repairs, no sensor dropout. The student's architecture is that of the configuration file.
_PAPER_LITERAL: Mapping[str, Any] = MappingProxyType(
    {
        "distill.lidar_to_radar": 0.3,
        "distill.lidar_to_fused": 0.3,
        "distill.label_to_fused": 0.3,
        "distill.response": 1.0,
        "distill.gate": 0.0,
        "distill.doppler": 0.0,
        "distill.l2r_form": "literal",
        "distill.response_form": "ld_exact",
        "distill.channels": 0,
        "distill.decay_from": 1.0,
        "distill.guard_ratio": 0.0,
        "distill.object_floor": 0.0,
        "distill.huber": 0.0,
        "distill.reliability_swap": False,
        "distill.teacher_quality": False,
        "intensity.variant": "literal",
        "augment.blank_camera": 0.0,
        "augment.drop_side": 0.0,
        "augment.stale_camera": 0.0,
        "augment.drop_radar": 0.0,
        "augment.stale_radar": 0.0,
    }
)

_NONE: Mapping[str, Any] = MappingProxyType(
    {
        f"distill.{term}": 0.0
        for term in (
            "lidar_to_radar",
            "lidar_to_fused",
            "label_to_fused",
            "response",
            "gate",
            "doppler",
        )
    }
)

#: Preset -> dotted configuration key -> value.
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"ours": _OURS, "paper_literal": _PAPER_LITERAL, "none": _NONE}
)


def preset_overrides(name: str) -> dict[str, Any]:
    """Return the dotted overrides of a preset, for `recipe.load_config`.

    Raises:
        ConfigError: there is no preset of that name; the message has a guess.
    """
    if name not in PRESETS:
        guess = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"; did you mean '{guess[0]}'?" if guess else ""
        raise ConfigError(f"unknown preset '{name}'{hint}; known: {', '.join(PRESETS)}")
    return dict(PRESETS[name])
