# SPDX-License-Identifier: Apache-2.0
"""The detector: one frame in, its objects out."""

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imkd_core.errors import ImkdError
from imkd_core.geometry import Float64
from imkd_core.postprocess import Thresholds, decode_boxes
from imkd_core.preprocess import Arrays, effective_cameras, prepare_inputs
from imkd_core.runtime.backends import Backend
from imkd_core.runtime.bundle import Bundle
from imkd_core.runtime.memory import RESET_FAILED, FusedMemory, MemoryFacts
from imkd_core.runtime.view_cache import ViewCache
from imkd_core.types import CameraModel, Detections, Frame, SensorRig
from imkd_core.view_lut import ViewGeometry


@dataclass(frozen=True, eq=False, kw_only=True)
class Prepared:
    """A frame as the network takes it, made by `Detector.prepare` for one `Detector.answer`.

    Attributes:
        stamp_ns: reference time of the frame.
        odom_from_ego: (4, 4) pose at that time; None where it is not known.
        inputs: the network's, but for what is remembered.
        thresholds: what is reported of it.
        preprocess_ms: that it took.
        resets: of the memory before it: one that was reset since neither helps it nor keeps it.
    """

    stamp_ns: int
    odom_from_ego: Float64 | None
    inputs: Arrays
    thresholds: Thresholds
    preprocess_ms: float
    resets: int


