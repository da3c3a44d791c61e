# SPDX-License-Identifier: Apache-2.0
"""Twelve faults of an integrator planted in a bag of a made-up drive: does the doctor tell them?

All of them are planted on a running graph as well, by playing their bags; and some that no bag
holds, such as a topic on which nothing ever comes, or a clock that stands still.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from imkd_core.health.check import GREEN, RED, Check
from imkd_ros.bridge.parameter_file import read_settings
from imkd_ros.doctor.judgement import judge
from imkd_ros.doctor.wanted import wanted
from tests.faults.doctor_live import found_live
from tests.faults.planting import CABLES, PLANTS, Plant, examine, is_found, planted
from tests.faults.suite import Context, Figure, at_least, at_most, told

if TYPE_CHECKING:
    from tests.ros.doctor.vehicle import Trouble

#: How long the graph is listened to, seconds.
LISTEN_S = 3.0

#: What is planted on a graph -> line of the table, words of what is found, words of the remedy.
_LIVE: Mapping[str, tuple[str, str, str]] = {
    "best effort against reliable": ("/tf", "QoS does not fit", "RELIABLE"),
    "volatile /tf_static": ("/tf_static", "QoS does not fit", "TRANSIENT_LOCAL"),
    "dead radar": ("RADAR", "sends nothing", "the driver's log"),
    "stale clock": ("clock", "stands still", "resume the bag's player"),
    "stale stamps": ("CAM_A", "stale clock", "synchronise the clocks"),
    "missing TF": ("RADAR", "missing TF", "start the vehicle description"),
}


def run(context: Context) -> list[Figure]:
    """Return how many faults were found, and how many were made up."""
    bag = context.bag(8.0)
    healthy = [check for check in examine(bag, {}, with_model=False) if check.level != GREEN]
    bags = {plant.name: planted(plant, bag, context.folder) for plant in (*PLANTS, CABLES)}
    missed = [plant.name for plant in PLANTS if not _tells(plant, bags[plant.name])]
    live = _found_live(context.folder)
    lost = sorted(name for name, is_told in live.items() if not is_told)
    found, made_up = found_live([(p, bags[p.name]) for p in PLANTS], bag, context.folder)
    unseen = [plant.name for plant in PLANTS if plant.name not in found]
    return [
        at_least("planted faults found", len(PLANTS) - len(missed), 12, note=_missed(missed)),
        at_most("lines about a healthy bag that are not green", len(healthy), 0, note=_of(healthy)),
        told("planted live, of the twelve", len(PLANTS), note="their bags are played"),
        at_least("found live, of the twelve", len(found), len(PLANTS), note=_missed(unseen)),
        at_most("faults told of a healthy vehicle live", made_up, 0),
        at_least(
            "faults planted on a live graph found", len(live) - len(lost), 6, note=_missed(lost)
        ),
        told(
            "exchanged cables of two cameras found",
            float(_tells(CABLES, bags[CABLES.name], True)),
        ),
    ]


def _tells(plant: Plant, bag: Path, with_pictures: bool = False) -> bool:
    """Whether a fault is found in its bag; whatever else was said is printed."""
    checks = examine(bag, plant.parameters, bool(plant.parameters), with_pictures)
    is_told = is_found(plant, checks)
    sys.stdout.write(f"{plant.name}: {'found' if is_told else 'MISSED'}\n")
    for check in checks:
        if check.level != GREEN:
            sys.stdout.write(f"  {check.level} {check.name}: {check.found} -> {check.remedy}\n")
    sys.stdout.flush()
    return is_told


def _found_live(folder: Path) -> dict[str, bool]:
    """Return fault -> whether it was found on a real graph."""
    from imkd_ros.graph.environment import graph_environment
    from tests.ros.doctor.vehicle import Trouble

    with graph_environment(folder, None):
        first = Trouble(tf_is_best_effort=True, radar_is_dead=True, clock_stands=True)
        second = Trouble(lacks_radar_tf=True, stale_s=3.0)
        tables = {True: _listen(folder, first, True), False: _listen(folder, second, False)}
    late = ("stale stamps", "missing TF")
    return {
        name: any(_fits(check, *words) for check in tables[name not in late])
        for name, words in _LIVE.items()
    }


def _listen(folder: Path, trouble: "Trouble", use_sim_time: bool) -> list[Check]:
    from imkd_ros.doctor.live import observe_graph
    from tests.ros.doctor.vehicle import driving
    from tests.ros.node_bench import SENSORS

    path = folder / "sensors.yaml"
    path.write_text(yaml.safe_dump(SENSORS), encoding="utf-8")
    settings = read_settings(None, {"sensors_file": str(path)})
    want = wanted(settings, use_sim_time=use_sim_time)
    with driving(trouble):
        return judge(observe_graph(want, LISTEN_S), want)


def _fits(check: Check, name: str, found: str, remedy: str) -> bool:
    is_red = check.level == RED and check.name == name
    return is_red and found in check.found and remedy in check.remedy


def _missed(names: list[str]) -> str:
    return f"missed: {', '.join(names)}" if names else "each with its remedy"


def _of(checks: list[Check]) -> str:
    return "; ".join(f"{check.name}: {check.found}" for check in checks)
