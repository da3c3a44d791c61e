# SPDX-License-Identifier: Apache-2.0
"""Copies of an image on its way from the message to the session, counted hop by hop.

message -> bytes -> pixels -> network image -> session: nothing is copied but what each step makes
anew. These are the new arrays: the decoded picture and its RGB order (OpenCV decodes to BGR), and
the scaled picture. A raw rgb8 image of the network's size comes through with none at all.
"""

import tracemalloc
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from imkd_core.imaging import fit_window, to_network_image
from imkd_core.runtime.backends import BackendSettings, OnnxRuntimeBackend
from imkd_core.runtime.detector import Detector
from imkd_core.types import Frame
from imkd_ros.bridge.convert import admit_compressed, admit_image
from tests.core.rigs import camera_of, frame_of, rig_of
from tests.core.runtime.made_up_bundle import HEAD, SPEC, make_bundle
from tests.ros.made_up_messages import header, image

#: What Python's own small objects may take beside an image.
SLACK_BYTES = 16_384

CAMERA = camera_of(focal_px=440.0, size_px=(640, 400))
WIDTH, HEIGHT = CAMERA.width_px, CAMERA.height_px


def peak_bytes(work):
    """Return what a call returned, and the most memory that it held at once beyond before."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        found = work()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return found, peak - before


def picture(width_px=WIDTH, height_px=HEIGHT):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (height_px, width_px, 3), np.uint8)


def jpeg_message():
    raw = cv2.imencode(".jpg", picture(), [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    assert raw.nbytes > 10 * SLACK_BYTES
    return SimpleNamespace(header=header(), format="jpeg", data=raw.reshape(-1))


def test_a_compressed_message_is_let_in_without_a_copy_of_its_bytes():
    message = jpeg_message()
    admit_compressed(message, "CAM")  # warm
    waiting, peak = peak_bytes(lambda: admit_compressed(message, "CAM", 160))
    assert peak < SLACK_BYTES
    (encoded,) = waiting._decode.args
    assert np.shares_memory(encoded.data, message.data)


def test_a_jpeg_is_decoded_to_the_reduced_picture_and_its_rgb_order():
    waiting = admit_compressed(jpeg_message(), "CAM", 160)
    found, peak = peak_bytes(waiting.image)
    assert found.pixels.shape == (100, 160, 3)
    assert peak < 2 * found.pixels.nbytes + SLACK_BYTES


def test_a_raw_rgb8_message_is_its_own_picture():
    message = image(picture(), "rgb8")
    waiting, peak = peak_bytes(lambda: admit_image(message, "CAM"))
    assert peak < SLACK_BYTES
    assert np.shares_memory(waiting.image().pixels, np.frombuffer(message.data, np.uint8))


@pytest.mark.parametrize(
    ("width_px", "height_px", "scaled_pixels"),
    [
        (160, 100, 0),
        (240, 150, 160 * 100),  # as the JPEG decoder leaves it: less than twice too large
        (640, 400, 320 * 200 + 160 * 100),  # halved twice
    ],
)
def test_a_network_image_takes_what_it_is_scaled_to_and_no_array_where_sizes_agree(
    width_px, height_px, scaled_pixels
):
    window = fit_window(CAMERA, SPEC)
    assert (window.resized_width_px, window.resized_height_px) == (160, 100)
    found = admit_image(image(picture(width_px, height_px), "rgb8"), "CAM").image()
    out = np.empty((3, SPEC.image_height_px, SPEC.image_width_px), np.uint8)
    scaled_bytes = 3 * scaled_pixels
    planes, peak = peak_bytes(lambda: to_network_image(found, CAMERA, SPEC, out))
    assert planes is out
    assert peak < scaled_bytes + SLACK_BYTES
    np.testing.assert_array_equal(out, to_network_image(found, CAMERA, SPEC))


class Spy:
    """Stands in for the session; keeps what it is fed, and asks the real one."""

    def __init__(self, session):
        self.fed, self._session = [], session

    def run(self, names, feed):
        self.fed.append(feed)
        return self._session.run(names, feed)


def test_all_frames_are_written_into_one_array_that_goes_to_the_session_as_it_is(tmp_path):
    rig = rig_of(cameras=3)
    bundle = make_bundle(tmp_path / "tiny")
    settings = BackendSettings(threads=1)
    backend = OnnxRuntimeBackend(bundle.path("fp32"), settings.threads, inputs=SPEC, head=HEAD)
    spy = backend._session = Spy(backend._session)
    detector = Detector(bundle, backend, rig)
    full = frame_of(rig)
    less = Frame(
        stamp_ns=full.stamp_ns,
        cameras={name: full.cameras[name] for name in list(rig.cameras)[1:]},
        radars=full.radars,
    )
    found = []
    for frame in (full, less, full):
        detector.detect(frame)
        found.append(spy.fed[-1]["images"].copy())
    assert len({feed["images"].__array_interface__["data"][0] for feed in spy.fed}) == 1
    assert not found[1][0].any(), "a camera that is missing leaves no picture of before"
    np.testing.assert_array_equal(found[1][1:], found[0][1:])
    np.testing.assert_array_equal(found[2], found[0])
    for feed in spy.fed:
        assert all(value.flags.c_contiguous for value in feed.values())


def test_onnx_runtime_reads_contiguous_arrays_where_they_are():
    onnxruntime = pytest.importorskip("onnxruntime")
    array = np.zeros((2, 3, 64, 160), np.uint8)
    value = onnxruntime.OrtValue.ortvalue_from_numpy(array)
    assert value.data_ptr() == array.__array_interface__["data"][0]
