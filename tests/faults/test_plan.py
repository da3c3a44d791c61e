# SPDX-License-Identifier: Apache-2.0
"""A play: the drive again and again with stamps that run on, and the frames that it should give."""

import numpy as np
import pytest

from imkd_core.data.bags.bag_writer import BagWriter
from imkd_core.data.bags.messages import make, make_header, make_point_cloud
from imkd_core.data.bags.recording import open_bag
from imkd_core.errors import DataError
from tests.faults.injection import Fault, is_picture, is_scan, stamp_of
from tests.faults.plan import CAMERA_HZ, Plan, frames_due, timeline

START_NS = 1_700_000_000_000_000_000
IMAGES = 12


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """A second of two cameras, 40 ms apart, of a radar, and of the ground truth."""
    path = tmp_path_factory.mktemp("bag") / "drive"
    image, cloud = "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/PointCloud2"
    column = {"x": np.zeros(2, np.float32)}
    entries = []
    for number in range(IMAGES):
        stamp_ns = START_NS + round(number * 1e9 / CAMERA_HZ)
        for camera, later_ns in (("cam_front", 0), ("cam_back", 40_000_000)):
            header = make_header(stamp_ns + later_ns, camera)
            message = make(image, header=header, format="jpeg", data=np.zeros(9, np.uint8))
            entries.append((stamp_ns + later_ns, f"/sensing/{camera}/image", image, message))
    for number in range(13):
        stamp_ns = START_NS + round(number * 1e9 / 13) + 5_000_000
        message = make_point_cloud(stamp_ns, "radar_front", column)
        entries.append((stamp_ns, "/sensing/radar_front/points", cloud, message))
        entries.append((stamp_ns, "/ground_truth/objects", cloud, message))
    with BagWriter(path) as writer:
        for stamp_ns, topic, type_name, message in sorted(entries, key=lambda entry: entry[0]):
            writer.write(topic, type_name, stamp_ns, message)
    return path


def played(bag, **values):
    with open_bag(bag) as opened:
        return list(timeline(opened, Plan(**values)))


def test_it_lasts_as_long_as_it_is_told_and_times_run_on(bag):
    messages = played(bag, seconds=3.4)
    times = np.array([one.stamp_ns for one in messages])
    assert (np.diff(times) >= 0).all()
    assert START_NS + 3.2e9 < times[-1] < START_NS + 3.4e9
    assert all(stamp_of(one) == one.stamp_ns for one in messages)


@pytest.mark.parametrize("every", [1, 2, 3])
def test_cameras_keep_their_period_from_pass_to_pass(bag, every):
    images = [one for one in played(bag, seconds=4.0, every=every) if is_picture(one)]
    front = np.array([one.stamp_ns for one in images if "front" in one.topic])
    np.testing.assert_allclose(np.diff(front), every * 1e9 / CAMERA_HZ, atol=2)
    assert Plan(seconds=1.0, every=every).period_s == pytest.approx(every / CAMERA_HZ)


def test_no_scan_follows_another_too_soon_and_the_truth_is_not_played(bag):
    messages = played(bag, seconds=4.0)
    scans = np.array([one.stamp_ns for one in messages if is_scan(one)])
    assert np.diff(scans).min() >= 40_000_000
    assert {one.topic for one in messages if is_scan(one)} == {"/sensing/radar_front/points"}


def test_frames_that_are_due_are_the_turns_of_all_cameras(bag):
    due = frames_due(bag, Plan(seconds=2.0, every=2))
    assert len(due) == 12
    assert {one.last_ns - one.first_ns for one in due} == {40_000_000}


def test_a_plan_survives_its_file_and_another_file_is_refused(tmp_path):
    fault = Fault(kind="late", sensors=("CAM_FRONT", "TF"), begin_s=1.0, end_s=2.5, amount=50.0)
    plan = Plan(seconds=9.0, every=2, faults=(fault,), seed=3)
    plan.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json") == plan
    (tmp_path / "plan.json").write_text('{"seconds": 3}')
    with pytest.raises(DataError, match="no plan"):
        Plan.read(tmp_path / "plan.json")
