# SPDX-License-Identifier: Apache-2.0
"""What depends on ego motion."""

from imkd_core.config import MemorySpec
from imkd_ros.bridge.motion_needs import motion_needs
from imkd_ros.bridge.sensors import sensor_set_from_mapping
from tests.core.rigs import spec_of

CAMERAS = {"A": {"image": "/a", "camera_info": "/a/info"}}
RADAR = {"points": "/r", "fields": {"vx": "vx", "vy": "vy"}}


def needs(radars, *, remembers=True, **inputs):
    sensors = sensor_set_from_mapping({"cameras": CAMERAS, "radars": radars})
    return " ".join(motion_needs(sensors, spec_of(**inputs), remembers))


def test_cameras_and_single_compensated_scans_need_none():
    assert not needs({}, radar_sweeps=6)
    assert not needs({"R": RADAR}, radar_sweeps=1)


def test_each_need_is_named():
    assert "older scans" in needs({"R": RADAR}, radar_sweeps=6)
    raw = {"R": RADAR, "S": {**RADAR, "points": "/s", "velocity_is_compensated": False}}
    assert "scans of S are refused" in needs(raw, radar_sweeps=1)


def test_a_memory_counts_only_while_it_is_on():
    memory = MemorySpec(kind="window", frames=2, channels=4)
    assert "memory" in needs({}, memory=memory)
    assert not needs({}, memory=memory, remembers=False)
