# SPDX-License-Identifier: Apache-2.0
"""Says every few seconds how a build proceeds; TensorRT may be silent for minutes."""

import threading
import time
from collections.abc import Callable
from typing import Any

#: Longest silence, seconds; people are promised 5.
PERIOD_S = 4.0


class Progress:
    """Reports what is under way, at once when it begins and then every few seconds.

    A context manager: a thread of its own reports while it is open.

    Args:
        what: is being done.
        report: takes one line; called from another thread too.
        period_s: longest silence.
    """

    def __init__(
        self, what: str, report: Callable[[str], None] | None, period_s: float = PERIOD_S
    ) -> None:
        self._what = what
        self._report = report
        self._period_s = period_s
        self._note = ""
        self._start_s = time.monotonic()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="imkd_progress", daemon=True)

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._start_s

    def note(self, text: str) -> None:
        """Set what the next line says; cheap, callable from any thread."""
        self._note = text

    def __enter__(self) -> "Progress":
        """Report the start."""
        self._say()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop reporting."""
        self._is_over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._is_over.wait(self._period_s):
            self._say()

    def _say(self) -> None:
        if self._report is not None:
            note = f": {self._note}" if self._note else ""
            self._report(f"{self._what}{note} ({self.seconds:.0f} s)")


def progress_monitor(tensorrt: Any, progress: Progress) -> Any:
    """Return TensorRT's IProgressMonitor that tells `progress` of phases and steps.

    An exception must not pass through TensorRT: Ctrl-C stops the build, and `is_interrupted` tells.
    """

    class Monitor(tensorrt.IProgressMonitor):  # type: ignore[misc]
        """Notes the innermost phase and its step."""

        def __init__(self) -> None:
            super().__init__()
            self.is_interrupted = False
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            """Note a phase."""
            del parent_phase
            self._steps[phase_name] = num_steps
            self._note(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            """Note a step; False stops the build."""
            self._note(f"{phase_name}, {step + 1} of {self._steps.get(phase_name, 0)}")
            return not self.is_interrupted

        def phase_finish(self, phase_name: str) -> None:
            """Forget a phase."""
            self._steps.pop(phase_name, None)

        def _note(self, text: str) -> None:
            try:
                progress.note(text)
            except KeyboardInterrupt:
                self.is_interrupted = True

    return Monitor()
