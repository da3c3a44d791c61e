# SPDX-License-Identifier: Apache-2.0
"""Whether stamps fit the clock and each other. Pure."""

from collections.abc import Iterator, Mapping

import numpy as np

from imkd_core.health.check import AMBER, GREEN, RED, Check
from imkd_core.runtime.slots import SyncSettings
from imkd_ros.doctor.facts import ClockFacts, Observation, Traffic
from imkd_ros.doctor.wanted import Wanted
from imkd_ros.node.stamp_age import STALE_NS

STALE_S = STALE_NS * 1e-9

#: A stamp this far ahead of the clock is of another one.
_AHEAD_S = 0.02

#: Share of messages that repeat the stamp before them, from which on the stamps stand still.
_STANDING_SHARE = 0.5

#: A clock that has not changed for so long stands still.
_CLOCK_SILENT_S = 1.0

#: What to do where time goes back.
TIME_GOES_BACK = "look for a second publisher, a bag in a loop, or a clock that was set"

_CLOCKS = "synchronise the clocks (docs/vehicle/time_and_network.md)"


def judge_time(observation: Observation, wanted: Wanted) -> Iterator[Check]:
    """Yield what is wrong with clocks and stamps, and a line for the clock of a running graph.

    Args:
        observation: what was seen.
        wanted: what the node listens to.
    """
    if observation.clock is not None:
        clock = _judge_clock(observation.clock, observation.seconds)
        yield clock
        if clock.level == RED:
            return  # nothing can be said of stamps against a clock that is none
    ages_s = sensor_ages_s(observation, wanted)
    usual_s = float(np.median(list(ages_s.values()))) if ages_s else 0.0
    if not observation.is_live and len(ages_s) > 1 and usual_s > STALE_S:
        yield Check(
            name="clock",
            level=AMBER,
            found=f"all stamps are about {usual_s:.1f} s older than the times of recording",
            remedy="nothing to do if it was recorded in simulated time; ages and latencies of a "
            "replay are larger by this",
        )
    else:
        usual_s = 0.0
    for topic in wanted.topics:
        traffic = observation.traffic.get(topic.name)
        if traffic is not None and topic.sensor and len(traffic.stamps_ns):
            yield from _judge_stamps(topic.sensor, topic.name, traffic)
    yield from _judge_ages(ages_s, usual_s, wanted)


def sensor_ages_s(observation: Observation, wanted: Wanted) -> Mapping[str, float]:
    """Return sensor -> median age of its readings when they arrive, seconds."""
    ages = {}
    for name in wanted.sensors.names:
        for topic in wanted.readings(name):
            traffic = observation.traffic.get(topic.name)
            if traffic is not None and traffic.stamps_ns.any():
                ages[name] = _median_age_s(traffic, wanted.offset_ns(name))
    return ages


def _median_age_s(traffic: Traffic, offset_ns: int) -> float:
    is_time = traffic.stamps_ns > 0
    ages_ns = traffic.arrivals_ns[is_time] - traffic.stamps_ns[is_time] - offset_ns
    return float(np.median(ages_ns)) * 1e-9


def _judge_clock(clock: ClockFacts, seconds: float) -> Check:
    name = "clock"
    if not clock.is_used:
        if clock.publishers:
            return Check(
                name=name,
                level=AMBER,
                found="somebody publishes /clock, and the node does not go by it",
                remedy="with a bag or a simulator set use_sim_time to true (launch argument "
                "use_sim_time:=true); on a vehicle stop what publishes /clock",
            )
        return Check(name=name, level=GREEN, found="the machine's own")
    if not clock.ticks:
        return Check(
            name=name,
            level=RED,
            found="stale clock: use_sim_time is set and nobody publishes /clock",
            remedy="play the bag with its clock, or start the simulator; on a vehicle set "
            "use_sim_time to false (launch argument use_sim_time:=false)",
        )
    if clock.silent_s > _CLOCK_SILENT_S or not clock.advance_s:
        return Check(
            name=name,
            level=RED,
            found=f"stale clock: /clock stands still ({clock.ticks} messages in {seconds:.1f} s, "
            f"{clock.advance_s:.3f} s of its time)",
            remedy="resume the bag's player or the simulator; look whether two of them publish "
            "/clock",
        )
    if clock.jumps:
        return Check(
            name=name,
            level=AMBER,
            found=f"/clock went back {clock.jumps} times",
            remedy="nothing to do for a bag that is played in a loop; else look whether two "
            "programs publish /clock",
        )
    return Check(name=name, level=GREEN, found="/clock, which advances")


def _judge_stamps(sensor: str, topic: str, traffic: Traffic) -> Iterator[Check]:
    """Judge the stamps of one topic by themselves."""
    stamps = traffic.stamps_ns
    impossible = int((stamps == 0).sum())
    if impossible:
        yield Check(
            name=sensor,
            level=RED,
            found=f"{topic}: {impossible} of {len(stamps)} stamps are zero or no time; the node "
            "drops these messages",
            remedy="let the driver stamp its messages with the time of measurement",
        )
    steps = np.diff(stamps[stamps > 0])
    repeated = int((steps == 0).sum())
    if repeated > _STANDING_SHARE * max(len(steps), 1):
        yield Check(
            name=sensor,
            level=RED,
            found=f"{topic}: its stamps stand still ({repeated} of {len(steps)} repeat the one "
            "before)",
            remedy="let the driver stamp each message with its own time; start it again if it "
            "hangs",
        )
    elif repeated:
        yield Check(
            name=sensor,
            level=AMBER,
            found=f"{topic}: {repeated} stamps come twice; the node drops the second",
            remedy="look for a second publisher of the topic",
        )
    back = int((steps < 0).sum())
    if back:
        yield Check(
            name=sensor,
            level=AMBER,
            found=f"{topic}: stamps go back {back} times",
            remedy=TIME_GOES_BACK,
        )


def _judge_ages(ages_s: Mapping[str, float], usual_s: float, wanted: Wanted) -> Iterator[Check]:
    """Judge the stamps of sensors against the clock, and against each other."""
    ahead_s = SyncSettings.max_future_ns * 1e-9
    middle_s = float(np.median(list(ages_s.values()))) if ages_s else 0.0
    for name, age_s in ages_s.items():
        if age_s < -ahead_s:
            yield Check(
                name=name,
                level=RED,
                found=f"its stamps are {-age_s:.2f} s in the future; the node drops its readings",
                remedy=f"{_CLOCKS}, or set use_sim_time with a bag",
            )
        elif age_s < -_AHEAD_S:
            yield Check(
                name=name,
                level=AMBER,
                found=f"its stamps are {-age_s * 1e3:.0f} ms in the future",
                remedy=_CLOCKS,
            )
        elif age_s - usual_s > STALE_S:
            yield Check(
                name=name,
                level=RED,
                found=f"stale clock: its stamps are {age_s:.2f} s old when they arrive",
                remedy=f"{_CLOCKS}; a constant delay is stamp_offset_ms of the sensor file",
            )
        elif abs(age_s - middle_s) > wanted.tolerance_ns * 1e-9:
            yield Check(
                name=name,
                level=AMBER,
                found=f"its stamps are {age_s * 1e3:.0f} ms old when they arrive, those of the "
                f"others {middle_s * 1e3:.0f} ms; apart by more than sync.tolerance_ms",
                remedy=f"{_CLOCKS}; or its driver takes long: see its rate and load",
            )
