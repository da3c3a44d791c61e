# SPDX-License-Identifier: Apache-2.0
"""Whether time went back, or a sensor's stamps alone: the others are asked.

A reading that is far older than it can be is held. Where more than half of the sensors that send
give such readings, time went back (a bag that starts again), and those that were held are the
first of the new time. Where half of them go on as before, the stamps of the others are wrong.
"""

from collections.abc import Collection
from typing import NamedTuple

from imkd_core.runtime.slots import Entry


class Held(NamedTuple):
    """A reading whose stamp went back, of a sensor."""

    sensor: str
    entry: Entry


class JumpVote:
    """Holds readings whose stamps went back until it is known why; a reading is one step.

    Args:
        capacity: readings held of a sensor.
        patience_ns: sensors of which nothing more came for so long after the first was held have
            no say; the stamps were wrong then.
    """

    def __init__(self, capacity: int, patience_ns: int) -> None:
        self._capacity = capacity
        self._patience_ns = patience_ns
        self._held: list[Held] = []
        self._back: set[str] = set()
        self._on: set[str] = set()

    def __len__(self) -> int:
        """Return the number of readings that are held."""
        return len(self._held)

    def doubt(self, sensor: str, entry: Entry) -> list[Held]:
        """Hold a reading whose stamp went back; return what is too much of its sensor."""
        self._on.discard(sensor)
        self._back.add(sensor)
        own = [held for held in self._held if held.sensor == sensor]
        surplus = own[:1] if len(own) >= self._capacity else []
        self._held = [held for held in self._held if held not in surplus]
        self._held.append(Held(sensor, entry))
        return surplus

    def trust(self, sensor: str) -> None:
        """Take note that a sensor's stamps go on."""
        if self._held:
            self._back.discard(sensor)
            self._on.add(sensor)

    def is_fresh(self, now_ns: int) -> bool:
        """Return whether a reading that is held came lately: there is no pause then.

        Args:
            now_ns: time now, on the clock of the arrivals.
        """
        return any(now_ns - held.entry.arrival_ns <= self._patience_ns for held in self._held[-1:])

    def has_jumped(self, alive: Collection[str]) -> bool:
        """Return whether time went back.

        Args:
            alive: sensors that send; those that were asked are among them in any case.
        """
        return 2 * len(self._back) > self._count(alive)

    def is_refuted(self, alive: Collection[str], now_ns: int) -> bool:
        """Return whether time goes on, so that what is held is wrong.

        Args:
            alive: sensors that send.
            now_ns: time now, on the clock of the arrivals.
        """
        if not self._held:
            return False
        is_over = now_ns - self._held[0].entry.arrival_ns > self._patience_ns
        return is_over or 2 * len(self._on) >= self._count(alive)

    def take(self) -> list[Held]:
        """Return what is held, in the order in which it came, and begin anew."""
        held, self._held = self._held, []
        self._back.clear()
        self._on.clear()
        return held

    def _count(self, alive: Collection[str]) -> int:
        return len(self._back.union(self._on, alive))
