# SPDX-License-Identifier: Apache-2.0
"""Messages become readings by the sensor set; what is refused is counted under its sensor."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from imkd_core.runtime.transform_tree import TransformTree
from imkd_ros.bridge.calibration import CalibrationStore
from imkd_ros.bridge.motion import EgoMotion
from imkd_ros.bridge.readers import Readers
from imkd_ros.bridge.sensors import sensor_set_from_mapping
from imkd_ros.bridge.tally import Tally
from tests.ros.made_up_messages import cloud, header, image

STAMP_NS = 1_700_000_000_000_000_000
FIELDS = {"vx": "vx", "vy": "vy"}
SCAN = {"x": [5.0], "y": [1.0], "z": [0.0], "rcs": [3.0], "vx": [1.0], "vy": [0.0]}


@pytest.fixture
def tally():
    return Tally()


@pytest.fixture
def readers(tally):
    sensors = sensor_set_from_mapping(
        {
            "cameras": {"A": {"image": "/a", "camera_info": "/a/info", "stamp_offset_ms": -30.0}},
            "radars": {
                "R": {"points": "/r", "fields": FIELDS, "velocity_is_compensated": False},
                "S": {"points": "/s", "fields": FIELDS},
            },
        }
    )
    tree = TransformTree()
    store = CalibrationStore(sensors, tree, "base_link")
    return Readers(sensors, store, EgoMotion(tree, "odom", "base_link", False), tally, 160)


def jpeg(**changes):
    data = cv2.imencode(".jpg", np.zeros((200, 320, 3), np.uint8))[1].reshape(-1)
    return SimpleNamespace(**{"header": header(STAMP_NS), "format": "", "data": data, **changes})


def test_raw_and_compressed_images_are_told_apart_and_stamped_with_the_offset(readers):
    raw = readers.image(
        "A", image(np.zeros((40, 64, 3), np.uint8), "bgr8", header=header(STAMP_NS))
    )
    compressed = readers.image("A", jpeg())
    for found in (raw, compressed):
        assert (found.sensor, found.stamp_ns) == ("A", STAMP_NS - 30_000_000)
    assert raw.image().pixels.shape == (40, 64, 3)
    assert compressed.image().pixels.shape == (100, 160, 3), "decoded at half its size"


def test_an_image_that_is_refused_at_once_or_later_is_counted_once(readers, tally):
    assert readers.image("A", jpeg(data=b"")) is None
    assert tally.drops == {"A": {"bad image": 1}}
    corrupt = jpeg()
    corrupt.data[corrupt.data.tobytes().index(b"\xff\xc4") + 4] = 0xFF
    waiting = readers.image("A", corrupt)
    assert tally.drops == {"A": {"bad image": 1}}
    for _ in range(2):
        waiting.settle(wait=True)
    assert tally.drops == {"A": {"bad image": 2}}


def test_a_scan_is_read_and_one_that_needs_unknown_motion_is_refused(readers, tally):
    assert readers.scan("S", cloud(SCAN)).points.shape == (1, 7)
    assert readers.scan("R", cloud(SCAN)) is None
    (problem,) = tally.take_problems()
    assert (problem.sensor, problem.reason) == ("R", "bad scan")
    assert "start the odometry" in problem.text
