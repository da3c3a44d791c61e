# SPDX-License-Identifier: Apache-2.0
"""What becomes wrong without ego motion, by model and sensors. No ROS in here."""

from imkd_core.config import InputSpec
from imkd_ros.bridge.sensors import SensorSet


def motion_needs(sensors: SensorSet, inputs: InputSpec, remembers: bool) -> tuple[str, ...]:
    """Return what is lost while ego motion is, in words; empty where nothing depends on it.

    That readings of different times within one frame count as not moved is not among them.

    Args:
        sensors: the sensor set.
        inputs: of the model.
        remembers: a model with a memory is let remember.
    """
    raw = [name for name, one in sensors.radars.items() if not one.velocity_is_compensated]
    rules = (
        (remembers and inputs.memory.frames > 0, "the model's memory stays empty"),
        (
            bool(sensors.radars) and inputs.radar_sweeps > 1,
            "older scans of the radars lie where they were seen, not where they are",
        ),
        (
            bool(raw),
            f"scans of {', '.join(raw)} are refused, for their velocities hold the vehicle's own",
        ),
    )
    return tuple(text for holds, text in rules if holds)
