# SPDX-License-Identifier: Apache-2.0
"""Made-up facts -> what is said of them, and with which remedy."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.geometry import rigid_transform
from imkd_core.health.check import AMBER, GREEN, RED, Check
from imkd_core.types import CameraModel
from imkd_ros.bridge.parameter_file import read_settings
from imkd_ros.doctor.facts import (
    CameraFacts,
    ClockFacts,
    Endpoint,
    FrameFacts,
    NodeFacts,
    Observation,
    RadarFacts,
    Traffic,
)
from imkd_ros.doctor.judge_topics import conflict
from imkd_ros.doctor.judge_views import gaps_deg
from imkd_ros.doctor.judgement import judge, merged
from imkd_ros.doctor.wanted import Role, wanted
from tests.ros.doctor.made_up_drive import CAMERAS, RADARS, frame_of, pose_of, write_sensors

SECOND = 1_000_000_000
NOW_NS = 1_700_000_000 * SECOND


@pytest.fixture(scope="module")
def want(tmp_path_factory):
    path = write_sensors(tmp_path_factory.mktemp("sensors") / "sensors.yaml")
    return wanted(read_settings(None, {"sensors_file": str(path)}))


def traffic(frame="", age_s=0.03, count=30):
    stamps = NOW_NS + np.arange(count) * SECOND // 10
    return Traffic(arrivals_ns=stamps + round(age_s * SECOND), stamps_ns=stamps, frame_ids=(frame,))


def camera_facts(frame):
    k = np.array([[32.0, 0.0, 31.5], [0.0, 32.0, 15.5], [0.0, 0.0, 1.0]])
    model = CameraModel(width_px=64, height_px=32, pixel_from_cam=k, ego_from_cam=np.eye(4))
    return CameraFacts(model=model, info_frame=frame, sizes_px=((64, 32),))


RADAR = RadarFacts(
    fields=("x", "y"),
    returns=np.full(30, 40),
    kept=np.full(30, 30),
    range_m=(5.0, 20.0, 60.0),
    speed_mps=(0.0, 0.5, 12.0),
    rcs_dbsm=(-5.0, 2.0, 15.0),
    azimuth_rad=(-1.0, 1.0),
    dropped={},
    refusals={},
    faults={},
)


def healthy(want):
    """A running graph that nothing is wrong with."""
    names = want.sensors.names
    return Observation(
        source="made up",
        seconds=3.0,
        start_ns=NOW_NS,
        end_ns=NOW_NS + 3 * SECOND,
        publishers={
            t.name: (
                Endpoint(node="/all", type_name=t.type_name, is_reliable=True, is_latched=True),
            )
            for t in want.topics
        },
        subscribers={},
        traffic={t.name: traffic(frame_of(t.sensor) if t.sensor else "") for t in want.topics},
        cameras={name: camera_facts(frame_of(name)) for name in CAMERAS},
        radars=dict.fromkeys(RADARS, RADAR),
        frames=FrameFacts(
            frames=frozenset({"odom", "base_link", *map(frame_of, names)}),
            frame_of={name: frame_of(name) for name in names},
            ego_from_sensor={name: pose_of(name) for name in names},
            refusals={},
            poses=60,
            speed_mps=5.0,
            jumps=0,
            known_share=1.0,
        ),
        clock=ClockFacts(is_used=False, publishers=0, ticks=0, advance_s=0.0),
        node=NodeFacts(is_there=True, state="active", status="all sensors"),
    )


def topic_of(want, sensor, role):
    return want.of_sensor(sensor, role)[0].name


def told(observation, want, name):
    """Return the lines of a name that are not green: (level, found, remedy)."""
    checks = judge(observation, want)
    return [(c.level, c.found, c.remedy) for c in checks if c.name == name and c.level != GREEN]


def with_traffic(observation, topic, **changes):
    changed = replace(observation.traffic[topic], **changes)
    return replace(observation, traffic={**observation.traffic, topic: changed})


def test_a_healthy_graph_has_a_green_line_for_each_sensor_and_no_fault(want):
    checks = judge(healthy(want), want)
    assert {c.name for c in checks if c.level == RED} == set()
    assert {c.name for c in checks if c.level == AMBER} == {"cameras' view", "radars' view"}
    lines = {c.name: c.found for c in checks}
    assert lines["CAM_FRONT"].startswith("10.0 Hz, 30 ms old, 64 x 32 px, 90 degrees wide")
    assert lines["RADAR_FRONT_LEFT"].endswith("looks to 90 degrees")
    assert lines["node /imkd_detector"] == "is active and says: all sensors"


# -- topics


@pytest.mark.parametrize(
    ("offered", "asked", "fits"),
    [
        ((True, True), (True, True), True),
        ((True, False), (False, False), True),
        ((False, False), (False, False), True),
        ((False, False), (True, False), False),
        ((True, False), (True, True), False),
    ],
)
def test_qos_fits_where_the_publisher_offers_at_least_what_is_asked(offered, asked, fits):
    end = Endpoint(node="/a", type_name="t", is_reliable=offered[0], is_latched=offered[1])
    assert (conflict(end, *asked) == "") is fits


def test_a_topic_of_another_type_is_named_with_both(want):
    seen, topic = healthy(want), topic_of(want, "CAM_FRONT", Role.COMPRESSED)
    end = replace(seen.publishers[topic][0], type_name="sensor_msgs/msg/Image")
    left = {name: item for name, item in seen.traffic.items() if name != topic}
    seen = replace(seen, publishers={**seen.publishers, topic: (end,)}, traffic=left)
    ((level, found, remedy),) = told(seen, want, "CAM_FRONT")
    assert level == RED
    assert "carries sensor_msgs/msg/Image, not sensor_msgs/msg/CompressedImage" in found
    assert "transport" in remedy


def test_a_volatile_tf_static_is_told_with_what_to_publish(want):
    seen = healthy(want)
    end = replace(seen.publishers["/tf_static"][0], is_latched=False)
    seen = replace(seen, publishers={**seen.publishers, "/tf_static": (end,)})
    ((level, found, remedy),) = told(seen, want, "/tf_static")
    assert level == RED
    assert "/all is volatile" in found
    assert remedy == "publish /tf_static with RELIABLE and TRANSIENT_LOCAL QoS"


def test_a_publisher_that_is_silent_is_dead_and_not_absent(want):
    seen, topic = healthy(want), topic_of(want, "RADAR_FRONT", Role.POINTS)
    left = {name: item for name, item in seen.traffic.items() if name != topic}
    ((level, found, _),) = told(replace(seen, traffic=left), want, "RADAR_FRONT")
    assert level == RED
    assert "/all sends nothing on it in 3.0 s: dead" in found


def test_a_listener_of_an_output_that_asks_for_more_than_is_offered_is_told(want):
    seen, topic = healthy(want), f"{want.node}/output/detections"
    offered = Endpoint(node=want.node, type_name="t", is_reliable=True, is_latched=False)
    listener = Endpoint(node="/planner", type_name="t", is_reliable=True, is_latched=True)
    seen = replace(
        seen,
        publishers={**seen.publishers, topic: (offered,)},
        subscribers={topic: (listener,)},
    )
    ((level, found, _),) = told(seen, want, topic)
    assert level == AMBER
    assert found.startswith("/planner gets nothing")


def test_a_slow_sensor_and_one_that_loses_messages_are_notes(want):
    seen = healthy(want)
    topic = topic_of(want, "CAM_FRONT", Role.COMPRESSED)
    whole = seen.traffic[topic]
    slow = with_traffic(
        seen, topic, arrivals_ns=whole.arrivals_ns[::4], stamps_ns=whole.stamps_ns[::4]
    )
    assert "2.5 Hz, and the others of its kind 10.0 Hz" in told(slow, want, "CAM_FRONT")[0][1]
    kept = np.arange(30) % 7 != 3
    lossy = with_traffic(
        seen, topic, arrivals_ns=whole.arrivals_ns[kept], stamps_ns=whole.stamps_ns[kept]
    )
    assert "about 4 of 30 readings did not arrive" in told(lossy, want, "CAM_FRONT")[0][1]


# -- time


@pytest.mark.parametrize(
    ("age_s", "level", "words"),
    [
        (-0.5, RED, "0.50 s in the future; the node drops"),
        (-0.1, AMBER, "100 ms in the future"),
        (0.3, AMBER, "apart by more than sync.tolerance_ms"),
        (4.0, RED, "stale clock: its stamps are 4.00 s old"),
    ],
)
def test_stamps_of_another_clock_are_told_by_how_far_they_are_off(want, age_s, level, words):
    seen, topic = healthy(want), topic_of(want, "CAM_FRONT", Role.COMPRESSED)
    arrivals = seen.traffic[topic].stamps_ns + round(age_s * SECOND)
    found = told(with_traffic(seen, topic, arrivals_ns=arrivals), want, "CAM_FRONT")
    assert any(item[0] == level and words in item[1] for item in found), found


def test_a_recording_in_simulated_time_is_one_note_and_no_fault(want):
    seen = replace(healthy(want), clock=None, node=None)
    shifted = {
        name: replace(item, arrivals_ns=item.arrivals_ns + 3600 * SECOND)
        for name, item in seen.traffic.items()
    }
    end_ns = seen.end_ns + 3600 * SECOND
    checks = judge(replace(seen, traffic=shifted, end_ns=end_ns), want)
    assert not [check for check in checks if check.level == RED]
    assert [c.found for c in checks if c.name == "clock"] == [
        "all stamps are about 3600.0 s older than the times of recording"
    ]


def test_stamps_that_stand_still_or_are_none_are_faults(want):
    seen, topic = healthy(want), topic_of(want, "RADAR_FRONT", Role.POINTS)
    whole = seen.traffic[topic]
    still = with_traffic(seen, topic, stamps_ns=np.full(30, whole.stamps_ns[-1]))
    assert any("stamps stand still" in found for _, found, _ in told(still, want, "RADAR_FRONT"))
    none = with_traffic(seen, topic, stamps_ns=np.zeros(30, dtype=np.int64))
    assert any("30 of 30 stamps are zero" in f for _, f, _ in told(none, want, "RADAR_FRONT"))


@pytest.mark.parametrize(
    ("clock", "level", "words"),
    [
        (ClockFacts(is_used=True, publishers=0, ticks=0, advance_s=0.0), RED, "nobody publishes"),
        (ClockFacts(is_used=True, publishers=1, ticks=50, advance_s=0.0), RED, "stands still"),
        (
            ClockFacts(is_used=True, publishers=1, ticks=50, advance_s=1.0, silent_s=2.0),
            RED,
            "stands still",
        ),
        (ClockFacts(is_used=False, publishers=1, ticks=50, advance_s=3.0), AMBER, "does not go by"),
        (ClockFacts(is_used=True, publishers=1, ticks=9, advance_s=2.9, jumps=1), AMBER, "back 1"),
    ],
)
def test_a_clock_that_is_none_is_told(want, clock, level, words):
    ((found_level, found, remedy),) = told(replace(healthy(want), clock=clock), want, "clock")
    assert found_level == level
    assert words in found
    assert remedy


# -- sensors


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({"range_m": (5e3, 2e4, 6e4)}, RED, "millimetres instead of metres"),
        ({"range_m": (50.0, 200.0, 600.0)}, AMBER, "no radar of a car sees so"),
        ({"dropped": {"implausible": 600}}, RED, "50 % of its returns cannot be"),
        ({"speed_mps": (0.0, 2.0, 90.0)}, AMBER, "faster than 90 m/s"),
        ({"rcs_dbsm": (0.0, 50.0, 90.0)}, AMBER, "above 90 dBsm"),
        ({"faults": {"frozen": 1}}, RED, "frozen: it sends the same"),
        ({"faults": {"interfered": 1}}, AMBER, "interfered: its returns have become"),
        ({"kept": np.zeros(30, int), "dropped": {"filtered": 1200}}, RED, "filter leaves none"),
    ],
)
def test_a_radar_whose_returns_cannot_be_is_told(want, changes, level, words):
    seen = healthy(want)
    radars = {**seen.radars, "RADAR_FRONT": replace(RADAR, **changes)}
    found = told(replace(seen, radars=radars), want, "RADAR_FRONT")
    assert any(item[0] == level and words in item[1] and item[2] for item in found), found


def test_images_that_name_the_frame_of_another_camera_are_swapped(want):
    seen, topic = healthy(want), topic_of(want, "CAM_FRONT", Role.COMPRESSED)
    other = frame_of("CAM_FRONT_LEFT")
    ((level, found, _),) = told(with_traffic(seen, topic, frame_ids=(other,)), want, "CAM_FRONT")
    assert level == RED
    assert "swapped cameras" in found
    assert "of CAM_FRONT_LEFT" in found


def test_a_frame_of_the_housing_is_no_optical_frame(want):
    seen = healthy(want)
    body = rigid_transform(np.eye(3), (1.0, 0.0, 1.5))
    poses = {**seen.frames.ego_from_sensor, "CAM_FRONT": body}
    seen = replace(seen, frames=replace(seen.frames, ego_from_sensor=poses))
    found = told(seen, want, "CAM_FRONT")
    assert any(level == RED and "wrong axes" in text for level, text, _ in found), found


# -- frames and ego motion


def test_many_sensors_that_lack_tf_for_one_reason_are_one_line(want):
    seen = healthy(want)
    frames = replace(seen.frames, frames=frozenset(), ego_from_sensor={}, poses=0)
    checks = judge(replace(seen, frames=frames), want)
    (line,) = [c for c in checks if c.level == RED and "missing TF" in c.found]
    assert "CAM_FRONT_LEFT, RADAR_FRONT, RADAR_FRONT_LEFT" in line.found
    assert any(c.name == "ego motion" and c.level == RED for c in checks)


def test_a_base_frame_that_is_called_otherwise_is_guessed(want):
    seen = healthy(want)
    names = (seen.frames.frames - {"base_link"}) | {"base_links"}
    frames = replace(seen.frames, frames=names, ego_from_sensor={})
    checks = judge(replace(seen, frames=frames), want)
    assert any("did you mean base_links?" in c.remedy for c in checks)


@pytest.mark.parametrize(("share", "level"), [(0.2, RED), (0.6, AMBER)])
def test_odometry_of_another_clock_is_told_by_the_share_of_stamps(want, share, level):
    seen = healthy(want)
    frames = replace(seen.frames, known_share=share)
    ((found_level, _, remedy),) = told(replace(seen, frames=frames), want, "ego motion")
    assert found_level == level
    assert "the same clock" in remedy


# -- the node


@pytest.mark.parametrize(
    ("node", "level", "words"),
    [
        (NodeFacts(is_there=False), AMBER, "does not run"),
        (NodeFacts(is_there=True, state="unconfigured"), RED, "is unconfigured"),
        (NodeFacts(is_there=True, state="inactive"), AMBER, "is inactive"),
        (NodeFacts(is_there=True), AMBER, "does not answer"),
        (
            NodeFacts(is_there=True, state="active", status="blind", status_level=2),
            RED,
            "says: blind",
        ),
    ],
)
def test_the_detector_itself_is_told(want, node, level, words):
    name = f"node {want.node}"
    ((found_level, found, remedy),) = told(replace(healthy(want), node=node), want, name)
    assert found_level == level
    assert words in found
    assert remedy


# -- the table


def test_the_same_trouble_of_many_is_one_line_and_of_two_is_two():
    def line(name, number):
        return Check(name=name, level=RED, found=f"{number} of /{name}/x", remedy="mend it")

    many = list(merged([line(name, 7.5 * i) for i, name in enumerate(("A", "B", "C"))]))
    assert [check.found for check in many] == ["0.0 of /A/x (and the same: B, C)"]
    assert len(list(merged([line("A", 1), line("B", 2)]))) == 2


@given(st.lists(st.tuples(st.integers(0, 359), st.integers(1, 200)), max_size=4))
def test_gaps_and_what_is_seen_make_the_whole_circle(views):
    seen = np.zeros(360, dtype=bool)
    for start, width in views:
        seen[np.arange(start, start + width) % 360] = True
    gaps = gaps_deg(seen)
    if not views:
        assert gaps == [(-180, 180)]
        return
    covered = np.ones(360, dtype=bool)
    for low, high in gaps:
        covered[np.arange(low, low + (high - low) % 360) % 360] = False
    assert covered.tolist() == seen.tolist()
