# SPDX-License-Identifier: Apache-2.0
"""Images are let in at once and decoded once, by whoever comes first, or never if nobody asks."""

import gc
import threading
import weakref
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from imkd_core.errors import SensorError
from imkd_core.types import RadarCloud
from imkd_ros.bridge.convert import admit_compressed, admit_image
from imkd_ros.bridge.decoding import DecodePool, PendingFrame, PendingImage
from imkd_ros.node.worker import NewestWorker
from tests.ros.made_up_messages import header, image

STAMP_NS = 1_700_000_000_000_000_000
WAIT_S = 5.0


class Decoder:
    """Pixels of one value; counts its calls and can be held back."""

    def __init__(self, value=1, error=None):
        self.value, self.error, self.calls = value, error, 0
        self.gate, self.begun = threading.Event(), threading.Event()
        self.gate.set()

    def __call__(self):
        self.calls += 1
        self.begun.set()
        assert self.gate.wait(WAIT_S)
        if self.error is not None:
            raise self.error
        return np.full((2, 3, 3), self.value, np.uint8)

    def held(self):
        self.gate.clear()
        return self


def pending(decoder, name="CAM", **arguments):
    return PendingImage(name, STAMP_NS, decoder, **arguments)


def frame_of(decoders, radars=None):
    cameras = {name: pending(decoder, name) for name, decoder in decoders.items()}
    return PendingFrame(
        stamp_ns=STAMP_NS, cameras=cameras, radars=radars or {}, reference_from_ego={}
    )


@pytest.fixture
def pool():
    pool = DecodePool(threads=1)
    yield pool
    pool.close()


def settle_all(pool):
    """Wait until the pool has done what was submitted before."""
    last = Decoder()
    image = pending(last)
    pool.submit(image)
    assert last.begun.wait(WAIT_S)
    image.image()


def test_an_image_is_let_in_without_its_pixels_and_decoded_when_asked_for():
    decoder = Decoder(7)
    waiting = pending(decoder)
    assert (waiting.sensor, waiting.stamp_ns, decoder.calls) == ("CAM", STAMP_NS, 0)
    assert not waiting.is_settled
    found = waiting.image()
    assert (found.sensor, found.stamp_ns, found.pixels.max()) == ("CAM", STAMP_NS, 7)
    assert waiting.is_settled
    assert waiting.image() is found
    assert decoder.calls == 1


