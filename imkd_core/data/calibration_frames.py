# SPDX-License-Identifier: Apache-2.0
"""What a model is given on recorded drives: the arrays that the vehicle's own code makes of frames.

Frames go through the `Detector` itself, so that a model with a memory of earlier frames gets its
history as on the road: the key frames before a chosen one are run as well, and not kept.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imkd_core.data.samples import Sample
from imkd_core.errors import DataError
from imkd_core.runtime.backends import Backend
from imkd_core.runtime.bundle import Bundle
from imkd_core.runtime.detector import Detector

Inputs = dict[str, NDArray[Any]]


class RecordingBackend:
    """Runs another backend and keeps copies of what it was given."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.name = backend.name
        self.substitution = ""
        self.given: list[Inputs] = []
        self.is_recording = True

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """Return the outputs by name; the inputs are kept while `is_recording`."""
        if self.is_recording:
            self.given.append({name: np.array(value) for name, value in inputs.items()})
        return self._backend.run(inputs)

    def close(self) -> None:
        """Close the backend behind it."""
        self._backend.close()


def calibration_inputs(
    samples: Sequence[Sample],
    count: int,
    bundle: Bundle,
    backend: Backend,
    on_frame: Callable[[int, int], None] | None = None,
) -> list[Inputs]:
    """Return the network inputs of key frames that are spread evenly over a data set.

    Args:
        samples: the data set's, scene by scene in order of time.
        count: key frames that are wanted; all where there are fewer.
        bundle: says what the model takes.
        backend: runs the bundle's float32 file; a memory is fed with its answers.
        on_frame: is told how many frames are done, and of how many.

    Raises:
        DataError: there is no sample, or a file is missing or malformed.
        SensorError, BackendError: a frame does not fit the model.
    """
    if not samples:
        raise DataError("there is no key frame to calibrate on; name a folder with drives")
    chosen = spread(len(samples), count)
    plan = with_warm_up(samples, chosen, _warm_up_frames(bundle))
    wanted, spec = set(chosen), bundle.inputs
    recorder = RecordingBackend(backend)
    detector: Detector | None = None
    for done, index in enumerate(plan, 1):
        sample = samples[index]
        detector = detector or Detector(bundle, recorder, sample.rig)
        detector.set_rig(sample.rig)
        recorder.is_recording = index in wanted
        detector.detect(sample.frame(spec.radar_sweeps, spec.image_width_px))
        if on_frame is not None:
            on_frame(done, len(plan))
    return recorder.given


def spread(total: int, count: int) -> list[int]:
    """Return up to `count` ascending indices below `total`, evenly apart and off both ends."""
    count = min(total, count)
    return [int((step + 0.5) * total / count) for step in range(count)]


def with_warm_up(samples: Sequence[Sample], chosen: Sequence[int], frames: int) -> list[int]:
    """Return chosen indices and those of up to `frames` samples before each, in the same scene."""
    plan = set(chosen)
    for index in chosen:
        before = range(max(0, index - frames), index)
        plan |= {other for other in before if samples[other].scene == samples[index].scene}
    return sorted(plan)


def _warm_up_frames(bundle: Bundle) -> int:
    """Return the key frames (half a second apart) that fill a model's memory."""
    memory = bundle.inputs.memory
    if memory.kind == "recurrent":
        return math.ceil(2 * memory.max_gap_s)
    return math.ceil(2 * memory.frames * memory.interval_s)
