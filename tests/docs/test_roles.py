# SPDX-License-Identifier: Apache-2.0
"""Files of a bundle that a help text or a guide names for the bundle that ships are in it."""

import re
from pathlib import Path

import pytest

from imkd_core.resources import bundle_folder
from imkd_core.runtime.bundle import load_bundle
from imkd_core.runtime.roles import AUTO_ROLE
from tests.docs.facts import ROOT

SHIPPED = "models/imkd_tiny"

#: What says that a line, or a paragraph, is about a bundle that somebody made.
OTHERS = ("BUNDLE", "runs/", "models/mine", "of your own")

ROLE = re.compile(r"(?:--role[ =]|model\.precision:\s+|model\.precision=)'?([a-z]\w*)")

PATHS = [
    *sorted((ROOT / "imkd_core" / "cli").rglob("*.py")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "README.md",
]


def passages(text: str) -> list[str]:
    """Lines that stand for themselves (commands, rows of tables), and paragraphs of prose."""
    found = []
    for block in re.split(r"\n\s*\n", text):
        lines = block.splitlines()
        is_prose = not any(re.match(r"\s*(?:\||imkd |```)", line) for line in lines)
        found += [" ".join(lines)] if is_prose else lines
    return found


def wrong_roles(text: str, roles: set[str]) -> list[tuple[str, str]]:
    """Return (role, passage) of roles that the shipped bundle lacks and is told to have."""
    wrong = []
    for passage in passages(text):
        is_of_others = SHIPPED not in passage and any(word in passage for word in OTHERS)
        named = set() if is_of_others else set(ROLE.findall(passage))
        wrong += [(role, passage) for role in sorted(named - roles)]
    return wrong


@pytest.fixture(scope="module")
def roles() -> set[str]:
    return {*load_bundle(bundle_folder("")).files, AUTO_ROLE}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: str(Path(path).relative_to(ROOT)))
def test_no_text_asks_the_shipped_bundle_for_a_file_that_it_lacks(path, roles):
    assert wrong_roles(path.read_text(encoding="utf-8"), roles) == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("imkd build-engine --model models/imkd_tiny --role fp16", ["fp16"]),
        ("imkd build-engine --model models/imkd_tiny --role int8_s8", []),
        ("imkd evaluate ... --role fp16", ["fp16"]),
        ("GPU: `imkd build-engine --model BUNDLE --role fp16`,\n`model.precision: fp16`", []),
        ("| GPU | `model.precision: fp16` |\n| CPU | `model.precision: auto` |", ["fp16"]),
        ("| GPU, a bundle of your own | `model.precision: fp16` |", []),
        ("chosen by `model.precision`; `auto` takes", []),
    ],
)
def test_such_texts_are_found(text, wrong, roles):
    assert [role for role, _ in wrong_roles(text, roles)] == wrong
