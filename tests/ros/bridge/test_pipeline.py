# SPDX-License-Identifier: Apache-2.0
"""Message -> frame without ROS: calibration, ego motion, masks, jumps of time."""

import weakref
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from imkd_core.geometry import quaternion_from_rotation, rigid_transform
from imkd_core.runtime.slots import SyncSettings
from imkd_ros.bridge.pipeline import TF_STATIC_TOPIC, TF_TOPIC, Pipeline
from imkd_ros.bridge.pipeline_settings import PipelineSettings
from imkd_ros.bridge.sensors import sensor_set_from_mapping
from imkd_ros.bridge.tally import FRAMES
from tests.core.rigs import BODY_FROM_OPTICAL
from tests.ros.made_up_messages import cloud, header, image

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
FIELDS = {"vx": "vx", "vy": "vy"}
SENSORS = {
    "cameras": {
        "A": {"image": "/a", "camera_info": "/a/info", "transport": "raw"},
        "B": {"image": "/b", "camera_info": "/b/info", "transport": "raw"},
    },
    "radars": {"R": {"points": "/r", "fields": FIELDS}},
}


def ns(**values):
    return SimpleNamespace(**values)


def transform(parent, child, stamp_ns, pose):
    w, x, y, z = quaternion_from_rotation(pose[:3, :3])
    return ns(
        header=header(stamp_ns, parent),
        child_frame_id=child,
        transform=ns(
            translation=ns(x=pose[0, 3], y=pose[1, 3], z=pose[2, 3]),
            rotation=ns(w=w, x=x, y=y, z=z),
        ),
    )


def transforms(*items):
    return ns(transforms=list(items))


def odom(stamp_ns, x):
    return transforms(
        transform("odom", "base_link", stamp_ns, rigid_transform(np.eye(3), (x, 0, 0)))
    )


def info(name):
    return ns(
        header=header(START_NS, f"{name.lower()}_optical"),
        width=64,
        height=40,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[50.0, 0, 31.5, 0, 50.0, 19.5, 0, 0, 1],
        p=[0.0] * 12,
        binning_x=0,
        binning_y=0,
        roi=ns(x_offset=0, y_offset=0, width=0, height=0),
    )


def picture(name, stamp_ns):
    pixels = np.zeros((40, 64, 3), np.uint8)
    return image(pixels, "rgb8", header=header(stamp_ns, f"{name.lower()}_optical"))


def points(stamp_ns, **changes):
    columns = {"x": [5.0], "y": [1.0], "z": [0.0], "rcs": [3.0], "vx": [1.0], "vy": [0.0]}
    return cloud(columns, header=header(stamp_ns, "radar"), **changes)


STATIC = transforms(
    *(
        transform("base_link", f"{name}_optical", 0, rigid_transform(BODY_FROM_OPTICAL, (1, 0, 1)))
        for name in ("a", "b")
    ),
    transform("base_link", "radar", 0, rigid_transform(np.eye(3), (2, 0, 0))),
)


def pipeline_of(raw=SENSORS, **changes):
    sensors = sensor_set_from_mapping(raw)
    sync = SyncSettings(
        cameras=tuple(sensors.cameras),
        radars=tuple(sensors.radars),
        tolerance_ns=40 * MS,
        deadline_ns=60 * MS,
        dead_after_ns=300 * MS,
    )
    return Pipeline(sensors, PipelineSettings(**{"sync": sync, "ego_frame": "", **changes}))


def calibrated(**arguments):
    pipeline = pipeline_of(**arguments)
    pipeline.on_message(TF_STATIC_TOPIC, STATIC, START_NS)
    for name in ("A", "B"):
        pipeline.on_message(f"/{name.lower()}/info", info(name), START_NS)
    return pipeline


def feed(pipeline, stamp_ns, skip=(), latency_ns=5 * MS):
    """Send one reading of every sensor; return the frames."""
    frames = []
    for topic, make in (
        ("/r", points),
        ("/a", lambda stamp: picture("A", stamp)),
        ("/b", lambda stamp: picture("B", stamp)),
    ):
        if topic not in skip:
            frames += pipeline.on_message(topic, make(stamp_ns), stamp_ns + latency_ns)
    return frames


def test_a_reading_of_every_sensor_makes_a_frame_with_its_rig():
    pipeline = calibrated()
    (frame,) = feed(pipeline, START_NS + 100 * MS)
    assert frame.stamp_ns == START_NS + 100 * MS
    assert tuple(frame.cameras) == ("A", "B")
    assert [len(scans) for scans in frame.radars.values()] == [1]
    assert tuple(pipeline.rig.cameras) == ("A", "B")
    assert pipeline.take_events() == ["rig rebuilt (calibrated: A, B, R)"]
    assert not pipeline.missing


