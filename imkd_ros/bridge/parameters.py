# SPDX-License-Identifier: Apache-2.0
"""The node's parameters: checked values of the table, and what is made of them.

No ROS in here: `parameter_store` offers the table to ROS, the supervisor and the documentation
read it. A wrong value is refused by name, with what is allowed.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from imkd_core.errors import ConfigError
from imkd_ros.bridge.parameter_table import SPECS, ParameterSpec, Value

__all__ = [
    "SPECS",
    "NodeSettings",
    "ParameterSpec",
    "Value",
    "class_values",
    "is_foreign",
    "unknown_parameter",
]

#: Parameters that ROS itself declares; none of ours.
_ROS_PREFIXES = ("use_sim_time", "start_type_description_service", "qos_overrides.")


def is_foreign(name: str) -> bool:
    """Whether a parameter belongs to ROS and is not ours to judge."""
    return name.startswith(_ROS_PREFIXES)


def unknown_parameter(name: str) -> str:
    """Return the message for a name that is not in the table, with a guess."""
    guess = difflib.get_close_matches(name, SPECS, n=1)
    hint = f"did you mean '{guess[0]}'?" if guess else f"known: {', '.join(SPECS)}"
    return f"unknown parameter '{name}'; {hint}"


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """Checked values of all parameters, by name; `settings['sync.deadline_ms']`."""

    values: Mapping[str, Value]

    def __post_init__(self) -> None:
        """Fill in defaults; refuse unknown names and wrong values."""
        for name in self.values:
            if name not in SPECS:
                raise ConfigError(unknown_parameter(name))
        filled = {
            name: spec.checked(self.values.get(name, spec.default)) for name, spec in SPECS.items()
        }
        object.__setattr__(self, "values", MappingProxyType(filled))

    def text(self, name: str) -> str:
        """Return a text parameter."""
        return str(self.values[name])

    def number(self, name: str) -> float:
        """Return a number."""
        return float(self.values[name])

    def count(self, name: str) -> int:
        """Return a whole number."""
        return int(self.values[name])

    def flag(self, name: str) -> bool:
        """Return a switch."""
        return bool(self.values[name])

    def nanoseconds(self, name: str) -> int:
        """Return a `_ms` or `_sec` parameter in nanoseconds."""
        return round(self.number(name) * (1e6 if name.endswith("_ms") else 1e9))

    def replaced(self, changes: Mapping[str, Value]) -> "NodeSettings":
        """Return these settings with some values changed."""
        return NodeSettings(values={**self.values, **changes})


def class_values(
    settings: NodeSettings, name: str, class_names: tuple[str, ...], high: float
) -> dict[str, float]:
    """Read a 'car=0.4, pedestrian=0.25' parameter.

    Args:
        settings: where the parameter stands.
        name: of the parameter.
        class_names: names that the model knows.
        high: largest value allowed; the smallest is 0.

    Raises:
        ConfigError: not of that form, an unknown class, or a value out of range.
    """
    values = {}
    for item in filter(None, (part.strip() for part in settings.text(name).split(","))):
        label, _, number = (part.strip() for part in item.partition("="))
        if label not in class_names:
            raise ConfigError(
                f"parameter '{name}': unknown class in '{item}'; write class=value, with a class "
                f"of {', '.join(class_names)}"
            )
        try:
            values[label] = float(number)
        except ValueError:
            values[label] = math.nan
        if not 0 <= values[label] <= high:
            raise ConfigError(
                f"parameter '{name}': '{item}' must be class=value with a value from 0 to {high:g}"
            )
    return values
