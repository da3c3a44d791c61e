# SPDX-License-Identifier: Apache-2.0
"""The faults that can be told of a sensor that still sends, or of its calibration."""

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

# Of the calibration; found by `health.calibration`.
WRONG_AXES = "wrong axes"
WRONG_SCALE = "wrong scale"
SAME_PLACE = "same place"
WRONG_LENS = "wrong lens"
AGAINST_NAME = "against its name"
SWAPPED = "swapped"
TURNED = "turned"
WRONG_SPEEDS = "wrong speeds"

CAMERA_FAULTS = (FROZEN, BLACK, OVEREXPOSED, COVERED, BLURRED)
RADAR_FAULTS = (FROZEN, EMPTY, INTERFERED)
CALIBRATION_FAULTS = (
    WRONG_AXES,
    WRONG_SCALE,
    SAME_PLACE,
    WRONG_LENS,
    AGAINST_NAME,
    SWAPPED,
    TURNED,
    WRONG_SPEEDS,
)

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
        WRONG_AXES: "its frame cannot be that of such a sensor; a camera's is the optical one "
        "(x right, y down, z forward), a radar's has x forward and z up; correct its frame_id or "
        "its transform",
        WRONG_SCALE: "its lengths cannot be metres; correct the unit of its transform or of its "
        "driver",
        SAME_PLACE: "it has the pose of another sensor; give each a transform of its own, and look "
        "whether a default stands where a measured one belongs",
        WRONG_LENS: "its CameraInfo does not fit its picture; calibrate it at the size that it "
        "sends, or scale K with the picture",
        AGAINST_NAME: "its transform and its name contradict each other; look whether two "
        "transforms or two topics are swapped",
        SWAPPED: "its picture moves as that of another camera should; swap their topics, cables or "
        "transforms",
        TURNED: "what it sees moves otherwise than its transform and the odometry foretell; "
        "correct the transform to its frame, and look whether it has come loose",
        WRONG_SPEEDS: "its speeds do not fit the odometry; correct velocity_scale, "
        "velocity_is_compensated or the sign in the sensor file, or the odometry",
    }
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One fault of one sensor.

    Attributes:
        sensor: name of the sensor.
        fault: one of `CAMERA_FAULTS`, `RADAR_FAULTS` or `CALIBRATION_FAULTS`.
        since_ns: stamp of the first measurement that showed it.
        is_certain: whether the sensor is better left out than used.
        detail: what was measured, in words; "" where the fault says it all.
    """

    sensor: str
    fault: str
    since_ns: int
    is_certain: bool
    detail: str = ""

    @property
    def remedy(self) -> str:
        """What was seen, and what to do."""
        remedy = REMEDIES[self.fault]
        return f"{self.detail}; {remedy}" if self.detail else remedy
