# SPDX-License-Identifier: Apache-2.0
"""The fault suite: what the detector does when sensors fail, drift and lie.

Runs scenarios one after the other, each in a process of its own, and writes DIR/faults.json: a
list `goals` (name, value, goal, unit, met) with machine, versions and commands. Leave the machine
alone meanwhile. Interrupt it at any time and give the same command again: what is done with the
same sources is kept. Long ones (--list) are run by name, or all with --all, about two hours; in
the same DIR they join the others. A goal that is missed is a result; the exit code is 1 only where
a scenario could not run. Of a scenario without figures `goals` has its title, without a value.

--publish alone runs nothing: the page has the newest result of every scenario, with the commit
that it was measured at, and says where sources have changed since. With --only or --all it runs
those first; with --fresh-only it runs a whole run's older ones first, and leaves out what is older
still.

Examples:
  python -m tests.faults --list
  python -m tests.faults --output out/faults
  python -m tests.faults --output out/faults --only sensor_loss overload
  python -m tests.faults --output out/faults --only soak                  # an hour
  python -m tests.faults --output out/faults --all                        # everything
  python -m tests.faults --output out/try --only soak --seconds 60        # does it work at all?
  python -m tests.faults --output out/faults --publish                    # docs/reliability.md
  python -m tests.faults --output out/faults --publish --fresh-only       # of these sources alone
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.in_turn import DONE
from imkd_core.errors import ConfigError, ImkdError
from imkd_ros.graph.bag_topics import positive
from tests.faults.results import FILE, Wish, collect, is_judged, line, run_scenarios
from tests.faults.suite import SCENARIOS, chosen, minutes_of


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("--output", type=Path, metavar="DIR", help="folder of the run; the same one goes on")
    add("--only", nargs="+", default=(), metavar="NAME", help="some scenarios")
    add("--all", action="store_true", help="everything, the long ones too: about two hours")
    add("--list", action="store_true", help="name the scenarios and stop")
    add("--seconds", type=positive, metavar="S", help="length of those whose length is free")
    add("--model", default="", help="bundle (default: the one that ships)")
    add("--publish", action="store_true", help="write docs/reliability.md of what DIR holds")
    add("--fresh-only", action="store_true", help="with --publish: results of these sources alone")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run scenarios; return 0, 1 where one could not run, 2 where something given is unusable."""
    options = parser().parse_args(arguments)
    try:
        return _list() if options.list else _run(options)
    except ImkdError as error:
        sys.stderr.write(f"tests.faults: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("tests.faults: interrupted; the same command goes on\n")
        return 130


def _list() -> int:
    for one in SCENARIOS:
        alone = "" if one.is_whole else ", by name or with --all"
        sys.stdout.write(f"{one.name:<20} {one.title} ({one.minutes:g} min{alone})\n")
    whole, everything = minutes_of(chosen(())), minutes_of(SCENARIOS)
    sys.stdout.write(f"a whole run: {whole:.0f} min; with --all: {everything / 60:.1f} h\n")
    return 0


def _run(options: argparse.Namespace) -> int:
    if options.output is None:
        raise ConfigError("--output DIR is missing: where faults.json goes")
    if options.fresh_only and not options.publish:
        raise ConfigError("--fresh-only says what is published: give --publish too")
    if options.all and options.only:
        raise ConfigError("--all runs every scenario, --only some: give one of the two")
    wish = Wish(seconds=options.seconds, model=options.model)
    runs_some = options.only or options.all or options.fresh_only or not options.publish
    scenarios = chosen(options.only, with_long=options.all) if runs_some else ()
    parts = run_scenarios(scenarios, options.output, wish, _say)
    found = collect(options.output)
    judged = [row for row in found["goals"] if is_judged(row)]
    missed = [row for row in judged if not row["met"]]
    _say(f"{len(judged)} figures with a goal, {len(missed)} of them not met")
    if absent := len(found["goals"]) - len(judged):
        _say(f"{absent} scenarios not measured (--list)")
    for row in missed:
        _say(line(row))
    _say(str(options.output / FILE))
    if options.publish:
        from tests.faults.publish import publish

        _say(f"wrote {publish(found, fresh_only=options.fresh_only)}")
    return 0 if all(part.status == DONE for part in parts.values()) else 1


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
