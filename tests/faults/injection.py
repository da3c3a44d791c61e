# SPDX-License-Identifier: Apache-2.0
"""Faults of sensors, put into the messages of a bag while it is played; pure, no ROS.

A fault names sensors as the sensor file does (`CAM_FRONT`, `RADAR_BACK_LEFT`), or `TF` and
`TF_STATIC`, and lasts from `begin_s` to `end_s`, seconds of play. The log time of a message is when
it is sent: a late message keeps its header's stamp and gets another log time.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from benchmarks.sensor_faults import Pixels, faulty_picture
from imkd_core.data.bags.messages import serialize, typestore
from imkd_core.data.bags.recording import BagMessage
from imkd_core.errors import ConfigError

#: A duplicate follows its original after this.
_DUPLICATE_NS = 5_000_000

Sent = tuple[BagMessage, ...]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault.

    Attributes:
        kind: a key of `KINDS`.
        sensors: names of the sensors that it befalls.
        begin_s, end_s: seconds of play.
        amount: how much, in the kind's unit.

    Raises:
        ConfigError: no such kind, no sensor, or it ends before it begins.
    """

    kind: str
    sensors: tuple[str, ...]
    begin_s: float
    end_s: float
    amount: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be injected."""
        object.__setattr__(self, "sensors", tuple(self.sensors))
        if self.kind not in KINDS:
            raise ConfigError(f"no fault '{self.kind}'; there are {', '.join(KINDS)}")
        if not self.sensors or not self.begin_s < self.end_s:
            raise ConfigError(f"fault '{self.kind}' needs a sensor, and an end after its begin")

    def befalls(self, message: BagMessage) -> bool:
        """Whether a message is of its sensors."""
        return any(_is_of(sensor, message.topic) for sensor in self.sensors)


def _is_of(sensor: str, topic: str) -> bool:
    own = {"TF": "/tf", "TF_STATIC": "/tf_static"}.get(sensor)
    return topic == own if own else topic.startswith(f"/sensing/{sensor.lower()}/")


class Memory:
    """What a fault remembers of one topic, and its dice.

    Attributes:
        rng: of this fault and topic alone.
        first: the first message that the fault befell; None before.
        count: messages that it befell before.
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.first: BagMessage | None = None
        self.count = 0


#: What becomes of the pixels of a picture.
Paint = Callable[[Pixels, Fault, Memory], Pixels]


class Injector:
    """Puts faults into messages.

    Args:
        faults: all of them; one after the other befalls a message.
        start_ns: log time of the begin of play.
        seed: of chance.
    """

    def __init__(self, faults: Iterable[Fault], start_ns: int, seed: int = 0) -> None:
        self.changed: Counter[str] = Counter()
        self._faults = tuple(faults)
        self._start_ns = start_ns
        self._seed = seed
        self._memory: dict[tuple[int, str], Memory] = {}

    def sent(self, messages: Iterable[BagMessage]) -> Iterator[BagMessage]:
        """Yield what is sent of messages by rising log time, by rising log time again."""
        waiting: list[tuple[int, int, BagMessage]] = []
        number = 0
        for message in messages:
            while waiting and waiting[0][0] <= message.stamp_ns:
                yield heapq.heappop(waiting)[2]
            for one in self.apply(message):
                number += 1
                heapq.heappush(waiting, (one.stamp_ns, number, one))
        while waiting:
            yield heapq.heappop(waiting)[2]

    def apply(self, message: BagMessage) -> Sent:
        """Return what is sent in place of a message."""
        elapsed_s = (message.stamp_ns - self._start_ns) * 1e-9
        found: Sent = (message,)
        for number, fault in enumerate(self._faults):
            if not (fault.begin_s <= elapsed_s < fault.end_s and fault.befalls(message)):
                continue
            memory = self._memory.setdefault(
                (number, message.topic), Memory(self._seed + 1000 * number + len(self._memory))
            )
            found = tuple(out for one in found for out in KINDS[fault.kind](one, fault, memory))
            memory.first = memory.first or message
            memory.count += 1
            self.changed[fault.kind] += 1
        return found


