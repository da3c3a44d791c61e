# SPDX-License-Identifier: Apache-2.0
"""Images that were let in by their headers, and the threads that decode them. No ROS in here.

    pool = DecodePool(threads=1, look_ahead=watch.look_ahead)
    image = PendingImage("CAM_FRONT", stamp_ns, decode, on_refusal)
    pool.submit(image)          # decoded while the frame before is inferred
    ...
    frame = pending_frame.finish()      # waits, and decodes what nobody has begun

The pool holds images weakly: one that was dropped everywhere else (its frame was replaced by a
newer one, the synchroniser refused it, its camera is not calibrated) is never decoded. Pixels
depend on the bytes alone, so frames are the same with any number of threads.
"""

import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from imkd_core.errors import ImkdError, SensorError
from imkd_core.geometry import Float64
from imkd_core.types import CameraImage, Frame, RadarCloud, check_stamp

Pixels = NDArray[np.uint8]


class PendingImage:
    """One image whose stamp counts already and whose pixels come when they are needed.

    Args:
        sensor: name of the camera.
        stamp_ns: time of exposure.
        decode: returns the (H, W, 3) uint8 RGB pixels, or raises an `ImkdError`; called once, by
            whichever thread comes first, and forgotten (with the message's bytes) afterwards.
        on_refusal: called in that thread with the text of the `ImkdError`.

    Raises:
        SensorError: an impossible stamp.
    """

    __slots__ = (
        "__weakref__",
        "_decode",
        "_lock",
        "_on_refusal",
        "_result",
        "sensor",
        "stamp_ns",
    )

    def __init__(
        self,
        sensor: str,
        stamp_ns: int,
        decode: Callable[[], Pixels],
        on_refusal: Callable[[str], None] | None = None,
    ) -> None:
        check_stamp(sensor, stamp_ns)
        self.sensor = sensor
        self.stamp_ns = stamp_ns
        self._decode: Callable[[], Pixels] | None = decode
        self._on_refusal = on_refusal
        self._lock = threading.Lock()
        self._result: CameraImage | str | BaseException | None = None

    @property
    def is_settled(self) -> bool:
        """Whether it was decoded or refused; true only once that is over."""
        return not self._lock.locked() and self._decode is None

    def settle(self, *, wait: bool, then: Callable[[CameraImage], None] | None = None) -> None:
        """Decode the image here, unless that was done.

        Args:
            wait: for another thread that is about it; else return at once then.
            then: called with the image if it was decoded here; whoever waits for it waits for
                that as well.
        """
        if not self._lock.acquire(blocking=wait):
            return
        try:
            decode, self._decode = self._decode, None
            if decode is not None:
                self._run(decode, then)
        finally:
            self._lock.release()

    def image(self) -> CameraImage:
        """Return the image, decoded here if need be.

        Raises:
            SensorError: its data are corrupt.
            BaseException: whatever else `decode` or `then` raised in any thread: a bug.
        """
        self.settle(wait=True)
        if isinstance(self._result, CameraImage):
            return self._result
        if isinstance(self._result, str):
            raise SensorError(self._result)
        raise self._result or RuntimeError("an image that was settled is decoded or refused")

    def _run(
        self, decode: Callable[[], Pixels], then: Callable[[CameraImage], None] | None
    ) -> None:
        try:
            pixels = decode()
            image = CameraImage(sensor=self.sensor, stamp_ns=self.stamp_ns, pixels=pixels)
            if then is not None:
                then(image)
            self._result = image
        except ImkdError as error:
            # not the error, whose traceback holds this image and, raised again, its whole frame
            self._result = str(error)
            if self._on_refusal is not None:
                self._on_refusal(self._result)
        except BaseException as error:  # noqa: BLE001 - kept for `image`, which raises it
            self._result = error


@dataclass(frozen=True, kw_only=True, eq=False)
class PendingFrame:
    """A frame whose images may not be decoded yet; its stamps, radars and motion are final.

    Attributes:
        stamp_ns: the reference time.
        cameras: name -> image.
        radars: name -> scans, newest first.
        reference_from_ego, odom_from_ego: see `imkd_core.types.Frame`.
        missing: sensor -> why it is not in the frame.
    """

    stamp_ns: int
    cameras: Mapping[str, PendingImage]
    radars: Mapping[str, tuple[RadarCloud, ...]]
    reference_from_ego: Mapping[int, Float64]
    odom_from_ego: Float64 | None = None
    missing: Mapping[str, str] = field(default_factory=dict)

    def motion_at(self, stamp_ns: int) -> Float64:
        """Return `reference_from_ego` of a reading's stamp; identity where it is unknown."""
        return self.reference_from_ego.get(stamp_ns, np.eye(4))

    def finish(self) -> Frame | None:
        """Return the frame with its images, decoding here what no other thread is about.

        A camera whose image turns out to be corrupt is not in it, like one that sent nothing.
        None when nothing is left then.
        """
        for image in self.cameras.values():
            image.settle(wait=False)
        found = {name: _image_or_none(image) for name, image in self.cameras.items()}
        cameras = {name: image for name, image in found.items() if image is not None}
        if not cameras and not self.radars:
            return None
        return Frame(
            stamp_ns=self.stamp_ns,
            cameras=cameras,
            radars=self.radars,
            reference_from_ego=self.reference_from_ego,
            odom_from_ego=self.odom_from_ego,
        )


def _image_or_none(image: PendingImage) -> CameraImage | None:
    """Return an image; None for a corrupt one, which `on_refusal` counted and told."""
    try:
        return image.image()
    except ImkdError:
        return None


class DecodePool:
    """Threads that settle images in the order in which they came.

    Args:
        threads: how many; 0 = none: whoever needs an image decodes it.
        look_ahead: called in them with each image that they decoded.

    The threads start with the first image and end with `close`.
    """

    def __init__(
        self, threads: int, look_ahead: Callable[[CameraImage], None] | None = None
    ) -> None:
        self._size = threads
        self._look_ahead = look_ahead
        self._condition = threading.Condition()
        self._waiting: deque[weakref.ref[PendingImage]] = deque()
        self._threads: list[threading.Thread] = []
        self._is_closed = False

    def submit(self, image: PendingImage) -> None:
        """Have an image decoded as soon as a thread is free, if anybody holds it by then."""
        if not self._size or image.is_settled:
            return
        with self._condition:
            if self._is_closed:
                return
            self._waiting.append(weakref.ref(image))
            self._condition.notify()
            if not self._threads:
                self._start()

    def close(self) -> None:
        """Leave what waits, let images in hand finish, and join the threads."""
        with self._condition:
            self._is_closed = True
            self._waiting.clear()
            self._condition.notify_all()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _start(self) -> None:
        for number in range(self._size):
            name = f"imkd_decode_{number}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self) -> None:
        while self._settle_next():
            pass

    def _settle_next(self) -> bool:
        """Settle one image; false at the end. Keeps no image while it waits for the next."""
        image = self._take()
        if image is None:
            return False
        image.settle(wait=False, then=self._look_ahead)
        return True

    def _take(self) -> PendingImage | None:
        with self._condition:
            while not self._is_closed:
                while self._waiting:
                    image = self._waiting.popleft()()
                    if image is not None:
                        return image
                self._condition.wait()
        return None
