# SPDX-License-Identifier: Apache-2.0
"""One process that fuzzes one decoder; started by the scenario `fuzz`, which survives its crash.

    python -m tests.faults.fuzz_child TARGET --cases N --seed S --folder DIR --engine own|atheris

`DIR/state.bin` holds what is known at any moment: the counters, and the input in hand, so that the
one that killed the process is found there. Faults that were survived lie in `DIR/finds`.
"""

import argparse
import hashlib
import mmap
import os
import resource
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from imkd_core.errors import ImkdError
from tests.faults.fuzz_mutation import MAX_BYTES
from tests.faults.fuzz_target import Target

#: Counters of the state file, in order.
COUNTERS = (
    "cases",
    "taken",
    "refused",
    "foreign",
    "unsound",
    "slow",
    "rss_begin_kb",
    "rss_end_kb",
    "rss_peak_kb",
    "is_done",
    "in_hand",
)
_STATE = struct.Struct(f"<{len(COUNTERS)}q")
STATE_FILE, FINDS = "state.bin", "finds"

#: Longer on the processor is a hang, seconds.
SLOW_S = 1.0

#: Cases before memory counts: caches and lazy imports are filled.
_WARM_SHARE = 0.1

#: Address space beyond what the process has when it begins; what asks for more gets none.
_MORE_BYTES = 6 << 30

#: Modules whose lines guide libFuzzer; all others are imported as they are, for time's sake.
GUIDES = (
    "imkd_core.calibration",
    "imkd_core.data.bags.recording",
    "imkd_core.data.nuscenes",
    "imkd_core.data.point_clouds",
    "imkd_core.data.vod",
    "imkd_core.encoded_image",
    "imkd_core.geometry",
    "imkd_core.mapping",
    "imkd_core.runtime.bundle",
    "imkd_ros.bridge.calibration",
    "imkd_ros.bridge.convert",
    "imkd_ros.bridge.ground_truth",
    "imkd_ros.bridge.motion",
    "imkd_ros.bridge.parameter_file",
    "imkd_ros.bridge.point_cloud2",
    "imkd_ros.bridge.sensors",
)

#: Finds that are kept of one kind.
_MOST_FINDS = 20


class Recorder:
    """Runs cases and counts what came of them."""

    def __init__(self, attempt: Callable[[bytes], str], folder: Path, cases: int) -> None:
        self._attempt = attempt
        self._finds = folder / FINDS
        self._finds.mkdir(exist_ok=True)
        self._cases = cases
        self._warm = max(1, int(cases * _WARM_SHARE))
        self._seen: set[str] = set()
        self.counts = dict.fromkeys(COUNTERS, 0)
        path = folder / STATE_FILE
        path.write_bytes(bytes(_STATE.size + MAX_BYTES))
        with path.open("r+b") as stream:
            self._state = mmap.mmap(stream.fileno(), 0)

    def run(self, data: bytes) -> None:
        """Try one input; nothing is raised for what the decoder does."""
        counts = self.counts
        counts["cases"] += 1
        self._hold(data)
        begin_s = time.process_time()
        try:
            wrong = self._attempt(data)
        except ImkdError:
            counts["refused"] += 1
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            counts["foreign"] += 1
            self._keep(data, "foreign", traceback.format_exception(error))
        else:
            counts["unsound" if wrong else "taken"] += 1
            if wrong:
                self._keep(data, "unsound", [wrong])
        if time.process_time() - begin_s > SLOW_S:
            counts["slow"] += 1
            self._keep(data, "slow", [f"{time.process_time() - begin_s:.2f} s"])
        if counts["cases"] == self._warm:
            counts["rss_begin_kb"] = _rss_kb("VmRSS")
            _forget_peak()
        self._write()

    def finish(self) -> None:
        """Note that all cases were tried, and how much memory they took."""
        self.counts["rss_end_kb"] = _rss_kb("VmRSS")
        self.counts["rss_peak_kb"] = _rss_kb("VmHWM")
        self.counts["is_done"] = 1
        self._write()

    @property
    def is_over(self) -> bool:
        """Whether all cases were tried."""
        return self.counts["cases"] >= self._cases

    def _hold(self, data: bytes) -> None:
        held = data[:MAX_BYTES]
        self.counts["in_hand"] = len(held)
        self._state[_STATE.size : _STATE.size + len(held)] = held
        self._write()

    def _write(self) -> None:
        _STATE.pack_into(self._state, 0, *self.counts.values())

    def _keep(self, data: bytes, kind: str, lines: list[str]) -> None:
        """Keep an input and what it did, once for each place in the code."""
        place = [line for line in lines if "File " in line][-1:] or [lines[-1].split(" ")[0]]
        if place[0] in self._seen or len(self._seen) >= _MOST_FINDS:
            return
        self._seen.add(place[0])
        name = f"{kind}-{hashlib.sha256(data).hexdigest()[:12]}"
        (self._finds / f"{name}.bin").write_bytes(data)
        (self._finds / f"{name}.txt").write_text("".join(lines), encoding="utf-8")