class Detector:
    """Runs a bundle on frames of one rig.

    `detect` is `prepare` and `answer`. The two may run in two threads, so that a frame is prepared
    while the network looks at the one before. `set_rig`, `thresholds` and `reset_memory` may be
    used from any thread; they hold from the next frame on.

    A model with a memory remembers the frames that it was given, so they are to come in the order
    of time, each with its `odom_from_ego`; see `runtime.memory`.

    Args:
        bundle: facts of the model.
        backend: runs its network; stays the caller's to close.
        rig: calibration of the sensors; any number of cameras that the network takes, and none
            where radars alone have to do.
        thresholds: what is reported; the bundle's defaults when None.
        remembers: False has a model with a memory answer every frame by itself.

    Raises:
        ConfigError: a threshold names a class that the model does not know.
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        rig: SensorRig,
        thresholds: Thresholds | None = None,
        *,
        remembers: bool = True,
    ) -> None:
        self._bundle = bundle
        self._backend = backend
        self._rig = rig
        self._views = ViewCache(bundle.inputs)
        self._stand_in = _stand_in(bundle.inputs.image_width_px, bundle.inputs.image_height_px)
        self._free: list[NDArray[np.uint8]] = []
        self._resets = 0
        self._memory = FusedMemory(bundle.inputs.memory, bundle.inputs.bev, remembers)
        self.thresholds = thresholds or bundle.thresholds

    @property
    def thresholds(self) -> Thresholds:
        """What is reported."""
        return self._thresholds

    @thresholds.setter
    def thresholds(self, thresholds: Thresholds) -> None:
        thresholds.check_classes(self._bundle.head.class_names)
        self._thresholds = thresholds

    @property
    def rig(self) -> SensorRig:
        """Calibration that the next frame uses."""
        return self._rig

    @property
    def geometry_builds(self) -> int:
        """How often the look-up table was put together."""
        return self._views.tables

    @property
    def memory(self) -> MemoryFacts:
        """What the detector remembers now."""
        return self._memory.facts

    def reset_memory(self, why: str) -> None:
        """Forget earlier frames; one that is prepared or being answered is not remembered either.

        Args:
            why: a few words for the diagnostics.
        """
        self._resets += 1
        self._memory.reset(why)

    @property
    def resets(self) -> int:
        """How often the memory was reset from outside; for `prepare`."""
        return self._resets

    def set_rig(self, rig: SensorRig) -> None:
        """Use another calibration from the next frame on; an equal one changes nothing."""
        if not rig.same_as(self._rig):
            self._rig = rig

    def detect(self, frame: Frame, memory: FusedMemory | None = None) -> Detections:
        """Find objects in one frame; boxes are in the ego frame of its reference time.

        Sensors of the rig that the frame lacks are masked. `stage_ms` of the result has the
        stages preprocess, inference and decode. A frame that cannot be answered by the network
        empties the memory.

        Args:
            frame: what the sensors saw.
            memory: used instead of the detector's own, by a caller with several sequences.

        Raises:
            SensorError: the frame holds a sensor that the rig does not know, or an image that
                does not fit its calibration.
            BackendError: the network does not take this rig, or returned nonsense.
        """
        return self.answer(self.prepare(frame), memory)

    def prepare(self, frame: Frame, resets: int | None = None) -> Prepared:
        """Make the network's inputs of a frame; see `detect`.

        Args:
            frame: what the sensors saw.
            resets: as they were when the frame came, if it waited since; as they are when None.

        Raises:
            SensorError: the frame holds a sensor that the rig does not know, or an image that
                does not fit its calibration.
        """
        rig, thresholds = self._rig, self._thresholds
        rig = rig if rig.cameras else self._blind(rig)
        begin_ns = time.perf_counter_ns()
        resets = self._resets if resets is None else resets
        geometry = self._geometry(frame, rig)
        images = self._image_buffer(len(rig.cameras))
        try:
            inputs = prepare_inputs(frame, rig, self._bundle.inputs, geometry, images)
        except ImkdError:
            self._free.append(images)
            raise
        return Prepared(
            stamp_ns=frame.stamp_ns,
            odom_from_ego=frame.odom_from_ego,
            inputs=inputs,
            thresholds=thresholds,
            preprocess_ms=(time.perf_counter_ns() - begin_ns) * 1e-6,
            resets=resets,
        )

    def release(self, prepared: Prepared) -> None:
        """Give back what a frame that is not going to be answered was prepared in."""
        self._free.append(prepared.inputs["images"])  # type: ignore[arg-type]

    def answer(self, prepared: Prepared, memory: FusedMemory | None = None) -> Detections:
        """Find objects in a frame that was prepared; see `detect`.

        Args:
            prepared: by this detector, and neither answered nor released yet: its images are
                written over after.
            memory: used instead of the detector's own, by a caller with several sequences.

        Raises:
            BackendError: the network does not take this rig, or returned nonsense.
        """
        memory = self._memory_of(prepared) if memory is None else memory
        ticks_ns = [time.perf_counter_ns()]
        recalled = memory.recall(prepared.stamp_ns, prepared.odom_from_ego)
        ticks_ns.append(time.perf_counter_ns())
        try:
            outputs = self._backend.run({**prepared.inputs, **recalled})
            ticks_ns.append(time.perf_counter_ns())
            head = self._bundle.head
            detections = decode_boxes(outputs, head, prepared.stamp_ns, prepared.thresholds)
        except ImkdError:
            memory.reset(RESET_FAILED)
            raise
        finally:
            self.release(prepared)
        if self._bundle.inputs.memory.frames:
            memory.keep(prepared.stamp_ns, prepared.odom_from_ego, outputs["memory"])
        ticks_ns.append(time.perf_counter_ns())
        recall_ms, inference_ms, decode_ms = (np.diff(ticks_ns) * 1e-6).tolist()
        stage_ms = {
            "preprocess": prepared.preprocess_ms + recall_ms,
            "inference": inference_ms,
            "decode": decode_ms,
        }
        return replace(detections, stage_ms=stage_ms)

    def _memory_of(self, prepared: Prepared) -> FusedMemory:
        """Return the memory; one that holds and keeps nothing for a frame from before a reset."""
        if prepared.resets == self._resets:
            return self._memory
        return FusedMemory(self._bundle.inputs.memory, self._bundle.inputs.bev, is_on=False)

    def _geometry(self, frame: Frame, rig: SensorRig) -> ViewGeometry:
        """Return the look-up table; what moved or is calibrated anew is rebuilt."""
        is_live = [name in frame.cameras for name in rig.cameras]
        return self._views.geometry(effective_cameras(frame, rig), is_live)

    def _blind(self, rig: SensorRig) -> SensorRig:
        """Return the radars beside a camera that is masked: a network takes no fewer than one."""
        return SensorRig(cameras={"": self._stand_in}, radars=rig.radars)

    def _image_buffer(self, cameras: int) -> NDArray[np.uint8]:
        """Return an array for a frame's images: one that the network is done with, or a new one."""
        while self._free:
            images = self._free.pop()
            if len(images) == cameras:
                return images
        spec = self._bundle.inputs
        return np.empty((cameras, 3, spec.image_height_px, spec.image_width_px), np.uint8)


def _stand_in(width_px: int, height_px: int) -> CameraModel:
    """Return a camera that looks ahead from the vehicle's roof; nothing of it counts, masked."""
    focal_px = float(width_px)
    pose = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]], np.float64)
    lens = np.array([[focal_px, 0, width_px / 2], [0, focal_px, height_px / 2], [0, 0, 1]])
    return CameraModel(
        width_px=width_px, height_px=height_px, pixel_from_cam=lens, ego_from_cam=pose
    )