def test_the_pool_decodes_while_the_caller_does_something_else(pool):
    decoder = Decoder()
    waiting = pending(decoder)
    pool.submit(waiting)
    assert decoder.begun.wait(WAIT_S)
    waiting.image()
    assert decoder.calls == 1


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_each_image_is_decoded_once_whoever_asks(threads):
    pool = DecodePool(threads)
    frames = [frame_of({name: Decoder(i) for i, name in enumerate("ABCDEF")}) for _ in range(5)]
    decoders = []
    for frame in frames:
        for waiting in frame.cameras.values():
            decoders.append(waiting._decode)
            pool.submit(waiting)
    askers = [threading.Thread(target=frame.finish) for frame in frames for _ in range(2)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    pool.close()
    for frame in frames:
        values = [int(image.pixels.max()) for image in frame.finish().cameras.values()]
        assert values == [0, 1, 2, 3, 4, 5]
    assert [decoder.calls for decoder in decoders] == [1] * 30


def test_an_image_that_nobody_holds_any_more_is_not_decoded(pool):
    first, dropped, kept = Decoder().held(), Decoder(), Decoder()
    busy = pending(first)
    pool.submit(busy)
    assert first.begun.wait(WAIT_S)
    unwanted, wanted = pending(dropped), pending(kept)
    pool.submit(unwanted)
    pool.submit(wanted)
    del unwanted
    first.gate.set()
    assert kept.begun.wait(WAIT_S)
    settle_all(pool)
    assert (dropped.calls, kept.calls) == (0, 1)


def test_the_images_of_a_frame_that_a_newer_one_replaces_are_not_decoded(pool):
    gc.disable()  # it must not take a collection: reference counts alone cancel
    try:
        done, first, busy = [], Decoder().held(), Decoder().held()
        blocker = pending(busy)
        pool.submit(blocker)
        assert busy.begun.wait(WAIT_S)
        worker = NewestWorker(lambda frame: done.append(frame.finish()), print, "worker")
        worker.offer(frame_of({"A": first}))
        assert first.begun.wait(WAIT_S)
        decoders = [Decoder(value) for value in (1, 2, 3)]
        for decoder in decoders:
            frame = frame_of({"A": decoder})
            pool.submit(frame.cameras["A"])
            worker.offer(frame)
        del frame
        busy.gate.set()
        settle_all(pool)
        first.gate.set()
        while len(done) < 2:
            threading.Event().wait(0.01)
        worker.stop()
        assert [decoder.calls for decoder in decoders] == [0, 0, 1]
        assert done[1].cameras["A"].pixels.max() == 3
    finally:
        gc.enable()


def test_who_takes_a_frame_helps_and_is_not_held_up_by_a_busy_pool(pool):
    busy = Decoder().held()
    blocker = pending(busy)
    pool.submit(blocker)
    assert busy.begun.wait(WAIT_S)
    frame = frame_of({"A": Decoder(), "B": Decoder()})
    for waiting in frame.cameras.values():
        pool.submit(waiting)
    assert set(frame.finish().cameras) == {"A", "B"}
    busy.gate.set()


def test_a_corrupt_image_is_told_once_and_its_camera_is_masked():
    told = []
    bad = pending(Decoder(error=SensorError("corrupt")), "B", on_refusal=told.append)
    good = frame_of({"A": Decoder()})
    frame = PendingFrame(
        stamp_ns=STAMP_NS,
        cameras={**good.cameras, "B": bad},
        radars={},
        reference_from_ego={STAMP_NS: np.eye(4)},
    )
    for _ in range(2):
        found = frame.finish()
        assert tuple(found.cameras) == ("A",)
        assert tuple(found.reference_from_ego) == (STAMP_NS,)
    assert told == ["corrupt"]
    with pytest.raises(SensorError, match="corrupt"):
        bad.image()


def test_a_corrupt_image_holds_no_frame_in_memory():
    """The traceback of an error holds what it went through: a frame of six images a time."""

    def corrupt():
        raise SensorError("corrupt")

    frame = frame_of({"A": Decoder(), "B": corrupt})
    gc.disable()
    try:
        found = frame.finish()
        gone = [weakref.ref(one) for one in (frame, found, *frame.cameras.values())]
        del frame, found
        assert [one() for one in gone] == [None] * 4, "held until the next collection"
    finally:
        gc.enable()


def test_a_frame_of_corrupt_images_alone_is_none_and_with_a_scan_it_is_a_frame():
    bad = Decoder(error=SensorError("corrupt"))
    assert frame_of({"A": bad}).finish() is None
    scan = RadarCloud(sensor="R", stamp_ns=STAMP_NS, points=np.zeros((0, 7), np.float32))
    found = frame_of({"A": bad}, {"R": (scan,)}).finish()
    assert (dict(found.cameras), tuple(found.radars)) == ({}, ("R",))


def test_a_bug_in_a_decoder_reaches_who_asks_and_leaves_the_pool_alive(pool):
    broken = Decoder(error=ZeroDivisionError("a bug"))
    waiting = pending(broken)
    pool.submit(waiting)
    assert broken.begun.wait(WAIT_S)
    settle_all(pool)
    with pytest.raises(ZeroDivisionError):
        waiting.image()


def test_a_closed_pool_leaves_what_waits_and_has_no_threads():
    pool = DecodePool(threads=2)
    settle_all(pool)
    pool.close()
    assert not any(thread.name.startswith("imkd_decode") for thread in threading.enumerate())
    decoder = Decoder()
    waiting = pending(decoder)
    pool.submit(waiting)
    assert decoder.calls == 0
    assert waiting.image().pixels.max() == 1


def test_no_thread_is_started_before_there_is_something_to_decode():
    pool = DecodePool(threads=3)
    ready = pending(Decoder())
    ready.settle(wait=True)
    pool.submit(ready)
    assert not any(thread.name.startswith("imkd_decode") for thread in threading.enumerate())
    pool.close()


def test_an_impossible_stamp_is_refused_before_anything_is_decoded():
    decoder = Decoder()
    with pytest.raises(SensorError, match="stamp"):
        PendingImage("CAM", -5, decoder)
    assert decoder.calls == 0


def corrupt_jpeg():
    """Return a JPEG that is whole by its header and length, with an impossible Huffman table."""
    raw = bytearray(cv2.imencode(".jpg", np.zeros((40, 64, 3), np.uint8))[1].tobytes())
    raw[raw.index(b"\xff\xc4") + 4] = 0xFF
    return bytes(raw)


def test_a_jpeg_that_is_corrupt_behind_its_header_is_refused_in_the_same_words():
    told = []
    message = SimpleNamespace(header=header(), format="jpeg", data=corrupt_jpeg())
    waiting = admit_compressed(message, "front", on_refusal=told.append)
    assert told == []
    with pytest.raises(SensorError, match=r"camera 'front': corrupt image data .* frame dropped"):
        waiting.image()
    assert len(told) == 1


def test_rgb8_needs_no_decoding_and_other_encodings_wait():
    pixels = np.zeros((40, 64, 3), np.uint8)
    assert admit_image(image(pixels, "rgb8"), "front").is_settled
    assert not admit_image(image(pixels, "bgr8"), "front").is_settled


def test_a_pool_looks_at_what_it_decoded_and_who_waits_for_the_image_waits_for_that_too():
    looked, begun, gate = [], threading.Event(), threading.Event()

    def look(image):
        begun.set()
        assert gate.wait(WAIT_S)
        looked.append((threading.current_thread().name, image))

    pool = DecodePool(threads=1, look_ahead=look)
    image = pending(Decoder(3))
    pool.submit(image)
    assert begun.wait(WAIT_S)
    assert not image.is_settled
    gate.set()
    waited = image.image()
    assert looked == [("imkd_decode_0", waited)]
    pool.close()


def test_what_is_decoded_by_the_one_who_needs_it_or_is_refused_is_not_looked_at():
    looked = []
    pool = DecodePool(threads=1, look_ahead=looked.append)
    own, corrupt = pending(Decoder(3)), pending(Decoder(error=SensorError("corrupt")))
    own.image()
    pool.submit(own)
    pool.submit(corrupt)
    settle_all(pool)
    pool.close()
    assert [int(image.pixels[0, 0, 0]) for image in looked] == [Decoder().value]


def test_what_breaks_while_looking_ahead_is_raised_where_the_image_is_needed():
    begun = threading.Event()

    def look(image):
        begun.set()
        raise ZeroDivisionError("facts")

    pool = DecodePool(threads=1, look_ahead=look)
    image = pending(Decoder(3))
    pool.submit(image)
    assert begun.wait(WAIT_S)
    with pytest.raises(ZeroDivisionError, match="facts"):
        image.image()
    pool.close()
