# SPDX-License-Identifier: Apache-2.0
"""The faults of `planting`, planted on a running graph: their bags are played, the doctor listens.

Over the real DDS in a domain of its own, with the sensor file that ships, as `imkd doctor --live
--use-sim-time true` looks at it while a bag plays.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from imkd_core.cli.vehicle_checks import check_vehicle_model
from imkd_core.health.check import GREEN, RED, Check
from imkd_ros.bridge.parameter_file import read_settings
from imkd_ros.bridge.parameters import Value
from imkd_ros.doctor.judgement import judge
from imkd_ros.doctor.live import observe_graph
from imkd_ros.doctor.wanted import wanted
from imkd_ros.graph.environment import graph_environment
from imkd_ros.graph.processes import Processes
from tests.faults.planting import Plant, is_found

#: How long the graph is listened to, seconds: a radar that stops half-way is silent by then.
LISTEN_S = 5.0

_PLAYER = "player"


def found_live(
    bags: Iterable[tuple[Plant, Path]], healthy: Path, folder: Path
) -> tuple[list[str], int]:
    """Play each bag and look at the graph meanwhile.

    Args:
        bags: fault, and the bag that it is planted in; one without where the fault is elsewhere.
        healthy: bag without a fault.
        folder: for logs.

    Returns:
        Names of the faults that were found, and the number of faults told of the healthy bag.
    """
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with graph_environment(logs, None) as environment, Processes(logs, environment) as processes:
        made_up = [one for one in look(processes, healthy) if one.level == RED]
        _say("a healthy vehicle", made_up)
        names = []
        for plant, bag in bags:
            lossy = ("--best-effort", *plant.best_effort) if plant.best_effort else ()
            checks = look(processes, bag, plant.parameters, lossy)
            if is_found(plant, checks):
                names.append(plant.name)
            _say(f"{plant.name}: {'found' if plant.name in names else 'MISSED'} live", checks)
    return names, len(made_up)


def look(
    processes: Processes,
    bag: Path,
    parameters: Mapping[str, Value] | None = None,
    options: tuple[str, ...] = (),
) -> list[Check]:
    """Return the doctor's table of the graph while a bag is played.

    Args:
        processes: that the player is started among, and ended.
        bag: recording.
        parameters: of the node, by dotted name.
        options: more of the player.
    """
    settings = read_settings(None, parameters or {})
    want = wanted(settings, use_sim_time=True)
    processes.start(_PLAYER, "imkd_ros.player", [str(bag), *options])
    try:
        checks = judge(observe_graph(want, LISTEN_S), want)
    finally:
        processes.stop([_PLAYER])
    if parameters:
        checks += check_vehicle_model(settings, len(want.sensors.cameras), 0.0)
    return checks


def _say(head: str, checks: list[Check]) -> None:
    lines = [f"  {one.level} {one.name}: {one.found}" for one in checks if one.level != GREEN]
    sys.stdout.write("\n".join([head, *lines, ""]))
    sys.stdout.flush()
