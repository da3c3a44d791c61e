# SPDX-License-Identifier: Apache-2.0
"""The faults that can be told of a sensor that still sends, and what to do about each."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

FROZEN = "frozen"
BLACK = "black"
OVEREXPOSED = "over-exposed"
COVERED = "covered"
BLURRED = "blurred"
EMPTY = "empty"
INTERFERED = "interfered"

CAMERA_FAULTS = (FROZEN, BLACK, OVEREXPOSED, COVERED, BLURRED)
RADAR_FAULTS = (FROZEN, EMPTY, INTERFERED)

#: Faults that leave no doubt: what the sensor sends says nothing about the world now. (A picture
#: that repeats while the vehicle stands may be that of a made-up world.)
CERTAIN = frozenset({FROZEN, BLACK, EMPTY})

#: Fault -> what was seen, and what to do.
REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        FROZEN: "it sends the same measurement again and again under new stamps; start its driver "
        "again, and look for a full buffer or a lost link in the driver's log",
        BLACK: "its picture is black; look for a lens cap, the exposure settings, and the cable",
        OVEREXPOSED: "most of its picture is at the limit of brightness; check the exposure "
        "settings and whether the sun or a lamp shines into the lens",
        COVERED: "a large part of its picture has lost all detail, and those of the other "
        "cameras have not; clean the lens, and look for what hangs in front of it",
        BLURRED: "its picture has lost its fine detail; clean the lens, look for water on it, and "
        "check the focus",
        EMPTY: "its scans hold no return at all; look for a cover or ice in front of it, and "
        "check the limits of its driver and of the sensor file",
        INTERFERED: "its returns have become far more than they were; look for another radar "
        "nearby or a loose cover in front of it",
    }
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One fault of one sensor.

    Attributes:
        sensor: name of the sensor.
        fault: one of `CAMERA_FAULTS` or `RADAR_FAULTS`.
        since_ns: stamp of the first measurement that showed it.
        is_certain: whether the sensor is better left out than used.
    """

    sensor: str
    fault: str
    since_ns: int
    is_certain: bool

    @property
    def remedy(self) -> str:
        """What was seen, and what to do."""
        return REMEDIES[self.fault]
