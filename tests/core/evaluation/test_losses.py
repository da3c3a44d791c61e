# SPDX-License-Identifier: Apache-2.0
"""Sensors that are taken away."""

import numpy as np
import pytest

from imkd_core.errors import ConfigError
from imkd_core.evaluation.losses import ALL_CAMERAS, ALL_RADARS, STANDARD_LOSSES, Loss, parse_loss
from imkd_core.types import CameraImage, Frame, RadarCloud

KNOWN = ("CAM_A", "CAM_B", "RADAR_A")


@pytest.fixture
def frame():
    cameras = ("CAM_A", "CAM_B")
    return Frame(
        stamp_ns=5,
        cameras={
            name: CameraImage(sensor=name, stamp_ns=4, pixels=np.zeros((2, 3, 3), np.uint8))
            for name in cameras
        },
        radars={"RADAR_A": (RadarCloud(sensor="RADAR_A", stamp_ns=3, points=np.zeros((0, 7))),)},
        reference_from_ego={4: np.eye(4)},
    )


@pytest.mark.parametrize(
    ("text", "cameras", "radars"),
    [
        ("CAM_A", ["CAM_B"], ["RADAR_A"]),
        ("CAM_A, RADAR_A", ["CAM_B"], []),
        ("all-cameras", [], ["RADAR_A"]),
        ("all-radars", ["CAM_A", "CAM_B"], []),
        ("all-cameras,all-radars", [], []),
    ],
)
def test_named_sensors_are_gone_and_the_rest_stays(frame, text, cameras, radars):
    left = parse_loss(text, KNOWN).apply(frame)
    assert (list(left.cameras), list(left.radars)) == (cameras, radars)
    assert left.stamp_ns == frame.stamp_ns
    assert 4 in left.reference_from_ego


def test_losing_nothing_changes_nothing(frame):
    assert Loss().name == "all sensors"
    assert list(Loss().apply(frame).cameras) == ["CAM_A", "CAM_B"]
    assert Loss().count(6, 5) == 0


def test_lost_sensors_are_counted():
    assert Loss(sensors=(ALL_CAMERAS,)).count(6, 5) == 6
    assert Loss(sensors=(ALL_RADARS, "CAM_A")).count(6, 5) == 6
    assert [loss.count(6, 5) for loss in STANDARD_LOSSES] == [1, 3, 6, 1, 3, 5]


@pytest.mark.parametrize("text", ["CAM_C", "", " , ", "CAM_A,LIDAR_TOP", "cam_a"])
def test_unknown_sensors_are_refused_with_the_known_ones(text):
    with pytest.raises(ConfigError, match="RADAR_A"):
        parse_loss(text, KNOWN)
