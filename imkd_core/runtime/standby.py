# SPDX-License-Identifier: Apache-2.0
"""A backend with another that stands by: when the first fails, the second takes over, once.

It is the policy of "falls back to the CPU": at once when the first cannot be opened, and from the
very frame on whose run fails. There is no way back but to open the model again, so that a GPU
that comes and goes does not make the node flicker.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imkd_core.errors import BackendError, BundleError, DeviceError

if TYPE_CHECKING:
    from imkd_core.runtime.backends import Backend


class StandbyBackend:
    """Runs the first backend until it fails, and the second from then on.

    Args:
        open_first: opens what is wanted.
        open_second: opens what takes over; called when it is needed, so that it costs nothing
            before.
        words: "TensorRT cannot run, ONNX Runtime takes over", for reports.
        report: is told when the second takes over, and why.

    Raises:
        BundleError, BackendError: neither can be opened.
    """

    def __init__(
        self,
        open_first: "Callable[[], Backend]",
        open_second: "Callable[[], Backend]",
        words: str,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self._open_second: Callable[[], Backend] | None = open_second
        self._words = words
        self._report = report
        self._reason = ""
        self._active: Backend | None = None
        try:
            self._active = open_first()
        except (BackendError, BundleError) as error:
            self._take_over(error)

    @property
    def name(self) -> str:
        """What runs the model now."""
        return "closed" if self._active is None else self._active.name

    @property
    def substitution(self) -> str:
        """Why another backend runs the model than was asked for; empty = none does."""
        inner = "" if self._active is None else self._active.substitution
        return "; ".join(filter(None, (self._reason, inner)))

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """Return the outputs by name; the second backend answers what the first fails at.

        Raises:
            BackendError: the backend is closed, an input does not fit, an output is not finite,
                or the backend that took over failed as well.
        """
        if self._active is None:
            raise BackendError("the backend is closed")
        try:
            return self._active.run(inputs)
        except DeviceError as error:
            if self._open_second is None:
                raise
            self._take_over(error)
        return self._active.run(inputs)

    def close(self) -> None:
        """Give back memory and threads; a closed backend refuses to run."""
        active, self._active, self._open_second = self._active, None, None
        if active is not None:
            active.close()

    def _take_over(self, error: BackendError | BundleError) -> None:
        """Open the second, then give the first back; where that fails the first stays."""
        if self._open_second is None:
            raise error
        try:
            second = self._open_second()
        except (BackendError, BundleError) as other:
            raise type(error)(f"{error}; and nothing can take over: {other}") from None
        first, self._active, self._open_second = self._active, second, None
        if first is not None:
            with suppress(BackendError):  # it has failed already
                first.close()
        self._reason = f"{self._words}: {error}"
        if self._report is not None:  # last of all: it is what the operator has to know
            self._report(self._reason)
