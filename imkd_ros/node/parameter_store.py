# SPDX-License-Identifier: Apache-2.0
"""The parameter table, offered to ROS: declared with ranges, watched, refused by name.

A wrong or unknown parameter at start-up does not kill the node: it is remembered, `configure` is
refused with all of them named, and a later correct value (`ros2 param set`) mends it.
"""

from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from imkd_core.errors import ConfigError, ImkdError
from imkd_ros.bridge.parameters import (
    SPECS,
    NodeSettings,
    ParameterSpec,
    is_foreign,
    unknown_parameter,
)


def descriptor(spec: ParameterSpec) -> Any:
    """Return the ROS descriptor of a parameter."""
    fixed = "" if spec.is_live else " Read by configure, fixed until cleanup."
    message = ParameterDescriptor(
        name=spec.name,
        description=spec.description,
        additional_constraints=f"{spec.allowed}.{fixed}",
    )
    if isinstance(spec.default, float) and spec.low is not None and spec.high is not None:
        message.floating_point_range = [
            FloatingPointRange(from_value=spec.low, to_value=spec.high, step=0.0)
        ]
    elif spec.low is not None and spec.high is not None:
        message.integer_range = [
            IntegerRange(from_value=int(spec.low), to_value=int(spec.high), step=1)
        ]
    return message


class ParameterStore:
    """Declares all parameters on a node and keeps their checked values.

    Args:
        node: made with `automatically_declare_parameters_from_overrides=True`, so that names
            nobody knows can be seen.
        is_configured: whether parameters that are read by configure are in use now.
        on_change: called with the new settings before they are taken; raises `ImkdError` to
            refuse them.
    """

    def __init__(
        self,
        node: Node,
        is_configured: Callable[[], bool],
        on_change: Callable[[NodeSettings], None],
    ) -> None:
        self._node = node
        self._is_configured = is_configured
        self._on_change = on_change
        self._problems: dict[str, str] = {}
        given = {p.name: p.value for p in node.get_parameters_by_prefix("").values()}
        for name in given:
            if name not in SPECS and not is_foreign(name):
                self._problems[name] = unknown_parameter(name)
                node.undeclare_parameter(name)
        self._settings = NodeSettings(
            values={name: self._declare(spec, given) for name, spec in SPECS.items()}
        )
        node.add_on_set_parameters_callback(self._on_set)

    def checked(self) -> NodeSettings:
        """Return the settings.

        Raises:
            ConfigError: naming each wrong or unknown parameter and what is allowed.
        """
        if self._problems:
            raise ConfigError("; ".join(self._problems.values()))
        return self._settings

    def admitted(self, parameters: list[Parameter]) -> list[Parameter]:
        """Return parameters as ROS takes them: a whole number becomes a float where one is wanted.

        ROS checks types and ranges before it asks anybody, and does not name what it refuses.

        Raises:
            ConfigError: naming the first that is unknown, or wrong and what is allowed.
        """
        return [p if is_foreign(p.name) else self._admitted(p) for p in parameters]

    def _admitted(self, parameter: Parameter) -> Parameter:
        if parameter.name not in SPECS:
            raise ConfigError(unknown_parameter(parameter.name))
        return Parameter(parameter.name, value=SPECS[parameter.name].checked(parameter.value))

    def _declare(self, spec: ParameterSpec, given: dict[str, Any]) -> Any:
        value = spec.default
        if spec.name in given:
            self._node.undeclare_parameter(spec.name)
            try:
                value = spec.checked(given[spec.name])
            except ConfigError as error:
                self._problems[spec.name] = str(error)
        self._node.declare_parameter(spec.name, value, descriptor(spec), ignore_override=True)
        return value

    def _on_set(self, parameters: list[Parameter]) -> Any:
        """Answer a change at run time: all of it is taken, or none with the reason."""
        try:
            changes = {}
            for parameter in parameters:
                if not is_foreign(parameter.name):
                    changes[parameter.name] = self._allowed(parameter)
            if changes:
                settings = self._settings.replaced(changes)
                self._on_change(settings)
                self._settings = settings
        except ImkdError as error:
            return SetParametersResult(successful=False, reason=str(error))
        for name in changes:
            self._problems.pop(name, None)
        return SetParametersResult(successful=True)

    def _allowed(self, parameter: Parameter) -> Any:
        spec = SPECS.get(parameter.name)
        if spec is None:
            raise ConfigError(unknown_parameter(parameter.name))
        value = spec.checked(parameter.value)
        if not spec.is_live and self._is_configured():
            raise ConfigError(
                f"parameter '{spec.name}' is read by configure and fixed while the node is "
                "configured; deactivate and clean up the node, set it, and configure again"
            )
        return value
