# SPDX-License-Identifier: Apache-2.0
"""Pictures of a running graph, looked at now and then by the judges of the vehicle."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from imkd_core.errors import SensorError
from imkd_core.geometry import rigid_transform
from imkd_core.health.check import AMBER, RED
from imkd_core.health.faults import BLACK, BLURRED, COVERED, FROZEN, OVEREXPOSED
from imkd_ros.bridge.sensors import sensor_set_from_mapping
from imkd_ros.doctor.findings import told_of
from imkd_ros.doctor.pictures import PERIOD_NS, PictureWatch

CAMERAS = sensor_set_from_mapping({"cameras": {"A": {}, "B": {}, "C": {}}}).cameras
BEGIN_NS, TURNS = 1_700_000_000_000_000_000, 24


def street(number):
    """A picture of a world with detail, which moves."""
    rng = np.random.default_rng(7)
    world = cv2.resize(rng.integers(0, 256, (64, 512, 3), dtype=np.uint8), (2048, 256))
    return world[:, 8 * number : 8 * number + 704]


FAULTS = {
    BLACK: lambda pixels: np.random.default_rng(int(pixels[0, 0, 0])).integers(
        0, 8, pixels.shape, dtype=np.uint8
    ),
    FROZEN: lambda pixels: street(0),
    OVEREXPOSED: lambda pixels: np.clip(pixels.astype(int) + 230, 0, 255).astype(np.uint8),
    COVERED: lambda pixels: np.where(
        np.arange(704)[None, :, None] < 600, 90, pixels
    ).astype(np.uint8),
    BLURRED: lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 4),
}  # fmt: skip


def message(pixels, stamp_ns):
    header = SimpleNamespace(
        stamp=SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9), frame_id="a"
    )
    height, width, _ = pixels.shape
    return SimpleNamespace(
        header=header, height=height, width=width, step=3 * width, encoding="rgb8",
        is_bigendian=0, data=pixels.tobytes(),
    )  # fmt: skip


def watched(spoil, from_turn=8, pose_at=lambda stamp_ns: None):
    """Three cameras whose first is spoiled from a turn on; 10 pictures a second."""
    watch = PictureWatch(CAMERAS, pose_at)
    for turn in range(int(TURNS * PERIOD_NS / 10**8)):
        now_ns = BEGIN_NS + turn * 10**8
        for name in CAMERAS:
            if not watch.is_due(name, now_ns):
                continue
            pixels = street(turn)
            if name == "A" and spoil is not None and turn >= from_turn * PERIOD_NS / 10**8:
                pixels = spoil(pixels)
            watch.add(name, now_ns, message(pixels, now_ns))
    watch.close()
    return watch


def test_of_healthy_cameras_nothing_is_told_and_few_pictures_are_read():
    watch = watched(None)
    assert watch.findings == ()
    assert watch.looks == TURNS


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_a_picture_is_told_of_the_camera_that_has_it(fault):
    found = watched(FAULTS[fault]).findings
    assert (fault, "A") in {(one.fault, one.sensor) for one in found}
    assert {one.sensor for one in found} == {"A"}


def test_a_picture_that_repeats_is_a_fault_while_the_vehicle_moves_and_a_note_while_it_stands():
    def driving(stamp_ns):
        return rigid_transform(np.eye(3), ((stamp_ns - BEGIN_NS) * 5e-9, 0.0, 0.0))

    for pose_at, level in ((driving, RED), (lambda stamp_ns: np.eye(4), AMBER)):
        (finding,) = watched(FAULTS[FROZEN], pose_at=pose_at).findings
        assert told_of(finding).level == level


def test_stamps_of_another_clock_do_not_keep_pictures_from_being_judged():
    watch = PictureWatch(CAMERAS, lambda stamp_ns: None)
    for turn in range(6):
        for name, behind_ns in (("A", 0), ("B", 3600 * 10**9)):
            now_ns = BEGIN_NS + turn * PERIOD_NS
            pixels = FAULTS[BLACK](street(turn)) if name == "B" else street(turn)
            watch.add(name, now_ns, message(pixels, now_ns - behind_ns))
    watch.close()
    assert {(one.sensor, one.fault) for one in watch.findings} == {("B", BLACK)}


def test_a_damaged_picture_is_refused_and_the_next_is_taken():
    watch = PictureWatch(CAMERAS, lambda stamp_ns: None)
    good = cv2.imencode(".jpg", street(0))[1].tobytes()
    head = message(street(0), BEGIN_NS).header
    with pytest.raises(SensorError):
        watch.add("A", BEGIN_NS, SimpleNamespace(header=head, format="jpeg", data=good[:200]))
    assert watch.is_due("A", BEGIN_NS)
    watch.add("A", BEGIN_NS, SimpleNamespace(header=head, format="jpeg", data=good))
    assert not watch.is_due("A", BEGIN_NS)
