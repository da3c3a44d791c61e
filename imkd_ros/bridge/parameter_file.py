# SPDX-License-Identifier: Apache-2.0
"""ROS parameter files, read without ROS: for the offline replay. No ROS in here."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imkd_core.errors import ConfigError
from imkd_ros.bridge.parameters import NodeSettings, Value, is_foreign

#: Sections of a parameter file that mean the detector node, weakest first.
SECTIONS = ("/**", "imkd_detector", "/imkd_detector")


def read_settings(path: Path | None, overrides: Mapping[str, Value] | None = None) -> NodeSettings:
    """Return the node's settings from a parameter file and overrides by dotted name.

    Args:
        path: a file such as config/detector.param.yaml; None = all defaults.
        overrides: win over the file.

    Raises:
        ConfigError: the file is missing or no parameter file, or a name or value is wrong.
    """
    values = {} if path is None else _read_file(path)
    values |= dict(overrides or {})
    return NodeSettings(values={k: v for k, v in values.items() if not is_foreign(k)})


def says_sim_time(path: Path) -> bool | None:
    """Return what a parameter file says of `use_sim_time`; None where it says nothing.

    Args:
        path: a file such as config/detector.param.yaml.

    Raises:
        ConfigError: the file is missing or no parameter file.
    """
    value = _read_file(path).get("use_sim_time")
    return None if value is None else bool(value)


def _read_file(path: Path) -> dict[str, Value]:
    import yaml

    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the parameter file {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"the parameter file {path} is not YAML: {error}") from None
    sections = [raw[name] for name in SECTIONS if isinstance(raw, Mapping) and name in raw]
    if not sections or not all(_is_section(section) for section in sections):
        raise ConfigError(
            f"{path} is no ROS parameter file for this node; it must hold '/**:' and in it "
            "'ros__parameters:', like config/detector.param.yaml"
        )
    return {k: v for section in sections for k, v in _flat("", section["ros__parameters"])}


def _is_section(section: Any) -> bool:
    return isinstance(section, Mapping) and isinstance(section.get("ros__parameters"), Mapping)


def _flat(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield dotted names and values."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", value
