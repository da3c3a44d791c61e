# SPDX-License-Identifier: Apache-2.0
"""The faulty player, as a process over real DDS: it plays what the plan says, and tells when."""

import json

import numpy as np
import pytest

pytest.importorskip("rclpy")

from imkd_core.data.bags.bag_writer import BagWriter
from imkd_core.data.bags.messages import make, make_header
from imkd_ros.graph.sent_log import read_sent_log
from tests.faults.injection import Fault
from tests.faults.plan import CAMERA_HZ, Plan
from tests.ros.bag_tools import run

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]

START_NS = 1_700_000_000_000_000_000
IMAGE = "sensor_msgs/msg/CompressedImage"


def test_it_plays_the_drive_again_without_what_is_lost_and_says_when(tmp_path):
    with BagWriter(tmp_path / "drive") as writer:
        for number in range(CAMERA_HZ // 2):
            stamp_ns = START_NS + round(number * 1e9 / CAMERA_HZ)
            header = make_header(stamp_ns, "cam")
            image = make(IMAGE, header=header, format="jpeg", data=np.zeros(9, np.uint8))
            for camera in ("cam_front", "cam_back"):
                writer.write(f"/sensing/{camera}/image", IMAGE, stamp_ns, image)
    lost = Fault(kind="lost", sensors=("CAM_FRONT",), begin_s=0.5, end_s=1.0)
    Plan(seconds=1.5, faults=(lost,)).write(tmp_path / "plan.json")
    played = run(
        *("tests.faults.player", tmp_path / "drive", "--plan", tmp_path / "plan.json"),
        *("--sent-log", tmp_path / "sent.txt", "--linger", "0"),
    )
    assert played.returncode == 0, played.stderr
    counts = json.loads(played.stdout.splitlines()[-1])["topics"]
    assert counts == {"/sensing/cam_front/image": 12, "/sensing/cam_back/image": 18}
    sent = [one for one in read_sent_log(tmp_path / "sent.txt") if "front" in one.topic]
    seconds = np.array([one.stamp_ns - START_NS for one in sent]) * 1e-9
    assert not ((seconds > 0.5 - 1e-6) & (seconds < 1.0 - 1e-6)).any()
    assert seconds[-1] == pytest.approx(17 / CAMERA_HZ, abs=1e-6)