def with_stamp(message: BagMessage, stamp_ns: int) -> BagMessage:
    """Return a message with another header's stamp; of transforms, the first one's."""
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    place = 8 if message.type_name == "tf2_msgs/msg/TFMessage" else 4
    stamp = np.array([seconds % (1 << 32), nanoseconds], "<u4").tobytes()
    return replace(message, cdr=message.cdr[:place] + stamp + message.cdr[place + 8 :])


def stamp_of(message: BagMessage) -> int:
    """Return the stamp of a message's header; of transforms, the first one's."""
    place = 8 if message.type_name == "tf2_msgs/msg/TFMessage" else 4
    seconds, nanoseconds = np.frombuffer(message.cdr[place : place + 8], "<u4")
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def is_picture(message: BagMessage) -> bool:
    """Whether it is an image in JPEG."""
    return message.type_name == "sensor_msgs/msg/CompressedImage"


def is_scan(message: BagMessage) -> bool:
    """Whether it is a radar's scan."""
    return message.type_name == "sensor_msgs/msg/PointCloud2"


def _lost(_message: BagMessage, _fault: Fault, _memory: Memory) -> Sent:
    return ()


def _loss(message: BagMessage, fault: Fault, memory: Memory) -> Sent:
    """Lose a share of the images or scans."""
    if not (is_picture(message) or is_scan(message)):
        return (message,)
    return () if memory.rng.random() < fault.amount else (message,)


def _late(message: BagMessage, fault: Fault, _memory: Memory) -> Sent:
    """Send it so many milliseconds later."""
    return (replace(message, stamp_ns=message.stamp_ns + round(fault.amount * 1e6)),)


def _stamp_shift(message: BagMessage, fault: Fault, _memory: Memory) -> Sent:
    """Shift its stamp by seconds."""
    return (with_stamp(message, stamp_of(message) + round(fault.amount * 1e9)),)


def _stamp_set(message: BagMessage, fault: Fault, _memory: Memory) -> Sent:
    """Give it this stamp, in seconds of the epoch."""
    return (with_stamp(message, round(fault.amount * 1e9)),)


def _stamp_broken(message: BagMessage, _fault: Fault, _memory: Memory) -> Sent:
    """Give it four thousand million nanoseconds within a second."""
    cdr = message.cdr
    return (replace(message, cdr=cdr[:8] + np.array(4_000_000_000, "<u4").tobytes() + cdr[12:]),)


def _out_of_order(message: BagMessage, fault: Fault, memory: Memory) -> Sent:
    """Send every second one so many milliseconds later, behind its successor."""
    return _late(message, fault, memory) if memory.count % 2 else (message,)


def _duplicate(message: BagMessage, _fault: Fault, _memory: Memory) -> Sent:
    return message, replace(message, stamp_ns=message.stamp_ns + _DUPLICATE_NS)


def _frozen(message: BagMessage, _fault: Fault, memory: Memory) -> Sent:
    """Send the first one again and again, with the stamps of the others."""
    first = memory.first or message
    same = replace(first, stamp_ns=message.stamp_ns)
    return (with_stamp(same, stamp_of(message)),)


def _picture_fault(paint: Paint) -> Callable[[BagMessage, Fault, Memory], Sent]:
    def change(message: BagMessage, fault: Fault, memory: Memory) -> Sent:
        if not is_picture(message):
            return (message,)

        def spoil(image: Any) -> None:
            pixels = np.asarray(cv2.imdecode(image.data, cv2.IMREAD_COLOR), np.uint8)
            image.data = cv2.imencode(".jpg", paint(pixels, fault, memory))[1].ravel()

        return (_edited(message, spoil),)

    return change


