# SPDX-License-Identifier: Apache-2.0
"""What the code says of itself, read from its source: documents are held against it."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from imkd_ros.bridge.annotation_topics import ANNOTATIONS

ROOT = Path(__file__).resolve().parents[2]

#: Full name of the node as launch file and supervisor start it.
NODE = "/imkd_detector"

#: Stands in a text for a value that is filled in.
FILLED = "…"


def sources() -> list[Path]:
    """Every module of the product, and the launch file."""
    folders = (ROOT / "imkd_core", ROOT / "imkd_ros", ROOT / "launch")
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


@cache
def texts() -> frozenset[str]:
    """Every text literal of the product; what an f-string fills in is `FILLED`."""
    return frozenset(re.sub(r"\s+", " ", text) for text in _literals())


def _literals() -> Iterator[str]:
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(
                    str(part.value) if isinstance(part, ast.Constant) else FILLED
                    for part in node.values
                )


def private_topics() -> set[str]:
    """Names below `~/` that the node publishes or serves; a camera's stands behind the last."""
    files = [ROOT / "imkd_ros" / "detector_node.py", *(ROOT / "imkd_ros" / "node").glob("*.py")]
    found = (re.findall(r'"(~/[a-z_/]+)"', path.read_text(encoding="utf-8")) for path in files)
    return {topic for topics in found for topic in topics} | {f"~/{ANNOTATIONS}/"}


def stages() -> set[str]:
    """Stages of one frame in `~/debug/latency`."""
    answering = (ROOT / "imkd_ros" / "node" / "answering.py").read_text(encoding="utf-8")
    detector = (ROOT / "imkd_core" / "runtime" / "detector.py").read_text(encoding="utf-8")
    (own,) = re.findall(r"stage_ms = \{(.*?)\}", answering, re.DOTALL)
    (inner,) = re.findall(r"stage_ms = \{(.*?)\}", detector, re.DOTALL)
    return set(re.findall(r'"(\w+)":', own + inner))


def launch_arguments() -> set[str]:
    """Arguments of the launch file."""
    launch = (ROOT / "launch" / "detector.launch.py").read_text(encoding="utf-8")
    (table,) = re.findall(r"ARGUMENTS = \{(.*?)\n\}", launch, re.DOTALL)
    return set(re.findall(r'^    "(\w+)":', table, re.MULTILINE))
