# SPDX-License-Identifier: Apache-2.0
"""What was found out about an image before its frame came; forgotten together with the image.

Cameras fire one after the other, so most of a frame's images are there long before the frame is
whole. What needs nothing but the image is done as it comes (`SensorHealth.look_ahead`), in whatever
thread has time, and found here when the frame comes. It is a matter of time alone: what is not
found is computed then, by the same function.
"""

import threading
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from imkd_core.types import CameraImage

Fact = TypeVar("Fact")


class Ahead(Generic[Fact]):
    """Facts of images that somebody holds; for several threads at once."""

    def __init__(self) -> None:
        self._facts: WeakKeyDictionary[CameraImage, Fact] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def note(self, image: CameraImage, fact: Fact) -> None:
        """Keep a fact for as long as anybody else holds the image."""
        with self._lock:
            self._facts[image] = fact

    def find(self, image: CameraImage) -> Fact | None:
        """Return what was noted of this very image; None where nothing was."""
        with self._lock:
            return self._facts.get(image)

    def __len__(self) -> int:
        """How many images are known."""
        with self._lock:
            return len(self._facts)
