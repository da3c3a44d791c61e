# SPDX-License-Identifier: Apache-2.0
"""The detector: one frame in, its objects out."""

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from imkd_core.errors import ImkdError
from imkd_core.postprocess import Thresholds, decode_boxes
from imkd_core.preprocess import effective_cameras, prepare_inputs
from imkd_core.runtime.backends import Backend
from imkd_core.runtime.bundle import Bundle
from imkd_core.runtime.memory import RESET_FAILED, FusedMemory, MemoryFacts
from imkd_core.runtime.view_cache import ViewCache
from imkd_core.types import CameraModel, Detections, Frame, SensorRig
from imkd_core.view_lut import ViewGeometry


class Detector:
    """Runs a bundle on frames of one rig.

    `set_rig`, `thresholds` and `reset_memory` may be used from another thread than `detect`; they
    hold from the next frame on.

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
        self._images: NDArray[np.uint8] | None = None
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
        """Forget earlier frames; a frame that is being answered is not remembered either.

        Args:
            why: a few words for the diagnostics.
        """
        self._memory.reset(why)

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
        rig, thresholds = self._rig, self._thresholds
        rig = rig if rig.cameras else self._blind(rig)
        memory = self._memory if memory is None else memory
        ticks_ns = [time.perf_counter_ns()]
        geometry = self._geometry(frame, rig)
        images = self._image_buffer(len(rig.cameras))
        inputs = prepare_inputs(frame, rig, self._bundle.inputs, geometry, images)
        inputs |= memory.recall(frame.stamp_ns, frame.odom_from_ego)
        ticks_ns.append(time.perf_counter_ns())
        try:
            outputs = self._backend.run(inputs)
            ticks_ns.append(time.perf_counter_ns())
            detections = decode_boxes(outputs, self._bundle.head, frame.stamp_ns, thresholds)
        except ImkdError:
            memory.reset(RESET_FAILED)
            raise
        if self._bundle.inputs.memory.frames:
            memory.keep(frame.stamp_ns, frame.odom_from_ego, outputs["memory"])
        ticks_ns.append(time.perf_counter_ns())
        spent_ms = (np.diff(ticks_ns) * 1e-6).tolist()
        stages = ("preprocess", "inference", "decode")
        return replace(detections, stage_ms=dict(zip(stages, spent_ms, strict=True)))

    def _geometry(self, frame: Frame, rig: SensorRig) -> ViewGeometry:
        """Return the look-up table; what moved or is calibrated anew is rebuilt."""
        is_live = [name in frame.cameras for name in rig.cameras]
        return self._views.geometry(effective_cameras(frame, rig), is_live)

    def _blind(self, rig: SensorRig) -> SensorRig:
        """Return the radars beside a camera that is masked: a network takes no fewer than one."""
        return SensorRig(cameras={"": self._stand_in}, radars=rig.radars)

    def _image_buffer(self, cameras: int) -> NDArray[np.uint8]:
        """Return the array that every frame's images are written to: `run` is done with it."""
        if self._images is None or len(self._images) != cameras:
            spec = self._bundle.inputs
            shape = (cameras, 3, spec.image_height_px, spec.image_width_px)
            self._images = np.empty(shape, np.uint8)
        return self._images


def _stand_in(width_px: int, height_px: int) -> CameraModel:
    """Return a camera that looks ahead from the vehicle's roof; nothing of it counts, masked."""
    focal_px = float(width_px)
    pose = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]], np.float64)
    lens = np.array([[focal_px, 0, width_px / 2], [0, focal_px, height_px / 2], [0, 0, 1]])
    return CameraModel(
        width_px=width_px, height_px=height_px, pixel_from_cam=lens, ego_from_cam=pose
    )
