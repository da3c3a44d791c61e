# SPDX-License-Identifier: Apache-2.0
"""What was observed -> the lines of the doctor's table; one judgement for graphs and bags. Pure."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from imkd_core.health.check import AMBER, GREEN, RED, Check
from imkd_core.health.faults import WRONG_LENS
from imkd_ros.doctor.facts import NodeFacts, Observation
from imkd_ros.doctor.judge_frames import judge_frames
from imkd_ros.doctor.judge_rig import judge_driven, judge_rig, view_axis
from imkd_ros.doctor.judge_sensors import judge_sensors, view_deg
from imkd_ros.doctor.judge_time import judge_time, sensor_ages_s
from imkd_ros.doctor.judge_topics import judge_rates, judge_topics, rate_hz
from imkd_ros.doctor.judge_views import judge_views
from imkd_ros.doctor.wanted import Wanted

#: From so many sensors with the same trouble on, one line tells it of all.
_MANY = 3


def judge(observation: Observation, wanted: Wanted) -> list[Check]:
    """Return the table: sensors first, each with a line, then what they share.

    Args:
        observation: what was seen on a graph or in a recording.
        wanted: what the node would listen to.
    """
    faults = [
        *judge_topics(observation, wanted),
        *judge_rates(observation, wanted),
        *judge_time(observation, wanted),
        *judge_sensors(observation, wanted),
        *judge_rig(observation, wanted),
        *judge_frames(observation, wanted),
        *judge_views(observation, wanted),
        *(judge_driven(observation.driven, wanted) if observation.driven is not None else ()),
    ]
    faults = [check for check in faults if not _is_consequence(check, faults)]
    told = {check.name for check in faults}
    names = wanted.sensors.names
    well = [_well(observation, wanted, name) for name in names if name not in told]
    by_sensor = [c for name in names for c in (*well, *faults) if c.name == name]
    shared = [check for check in faults if check.name not in names]
    node = [] if observation.node is None else list(judge_node(observation.node, wanted))
    return list(merged([*by_sensor, *shared, *node]))


def merged(checks: Iterable[Check]) -> Iterator[Check]:
    """Yield checks, with one for many that say the same of different sensors.

    Args:
        checks: in the order of the table.
    """
    checks = list(checks)
    alike: dict[tuple[str, str, str], list[Check]] = defaultdict(list)
    for check in checks:
        alike[_pattern(check)].append(check)
    for check in checks:
        group = alike[_pattern(check)]
        if check.level == GREEN or len(group) < _MANY:
            yield check
        elif check is group[0]:
            others = ", ".join(item.name for item in group[1:])
            found = f"{check.found} (and the same: {others})"
            yield Check(name=check.name, level=check.level, found=found, remedy=check.remedy)


def judge_node(node: NodeFacts, wanted: Wanted) -> Iterator[Check]:
    """Yield how the detector itself stands on a running graph.

    Args:
        node: what it says.
        wanted: with its name.
    """
    name = f"node {wanted.node}"
    if not node.is_there:
        yield Check(
            name=name,
            level=AMBER,
            found="does not run",
            remedy="start it: ros2 launch imkd_ros detector.launch.py (its name and namespace must "
            "be those given here)",
        )
        return
    if node.state != "active":
        yield Check(
            name=name,
            level=RED if node.state == "unconfigured" else AMBER,
            found=f"is {node.state or 'there, and does not answer'}",
            remedy=f"ros2 lifecycle set {wanted.node} configure, then activate; if it refuses, its "
            "log says why"
            if node.state
            else "look at its log; start it again",
        )
        return
    if node.status and node.status_level:
        yield Check(
            name=name,
            level=RED if node.status_level > 1 else AMBER,
            found=f"is active and says: {node.status}",
            remedy="as it says; the lines above may say why",
        )
        return
    rest = f" and says: {node.status}" if node.status else ""
    yield Check(name=name, level=GREEN, found=f"is active{rest}")


def _is_consequence(check: Check, all_checks: Iterable[Check]) -> bool:
    """Whether a line says only what another fault of the same sensor brings with it."""
    if not check.found.startswith(f"{WRONG_LENS}:"):
        return False
    return any(
        other.name == check.name and other.found.startswith("wrong image size")
        for other in all_checks
    )


def _well(observation: Observation, wanted: Wanted, name: str) -> Check:
    """Return the line of a sensor of which nothing is to be told."""
    rate = rate_hz(observation, wanted, name)
    age_s = sensor_ages_s(observation, wanted).get(name, 0.0)
    parts = [f"{rate:.1f} Hz", f"{round(age_s * 1e3)} ms old"]
    pose = observation.frames.ego_from_sensor.get(name)
    camera = observation.cameras.get(name)
    if camera is not None and camera.model is not None:
        size = camera.sizes_px[0] if camera.sizes_px else (0, 0)
        parts += [f"{size[0]} x {size[1]} px", f"{view_deg(camera.model):.0f} degrees wide"]
    elif name in observation.radars and len(observation.radars[name].returns):
        facts = observation.radars[name]
        parts += [
            f"{facts.returns.mean():.0f} returns a scan, {facts.kept.mean():.0f} used",
            f"up to {facts.range_m[2]:.0f} m",
        ]
    if pose is not None:
        axis = view_axis(pose, camera is not None)
        azimuth_deg = math.degrees(math.atan2(axis[1], axis[0]))
        parts.append(f"looks to {azimuth_deg:.0f} degrees")
    return Check(name=name, level=GREEN, found=", ".join(parts))


def _pattern(check: Check) -> tuple[str, str, str]:
    """Return what makes two lines say the same: all but numbers, topics and quoted names."""

    def plain(text: str) -> str:
        return re.sub(r"-?\d[\d.]*|/[\w/]+|'[^']*'", "#", text.replace(check.name, "#"))

    return check.level, plain(check.found), plain(check.remedy)
