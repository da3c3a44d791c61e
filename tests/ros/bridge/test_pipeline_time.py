# SPDX-License-Identifier: Apache-2.0
"""Message -> frame without ROS where time goes back, sensors lie, and frames do not come about."""

import pytest

from imkd_core.runtime.slots import DROP_BEHIND, MISSING_JUMP, SyncSettings
from imkd_ros.bridge.pipeline import TF_STATIC_TOPIC, TF_TOPIC
from imkd_ros.bridge.tally import FRAMES
from tests.ros.bridge.test_pipeline import (
    MS,
    SENSORS,
    START_NS,
    STATIC,
    calibrated,
    feed,
    info,
    odom,
    picture,
    pipeline_of,
    points,
)


def offset(frame):
    """x of the vehicle in a frame; None where it is not known."""
    return None if frame.odom_from_ego is None else frame.odom_from_ego[0, 3]


def pass_of(pipeline, shift_m, now_ns=0, skip_last=("/b",)):
    """Drive 10 m/s for a second; the last frame lacks a camera and waits for it."""
    frames = []
    for step in range(10):
        stamp_ns = START_NS + step * 100 * MS
        for late_ms in (-10, 0):
            at_ns = stamp_ns + late_ms * MS
            pose = odom(at_ns, shift_m + (at_ns - START_NS) * 1e-8)
            frames += pipeline.on_message(TF_TOPIC, pose, at_ns + now_ns)
        frames += feed(pipeline, stamp_ns, skip_last if step == 9 else (), 5 * MS + now_ns)
    return frames


