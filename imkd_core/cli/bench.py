# SPDX-License-Identifier: Apache-2.0
"""Measure what this machine makes of the detector: every claim about speed and memory, again.

Runs the benchmarks of a source checkout one after the other, each in a process of its own, with
its baselines beside it, and writes DIR/bench.json: hardware, versions, hashes, every figure, and
each goal with its value. Leave the machine alone meanwhile: it warns where others use it.
Interrupt it at any time and give the same command again: what is done and still holds is kept.
Long ones (--list) are run by name alone; in the same DIR they join the others. What is published
is what DIR holds at the end: all that a run without --only makes has to be there and still hold.

Examples:
  imkd bench --output out/bench
  imkd bench --output out/bench --only soak --publish  # half an hour; joins the run
  imkd bench --output out/try --quick                # does it all work? two minutes, no figures
  imkd bench --output out/bench --publish            # and write the tables of docs and README
"""

import argparse
import sys
from pathlib import Path

import imkd_core
from imkd_core.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("--output", type=Path, help="folder of the run")
    parser.add_argument("--only", default="", metavar="NAMES", help="some benchmarks: a,b")
    parser.add_argument("--quick", action="store_true", help="smallest size of each")
    parser.add_argument("--publish", action="store_true", help="write what DIR holds into the docs")
    parser.add_argument("--list", action="store_true", help="name the benchmarks and stop")


def run(arguments: argparse.Namespace) -> int:
    """Run, collect, publish; return 1 when a benchmark failed. A missed goal is a result."""
    root = checkout()
    from benchmarks.collect import FILE, collect
    from benchmarks.in_turn import DONE
    from benchmarks.publish import publish
    from benchmarks.suite import SUITE, entries
    from benchmarks.suite_run import kept_parts, run_suite

    if arguments.list:
        for entry in SUITE:
            size = f"{entry.minutes:g} min" + ("" if entry.is_whole else ", by name alone")
            sys.stdout.write(f"{entry.name:<20} {entry.title} ({size})\n")
        return 0
    if arguments.output is None:
        raise ConfigError("--output DIR is missing: where bench.json goes")
    chosen = entries(tuple(name for name in arguments.only.split(",") if name))
    if arguments.publish:
        kept = kept_parts(SUITE, arguments.output, arguments.quick)
        require_whole({*kept, *(entry.name for entry in chosen)}, arguments.quick)
    parts = run_suite(chosen, arguments.output, arguments.quick, say)
    every = kept_parts(SUITE, arguments.output, arguments.quick) | parts
    found = collect(arguments.output, SUITE, every, arguments.quick)
    print_goals(found["goals"])
    sys.stdout.write(f"{arguments.output / FILE}\n")
    failed = [name for name, part in parts.items() if part.status != DONE]
    if arguments.publish and failed:
        sys.stdout.write(f"nothing is published: {', '.join(failed)} failed\n")
    elif arguments.publish:
        for path in publish(found, root):
            sys.stdout.write(f"wrote {path}\n")
    return 1 if failed else 0


def require_whole(names: set[str], is_quick: bool) -> None:
    """Refuse before anything runs what could not be published after.

    Args:
        names: benchmarks that the folder will hold.
        is_quick: whether the smallest sizes are asked for.

    Raises:
        ConfigError: a whole run needs more, or the sizes of all.
    """
    from benchmarks.suite import entries

    if is_quick:
        raise ConfigError("figures of --quick are not published; leave it out")
    missing = [entry.name for entry in entries() if entry.name not in names]
    if missing:
        raise ConfigError(
            f"--publish needs a whole run, and DIR lacks {', '.join(missing)} of this code on "
            "this machine; add them to --only, or leave --only out"
        )


def checkout() -> Path:
    """Return the root of the source checkout that this runs from; its packages can be imported.

    Raises:
        ConfigError: the package is installed without its sources.
    """
    root = Path(imkd_core.__file__).resolve().parents[1]
    if not (root / "benchmarks" / "suite.py").is_file():
        raise ConfigError(
            f"the benchmarks are part of the source checkout, and {root} is none; clone the "
            "repository, run 'make setup' in it, and there '.venv/bin/imkd bench --output DIR'"
        )
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    return root


def say(text: str) -> None:
    """Tell how far it is, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def print_goals(goals: list[dict[str, object]]) -> None:
    """Print each goal with its value and verdict."""
    verdicts = {True: "met", False: "MISSED", None: "-"}
    for goal in goals:
        value = "-" if goal["value"] is None else f"{goal['value']:.4g}"
        held = f"{goal['comparison']} {goal['goal']:g} {goal['unit']}"
        sys.stdout.write(f"{verdicts[goal['met']]:<7}{goal['name']}: {value} ({held})\n")  # type: ignore[index]
