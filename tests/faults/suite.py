# SPDX-License-Identifier: Apache-2.0
"""What the fault suite is made of: figures, scenarios, and the list of them.

A scenario is a module `tests/faults/NAME.py` with

    def run(context: Context) -> list[Figure]:
        lost = play(context.bag(), drop=("CAM_FRONT",))
        return [at_most("one camera lost: gap", lost.gap, 1.0, "frame periods")]

and a line in `SCENARIOS`. It runs alone, in a process of its own; what it prints goes to
`DIR/parts/NAME.log`. Files that it leaves belong into `context.folder`. pytest collects none of
them: its modules are not named test_*.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import AT_LEAST, AT_MOST
from benchmarks.live_drive import SMALL_SIZE_PX, live_bag
from imkd_core.errors import ConfigError
from imkd_core.resources import bundle_folder
from tests.faults.rows import NAMED_TESTS, ROWS


@dataclass(frozen=True)
class Figure:
    """One number, and what it is held against.

    Attributes:
        name: what it is, in words; unique in the suite.
        value: measured; None where it could not be, and the note says why.
        goal: None for a number that is told without a goal.
        unit: of both; empty for a count.
        met: whether the goal is; True without a goal.
        note: how it was measured, or why there is none, in a few words.
        comparison: "at most" or "at least": which side of the goal is good; "" where that is plain.

    Raises:
        ConfigError: a name or a note is missing, or a number is not finite.
    """

    name: str
    value: float | None
    goal: float | None
    unit: str
    met: bool
    note: str = ""
    comparison: str = ""

    def __post_init__(self) -> None:
        """Refuse what no table can show."""
        if not self.name:
            raise ConfigError("a figure needs a name")
        if self.value is None and not self.note:
            raise ConfigError(f"'{self.name}' has no value: say why")
        if self.value is None and self.met:
            raise ConfigError(f"'{self.name}' has no value, and a goal is not met by that")
        for number in (self.value, self.goal):
            if number is not None and not math.isfinite(number):
                raise ConfigError(f"'{self.name}' must be a finite number, got {number}")


def at_most(name: str, value: float, goal: float, unit: str = "", note: str = "") -> Figure:
    """Return a figure whose goal is a bound above."""
    return Figure(name, value, goal, unit, value <= goal, note, AT_MOST)


def at_least(name: str, value: float, goal: float, unit: str = "", note: str = "") -> Figure:
    """Return a figure whose goal is a bound below."""
    return Figure(name, value, goal, unit, value >= goal, note, AT_LEAST)


def told(name: str, value: float, unit: str = "", note: str = "") -> Figure:
    """Return a figure without a goal."""
    return Figure(name, value, None, unit, True, note)


def not_there(name: str, goal: float, unit: str, why: str) -> Figure:
    """Return a figure that could not be measured; its goal is not met."""
    return Figure(name, None, goal, unit, False, why)


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a scenario is given.

    Attributes:
        folder: of this scenario alone, made and empty of others' files.
        drives: folder of made-up drives and bags, shared and kept.
        seconds: how long it is to run, where its length is free: the scenario's own, or what
            `--seconds` says.
        is_short: whether `--seconds` made it another length than the published one.
        bundle: folder of the model.
        seed: of all chance.
    """

    folder: Path
    drives: Path
    seconds: float
    is_short: bool = False
    bundle: Path
    seed: int = 0

    def bag(self, duration_s: float = 20.0, repeat: int = 1) -> Path:
        """Return a bag of a made-up drive; made where it is not there.

        Six JPEG cameras of 704 x 256 at 12 Hz, five radars at 13 Hz, TF and odometry.

        Args:
            duration_s: of the drive.
            repeat: the drive, so many times; stamps run on.
        """
        return live_bag(duration_s, repeat, SMALL_SIZE_PX, self.drives)


