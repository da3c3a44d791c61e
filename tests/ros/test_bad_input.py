# SPDX-License-Identifier: Apache-2.0
"""Every kind of bad message, sent to the living node over DDS: dropped, counted, explained."""

from array import array

import pytest

pytest.importorskip("rclpy")

from geometry_msgs.msg import Quaternion
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from tf2_msgs.msg import TFMessage

from tests.ros.node_bench import (
    HEIGHT,
    WIDTH,
    Bench,
    camera_info,
    compressed,
    image,
    scan,
    to_time,
    transform,
)
from tests.ros.tiny_bundle import write_tiny_bundle

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]

NAN = float("nan")


@pytest.fixture(scope="module")
def bench(tmp_path_factory, ros_environment):
    """One node for all cases: each must leave it alive for the next."""
    folder = tmp_path_factory.mktemp("node")
    bench = Bench(folder, write_tiny_bundle(folder / "tiny").root)
    bench.start()
    bench.listen_to_boxes()
    bench.calibrate()
    assert bench.feed(lambda: bench.boxes)
    yield bench
    bench.close()


def changed(message, **values):
    for name, value in values.items():
        setattr(message, name, value)
    return message


def restamped(message, stamp_ns):
    message.header.stamp = to_time(stamp_ns)
    return message


def renamed_field(message, old, new):
    next(field for field in message.fields if field.name == old).name = new
    return message


def retyped_field(message, name, datatype):
    next(field for field in message.fields if field.name == name).datatype = datatype
    return message


IMAGES = {
    "unknown encoding": lambda now: changed(image(now), encoding="16UC1"),
    "empty encoding": lambda now: changed(image(now), encoding=""),
    "short data": lambda now: changed(image(now), data=array("B", bytes(100))),
    "no data": lambda now: changed(image(now), data=array("B")),
    "long data": lambda now: changed(image(now), data=array("B", bytes(HEIGHT * WIDTH * 3 + 7))),
    "step below a row": lambda now: changed(image(now), step=WIDTH),
    "0 x 0": lambda now: changed(image(now), width=0, height=0),
    "65535 x 65535": lambda now: changed(image(now), width=65535, height=65535),
    "stamp 0": lambda now: restamped(image(now), 0),
}


def with_impossible_table(message):
    """Break a JPEG behind its header: it is let in, and found corrupt when it is decoded."""
    at = bytes(message.data).index(b"\xff\xc4") + 4
    message.data[at] = 0xFF
    return message


JPEGS = {
    "truncated": lambda now: changed(compressed(now), data=compressed(now).data[:200]),
    "garbage": lambda now: changed(compressed(now), data=array("B", b"\x00\x01" * 500)),
    "empty": lambda now: changed(compressed(now), data=array("B")),
    "corrupt behind the header": lambda now: with_impossible_table(compressed(now)),
}
SCANS = {
    "missing field": lambda now: renamed_field(scan(now), "vx", "speed"),
    "mistyped field": lambda now: retyped_field(scan(now), "x", 77),
    "field outside the point": lambda now: changed(scan(now), point_step=20),
    "big endian": lambda now: changed(scan(now), is_bigendian=True),
    "point_step 0": lambda now: changed(scan(now), point_step=0),
    "short data": lambda now: changed(scan(now), width=1000),
    "ten million points": lambda now: changed(scan(now), width=10_000_000),
}
INFOS = {
    "zero K": lambda now: changed(camera_info(now, "cam_a"), k=[0.0] * 9),
    "negative fx": lambda now: camera_info(now, "cam_a", focal_px=-60.0),
    "NaN": lambda now: camera_info(now, "cam_a", focal_px=NAN),
    "three coefficients": lambda now: changed(camera_info(now, "cam_a"), d=[0.1, 0.0, 0.0]),
    "unknown model": lambda now: changed(camera_info(now, "cam_a"), distortion_model="bent"),
    "no size": lambda now: changed(camera_info(now, "cam_a"), width=0),
}
CASES = [
    pytest.param(kind, topic, sensor, reason, make, id=f"{reason}: {name}")
    for kind, topic, sensor, reason, group in (
        (Image, "/a/image", "CAM_A", "bad image", IMAGES),
        (CompressedImage, "/b/image/compressed", "CAM_B", "bad image", JPEGS),
        (PointCloud2, "/radar/points", "RADAR", "bad scan", SCANS),
        (CameraInfo, "/a/info", "CAM_A", "bad camera_info", INFOS),
    )
    for name, make in group.items()
]


