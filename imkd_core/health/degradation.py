# SPDX-License-Identifier: Apache-2.0
"""How much of a vehicle's sensors a frame has, what is done with it, and how that is told.

    level = level_of(frame_names, cameras, radars)
    action = policy.action_at(level)            # publish, publish_empty or stop
    FrameStatus(stamp_ns=..., level=level, outcome=outcome_of(action, level), ...)

Pure; the node and the offline replay share it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from imkd_core.mapping import require

#: Outcomes of a frame that was answered, or that a newer one replaced before its turn.
ANSWERED = "answered"
REPLACED = "replaced by a newer frame"

#: Why a sensor of a frame is not used, besides the reasons of `runtime.slots`.
MISSING_CORRUPT = "corrupt"
MISSING_UNCALIBRATED = "uncalibrated"


class _Word(str, Enum):
    """A text out of a few; `enum.StrEnum` for Python 3.10 as well."""

    def __str__(self) -> str:
        """Return the text itself."""
        return str(self.value)


class Level(_Word):
    """How much of the sensor set is used, from all to nothing."""

    FULL = "full"
    DEGRADED = "degraded"
    CAMERA_ONLY = "camera_only"
    RADAR_ONLY = "radar_only"
    BLIND = "blind"


class Action(_Word):
    """What is done with a frame: its boxes, an empty array of boxes, or nothing."""

    PUBLISH = "publish"
    PUBLISH_EMPTY = "publish_empty"
    STOP = "stop"


def level_of(
    used: Collection[str],
    cameras: Collection[str],
    radars: Collection[str],
    resting: Collection[str] = (),
) -> Level:
    """Return how much of a sensor set is used.

    A set without radars is full with all of its cameras, one without cameras with all of its
    radars. A sensor that rests, because it is slower than the others, makes nothing worse, but a
    kind of sensors of which none is used is not there.

    Args:
        used: names of the sensors that are used; others than those of the set do not count.
        cameras: names of all cameras of the set.
        radars: names of all radars of the set.
        resting: names of the sensors whose next reading is not due yet.
    """
    has_camera = any(name in used for name in cameras)
    has_radar = any(name in used for name in radars)
    if not has_camera and not has_radar:
        return Level.BLIND
    if cameras and not has_camera:
        return Level.RADAR_ONLY
    if radars and not has_radar:
        return Level.CAMERA_ONLY
    is_full = all(name in used or name in resting for name in (*cameras, *radars))
    return Level.FULL if is_full else Level.DEGRADED


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What is done with frames of each level; a frame of all sensors is always published.

    Attributes:
        degraded: some sensors of each kind are used.
        radar_only: no camera is used.
        camera_only: no radar is used.
        blind: no sensor is used; there is nothing to publish but an empty array.

    Raises:
        ConfigError: boxes are to be published of no sensor.
    """

    degraded: Action = Action.PUBLISH
    radar_only: Action = Action.PUBLISH
    camera_only: Action = Action.PUBLISH
    blind: Action = Action.STOP

    def __post_init__(self) -> None:
        """Refuse to find boxes without a sensor."""
        require(
            self.blind != Action.PUBLISH,
            "policy.blind must be 'stop' or 'publish_empty': without a sensor there are no boxes",
        )

    def action_at(self, level: Level) -> Action:
        """Return what is done with a frame of a level."""
        return {
            Level.FULL: Action.PUBLISH,
            Level.DEGRADED: self.degraded,
            Level.RADAR_ONLY: self.radar_only,
            Level.CAMERA_ONLY: self.camera_only,
            Level.BLIND: self.blind,
        }[level]


def outcome_of(action: Action, level: Level) -> str:
    """Return the outcome of a frame that was dealt with by the policy."""
    if action == Action.PUBLISH:
        return ANSWERED
    is_empty = action == Action.PUBLISH_EMPTY
    return f"empty: policy {level}" if is_empty else f"stopped: policy {level}"


def not_answered(reason: str) -> str:
    """Return the outcome of a frame that could not be answered."""
    return f"not answered: {reason}"


def no_frame(reason: str) -> str:
    """Return the outcome while there is no frame at all."""
    return f"no frame: {reason}"


@dataclass(frozen=True, kw_only=True)
class FrameStatus:
    """What became of one frame, and of which sensors it was.

    Attributes:
        stamp_ns: the frame's reference time; the clock's time where there is no frame.
        level: how much of the sensor set it used.
        outcome: `ANSWERED`, `REPLACED`, or what `outcome_of`, `not_answered` and `no_frame` give.
        age_ms: used sensor -> reference time minus the stamp of its newest reading; negative for
            a scan that is newer than the newest image.
        missing: sensor -> why it was not used.
    """

    stamp_ns: int
    level: Level
    outcome: str
    age_ms: Mapping[str, float] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Freeze the mappings."""
        for name in ("age_ms", "missing"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def used(self) -> tuple[str, ...]:
        """Names of the sensors that were used."""
        return tuple(self.age_ms)