def test_topics_that_are_not_ours_are_ignored():
    pipeline = calibrated()
    assert pipeline.on_message("/other", object(), START_NS) == []
    assert set(pipeline.topics) == {
        TF_TOPIC, TF_STATIC_TOPIC, "/a", "/a/info", "/b", "/b/info", "/r"
    }  # fmt: skip


def test_a_missing_camera_is_left_out_at_the_deadline_with_the_reason():
    pipeline = calibrated()
    feed(pipeline, START_NS + 100 * MS)
    assert feed(pipeline, START_NS + 200 * MS, skip=("/b",)) == []
    due_ns = pipeline.next_deadline_ns
    assert pipeline.poll(due_ns - 1) == []
    (frame,) = pipeline.poll(due_ns)
    assert tuple(frame.cameras) == ("A",)
    assert "B" in pipeline.missing
    assert frame.missing == pipeline.missing


def test_without_calibration_frames_are_refused_and_counted_with_the_remedy():
    pipeline = pipeline_of()
    for step in range(3):
        frames = feed(pipeline, START_NS + step * 100 * MS)
        frames += pipeline.poll(START_NS + step * 100 * MS + 90 * MS)
        assert frames == []
    assert pipeline.counters[FRAMES]["uncalibrated"] == 3
    texts = [problem.text for problem in pipeline.tally.take_problems()]
    assert any("CameraInfo on /a/info" in text for text in texts)


def test_the_first_frame_waits_for_calibration_that_comes_right_behind_it():
    pipeline = pipeline_of()
    pipeline.on_message(TF_STATIC_TOPIC, STATIC, START_NS)
    stamp_ns = START_NS + 100 * MS
    assert feed(pipeline, stamp_ns) == []
    assert pipeline.on_message("/a/info", info("A"), stamp_ns + 6 * MS) == []
    (frame,) = pipeline.on_message("/b/info", info("B"), stamp_ns + 7 * MS)
    assert tuple(frame.cameras) == ("A", "B")


def test_a_camera_that_is_not_calibrated_is_masked_and_counted():
    pipeline = pipeline_of()
    pipeline.on_message(TF_STATIC_TOPIC, STATIC, START_NS)
    pipeline.on_message("/a/info", info("A"), START_NS)
    frames = feed(pipeline, START_NS + 100 * MS) + pipeline.flush()
    assert [tuple(frame.cameras) for frame in frames] == [("A",)]
    assert pipeline.counters["B"] == {"uncalibrated": 1}
    assert pipeline.missing["B"] == "uncalibrated"


def test_ego_motion_of_every_stamp_comes_from_tf():
    pipeline = calibrated(ego_frame="odom")
    stamp_ns = START_NS + 100 * MS
    for step in range(6):
        pipeline.on_message(TF_TOPIC, odom(stamp_ns + (step - 3) * 10 * MS, 0.1 * step), stamp_ns)
    pipeline.on_message("/r", points(stamp_ns - 20 * MS), stamp_ns)
    pipeline.on_message("/a", picture("A", stamp_ns), stamp_ns)
    (frame,) = pipeline.on_message("/b", picture("B", stamp_ns - 5 * MS), stamp_ns)
    assert frame.stamp_ns == stamp_ns
    assert frame.motion_at(stamp_ns)[0, 3] == 0.0
    assert frame.motion_at(stamp_ns - 20 * MS)[0, 3] == pytest.approx(-0.2)
    assert frame.motion_at(stamp_ns - 5 * MS)[0, 3] == pytest.approx(-0.05)


def driven(arrival_ms, ego_frame="odom"):
    """Drive 1 m every 100 ms; return the frames. Messages come so long after their stamps."""
    pipeline = calibrated(ego_frame=ego_frame)
    frames = []
    for step in range(1, 6):
        stamp_ns, late_ns = START_NS + step * 100 * MS, arrival_ms * MS
        pipeline.on_message(TF_TOPIC, odom(stamp_ns - 5 * MS, step - 0.05), stamp_ns)
        frames += pipeline.on_message(
            TF_TOPIC, odom(stamp_ns + 5 * MS, step + 0.05), stamp_ns + late_ns
        )
        frames += feed(pipeline, stamp_ns, latency_ns=late_ns)
    return frames


