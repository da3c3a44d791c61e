# SPDX-License-Identifier: Apache-2.0
"""Whether the topics that the node wants are there, fit, and send often enough. Pure."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from imkd_core.health.check import AMBER, RED, Check
from imkd_ros.doctor.facts import Endpoint, Observation
from imkd_ros.doctor.wanted import Role, Wanted, WantedTopic, near_names

#: A camera or radar that sends less often than its like by this factor is told.
_SLOW_SHARE = 0.5

#: A sensor that was silent for so many of its periods at the end has stopped.
_STOPPED_PERIODS = 8

#: Topics of the right type that are named where none has a similar name.
_MOST_NAMED = 4

#: What to do with a sensor whose topic is there and silent.
_REVIVE = "look at the driver's log, at the sensor's power and cable; then start it again"

#: Intervals longer than this many usual ones are lost messages; told from this share on.
_GAP_PERIODS, _LOST_SHARE = 1.7, 0.05


def judge_topics(observation: Observation, wanted: Wanted) -> Iterator[Check]:
    """Yield what is wrong with the topics of sensors, TF and odometry; nothing where all is well.

    Args:
        observation: what was seen.
        wanted: what the node listens to.
    """
    for sensor in wanted.sensors.names:
        yield from _group(observation, wanted.readings(sensor), wanted.node)
        for topic in wanted.of_sensor(sensor, Role.CAMERA_INFO):
            yield from _group(observation, (topic,), wanted.node)
    for topic in wanted.topics:
        if not topic.sensor and _is_needed(topic, observation):
            yield from _group(observation, (topic,), wanted.node)
    yield from _judge_outputs(observation, wanted)


def name_of(topic: WantedTopic) -> str:
    """Return what a topic is called in the table."""
    return topic.sensor or topic.name


def conflict(offered: Endpoint, is_reliable: bool, is_latched: bool) -> str:
    """Return why a subscriber that asks for this gets nothing; empty where it gets all.

    Args:
        offered: a publisher.
        is_reliable: the subscriber asks for reliable delivery.
        is_latched: it asks for what was sent before it came.
    """
    if is_reliable and not offered.is_reliable:
        return "best effort, and a reliable publisher is wanted"
    if is_latched and not offered.is_latched:
        return "volatile, and a transient local publisher is wanted"
    return ""


def _is_needed(topic: WantedTopic, observation: Observation) -> bool:
    """Whether nothing on a topic of TF would be a fault: a fixed tree may come on /tf as well."""
    if topic.role is Role.TF_STATIC:
        return topic.name in observation.publishers or not observation.frames.frames
    return True


def _group(observation: Observation, rivals: tuple[WantedTopic, ...], node: str) -> Iterator[Check]:
    """Judge topics of which one must deliver; `node` is the detector's name."""
    if any(topic.name in observation.traffic for topic in rivals):
        yield from _judge_quality(observation, rivals)
        return
    there = [topic for topic in rivals if observation.publishers.get(topic.name)]
    if there:
        yield from (_silent(observation, topic) for topic in there)
        return
    yield _absent(observation, rivals, node)


def _absent(observation: Observation, rivals: tuple[WantedTopic, ...], node: str) -> Check:
    first = rivals[-1]
    what = " and ".join(topic.name for topic in rivals)
    alike = {
        name
        for name, ends in observation.publishers.items()
        if any(end.type_name == topic.type_name for end in ends for topic in rivals)
    }
    taken = {name for name in alike if name in observation.traffic}
    free = {name for name in alike - taken if not name.startswith(f"{node}/")}
    guesses = near_names(first.name, free)
    remedy = f"start what publishes it, or {_where(first)}"
    if guesses:
        remedy = f"did you mean {' or '.join(guesses)}? {remedy}"
    elif free and first.sensor:
        remedy += f"; of its type there is {', '.join(sorted(free)[:_MOST_NAMED])}"
    return Check(
        name=name_of(first),
        level=RED,
        found=f"no {first.role.value}: nothing is published on {what}",
        remedy=remedy,
    )


def _where(topic: WantedTopic) -> str:
    if topic.role is Role.ODOMETRY:
        return "correct the parameter ego_motion.odometry_topic"
    if topic.sensor:
        return "correct the topic in the sensor file"
    return f"let the vehicle description and the odometry publish on {topic.name}"


def _silent(observation: Observation, topic: WantedTopic) -> Check:
    """Say why nothing came on a topic that has publishers."""
    ends = observation.publishers[topic.name]
    name, level = name_of(topic), RED
    wrong = sorted({end.type_name for end in ends} - {topic.type_name})
    if wrong and len(wrong) == len({end.type_name for end in ends}):
        return Check(
            name=name,
            level=level,
            found=f"{topic.name} carries {', '.join(wrong)}, not {topic.type_name}",
            remedy="correct the topic in the sensor file, and its transport (raw or compressed)",
        )
    reasons = {conflict(end, topic.is_reliable, topic.is_latched) for end in ends}
    if "" not in reasons:
        return _incompatible(topic, ends)
    who = _senders(ends)
    return Check(
        name=name,
        level=level,
        found=f"{topic.name} is there, but {who} sends nothing on it in "
        f"{observation.seconds:.1f} s: dead, or it sent before the doctor came",
        remedy=_REVIVE,
    )


