# SPDX-License-Identifier: Apache-2.0
"""What `imkd bench` runs: one entry for each benchmark, in the order of the tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from imkd_core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One benchmark.

    Attributes:
        name: of its module in `benchmarks`.
        title: of its table.
        options: of a whole run; what a reader would type.
        minutes: that a whole run takes on two idle cores, roughly.
        is_whole: whether a whole run needs it; the others are run by name alone (`--only`).
    """

    name: str
    title: str
    options: tuple[str, ...] = ()
    minutes: float = 1.0
    is_whole: bool = True

    def command(self, quick: bool = False) -> tuple[str, ...]:
        """Return what is typed after `python`, without `--json`."""
        size = ("--quick",) if quick else self.options
        return ("-m", f"benchmarks.{self.name}", *size)


SUITE: tuple[Entry, ...] = (
    Entry(name="inference", title="The network alone", minutes=8.5),
    Entry(name="memory", title="A step with memory", minutes=2.0),
    Entry(name="stages", title="One frame, stage by stage", minutes=1.0),
    Entry(name="preprocessing", title="Preprocessing of a camera", minutes=0.5),
    Entry(name="view_transform", title="View transform", minutes=4.0),
    Entry(name="view_lut_moving", title="Look-up table of a moving vehicle", minutes=1.0),
    Entry(name="synchronizer", title="Synchroniser", minutes=2.5),
    Entry(name="executor", title="Taking a message", minutes=0.5),
    Entry(name="live_graph", title="The live graph", minutes=6.0),
    Entry(name="delivery", title="What arrives over DDS", minutes=4.0),
    Entry(name="torch_gpu", title="R50 on a GPU without TensorRT", minutes=3.0),
    Entry(name="soak", title="Half an hour of replay", minutes=33.0, is_whole=False),
    Entry(name="metrics", title="Detection metrics", minutes=1.0, is_whole=False),
    Entry(name="sensor_health", title="Faults of sensors", minutes=8.0, is_whole=False),
    Entry(name="calibration_faults", title="Faults of calibration", minutes=15.0, is_whole=False),
    Entry(name="simulation", title="Simulation", minutes=10.0, is_whole=False),
    Entry(name="simulation_ranging", title="Made-up ranging", minutes=2.0, is_whole=False),
)


def entries(names: Sequence[str] = ()) -> tuple[Entry, ...]:
    """Return the benchmarks of a whole run, or those that are named.

    Raises:
        ConfigError: there is no such benchmark.
    """
    if not names:
        return tuple(entry for entry in SUITE if entry.is_whole)
    known = {entry.name: entry for entry in SUITE}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(f"no benchmark '{unknown[0]}'; there are {', '.join(known)}")
    return tuple(entry for entry in SUITE if entry.name in names)
