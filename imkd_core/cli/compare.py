# SPDX-License-Identifier: Apache-2.0
"""Compare two runs over the same drives, with intervals, and fail where a limit is broken.

A and B are folders that `imkd evaluate --output` or `imkd replay --report` wrote: two models, two
settings, or the version before and after a change. Every figure of B is set against that of A, with
the 95 % interval of the difference: the drives are drawn anew many times, the same ones for both
runs. Fewer than 5 drives allow no interval.

Where both runs know the truth: NDS, mAP, errors, AP of each class (and in the JSON each class's
errors). Always: the steadiness of the boxes (flicker, jitter, track length, count drift), which
needs no truth, and does not say whether a steady box is right.

Each --fail-if is a limit of B - A, in the unit of the figure (NDS and AP are 0..1), in quotes for
the shell. FIGURE.low and FIGURE.high are the ends of the interval: 'nds.high<0' fails where NDS
surely fell. What is not known does not pass. Exit code: 0 all limits kept, 1 one is broken, 2 the
runs cannot be compared.

Examples:
  imkd compare out/before out/after
  imkd compare out/before out/after --html out/comparison.html --json out/comparison.json
  imkd compare out/before out/after --fail-if 'nds<-0.005' --fail-if 'ap.car.high<0'
  imkd compare out/replay_a out/replay_b --fail-if 'flicker>0.02'
  imkd compare out/a out/b --condition 'without CAM_FRONT'
"""

import argparse
import json
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("a", type=Path, metavar="A", help="folder of the run to compare with")
    parser.add_argument("b", type=Path, metavar="B", help="folder of the new run")
    parser.add_argument(
        "--condition",
        default="all sensors",
        metavar="NAME",
        help="run of the folders, as `imkd evaluate` names it (default: 'all sensors')",
    )
    parser.add_argument(
        "--fail-if",
        action="append",
        default=[],
        metavar="LIMIT",
        help="exit with 1 where B - A is so, such as 'nds<-0.005'; may be repeated",
    )
    parser.add_argument("--html", type=Path, help="also write a report to this file")
    parser.add_argument("--json", type=Path, help="also write the comparison to this file")
    parser.add_argument(
        "--draws", type=int, default=1000, help="draws of drives, for the intervals (default: 1000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")


def run(arguments: argparse.Namespace) -> int:
    """Compare; print the table and what became of each limit."""
    from imkd_core.cli.common import progress
    from imkd_core.evaluation.comparison import compare_runs, comparison_lines
    from imkd_core.evaluation.drive_figures import figures_path, read_drive_figures
    from imkd_core.evaluation.gates import judge_gate, parse_gate
    from imkd_core.evaluation.results import write_atomic

    gates = [parse_gate(text) for text in arguments.fail_if]
    runs = [
        read_drive_figures(figures_path(folder, arguments.condition))
        for folder in (arguments.a, arguments.b)
    ]
    with progress("draws", arguments.draws) as update:
        comparison = compare_runs(
            runs[0], runs[1], arguments.draws, arguments.seed, lambda done, _all: update(done)
        )
    judgements = [judge_gate(gate, comparison) for gate in gates]
    sys.stdout.write("\n".join(comparison_lines(comparison)) + "\n")
    if arguments.json is not None:
        told = [
            {"limit": one.gate.text, "failed": one.failed, "text": one.text} for one in judgements
        ]
        whole = {**comparison.to_json(), "limits": told}
        write_atomic(arguments.json, f"{json.dumps(whole, indent=2, allow_nan=False)}\n".encode())
    if arguments.html is not None:
        from imkd_core.evaluation.comparison_report import write_comparison_report

        write_comparison_report(arguments.html, comparison, judgements)
    failed = [one for one in judgements if one.failed]
    for one in judgements:
        sys.stdout.write(f"{'BROKEN' if one.failed else 'kept':<8}{one.text}\n")
    if failed:
        sys.stdout.write(f"{len(failed)} of {len(judgements)} limits are broken\n")
    return 1 if failed else 0