def read_state(folder: Path) -> tuple[dict[str, int], bytes]:
    """Return the counters of a child, and the input that it had in hand."""
    try:
        raw = (folder / STATE_FILE).read_bytes()
        counts = dict(zip(COUNTERS, _STATE.unpack_from(raw), strict=True))
    except (OSError, struct.error):
        return dict.fromkeys(COUNTERS, 0), b""
    return counts, raw[_STATE.size : _STATE.size + counts["in_hand"]]


def mutate_forever(target: Target, recorder: Recorder, seed: int) -> None:
    """Break seeds by chance until all cases were tried; the same seed tries the same inputs."""
    rng, seeds = Random(seed), target.seeds()
    for data in seeds:
        recorder.run(data)
    while not recorder.is_over:
        recorder.run(target.mutate(rng.choice(seeds), rng)[:MAX_BYTES])
    recorder.finish()


def fuzz_with_atheris(
    atheris: Any, target: Target, recorder: Recorder, seed: int, folder: Path
) -> None:
    """Have libFuzzer choose among the inputs by the lines of our code that they reach."""
    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    seeds = target.seeds()
    for number, data in enumerate(seeds):
        (corpus / f"{number}").write_bytes(data)

    def one(data: bytes) -> None:
        recorder.run(data)
        if recorder.is_over:
            recorder.finish()
            os._exit(0)  # libFuzzer's own end would wait for its count

    def mutate(data: bytes, max_size: int, chance: int) -> bytes:
        rng = Random(chance)  # half of the inputs are near whole ones, not broken ever further
        return target.mutate(data if rng.random() < 0.5 else rng.choice(seeds), rng)[:max_size]

    options = ["-runs=-1", f"-seed={seed + 1}", f"-max_len={MAX_BYTES}", "-rss_limit_mb=0"]
    options += [
        "-detect_leaks=0",
        "-timeout=100000",
        "-verbosity=0",
        "-handle_segv=0",
        "-len_control=0",
    ]
    options += [f"-artifact_prefix={folder}/", str(corpus)]
    atheris.Setup([sys.argv[0], *options], one, custom_mutator=mutate)
    atheris.Fuzz()


def import_atheris() -> Any:
    """Return atheris, or None where it is not installed."""
    with suppress(ImportError):
        import atheris

        return atheris
    return None


def main(arguments: Sequence[str] | None = None) -> None:
    """Fuzz one target to the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--cases", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--engine", choices=("own", "atheris"), default="own")
    options = parser.parse_args(arguments)
    atheris = import_atheris() if options.engine == "atheris" else None
    target = _target(options.target, atheris)
    warnings.simplefilter("error", RuntimeWarning)  # NumPy's way to say NaN and overflow
    inner = options.folder / "files"
    inner.mkdir(parents=True, exist_ok=True)
    attempt = target.open(inner)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MORE_BYTES, used + _MORE_BYTES))
    recorder = Recorder(attempt, options.folder, options.cases)
    if atheris is None:
        mutate_forever(target, recorder, options.seed)
    else:
        fuzz_with_atheris(atheris, target, recorder, options.seed, options.folder)


def _target(name: str, atheris: Any) -> Target:
    """Return a target; its modules are instrumented where atheris is to see their lines."""
    if atheris is None:
        from tests.faults.fuzz_targets import TARGETS
    else:
        with atheris.instrument_imports(include=list(GUIDES)):
            from tests.faults.fuzz_targets import TARGETS
    return next(target for target in TARGETS if target.name == name)


def _rss_kb(field: str) -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{field}:")[1].split()[0])


def _forget_peak() -> None:
    """Begin the peak of memory anew, where the kernel allows it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    sys.stderr.flush()
    main()