def test_at_a_loop_the_last_frame_of_a_pass_is_given_where_the_vehicle_was_then():
    pipeline = calibrated(ego_frame="odom")
    frames = pass_of(pipeline, 0.0)
    frames += pass_of(pipeline, 500.0)
    stamps = [(frame.stamp_ns - START_NS) // MS for frame in frames]
    assert stamps == [*range(0, 1000, 100), *range(0, 900, 100)]
    assert [offset(frame) for frame in frames[:10]] == pytest.approx(range(10), abs=1e-3)
    assert [offset(frame) for frame in frames[10:]] == pytest.approx(range(500, 509), abs=1e-3)
    assert frames[9].missing == {"B": MISSING_JUMP}
    assert "no ego motion" not in pipeline.counters[FRAMES]
    assert sum("time went back" in event for event in pipeline.take_events()) == 1


def test_stamps_that_go_back_under_a_clock_that_runs_on_lose_no_frame_either():
    pipeline = calibrated(ego_frame="odom")
    frames = pass_of(pipeline, 0.0)
    frames += pass_of(pipeline, 500.0, now_ns=950 * MS)
    stamps = [(frame.stamp_ns - START_NS) // MS for frame in frames]
    assert stamps == [*range(0, 1000, 100), *range(0, 900, 100)]
    assert [offset(frame) for frame in frames[:10]] == pytest.approx(range(10), abs=1e-3)
    assert [offset(frame) for frame in frames[10:]] == pytest.approx(range(500, 509), abs=1e-3)


def test_a_frame_that_the_clock_overtakes_does_not_wait_for_the_time_before():
    pipeline = calibrated(ego_frame="odom")
    pass_of(pipeline, 0.0)
    old_ns, new_ns = START_NS + 910 * MS, START_NS + 5 * MS
    pipeline.on_message("/a", picture("A", START_NS), old_ns)
    pipeline.on_message("/b", picture("B", START_NS), old_ns)
    pipeline.on_message(TF_TOPIC, odom(START_NS - 500 * MS, 0.0), old_ns)
    frames = pipeline.on_message("/r", points(START_NS - 20 * MS), new_ns)
    while not frames and (due_ns := pipeline.next_deadline_ns) is not None:
        assert due_ns <= new_ns + 60 * MS
        frames = pipeline.poll(due_ns)
    (frame,) = frames
    assert (tuple(frame.cameras), tuple(frame.radars)) == (("A", "B"), ("R",))


def test_poses_from_before_a_jump_are_not_those_of_the_new_time():
    pipeline = calibrated(ego_frame="odom")
    pass_of(pipeline, 0.0)
    frames = [
        frame
        for step in range(3)
        for frame in feed(pipeline, START_NS + (300 + step * 100) * MS, latency_ns=5 * MS)
    ]
    frames += pipeline.flush()
    new = [frame for frame in frames if frame.stamp_ns < START_NS + 900 * MS]
    assert len(new) == 3
    assert [frame.odom_from_ego for frame in new] == [None] * 3


@pytest.mark.parametrize("behind_ms", [1000, 100_000])
def test_a_sensor_that_lies_alone_is_told_by_its_name_and_the_others_go_on(behind_ms):
    pipeline = calibrated()
    frames = []
    for step in range(30):
        stamp_ns = START_NS + step * 100 * MS
        now_ns = stamp_ns + 5 * MS
        lie_ns = behind_ms * MS if 10 <= step < 20 else 0
        frames += pipeline.poll(now_ns)
        frames += pipeline.on_message("/b", picture("B", stamp_ns - lie_ns), now_ns)
        frames += pipeline.on_message("/a", picture("A", stamp_ns), now_ns)
        frames += pipeline.on_message("/r", points(stamp_ns), now_ns)
    frames += pipeline.flush()
    assert [(f.stamp_ns - START_NS) // MS for f in frames] == [*range(0, 3000, 100)]
    assert [tuple(f.cameras) for f in frames] == [("A", "B")] * 10 + [("A",)] * 10 + [
        ("A", "B")
    ] * 10
    assert pipeline.counters["B"] == {DROP_BEHIND: 10}
    assert pipeline.tally.accepted == dict.fromkeys("ABR", 30)
    assert DROP_BEHIND not in pipeline.counters[FRAMES]
    told = [problem for problem in pipeline.tally.take_problems() if problem.reason == DROP_BEHIND]
    assert [problem.sensor for problem in told] == ["B"]
    assert "synchronise the clocks" in told[0].text
    assert not any("time went back" in event for event in pipeline.take_events())


def test_radars_drive_on_where_no_camera_ever_gave_its_calibration():
    pipeline = pipeline_of()
    pipeline.on_message(TF_STATIC_TOPIC, STATIC, START_NS)
    frames = []
    for step in range(5):
        stamp_ns = START_NS + step * 100 * MS
        frames += feed(pipeline, stamp_ns) + pipeline.poll(stamp_ns + 90 * MS)
    assert [(tuple(f.cameras), tuple(f.radars)) for f in frames] == [((), ("R",))] * 5
    assert {f.missing["A"] for f in frames} == {"uncalibrated"}
    assert "/a/info" in pipeline.uncalibrated["A"]
    assert "uncalibrated" not in pipeline.counters[FRAMES]
    for name in ("A", "B"):
        pipeline.on_message(f"/{name.lower()}/info", info(name), START_NS + 500 * MS)
    (frame,) = feed(pipeline, START_NS + 600 * MS)
    assert tuple(frame.cameras) == ("A", "B")


def test_frames_without_a_calibrated_sensor_are_told_each():
    pipeline = pipeline_of()
    for step in range(3):
        feed(pipeline, START_NS + step * 100 * MS)
        pipeline.poll(START_NS + step * 100 * MS + 90 * MS)
    unmade = pipeline.take_unmade()
    assert [(stamp_ns - START_NS) // MS for stamp_ns, _ in unmade] == [0, 100, 200]
    assert {reason for _, reason in unmade} == {"none of its sensors is calibrated"}
    assert pipeline.take_unmade() == []


def test_frames_that_a_reset_forgets_are_told():
    pipeline = calibrated(ego_frame="odom")
    pass_of(pipeline, 0.0)
    assert pipeline.take_unmade() == []
    pipeline.reset()
    (unmade,) = pipeline.take_unmade()
    assert unmade == (START_NS + 900 * MS, "a reset forgot its readings")


def test_a_frame_that_waits_for_its_poses_when_a_reset_comes_is_told():
    pipeline = calibrated(ego_frame="odom")
    pipeline.on_message(TF_TOPIC, odom(START_NS, 0.0), START_NS)
    feed(pipeline, START_NS + 300 * MS)
    pipeline.reset()
    assert [reason for _, reason in pipeline.take_unmade()] == ["a reset forgot its readings"]


def lagging(pipeline, stamp_ns, lag_ms):
    """Send a pose that is late, and a frame whose scan is older than its images."""
    frames = pipeline.on_message(TF_TOPIC, odom(stamp_ns - lag_ms * MS, 0.0), stamp_ns)
    frames += pipeline.on_message("/r", points(stamp_ns - 10 * MS), stamp_ns + 1 * MS)
    frames += pipeline.on_message("/a", picture("A", stamp_ns), stamp_ns + 2 * MS)
    return frames + pipeline.on_message("/b", picture("B", stamp_ns), stamp_ns + 3 * MS)


def test_at_the_end_every_frame_is_given_where_several_wait_for_poses():
    sync = SyncSettings(cameras=("A", "B"), radars=("R",), deadline_ns=150 * MS)
    pipeline = calibrated(ego_frame="odom", sync=sync)
    frames = []
    for step in range(5):
        frames += lagging(pipeline, START_NS + step * 100 * MS, lag_ms=400)
    frames += pipeline.flush()
    assert [(frame.stamp_ns - START_NS) // MS for frame in frames] == [*range(0, 500, 100)]
    assert pipeline.next_deadline_ns is None


def test_a_late_pose_is_waited_for_until_the_deadline_also_where_silence_is_looked_at_sooner():
    sensors = {"cameras": {"A": SENSORS["cameras"]["A"]}, "radars": SENSORS["radars"]}
    sync = SyncSettings(cameras=("A",), radars=("R",), deadline_ns=150 * MS)
    pipeline = pipeline_of(sensors, ego_frame="odom", sync=sync)
    pipeline.on_message(TF_STATIC_TOPIC, STATIC, START_NS)
    pipeline.on_message("/a/info", info("A"), START_NS)
    events = []
    for step in range(40):
        image_ns, scan_ns = START_NS + step * 83 * MS, START_NS + (step * 83 + 35) * MS
        events.append((image_ns + 5 * MS, "/a", picture("A", image_ns)))
        events.append((scan_ns + 5 * MS, "/r", points(scan_ns)))
    for step in range(200):
        at_ns = START_NS + (step - 10) * 20 * MS
        events.append((at_ns + 120 * MS, TF_TOPIC, odom(at_ns, 0.2 * step)))
    frames = []
    for now_ns, topic, message in sorted(events, key=lambda event: event[0]):
        while (due_ns := pipeline.next_deadline_ns) is not None and due_ns < now_ns:
            frames += pipeline.poll(due_ns)
        frames += pipeline.on_message(topic, message, now_ns)
    frames += pipeline.flush()
    assert len(frames) >= 40
    assert all(frame.odom_from_ego is not None for frame in frames[:40])