def test_a_frame_knows_where_the_vehicle_was_at_its_stamp():
    frames = driven(5)
    assert [f.odom_from_ego[0, 3] for f in frames] == pytest.approx([1, 2, 3, 4, 5])
    finished = frames[2].finish()
    np.testing.assert_array_equal(finished.odom_from_ego, frames[2].odom_from_ego)


def test_where_the_vehicle_was_hangs_on_stamps_and_not_on_the_time_of_arrival():
    frames, late = driven(6), driven(40)
    assert [f.stamp_ns for f in frames] == [f.stamp_ns for f in late]
    for frame, other in zip(frames, late, strict=True):
        np.testing.assert_array_equal(frame.odom_from_ego, other.odom_from_ego)


def test_without_ego_motion_no_frame_claims_to_know_where_it_was():
    assert [f.odom_from_ego for f in driven(5, ego_frame="")] == [None] * 5
    pipeline = calibrated(ego_frame="odom")
    frames = feed(pipeline, START_NS + 100 * MS) + pipeline.flush()
    assert [f.odom_from_ego for f in frames] == [None]


def test_ego_motion_through_two_links_is_the_same():
    pipeline = calibrated(ego_frame="odom")
    stamp_ns = START_NS + 100 * MS
    shift = rigid_transform(np.eye(3), (0, 0, 0.3))
    pipeline.on_message(
        TF_STATIC_TOPIC, transforms(transform("footprint", "base_link", 0, shift)), stamp_ns
    )
    for step in (-2, 0):
        pose = rigid_transform(np.eye(3), (0.1 * step, 0, 0))
        item = transform("odom", "footprint", stamp_ns + step * 10 * MS, pose)
        pipeline.on_message(TF_TOPIC, transforms(item), stamp_ns)
    pipeline.on_message("/r", points(stamp_ns - 20 * MS), stamp_ns)
    pipeline.on_message("/a", picture("A", stamp_ns), stamp_ns)
    (frame,) = pipeline.on_message("/b", picture("B", stamp_ns), stamp_ns)
    assert frame.motion_at(stamp_ns - 20 * MS)[0, 3] == pytest.approx(-0.2)


def test_a_late_ego_pose_is_waited_for_until_the_deadline_and_no_longer():
    pipeline = calibrated(ego_frame="odom")
    pipeline.on_message(TF_TOPIC, odom(START_NS, 0.0), START_NS)
    pipeline.on_message(TF_TOPIC, odom(START_NS + 50 * MS, 0.5), START_NS + 50 * MS)
    stamp_ns = START_NS + 250 * MS
    pipeline.on_message("/r", points(stamp_ns - 30 * MS), stamp_ns)
    pipeline.on_message("/a", picture("A", stamp_ns), stamp_ns)
    assert pipeline.on_message("/b", picture("B", stamp_ns), stamp_ns) == []
    assert pipeline.poll(stamp_ns + 59 * MS) == []
    assert pipeline.next_deadline_ns == stamp_ns + 60 * MS
    (frame,) = pipeline.on_message(TF_TOPIC, odom(stamp_ns, 2.0), stamp_ns + 59 * MS)
    assert frame.motion_at(stamp_ns - 30 * MS)[0, 3] < -0.1

    stamp_ns += 200 * MS
    pipeline.on_message("/r", points(stamp_ns - 30 * MS), stamp_ns)
    pipeline.on_message("/a", picture("A", stamp_ns), stamp_ns)
    pipeline.on_message("/b", picture("B", stamp_ns), stamp_ns)
    (frame,) = pipeline.poll(stamp_ns + 60 * MS)
    assert stamp_ns - 30 * MS not in frame.reference_from_ego
    assert pipeline.counters[FRAMES]["no ego motion"] == 1


def odometry(stamp_ns, x, child="base_link"):
    pose = ns(position=ns(x=x, y=0.0, z=0.0), orientation=ns(w=1.0, x=0.0, y=0.0, z=0.0))
    return ns(header=header(stamp_ns, "odom"), child_frame_id=child, pose=ns(pose=pose))


def test_ego_motion_may_come_from_odometry_and_tf_is_not_asked_then():
    pipeline = calibrated(ego_frame="odom", odometry_topic="/odometry")
    stamp_ns = START_NS + 100 * MS
    pipeline.on_message(TF_TOPIC, odom(stamp_ns, 99.0), stamp_ns)
    for step in (-2, 0):
        pipeline.on_message("/odometry", odometry(stamp_ns + step * 10 * MS, 0.1 * step), stamp_ns)
    pipeline.on_message("/r", points(stamp_ns - 20 * MS), stamp_ns)
    pipeline.on_message("/a", picture("A", stamp_ns), stamp_ns)
    (frame,) = pipeline.on_message("/b", picture("B", stamp_ns), stamp_ns)
    assert frame.motion_at(stamp_ns - 20 * MS)[0, 3] == pytest.approx(-0.2)


