# SPDX-License-Identifier: Apache-2.0
"""What to do about a sensor that frames lack, by the reason for which they lack it."""

from collections.abc import Mapping

#: Beginning of a reason: readings came and were dropped.
DROPPED = "dropped: "

_CLOCKS = "synchronise the clocks (PTP, NTP)"

#: Reason for which a sensor is missing -> what to do, where no finding tells it.
REMEDIES: Mapping[str, str] = {
    "never seen": "nothing came on its topic; compare the topic with the sensor file",
    "silent": "its messages ceased; look at its driver, its power and its link",
    "late": "its messages came after the frame was due; look at the load of machine and network",
    "lost": "its messages came, but other sensors' frames took their place; compare its rate with "
    "theirs",
    "outside tolerance": "its stamps are far from the others'; look at its clock, and at what "
    "delays its messages",
    "time went back": "its stamps began anew, as where a bag or a simulation starts again; look "
    f"whether its driver was started again, and {_CLOCKS}",
    "no frame yet": "its messages came, but no frame did; look at the other sensors",
    "corrupt": "its images could not be decoded; look at its driver and its link",
    "uncalibrated": "its calibration is not known; look for its CameraInfo and its transform",
}

#: Reason for which readings are dropped -> what to do.
DROP_REMEDIES: Mapping[str, str] = {
    "stamp behind": "its stamps lie behind the others' by more than half a second; "
    f"{_CLOCKS}, and look whether its driver was started again",
    "duplicate stamp": "two readings have one stamp; look for a second publisher on its topic, or "
    "a driver that repeats",
    "stamp in the future": f"its stamps lie ahead of the clock; {_CLOCKS}",
    "late": "its messages came after their frames had gone out; look at the load of machine and "
    "network, or raise sync.deadline_ms",
    "out of order": "its messages overtook each other; look at the network, and at the driver's "
    "stamps",
    "queue full": "its readings waited for frames of their time that did not come; look at its "
    "clock, and at what delays its messages",
    "rate limit": "frames are wanted more seldom than it sends; nothing is to be mended",
    "reset": "its readings were forgotten when the node was asked to begin anew",
    "stale": f"its stamps lie far in the past; {_CLOCKS}",
    "impossible stamp": "its stamps are no times; look at the driver's clock and header.stamp",
    "superseded": "images of the next frame came before its own; compare its rate with the others'",
    "outside tolerance": REMEDIES["outside tolerance"],
    "unknown sensor": "the sensor file does not know it; add it there",
}


def remedy_of(reason: str) -> str:
    """Return what to do about a sensor that is missing; empty where the reason does not tell."""
    if reason.startswith(DROPPED):
        return DROP_REMEDIES.get(reason.removeprefix(DROPPED), "")
    return REMEDIES.get(reason, "")
