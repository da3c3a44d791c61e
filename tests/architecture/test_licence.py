# SPDX-License-Identifier: Apache-2.0
"""Each file that can hold a comment names its licence in its first lines."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINE = "SPDX-License-Identifier: Apache-2.0"
SUFFIXES = {
    ".py", ".pyi", ".sh", ".toml", ".cfg", ".yaml", ".yml", ".xml", ".msg", ".cmake", ".lock",
    ".j2", ".rst",
}  # fmt: skip
NAMES = {"Makefile", "Dockerfile", "CMakeLists.txt", "run", ".gitignore", ".dockerignore"}
SKIPPED_FOLDERS = {".git", ".venv", "build", "install", "log", "out"}


def project_files() -> list[Path]:
    """The files git knows or would add; where there is no git, all but what is built."""
    if shutil.which("git") and (ROOT / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
        return [
            ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()
        ]
    return [
        path
        for path in ROOT.rglob("*")
        if path.is_file() and not SKIPPED_FOLDERS & set(path.relative_to(ROOT).parts)
    ]


def test_every_source_file_names_its_licence():
    sources = [p for p in project_files() if p.suffix in SUFFIXES or p.name in NAMES]
    assert len(sources) > 20
    missing = [
        str(path.relative_to(ROOT))
        for path in sources
        if LINE not in "".join(path.read_text(encoding="utf-8").splitlines(True)[:3])
    ]
    assert missing == []


def test_the_licence_text_is_there():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0" in text