def is_told(bench, sensor, reason):
    status = bench.status(sensor)
    return status is not None and status.message.startswith(reason)


@pytest.mark.parametrize(("kind", "topic", "sensor", "reason", "make"), CASES)
def test_a_bad_message_is_dropped_counted_and_explained(bench, kind, topic, sensor, reason, make):
    before = bench.drops(sensor).get(reason, 0)
    answers = len(bench.boxes)
    bench.publisher(kind, topic).publish(make(bench.now_ns()))
    assert bench.wait(lambda: bench.drops(sensor).get(reason, 0) == before + 1)
    assert bench.wait(lambda: is_told(bench, sensor, reason), 2.0), bench.status(sensor)
    assert bench.level(sensor) == 1
    assert bench.feed(lambda: len(bench.boxes) > answers)


@pytest.mark.parametrize(
    ("offset_ns", "reason"),
    [(10**9, "stamp in the future"), (-(10**8), "out of order"), (0, "duplicate stamp")],
)
def test_a_stamp_that_cannot_be_is_dropped_and_counted(bench, offset_ns, reason):
    tally = bench.node._session._pipeline.tally
    before, accepted = bench.drops("CAM_A").get(reason, 0), tally.accepted["CAM_A"]
    good = bench.publish_frame()
    answers = len(bench.boxes)
    assert bench.wait(lambda: tally.accepted["CAM_A"] > accepted)
    bench.publisher(Image, "/a/image").publish(image(good + offset_ns))
    assert bench.wait(lambda: bench.drops("CAM_A").get(reason, 0) == before + 1), bench.drops(
        "CAM_A"
    )
    assert bench.feed(lambda: len(bench.boxes) > answers)


def test_points_that_are_not_finite_are_left_out_and_counted(bench):
    before = bench.drops("RADAR").get("returns not finite", 0)
    points = ((NAN, 1, 0, 10, 1, 0), (5, 1, 0, 10, float("inf"), 0), (6, 1, 0, 10, 1, 0))
    bench.publisher(PointCloud2, "/radar/points").publish(scan(bench.now_ns(), points))
    assert bench.wait(lambda: bench.drops("RADAR").get("returns not finite", 0) == before + 2)


def test_impossible_transforms_are_dropped_and_counted(bench):
    crooked = transform("base_link", "cam_a")
    crooked.transform.rotation = Quaternion(w=0.0, x=0.0, y=0.0, z=0.0)
    nameless = transform("", "cam_a")
    second_parent = transform("elsewhere", "cam_a")
    before = bench.drops("tf").get("bad transform", 0)
    items = [crooked, nameless, second_parent]
    for item in items:
        item.header.stamp = to_time(bench.now_ns())
    publisher = bench.publisher(TFMessage, "/tf")
    assert bench.wait(lambda: publisher.get_subscription_count() > 0)
    publisher.publish(TFMessage(transforms=items))
    assert bench.wait(lambda: bench.drops("tf").get("bad transform", 0) == before + 3)
    answers = len(bench.boxes)
    assert bench.feed(lambda: len(bench.boxes) > answers)


def test_a_warning_of_a_kind_is_not_repeated_within_five_seconds(bench, capfd):
    bench.wait(lambda: False, 0.2)
    capfd.readouterr()
    before = bench.drops("CAM_B").get("bad image", 0)
    for _ in range(20):
        bench.publisher(CompressedImage, "/b/image/compressed").publish(
            changed(compressed(bench.now_ns()), data=array("B", b"nonsense"))
        )
        bench.wait(lambda: False, 0.02)
    assert bench.wait(lambda: bench.drops("CAM_B").get("bad image", 0) >= before + 10)
    bench.wait(lambda: False, 0.3)
    lines = [line for line in capfd.readouterr().err.splitlines() if "CAM_B: bad image" in line]
    assert len(lines) <= 1
