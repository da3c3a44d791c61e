# SPDX-License-Identifier: Apache-2.0
"""Run a controlled experiment: rows that differ in a few settings, several seeds each.

Each run trains a student, exports it and evaluates it, as processes of their own with one thread
each. What is done is kept: interrupt at any time, and the same command goes on. The table (mean
and 95 % interval over seeds; gains paired by seed) is printed and written as Markdown.

Examples:
  imkd experiment --plan config/experiments/distillation.yaml --train DIR --test DIR
      --teacher runs/teacher --labels runs/labels --cache runs/cache --output runs/experiment
  imkd experiment ... --rows none,all,control --seeds 1 --workers 2
  imkd experiment --plan config/experiments/memory.yaml --start runs/student ...
  imkd experiment ... --table-only
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imkd_core.errors import ConfigError, ImkdError

if TYPE_CHECKING:
    from imkd_core.training.experiment import ExperimentPlan

#: Errors of `metrics.json` -> their names in the table.
ERRORS = {
    "translation_m": "mATE",
    "scale": "mASE",
    "orientation_rad": "mAOE",
    "velocity_mps": "mAVE",
    "attribute": "mAAE",
}
FIGURES = ("nds", "map", *ERRORS.values())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("--plan", type=Path, required=True, help="config/experiments/*.yaml")
    parser.add_argument("--train", type=Path, required=True, help="nuScenes-layout folder to learn")
    parser.add_argument("--test", type=Path, required=True, help="folder to evaluate on")
    parser.add_argument("--teacher", type=Path, required=True, help="run of the LiDAR teacher")
    parser.add_argument("--labels", type=Path, required=True, help="run of the label encoder")
    parser.add_argument("--cache", type=Path, required=True, help="folder of the teacher's maps")
    parser.add_argument("--start", type=Path, help="run whose weights every student begins with")
    parser.add_argument("--output", type=Path, required=True, help="folder of all runs")
    parser.add_argument("--rows", default="", help="rows to run, comma separated (default: all)")
    parser.add_argument("--seeds", default="", help="seeds to run, comma separated (default: all)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="runs at a time")
    parser.add_argument("--table-only", action="store_true", help="run nothing; print the table")


@dataclass(frozen=True, kw_only=True)
class _Places:
    """Folders that every run shares."""

    config: Path
    train: Path
    test: Path
    teacher: Path
    labels: Path
    cache: Path
    output: Path
    start: Path | None = None


def run(arguments: argparse.Namespace) -> int:
    """Run what is missing, then print and write the table."""
    from imkd_core.training.experiment import load_plan, summarise, to_markdown

    plan = load_plan(arguments.plan)
    places = _Places(
        config=(arguments.plan.parent / plan.config).resolve(),
        train=arguments.train,
        test=arguments.test,
        teacher=arguments.teacher,
        labels=arguments.labels,
        cache=arguments.cache,
        output=arguments.output,
        start=arguments.start,
    )
    if not arguments.table_only:
        _run_missing(plan, places, _chosen(plan, arguments.rows, arguments.seeds), arguments)
    done = {
        key: figures
        for key in plan.runs()
        if (figures := read_figures(_folder(places.output, key))) is not None
    }
    table = to_markdown(summarise(plan, done), FIGURES)
    places.output.mkdir(parents=True, exist_ok=True)
    (places.output / "table.md").write_text(table, encoding="utf-8")
    sys.stdout.write(f"{table}\ntable: {places.output / 'table.md'}\n")
    return 0


def read_figures(folder: Path) -> dict[str, float] | None:
    """Return the figures of a finished run; None where it is not finished.

    A row that loses sensors counts without them: its last condition.

    Raises:
        ConfigError: its metrics cannot be read.
    """
    path = folder / "evaluation" / "metrics.json"
    if not path.is_file():
        return None
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))["conditions"][-1]["metrics"]
        errors = {shown: float(metrics["errors"][name]) for name, shown in ERRORS.items()}
        return {"nds": float(metrics["nds"]), "map": float(metrics["mean_ap"]), **errors}
    except (ValueError, LookupError, TypeError) as error:
        raise ConfigError(f"{path} is not a result of 'imkd evaluate' ({error!r})") from None


def commands(
    plan: "ExperimentPlan", places: _Places, key: tuple[str, int]
) -> tuple[tuple[str, ...], ...]:
    """Return the three command lines (behind `imkd`) of one run: train, export, evaluate."""
    row, seed = key
    folder = _folder(places.output, key)
    overrides = [f"--set={k}={_text(v)}" for k, v in plan.overrides(row, seed).items()]
    lose = [f"--lose={sensor}" for sensor in plan.rows[row].lose]
    teachers = (f"--teacher={places.teacher}", f"--labels={places.labels}")
    start = (f"--start={places.start}",) if places.start is not None else ()
    return (
        (
            *("train", "student", f"--config={places.config}", f"--data={places.train}"),
            *(*teachers, f"--cache={places.cache}", f"--preset={plan.rows[row].preset}"),
            *(*start, *overrides, f"--output={folder / 'train'}", "--resume"),
        ),
        (
            *("export", f"--checkpoint={folder / 'train'}", "--files=fp32"),
            f"--output={folder / 'bundle'}",
        ),
        (
            *("evaluate", f"--model={folder / 'bundle'}", f"--data={places.test}"),
            *(*lose, "--workers=1", "--pictures=0", f"--output={folder / 'evaluation'}"),
        ),
    )


def _text(value: Any) -> str:
    return json.dumps(value)  # YAML reads JSON


def _folder(output: Path, key: tuple[str, int]) -> Path:
    row, seed = key
    return output / row / f"seed{seed}"


def _chosen(plan: "ExperimentPlan", rows: str, seeds: str) -> list[tuple[str, int]]:
    """Return the runs that were asked for.

    Raises:
        ConfigError: a row or seed is not in the plan.
    """
    wanted = rows.split(",") if rows else list(plan.rows)
    unknown = sorted(set(wanted) - set(plan.rows))
    if unknown:
        raise ConfigError(f"no rows {unknown} in the plan; it has {', '.join(plan.rows)}")
    texts = seeds.split(",") if seeds else [str(seed) for seed in plan.seeds]
    known = {str(seed): seed for seed in plan.seeds}
    if not set(texts) <= set(known):
        raise ConfigError(f"--seeds must be of {list(plan.seeds)}, got '{seeds}'")
    chosen = {known[text] for text in texts}
    return [(row, seed) for row, seed in plan.runs() if row in wanted and seed in chosen]


def _run_missing(
    plan: "ExperimentPlan",
    places: _Places,
    chosen: list[tuple[str, int]],
    arguments: argparse.Namespace,
) -> None:
    missing = [key for key in chosen if read_figures(_folder(places.output, key)) is None]
    sys.stdout.write(f"{len(chosen) - len(missing)} of {len(chosen)} runs are done\n")
    sys.stdout.flush()
    with ThreadPoolExecutor(max(1, arguments.workers)) as pool:
        futures = {pool.submit(_run_one, plan, places, key): key for key in missing}
        for future in as_completed(futures):
            future.result()
            row, seed = futures[future]
            figures: Mapping[str, float] = read_figures(_folder(places.output, (row, seed))) or {}
            shown = " ".join(f"{name} {value:.3f}" for name, value in figures.items())
            sys.stdout.write(f"{row} seed {seed}: {shown}\n")
            sys.stdout.flush()


def _run_one(plan: "ExperimentPlan", places: _Places, key: tuple[str, int]) -> None:
    """Run one row and seed; its output goes to log.txt in its folder.

    Raises:
        ImkdError: a step failed; the message names the log.
    """
    folder = _folder(places.output, key)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.txt"
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("a", encoding="utf-8") as sink:
        for command in commands(plan, places, key):
            line = [sys.executable, "-m", "imkd_core", *command]
            sink.write(f"$ imkd {' '.join(command)}\n")
            sink.flush()
            code = subprocess.run(line, stdout=sink, stderr=sink, env=one_thread).returncode
            if code:
                raise ImkdError(f"row '{key[0]}', seed {key[1]}: 'imkd {command[0]}' failed; {log}")