def _incompatible(topic: WantedTopic, ends: tuple[Endpoint, ...]) -> Check:
    reasons = sorted({conflict(end, topic.is_reliable, topic.is_latched) for end in ends} - {""})
    who = _senders(ends)
    wanted = "RELIABLE" + (" and TRANSIENT_LOCAL" if topic.is_latched else "")
    return Check(
        name=name_of(topic),
        level=RED,
        found=f"{topic.name}: the QoS does not fit, so nothing arrives: {who} is "
        f"{'; '.join(reasons)}",
        remedy=f"publish {topic.name} with {wanted} QoS",
    )


def _senders(ends: tuple[Endpoint, ...]) -> str:
    """Return the nodes that publish a topic; a recording does not know them."""
    return ", ".join(sorted({end.node for end in ends if end.node})) or "its publisher"


def _judge_quality(observation: Observation, rivals: tuple[WantedTopic, ...]) -> Iterator[Check]:
    for topic in rivals:
        traffic = observation.traffic.get(topic.name)
        if traffic is None:
            continue
        ends = observation.publishers.get(topic.name, ())
        if any(conflict(end, topic.is_reliable, topic.is_latched) for end in ends):
            yield _incompatible(topic, ends)
        for reason, count in traffic.unreadable.items():
            yield Check(
                name=name_of(topic),
                level=RED,
                found=f"{topic.name}: {count} of {traffic.count} messages cannot be read: {reason}",
                remedy="mend the driver; look for lost packets (docs/vehicle/time_and_network.md)",
            )


def judge_rates(observation: Observation, wanted: Wanted) -> Iterator[Check]:
    """Yield sensors that are slow, lose messages, or have stopped.

    Args:
        observation: what was seen.
        wanted: what the node listens to.
    """
    for kind in (wanted.sensors.cameras, wanted.sensors.radars):
        rates = {name: rate_hz(observation, wanted, name) for name in kind}
        known = [rate for rate in rates.values() if rate > 0]
        usual = float(np.median(known)) if known else 0.0
        for name, rate in rates.items():
            if rate > 0:
                yield from _judge_rate(observation, wanted, name, rate, usual)


def arrivals_ns(observation: Observation, wanted: Wanted, sensor: str) -> NDArray[np.int64]:
    """Return (N,) int64 when a sensor's readings came, in turn; N may be 0."""
    found = [
        observation.traffic[topic.name].arrivals_ns
        for topic in wanted.readings(sensor)
        if topic.name in observation.traffic
    ]
    return max(found, key=len) if found else np.zeros(0, dtype=np.int64)


def rate_hz(observation: Observation, wanted: Wanted, sensor: str) -> float:
    """Return how often a sensor sends; 0 where fewer than two readings came."""
    intervals_s = np.diff(arrivals_ns(observation, wanted, sensor)) * 1e-9
    intervals_s = intervals_s[intervals_s > 0]
    return 1.0 / float(np.median(intervals_s)) if len(intervals_s) else 0.0


def _judge_rate(
    observation: Observation, wanted: Wanted, name: str, rate: float, usual: float
) -> Iterator[Check]:
    came = arrivals_ns(observation, wanted, name)
    intervals_s = np.maximum(np.diff(came) * 1e-9, 0.0)  # a clock that goes back is told elsewhere
    dead_after_s = wanted.dead_after_ns * 1e-9
    silent_s = (observation.end_ns - int(came[-1])) * 1e-9
    if silent_s > max(dead_after_s, _STOPPED_PERIODS / rate):
        yield Check(
            name=name,
            level=RED,
            found=f"dead: it stopped {silent_s:.1f} s before the end",
            remedy=_REVIVE,
        )
    longest_s = float(intervals_s.max())
    lost = float((np.maximum(np.round(intervals_s * rate), 1) - 1).sum())
    if 1.0 / rate > dead_after_s:
        yield Check(
            name=name,
            level=AMBER,
            found=f"one reading in {1.0 / rate:.1f} s: it counts as lost between them",
            remedy="raise the sensor's rate, or sync.dead_after_ms and "
            "diagnostics.sensor_timeout_sec",
        )
    elif longest_s > max(dead_after_s, _GAP_PERIODS / rate):
        yield Check(
            name=name,
            level=AMBER,
            found=f"silent for {longest_s:.1f} s in between",
            remedy="look at the driver's log and at the cable",
        )
    elif lost / (len(came) + lost) > _LOST_SHARE and longest_s > _GAP_PERIODS / rate:
        yield Check(
            name=name,
            level=AMBER,
            found=f"about {lost:.0f} of {len(came) + lost:.0f} readings did not arrive",
            remedy="look at the load of the machine and the network "
            "(docs/vehicle/time_and_network.md)",
        )
    if rate < _SLOW_SHARE * usual:
        yield Check(
            name=name,
            level=AMBER,
            found=f"{rate:.1f} Hz, and the others of its kind {usual:.1f} Hz",
            remedy="set its driver to the rate of the others",
        )


def _judge_outputs(observation: Observation, wanted: Wanted) -> Iterator[Check]:
    """Yield listeners of the node's outputs that get nothing."""
    for topic, listeners in observation.subscribers.items():
        if not topic.startswith(f"{wanted.node}/"):
            continue
        for end in observation.publishers.get(topic, ()):
            for listener in listeners:
                reason = conflict(end, listener.is_reliable, listener.is_latched)
                if reason:
                    yield Check(
                        name=topic,
                        level=AMBER,
                        found=f"{listener.node} gets nothing: {topic} is {reason}",
                        remedy=f"let {listener.node} ask for VOLATILE and BEST_EFFORT or RELIABLE",
                    )
