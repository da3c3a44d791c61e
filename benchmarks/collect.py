# SPDX-License-Identifier: Apache-2.0
"""All parts of a run in one file: machine, versions, hashes, every figure, and the goals."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.goals import AIMS, judged
from benchmarks.harness import ROOT, Goal, write_json
from benchmarks.in_turn import DONE
from benchmarks.machine import machine_facts
from benchmarks.suite import Entry, entries
from benchmarks.suite_run import SOURCES, Part, files_of
from imkd_core.errors import DataError
from imkd_core.resources import bundles
from imkd_core.runtime.bundle import load_bundle

FORMAT = 1
FILE = "bench.json"


def collect(
    output: Path, suite: Sequence[Entry], parts: Mapping[str, Part], quick: bool
) -> dict[str, Any]:
    """Write `bench.json` of the parts of a run and return it.

    A goal whose benchmark failed or was not run keeps its row, with a null value and a reason.

    Args:
        output: folder of the run.
        suite: benchmarks, in the order of the tables.
        parts: name -> what was found.
        quick: whether the smallest sizes were run.
    """
    facts = machine_facts()
    versions = {"python": facts.pop("python"), **facts.pop("packages")}
    absent = [entry.name for entry in entries() if not _is_done(parts.get(entry.name))]
    whole = {
        "format": FORMAT,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "quick": quick,
        "whole": not quick and not absent,
        "absent": absent,
        "hardware": facts,
        "versions": versions,
        "git": {**git_state(), "is_changed": has_changed_sources()},
        "models": model_hashes(),
        "benchmarks": {
            entry.name: _described(entry, parts[entry.name])
            for entry in suite
            if entry.name in parts
        },
        "goals": [{**vars(goal), "met": goal.met} for goal in goals_of(parts)],
    }
    write_json(output / FILE, whole)
    return whole


def read_run(output: Path) -> dict[str, Any]:
    """Return the `bench.json` of a folder.

    Raises:
        DataError: there is none, or it is no such file.
    """
    path = output / FILE
    try:
        raw = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path} ({error}); run 'imkd bench --output' first") from None
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise DataError(f"{path} was not written by this version; run 'imkd bench' again")
    return raw


def goals_of(parts: Mapping[str, Part]) -> list[Goal]:
    """Return a goal for every aim, in the order of the table."""
    found = {
        goal.name: goal
        for part in parts.values()
        if part.report is not None
        for goal in part.report.goals
    }
    goals = {
        key: found.get(aim.name) or judged(key, None, _why_absent(aim.benchmark, parts))
        for key, aim in AIMS.items()
    }
    goals["overhead_share"] = _beside_fp32(goals["overhead_share"], goals["overhead"], parts)
    return list(goals.values())


def _beside_fp32(share: Goal, overhead: Goal, parts: Mapping[str, Part]) -> Goal:
    """Return the goal with what the share is of fp32 inference alone, where that was timed."""
    part = parts.get("inference")
    report = None if part is None else part.report
    fp32_ms = {} if report is None else report.facts.get("fp32_p50_ms", {})
    if overhead.value is None or "shipped" not in fp32_ms:
        return share
    alone = f"{overhead.value / fp32_ms['shipped']:.2f} times the {fp32_ms['shipped']:.1f} ms"
    return replace(share, reason=f"{share.reason}; {alone} that fp32 takes alone")


def has_changed_sources() -> bool | None:
    """Whether files that figures hang on differ from the commit; None without git.

    Tables that `publish` wrote do not count: the same run again shall change nothing.
    """
    changed = changed_files()
    return None if changed is None else not changed.isdisjoint(files_of(SOURCES))


def git_state() -> dict[str, Any]:
    """Return the commit of the checkout, and whether files differ from it; nulls without git."""
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    return {"commit": commit, "is_changed": None if changes is None else bool(changes)}


def changed_files() -> set[Path] | None:
    """Return the files of the checkout that differ from its commit; None without git."""
    changed = _git("diff", "--name-only", "-z", "HEAD")
    others = _git("ls-files", "--others", "--exclude-standard", "-z")
    if changed is None or others is None:
        return None
    return {ROOT / name for name in f"{changed}\0{others}".split("\0") if name}


def model_hashes() -> dict[str, dict[str, str]]:
    """Return bundle -> role -> sha256 of what ships."""
    found = [load_bundle(path) for path in bundles()]
    return {
        bundle.name: {role: file.sha256 for role, file in bundle.files.items()} for bundle in found
    }


def _described(entry: Entry, part: Part) -> dict[str, Any]:
    report: dict[str, Any] = {} if part.report is None else part.report.to_json()
    return {
        "title": entry.title,
        "command": part.command,
        "status": part.status,
        "seconds": part.seconds,
        "when": part.when,
        "error": part.error,
        "figures": report.get("figures", []),
        "facts": report.get("facts", {}),
    }


def _why_absent(benchmark: str, parts: Mapping[str, Part]) -> str:
    part = parts.get(benchmark)
    if part is None:
        return f"was not run: imkd bench --only {benchmark}, with the same --output"
    if not _is_done(part):
        return f"benchmarks.{benchmark} failed: {part.error.splitlines()[0]}"
    return f"benchmarks.{benchmark} did not say"


def _is_done(part: Part | None) -> bool:
    return part is not None and part.status == DONE


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
