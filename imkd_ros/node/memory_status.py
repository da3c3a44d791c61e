# SPDX-License-Identifier: Apache-2.0
"""What a model with a memory remembers, as a status of the diagnostics. No ROS in here."""

from imkd_core.runtime.memory import RESET_NO_POSE, MemoryFacts
from imkd_ros.node.verdicts import OK, WARN, Status


def memory_status(facts: MemoryFacts) -> list[Status]:
    """Return the status "memory"; none for a model without one."""
    if not facts.capacity:
        return []
    age_s = facts.newest_age_s
    values = {
        "kind": facts.kind,
        "maps": f"{facts.maps}/{facts.capacity}",
        "newest map, age at the last frame, s": "" if age_s is None else f"{age_s:.2f}",
        "last reset": facts.last_reset or "none",
        **{f"resets: {why}": str(count) for why, count in facts.resets.items()},
    }
    if facts.last_reset == RESET_NO_POSE and not facts.maps:
        message = (
            f"{RESET_NO_POSE}: every frame is answered without the frames before it; start the "
            "odometry, and name it in ego_motion.frame or ego_motion.odometry_topic"
        )
        return [Status(name="memory", level=WARN, message=message, values=values)]
    message = f"{facts.maps} of {facts.capacity} maps"
    if not facts.maps and facts.last_reset:
        message = f"{message}: {facts.last_reset}"
    return [Status(name="memory", level=OK, message=message, values=values)]
