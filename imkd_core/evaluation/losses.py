# SPDX-License-Identifier: Apache-2.0
"""Sensors that are taken away, to see what a detector owes to each.

parse_loss("CAM_FRONT,RADAR_FRONT").apply(frame)     # both lost together
parse_loss("all-cameras")                            # radar alone
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from imkd_core.errors import ConfigError
from imkd_core.types import Frame

ALL_CAMERAS = "all-cameras"
ALL_RADARS = "all-radars"


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Sensors that are lost together.

    Attributes:
        sensors: names; `ALL_CAMERAS` and `ALL_RADARS` stand for all of a kind; empty: none lost.
    """

    sensors: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What to call it: "all sensors", "without CAM_FRONT"."""
        if not self.sensors:
            return "all sensors"
        return "without " + ", ".join(name.replace("-", " ") for name in self.sensors)

    def count(self, cameras: int, radars: int) -> int:
        """Return how many sensors of a rig are lost."""
        whole = {ALL_CAMERAS: cameras, ALL_RADARS: radars}
        return sum(whole.get(name, 1) for name in self.sensors)

    def apply(self, frame: Frame) -> Frame:
        """Return the frame without the sensors; a sensor that it lacks already is no error."""
        gone = set(self.sensors)
        if ALL_CAMERAS in gone:
            gone |= set(frame.cameras)
        if ALL_RADARS in gone:
            gone |= set(frame.radars)
        return replace(
            frame,
            cameras={name: image for name, image in frame.cameras.items() if name not in gone},
            radars={name: scans for name, scans in frame.radars.items() if name not in gone},
        )


#: What the robustness tables of method.md 10 and 11.5 take away: one, three and all of a kind.
STANDARD_LOSSES = (
    Loss(sensors=("CAM_FRONT",)),
    Loss(sensors=("CAM_FRONT", "CAM_FRONT_LEFT", "CAM_FRONT_RIGHT")),
    Loss(sensors=(ALL_CAMERAS,)),
    Loss(sensors=("RADAR_FRONT",)),
    Loss(sensors=("RADAR_FRONT", "RADAR_FRONT_LEFT", "RADAR_FRONT_RIGHT")),
    Loss(sensors=(ALL_RADARS,)),
)


def parse_loss(text: str, known: Collection[str]) -> Loss:
    """Read "CAM_FRONT", "all-radars", or several with commas, which are lost together.

    Raises:
        ConfigError: a name is not among the `known` sensors.
    """
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [name for name in names if name not in {*known, ALL_CAMERAS, ALL_RADARS}]
    if unknown or not names:
        raise ConfigError(
            f"--lose {text!r}: no sensor {', '.join(unknown) or 'is named'}; choose from "
            f"{ALL_CAMERAS}, {ALL_RADARS}, {', '.join(known)}"
        )
    return Loss(sensors=names)


def condition_stem(name: str) -> str:
    """Return the name of files and folders of a run such as "without CAM_FRONT, CAM_BACK"."""
    return name.replace(", ", "+").replace(" ", "_")
