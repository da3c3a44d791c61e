# SPDX-License-Identifier: Apache-2.0
"""Faults do to messages what they say, to the sensors that they name, while they last."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.data.bags.messages import make, make_header, make_point_cloud, serialize, typestore
from imkd_core.data.bags.recording import BagMessage
from imkd_core.errors import ConfigError
from tests.faults.injection import KINDS, Fault, Injector, stamp_of, with_stamp

START_NS = 1_700_000_000_000_000_000
IMAGE, CLOUD = "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/PointCloud2"


def picture(number: int, camera: str = "cam_front") -> BagMessage:
    stamp_ns = START_NS + number * 100_000_000
    pixels = np.random.default_rng(number).integers(0, 256, (32, 48, 3), np.uint8)
    image = make(
        IMAGE,
        header=make_header(stamp_ns, "cam"),
        format="jpeg",
        data=cv2.imencode(".jpg", pixels)[1].ravel(),
    )
    topic = f"/sensing/{camera}/image/compressed"
    return BagMessage(topic=topic, type_name=IMAGE, stamp_ns=stamp_ns, cdr=serialize(IMAGE, image))


def scan(number: int) -> BagMessage:
    stamp_ns = START_NS + number * 100_000_000
    table = {name: np.arange(6, dtype=np.float32) for name in ("x", "y", "z", "vx_comp")}
    cloud = make_point_cloud(stamp_ns, "radar", table)
    return BagMessage(
        topic="/sensing/radar_front/points",
        type_name=CLOUD,
        stamp_ns=stamp_ns,
        cdr=serialize(CLOUD, cloud),
    )


def sent(kind: str, messages: list[BagMessage], amount: float = 0.0, **times) -> list[BagMessage]:
    values = {"begin_s": 0.0, "end_s": 100.0, **times}
    fault = Fault(kind=kind, sensors=("CAM_FRONT", "RADAR_FRONT"), amount=amount, **values)
    return list(Injector([fault], START_NS).sent(messages))


def pixels_of(message: BagMessage):
    image = typestore().deserialize_cdr(message.cdr, message.type_name)
    return cv2.imdecode(image.data, cv2.IMREAD_COLOR)


@given(st.integers(0, 2**32 - 1), st.integers(0, 999_999_999))
def test_a_stamp_that_is_written_is_read(seconds, nanoseconds):
    stamp_ns = seconds * 1_000_000_000 + nanoseconds
    changed = with_stamp(picture(0), stamp_ns)
    assert stamp_of(changed) == stamp_ns
    assert len(changed.cdr) == len(picture(0).cdr)


@given(st.sampled_from(sorted(KINDS)), st.floats(0.1, 400.0), st.integers(1, 12))
def test_whatever_happens_messages_leave_in_the_order_of_time(kind, amount, count):
    amount = amount / 400 if kind in ("loss", "radar_nan", "radar_inf") else amount
    messages = [one for n in range(count) for one in (picture(n), scan(n))]
    times = [one.stamp_ns for one in sent(kind, messages, amount)]
    assert times == sorted(times)


def test_a_fault_befalls_its_sensors_alone_and_only_while_it_lasts():
    others = [picture(number, "cam_front_left") for number in range(10)]
    mine = [picture(number) for number in range(10)]
    left = sent("lost", [*mine, *others], begin_s=0.25, end_s=0.65)
    numbers = [(one.stamp_ns - START_NS) // 100_000_000 for one in left if one in mine]
    assert numbers == [0, 1, 2, 7, 8, 9]
    assert [one for one in left if one not in mine] == others


def test_a_late_message_keeps_its_stamp():
    (one,) = sent("late", [picture(3)], 250.0)
    assert one.stamp_ns - picture(3).stamp_ns == 250_000_000
    assert one.cdr == picture(3).cdr


def test_out_of_order_sends_every_second_one_behind_its_successor():
    found = sent("out_of_order", [picture(number) for number in range(4)], 150.0)
    assert [(stamp_of(one) - START_NS) // 100_000_000 for one in found] == [0, 2, 1, 3]


def test_a_duplicate_is_the_same_bytes_again():
    first, second = sent("duplicate", [picture(0)])
    assert first.cdr == second.cdr


def test_loss_loses_about_its_share():
    found = sent("loss", [picture(0)] * 400, 0.9)
    assert 15 <= len(found) <= 70


def test_a_frozen_camera_shows_its_first_picture_with_new_stamps():
    found = sent("frozen", [picture(number) for number in range(3)])
    assert len({one.cdr[12:] for one in found}) == 1
    assert [stamp_of(one) for one in found] == [picture(number).stamp_ns for number in range(3)]


def test_a_black_camera_is_black_and_a_covered_one_changes():
    (black,) = sent("black", [picture(0)])
    assert pixels_of(black).mean() < 12
    (covered,) = sent("covered", [picture(0)])
    assert pixels_of(covered).std() < pixels_of(picture(0)).std()


def test_a_white_camera_is_white_and_one_of_noise_shows_no_two_pictures_alike():
    (white,) = sent("white", [picture(0)])
    assert pixels_of(white).min() > 245
    first, second = (pixels_of(one) for one in sent("noise", [picture(0), picture(0)]))
    assert first.std() > 40
    assert (first != second).any()


def test_corrupt_pictures_are_cut_or_changed_in_turns():
    first, second = sent("corrupt", [picture(0), picture(1)])
    assert len(first.cdr) == len(picture(0).cdr)
    assert first.cdr != picture(0).cdr
    assert len(second.cdr) < len(picture(1).cdr)


@pytest.mark.parametrize(("kind", "is_bad"), [("radar_nan", np.isnan), ("radar_inf", np.isinf)])
def test_bad_returns_are_bad_in_every_field(kind, is_bad):
    (one,) = sent(kind, [scan(0)], 1.0)
    cloud = typestore().deserialize_cdr(one.cdr, CLOUD)
    assert is_bad(np.frombuffer(cloud.data, np.float32)).all()


def test_an_empty_scan_has_no_returns():
    (one,) = sent("radar_empty", [scan(0)])
    assert typestore().deserialize_cdr(one.cdr, CLOUD).width == 0


def test_the_same_seed_gives_the_same_bytes():
    messages = [picture(number) for number in range(6)]
    assert sent("corrupt", messages) == sent("corrupt", messages)


def test_what_cannot_be_injected_is_refused():
    with pytest.raises(ConfigError, match="there are"):
        Fault(kind="moved", sensors=("CAM_FRONT",), begin_s=0.0, end_s=1.0)
    with pytest.raises(ConfigError, match="end after"):
        Fault(kind="lost", sensors=("CAM_FRONT",), begin_s=1.0, end_s=1.0)
