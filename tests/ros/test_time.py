# SPDX-License-Identifier: Apache-2.0
"""Time over real DDS: whose stamps the outputs carry, simulated clocks, loops and jumps."""

import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import MarkerArray

from tests.ros.node_bench import SENSORS
from tests.ros.simulated_time import BEGIN_NS, MS, SECOND, SimulatedTime

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]


@pytest.fixture
def make_bench(make_told_bench):
    return make_told_bench


def nanoseconds(header):
    return header.stamp.sec * SECOND + header.stamp.nanosec


def test_every_output_of_a_frame_carries_its_stamp_and_frame_never_the_time_of_publishing(
    make_bench,
):
    bench = make_bench()
    tables, markers, latencies = [], [], []
    bench.listen_to_boxes()
    bench.listen(PointCloud2, "/imkd_detector/output/objects", tables)
    bench.listen(MarkerArray, "/imkd_detector/debug/markers", markers)
    bench.listen(DiagnosticArray, "/imkd_detector/debug/latency", latencies)
    bench.calibrate()
    sent = []

    def fed():
        sent.append(bench.publish_frame())
        return bench.wait(lambda: len(tables) >= 3 and len(markers) >= 3 and latencies, 0.15)

    assert any(fed() for _ in range(60))
    bench.wait(lambda: False, 0.5)
    for message in bench.boxes:
        assert nanoseconds(message.header) in sent
        assert {nanoseconds(box.header) for box in message.detections} == {
            nanoseconds(message.header)
        }
        assert {box.header.frame_id for box in message.detections} == {"base_link"}
        scores = [box.results[0].hypothesis.score for box in message.detections]
        assert scores == sorted(scores, reverse=True)
        assert {box.id for box in message.detections} == {""}
    stamps = {nanoseconds(message.header) for message in bench.boxes}
    assert {nanoseconds(table.header) for table in tables} <= stamps
    assert {nanoseconds(m.header) for array in markers for m in array.markers[1:]} <= stamps
    assert {nanoseconds(message.header) for message in latencies} <= stamps
    assert {told.stamp_ns for told in bench.told if told.outcome == "answered"} >= stamps


def test_the_offset_of_each_sensor_is_added_to_its_stamps(make_bench):
    cameras = {
        name: {**given, "stamp_offset_ms": -30.0} for name, given in SENSORS["cameras"].items()
    }
    radars = {
        name: {**given, "stamp_offset_ms": -50.0} for name, given in SENSORS["radars"].items()
    }
    bench = make_bench(sensors={"cameras": cameras, "radars": radars})
    bench.listen_to_boxes()
    bench.calibrate()
    sent = []

    def fed():
        sent.append(bench.publish_frame())
        return bench.wait(
            lambda: (
                bench.boxes
                and any(t.level == "full" and t.outcome == "answered" for t in bench.told)
            ),
            0.15,
        )

    assert any(fed() for _ in range(60))
    assert nanoseconds(bench.boxes[-1].header) + 30 * MS in sent
    whole = [told for told in bench.told if told.level == "full"]
    assert {told.values[f"age_ms/{name}"] for told in whole for name in cameras} == {"0.0"}
    assert all(told.stamp_ns + 30 * MS in sent for told in whole if told.outcome == "answered")
    assert "20.0" in {told.values["age_ms/RADAR"] for told in whole}


def test_simulated_time_without_a_clock_is_told_in_status_and_diagnostics(make_bench):
    bench = make_bench(use_sim_time=True)
    assert bench.wait(lambda: bench.level("frames") == 2)
    assert "/clock" in bench.status("frames").message
    assert bench.wait(lambda: bench.told)
    assert "time stands still" in bench.told[-1].outcome
    assert (bench.told[-1].level, bench.told[-1].stamp_ns) == ("blind", 0)


def test_a_bag_that_loops_and_a_clock_that_jumps_cost_a_few_frames_and_nothing_else(make_bench):
    bench = make_bench(use_sim_time=True)
    bench.listen_to_boxes()
    time = SimulatedTime(bench)
    bench.calibrate()
    assert time.plays(lambda: len(bench.boxes) >= 5)
    for jump_ns in (-(time.now_ns - BEGIN_NS) + 7 * MS, 3600 * SECOND, -30 * SECOND):
        time.tick(jump_ns)
        begin_ns, bench.boxes[:] = time.now_ns, []
        assert time.plays(
            lambda begin_ns=begin_ns: (
                len(
                    {nanoseconds(m.header) for m in bench.boxes if nanoseconds(m.header) > begin_ns}
                )
                >= 3
            )
        ), jump_ns
        after = [nanoseconds(m.header) for m in bench.boxes if nanoseconds(m.header) > begin_ns]
        assert after == sorted(set(after))
        assert max(after) < time.now_ns
    assert bench.level("frames") == 0


def test_when_all_sensors_stop_where_a_clock_went_back_the_node_is_blind(make_bench):
    bench = make_bench(use_sim_time=True)
    bench.listen_to_boxes()
    time = SimulatedTime(bench)
    bench.calibrate()
    assert time.plays(lambda: len(bench.boxes) >= 3)
    time.tick(-20 * SECOND)

    def is_blind():
        time.tick(50 * MS)
        return bool(bench.told) and bench.told[-1].level == "blind"

    assert any(is_blind() for _ in range(100))


def test_sensors_of_different_rates_make_frames_of_what_is_there(make_bench):
    bench = make_bench()
    bench.listen_to_boxes()
    bench.calibrate()
    turns = iter(range(10_000))

    def step():
        skip = [] if next(turns) % 4 == 0 else ["CAM_B"]  # a camera of a quarter of the rate
        bench.publish_frame(skip=skip)
        bench.wait(lambda: False, 0.08)
        return len(bench.boxes) >= 24

    assert any(step() for _ in range(120))
    answered = [told for told in bench.told if told.outcome == "answered"]
    resting = [told for told in answered if told.missing.get("CAM_B") == "not due"]
    assert len(resting) >= 8
    assert sum("CAM_B" not in told.missing for told in answered) >= 4
    assert {told.level for told in resting} == {"full"}
