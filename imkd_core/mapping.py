# SPDX-License-Identifier: Apache-2.0
"""Plain mappings (YAML, JSON) <-> frozen config dataclasses, with names and types checked."""

import difflib
import sys
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from imkd_core.errors import ConfigError

T = TypeVar("T")

#: Metadata of a field that `to_mapping` leaves out while it has its default, so that files, and
#: hashes over them, stay as they were before the field was thought of.
UNSAID: Mapping[str, Any] = {"unsaid": True}

#: Whole numbers up to this one can be told as a float.
_LARGEST_WHOLE = int(sys.float_info.max)


def require(condition: bool, message: str) -> None:
    """Raise `ConfigError(message)` unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def from_mapping(cls: type[T], raw: Any, path: str = "") -> T:
    """Build a frozen config dataclass from plain mappings, checking names and types.

    Raises:
        ConfigError: naming the dotted key, with a guess where a key is unknown.
    """
    require(isinstance(raw, Mapping), f"{path or cls.__name__} must be a mapping, got {raw!r}")
    known = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
    prefix = f"{path}." if path else ""
    for key in raw:
        if key not in known:
            guess = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean '{guess[0]}'?" if guess else f"; known: {', '.join(known)}"
            raise ConfigError(f"unknown config key '{prefix}{key}'{hint}")
    hints = get_type_hints(cls)
    values = {}
    for name, item in known.items():
        if name in raw:
            values[name] = _convert(hints[name], raw[name], f"{prefix}{name}")
        else:
            has_default = item.default is not MISSING or item.default_factory is not MISSING
            require(has_default, f"config key '{prefix}{name}' is missing")
    return cls(**values)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        ConfigError: the file is missing, cannot be read, is not YAML, or holds something else.
    """
    import yaml

    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no configuration file {path}") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from None
    require(isinstance(raw, dict), f"{path} must hold a mapping of keys, got {type(raw).__name__}")
    return dict(raw)


def with_overrides(raw: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return `raw` with dotted keys ("train.steps") set; missing groups are made.

    Raises:
        ConfigError: a key leads through a value that is no group.
    """
    result = dict(raw)
    for dotted, value in overrides.items():
        *groups, key = dotted.split(".")
        target = result
        for group in groups:
            inner = target.get(group)
            is_group = inner is None or isinstance(inner, Mapping)
            require(is_group, f"override '{dotted}': '{group}' is {inner!r}, not a group of keys")
            target[group] = dict(inner or {})
            target = target[group]
        target[key] = value
    return result


def to_mapping(value: Any) -> dict[str, Any]:
    """Return a config dataclass as plain mappings, for `bundle.json`.

    Fields marked `UNSAID` are left out while they have their default.
    """
    plain = asdict(value)
    _leave_unsaid(value, plain)
    return plain


def _leave_unsaid(value: Any, plain: dict[str, Any]) -> None:
    for item in fields(value):
        inner = getattr(value, item.name)
        if item.metadata.get("unsaid") and inner == _default(item):
            del plain[item.name]
        elif is_dataclass(inner):
            _leave_unsaid(inner, plain[item.name])


def _default(item: Field[Any]) -> Any:
    return item.default if item.default_factory is MISSING else item.default_factory()


def _convert(hint: Any, value: Any, path: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        return from_mapping(hint, value, path)
    if origin is tuple:
        require(isinstance(value, list | tuple), f"{path} must be a list, got {value!r}")
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_convert(arguments[0], item, path) for item in value)
        require(len(value) == len(arguments), f"{path} must hold {len(arguments)} values")
        return tuple(_convert(h, item, path) for h, item in zip(arguments, value, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        require(isinstance(value, Mapping), f"{path} must be a mapping, got {value!r}")
        return {str(key): _convert(arguments[1], item, path) for key, item in value.items()}
    if origin in (Union, types.UnionType):
        given = next(hint for hint in arguments if hint is not type(None))
        return None if value is None else _convert(given, value, path)
    return _scalar(hint, value, path)


def _scalar(hint: Any, value: Any, path: str) -> Any:
    if hint is Any:
        return value
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if is_whole and hint in (int, float):
        require(abs(value) <= _LARGEST_WHOLE, f"{path} must be a number, got one beyond all floats")
        return hint(value)
    is_right = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    require(is_right, f"{path} must be of type {hint.__name__}, got {value!r}")
    return value
