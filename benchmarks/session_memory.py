# SPDX-License-Identifier: Apache-2.0
"""Most memory that a process needs which runs a bundle's file and holds nothing else; no torch.

    python -m benchmarks.session_memory BUNDLE ROLE INPUTS.npz

Prints megabytes (resident, the peak) after loading and three runs. `benchmarks.inference` calls it.
"""

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import ROOT
from benchmarks.machine import memory_peak_mb
from imkd_core.errors import BackendError
from imkd_core.runtime.backends import BackendSettings, open_backend
from imkd_core.runtime.bundle import load_bundle
from imkd_core.runtime.providers import CPU_PROVIDER

RUNS = 3
TIMEOUT_S = 120


def measure_memory_mb(bundle: Path, role: str, arrays: Mapping[str, Any]) -> float:
    """Return the peak of a process of its own, MB.

    Raises:
        BackendError: the process failed; the message is its last line.
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        np.savez(inputs, **dict(arrays))
        command = [
            sys.executable,
            "-m",
            "benchmarks.session_memory",
            str(bundle),
            role,
            str(inputs),
        ]
        done = subprocess.run(  # our own module, with arguments of our own
            command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    if done.returncode:
        last = (done.stderr.strip() or "no word").splitlines()[-1]
        raise BackendError(f"running {bundle} ({role}) in a process of its own failed: {last}")
    return float(done.stdout)


def main() -> int:
    """Run, and print the peak."""
    bundle, role, inputs = sys.argv[1:]
    settings = BackendSettings(role=role, providers=(CPU_PROVIDER,))
    backend = open_backend(load_bundle(Path(bundle)), settings)
    with np.load(inputs) as stored:
        arrays = dict(stored)
    for _ in range(RUNS):
        backend.run(arrays)
    sys.stdout.write(f"{memory_peak_mb():.1f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