@dataclass(frozen=True)
class Scenario:
    """One entry of the suite.

    Attributes:
        name: of its module in `tests/faults`.
        title: what it asks, in a line.
        seconds: the length of a published run, where it is free; else 0.
        minutes: that it takes on two idle cores, roughly.
        is_whole: whether a whole run has it; the others are run by name (`--only`), or by `--all`.
        files: below `tests/` that it runs, beside the modules that its own one imports.
    """

    name: str
    title: str
    seconds: float = 0.0
    minutes: float = 1.0
    is_whole: bool = True
    files: tuple[str, ...] = ()


_NAMED_FILES = tuple(
    sorted({path for row in ROWS if NAMED_TESTS in row.scenarios for path in row.tests})
)

SCENARIOS: tuple[Scenario, ...] = (
    Scenario("sensor_loss", "cameras and radars lost in mid-drive and back", minutes=2.0),
    Scenario("message_loss", "half and nine tenths of a camera's images lost", minutes=0.7),
    Scenario("stamps", "stamps of the future, the past, 0, 2106; out of order; twice", 0, 1.2),
    Scenario("never_there", "a camera, a radar that never sends", minutes=0.8),
    Scenario("bad_data", "bad pictures; corrupt JPEG; radar of NaN and inf", minutes=1.4),
    Scenario("late", "a camera 50 to 400 ms late, a radar 400 ms", minutes=0.8),
    Scenario("camera_info_change", "CameraInfo changes in mid-drive", minutes=0.8),
    Scenario("tf", "transforms late or gone", minutes=0.9),
    Scenario("overload", "twice the rate, and four times", minutes=1.2),
    Scenario("clock", "a bag that loops: the clock jumps back", minutes=0.5),
    Scenario("loss_table", "NDS without some sensors, against the survivors alone", minutes=2.5),
    Scenario("ladder", "NDS on a ladder of camera and radar faults", 0, 4.0, is_whole=False),
    Scenario("health", "faults of sensors told, and told without cause", 0, 8.0, is_whole=False),
    Scenario("calibration", "calibrations that cannot be, told", 0, 15.0, is_whole=False),
    Scenario("fuzz", "a million broken inputs over all decoders", 360.0, 6.0),
    Scenario("soak", "an hour with a random fault every 10 s", 3600, 62.0, is_whole=False),
    Scenario("middleware_qos", "publishers and listeners that do not fit", minutes=0.7),
    Scenario("middleware_two_nodes", "two nodes in two namespaces", minutes=0.5),
    Scenario("middleware_parameters", "every parameter, wrong in every way", minutes=0.2),
    Scenario("middleware_load", "slow listeners, standing time, busy cores", minutes=2.0),
    Scenario("doctor_faults", "faults of an integrator, told by imkd doctor", minutes=3.0),
    Scenario("middleware_respawn", "the node killed, and hung, under the keeper", minutes=0.7),
    Scenario("replay_speed", "how fast recordings are replayed", 20.0, 10.0),
    Scenario("middleware_security", "the policy against the real graph", minutes=0.5),
    Scenario("transitions", "configured and cleaned up 1000 times", seconds=480.0, minutes=9.0),
    Scenario("named_tests", "faults that unit tests hold", minutes=2.0, files=_NAMED_FILES),
)


def minutes_of(scenarios: Iterable[Scenario]) -> float:
    """Return how long some scenarios take on two idle cores, roughly."""
    return sum(scenario.minutes for scenario in scenarios)


def chosen(names: Sequence[str], *, with_long: bool = False) -> tuple[Scenario, ...]:
    """Return the scenarios of a whole run, or those that are named, in the suite's order.

    Args:
        names: of scenarios; none for a whole run.
        with_long: a whole run has those too that are else run by name alone.

    Raises:
        ConfigError: there is no such scenario.
    """
    if not names:
        return tuple(one for one in SCENARIOS if one.is_whole or with_long)
    known = [scenario.name for scenario in SCENARIOS]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f"no fault scenario '{unknown[0]}'; there are {', '.join(known)} (--list)"
        )
    return tuple(scenario for scenario in SCENARIOS if scenario.name in names)


def model_bundle(name: str) -> Path:
    """Return the folder of a bundle; of the one that ships for ""."""
    return bundle_folder(name)