def _as(kind: str) -> Paint:
    """Return what paints a picture as a broken camera of the benchmarks would show it."""
    return lambda pixels, fault, memory: faulty_picture(
        kind, pixels, pixels, round(fault.amount), memory.rng
    )


def _white(pixels: Pixels, _fault: Fault, memory: Memory) -> Pixels:
    """Return white with the little noise that makes no two pictures the same."""
    return 255 - memory.rng.integers(0, 3, pixels.shape, np.uint8)


def _noise(pixels: Pixels, _fault: Fault, memory: Memory) -> Pixels:
    """Return pixels drawn one by one, others in every picture."""
    return memory.rng.integers(0, 256, pixels.shape, np.uint8)


def _corrupt(message: BagMessage, _fault: Fault, memory: Memory) -> Sent:
    """Turn bytes of the JPEG over, or cut it short, in turns."""
    if not is_picture(message):
        return (message,)

    def spoil(image: Any) -> None:
        data = image.data.copy()
        if memory.count % 2:
            image.data = data[: len(data) // 3]
            return
        data[memory.rng.integers(0, len(data), max(8, len(data) // 100))] ^= 0xA5
        image.data = data

    return (_edited(message, spoil),)


def _radar_values(value: float) -> Callable[[BagMessage, Fault, Memory], Sent]:
    def change(message: BagMessage, fault: Fault, memory: Memory) -> Sent:
        """Give a share of the points this value in every field of floats."""

        def spoil(cloud: Any) -> None:
            rows = cloud.data.copy().reshape(-1, cloud.point_step)
            bad = memory.rng.random(len(rows)) < fault.amount
            number = np.frombuffer(np.float32(value).tobytes(), np.uint8)
            for field in cloud.fields:
                if field.datatype == 7:
                    rows[bad, field.offset : field.offset + 4] = number
            cloud.data = rows.ravel()

        return (_edited(message, spoil),) if is_scan(message) else (message,)

    return change


def _empty_scan(message: BagMessage, _fault: Fault, _memory: Memory) -> Sent:
    def spoil(cloud: Any) -> None:
        cloud.width = cloud.row_step = 0
        cloud.data = cloud.data[:0]

    return (_edited(message, spoil),) if is_scan(message) else (message,)


def _camera_info(message: BagMessage, fault: Fault, _memory: Memory) -> Sent:
    """Scale the focal lengths."""

    def change(info: Any) -> None:
        info.k = info.k * np.array([fault.amount, 1, 1, 1, fault.amount, 1, 1, 1, 1])
        scale = np.ones(12)
        scale[[0, 5]] = fault.amount
        info.p = info.p * scale

    is_info = message.type_name == "sensor_msgs/msg/CameraInfo"
    return (_edited(message, change),) if is_info else (message,)


def _edited(message: BagMessage, edit: Callable[[Any], None]) -> BagMessage:
    """Return a message whose value was changed in place."""
    value = typestore().deserialize_cdr(message.cdr, message.type_name)
    edit(value)
    return replace(message, cdr=serialize(message.type_name, value))


#: Fault -> what is sent in place of a message; the unit of `amount` is in each one's words.
KINDS: Mapping[str, Callable[[BagMessage, Fault, Memory], Sent]] = {
    "lost": _lost,
    "loss": _loss,
    "late": _late,
    "stamp_shift": _stamp_shift,
    "stamp_set": _stamp_set,
    "stamp_broken": _stamp_broken,
    "out_of_order": _out_of_order,
    "duplicate": _duplicate,
    "frozen": _frozen,
    "black": _picture_fault(_as("black")),
    "covered": _picture_fault(_as("covered")),
    "white": _picture_fault(_white),
    "noise": _picture_fault(_noise),
    "corrupt": _corrupt,
    "radar_nan": _radar_values(float("nan")),
    "radar_inf": _radar_values(float("inf")),
    "radar_empty": _empty_scan,
    "camera_info": _camera_info,
}