def test_odometry_of_another_frame_is_refused_and_explained():
    pipeline = calibrated(odometry_topic="/odometry")
    pipeline.on_message("/odometry", odometry(START_NS, 0.0, child="wheel"), START_NS)
    (problem,) = pipeline.tally.take_problems()
    assert (problem.sensor, problem.reason) == ("odometry", "bad odometry")
    assert "'wheel', not 'base_link'" in problem.text


def test_own_motion_is_taken_out_of_a_radar_that_does_not_do_it():
    raw = {**SENSORS, "radars": {"R": {**SENSORS["radars"]["R"], "velocity_is_compensated": False}}}
    pipeline = calibrated(raw=raw, ego_frame="odom")
    stamp_ns = START_NS + 100 * MS
    pipeline.on_message("/r", points(START_NS), START_NS)  # no motion known yet: refused
    assert "bad scan" in pipeline.counters["R"]
    pipeline.refresh_calibration()
    for step in range(-10, 1):
        at_ns = stamp_ns + step * 10 * MS
        pipeline.on_message(TF_TOPIC, odom(at_ns, 0.1 * step), at_ns)  # 10 m/s
    frames = feed(pipeline, stamp_ns)
    velocity_x = frames[0].radars["R"][0].points[0, 4]
    assert velocity_x == pytest.approx(1.0 + 10.0 * 25 / 26, abs=0.05)


def test_a_radar_without_cameras_whose_velocities_hold_own_motion_gives_frames():
    raw = {"R": {**SENSORS["radars"]["R"], "velocity_is_compensated": False}}
    pipeline = pipeline_of({"radars": raw}, ego_frame="odom")
    pipeline.on_message(TF_STATIC_TOPIC, STATIC, START_NS)
    frames = []
    for step in range(10):
        stamp_ns = START_NS + step * 50 * MS
        frames += pipeline.on_message(TF_TOPIC, odom(stamp_ns, 0.5 * step), stamp_ns)
        frames += pipeline.on_message("/r", points(stamp_ns), stamp_ns + 1 * MS)
    frames += pipeline.flush()
    assert len(frames) == 9  # the first scan came before there was a speed
    assert pipeline.take_events() == ["rig rebuilt (calibrated: R)"]


def test_a_clock_that_goes_back_starts_anew_and_keeps_the_calibration():
    pipeline = calibrated(ego_frame="odom")
    for step in range(5):
        stamp_ns = START_NS + step * 100 * MS
        pipeline.on_message(TF_TOPIC, odom(stamp_ns, 1.0 * step), stamp_ns)
        frames = feed(pipeline, stamp_ns)
    assert len(frames) == 1
    pipeline.take_events()
    back_ns = START_NS - 10_000 * MS
    pipeline.on_message(TF_TOPIC, odom(back_ns, 0.0), back_ns)
    (frame,) = feed(pipeline, back_ns)
    assert frame.stamp_ns == back_ns
    assert any("time went back" in event for event in pipeline.take_events())
    assert len(pipeline.rig.cameras) == 2


def test_a_reset_forgets_what_waits():
    pipeline = calibrated()
    feed(pipeline, START_NS + 100 * MS, skip=("/b",))
    assert pipeline.next_deadline_ns is not None
    pipeline.reset()
    assert pipeline.next_deadline_ns is None
    assert pipeline.flush() == []


def test_the_stamp_offset_of_a_sensor_is_taken_in():
    camera = {**SENSORS["cameras"]["B"], "stamp_offset_ms": -30.0}
    raw = {**SENSORS, "cameras": {"A": SENSORS["cameras"]["A"], "B": camera}}
    pipeline = calibrated(raw=raw)
    (frame,) = feed(pipeline, START_NS + 100 * MS)
    assert frame.cameras["B"].stamp_ns == START_NS + 70 * MS


