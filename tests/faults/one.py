# SPDX-License-Identifier: Apache-2.0
"""Runs one scenario in this process and writes its figures; `results` starts it."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.harness import write_json
from benchmarks.process_stats import keep_to_cores
from imkd_core.errors import ImkdError
from tests.faults.results import is_short
from tests.faults.suite import Context, chosen, model_bundle

#: Every figure is of so many cores.
CORES = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return 0, or 2 where it cannot."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.one", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("answer", type=Path, help="the JSON file for the figures")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--model", default="")
    options = parser.parse_args(arguments)
    try:
        (scenario,) = chosen([options.name])
        keep_to_cores(CORES)
        folder = options.output / scenario.name
        folder.mkdir(parents=True, exist_ok=True)
        context = Context(
            folder=folder,
            drives=options.output / "drives",
            seconds=options.seconds,
            is_short=is_short(scenario, options.seconds),
            bundle=model_bundle(options.model),
        )
        module = importlib.import_module(f"tests.faults.{scenario.name}")
        figures = module.run(context)
    except ImkdError as error:
        sys.stderr.write(f"tests.faults.{options.name}: {error}\n")
        return 2
    write_json(options.answer, [asdict(figure) for figure in figures])
    return 0


if __name__ == "__main__":
    sys.exit(main())