def test_the_same_messages_give_the_same_frames():
    def run():
        pipeline = calibrated(ego_frame="odom")
        frames = []
        for step in range(10):
            stamp_ns = START_NS + step * 100 * MS
            pipeline.on_message(TF_TOPIC, odom(stamp_ns, 0.3 * step), stamp_ns)
            skip = ("/b",) if step % 3 == 0 else ()
            frames += feed(pipeline, stamp_ns, skip) + pipeline.poll(stamp_ns + 90 * MS)
        return [(f.stamp_ns, tuple(f.cameras), sorted(f.reference_from_ego)) for f in frames]

    assert run() == run()
    assert len(run()) == 10


@pytest.mark.parametrize(
    ("topic", "message", "sensor", "reason"),
    [
        ("/a", image(np.zeros((40, 64, 3), np.uint8), "16UC1"), "A", "bad image"),
        ("/r", points(START_NS, is_bigendian=True), "R", "bad scan"),
        ("/a/info", ns(**{**vars(info("A")), "k": [0.0] * 9}), "A", "bad camera_info"),
    ],
)
def test_a_bad_message_is_counted_and_explained(topic, message, sensor, reason):
    pipeline = calibrated()
    assert pipeline.on_message(topic, message, START_NS) == []
    assert pipeline.counters[sensor][reason] == 1
    (problem,) = pipeline.tally.take_problems()
    assert len(problem.text) > 30
    assert pipeline.tally.take_problems() == []


def compressed_drive():
    """Return the sensor set and messages of a drive with JPEGs; one is corrupt, one comes twice."""
    raw = {**SENSORS, "cameras": {n: {**c, "transport": "compressed"} for n, c in CAMERAS.items()}}
    messages = []
    for step in range(1, 6):
        stamp_ns = START_NS + step * 100 * MS
        messages.append(("/r", points(stamp_ns), stamp_ns))
        for name in ("A", "B"):
            data = jpeg(step, is_corrupt=(step, name) == (3, "B"))
            message = ns(header=header(stamp_ns, f"{name.lower()}_optical"), format="", data=data)
            topic = f"/{name.lower()}/compressed"
            messages += [(topic, message, stamp_ns)] * (2 if (step, name) == (4, "A") else 1)
    return raw, messages


CAMERAS = {n: {**c, "image": f"{c['image']}/compressed"} for n, c in SENSORS["cameras"].items()}


def jpeg(value, is_corrupt=False):
    pixels = np.random.default_rng(value).integers(0, 255, (40, 64, 3), np.uint8)
    raw = bytearray(cv2.imencode(".jpg", pixels)[1].tobytes())
    if is_corrupt:
        raw[raw.index(b"\xff\xc4") + 4] = 0xFF  # an impossible Huffman table
    return bytes(raw)


def drive(threads):
    raw, messages = compressed_drive()
    pipeline = calibrated(raw=raw, decode_threads=threads)
    frames = [f for message in messages for f in pipeline.on_message(*message)]
    frames = [frame.finish() for frame in frames + pipeline.flush()]
    pipeline.close()
    return pipeline, frames


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_frames_and_counts_are_the_same_with_any_number_of_decoding_threads(threads):
    pipeline, frames = drive(threads)
    expected_pipeline, expected = drive(0)
    assert [f.stamp_ns for f in frames] == [f.stamp_ns for f in expected]
    for frame, wanted in zip(frames, expected, strict=True):
        assert tuple(frame.cameras) == tuple(wanted.cameras)
        for name, found in frame.cameras.items():
            np.testing.assert_array_equal(found.pixels, wanted.cameras[name].pixels)
    assert pipeline.counters == expected_pipeline.counters
    assert pipeline.tally.accepted == expected_pipeline.tally.accepted


def test_a_corrupt_image_is_masked_counted_and_explained_and_the_others_are_answered():
    pipeline, frames = drive(1)
    assert [tuple(frame.cameras) for frame in frames] == [
        ("A", "B"), ("A", "B"), ("A",), ("A", "B"), ("A", "B")
    ]  # fmt: skip
    assert pipeline.counters["B"] == {"bad image": 1}
    (problem,) = (p for p in pipeline.tally.take_problems() if p.reason == "bad image")
    assert "corrupt image data" in problem.text


def test_an_image_that_the_synchroniser_refuses_is_not_kept():
    raw, messages = compressed_drive()
    pipeline = calibrated(raw=raw)
    (first, *_) = (m for m in messages if m[0] == "/a/compressed")
    pipeline.on_message(*first)
    message = ns(**vars(first[1]))
    message.data = np.frombuffer(jpeg(9), np.uint8)
    alive = weakref.ref(message.data)
    pipeline.on_message("/a/compressed", message, first[2])
    assert pipeline.counters["A"] == {"duplicate stamp": 1}
    del message
    assert alive() is None
