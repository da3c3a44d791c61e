# SPDX-License-Identifier: Apache-2.0
"""config/radars: each map loads, and reads a cloud with the fields that its driver publishes."""

from pathlib import Path

import numpy as np
import pytest

from imkd_core.errors import SensorError
from imkd_ros.bridge.convert import to_radar_scan
from imkd_ros.bridge.sensors import RadarSource, load_sensor_set
from tests.ros.made_up_messages import cloud

ROOT = Path(__file__).resolve().parents[2]
MAPS = sorted((ROOT / "config" / "radars").glob("*.yaml"))

#: Map -> field -> type, as the drivers' public documentation has them (docs/vehicle/radars.md).
DRIVERS = {
    "continental_ars408": {
        **dict.fromkeys(("x", "y", "z"), "<f4"),
        "dyn_prop": "i1",
        "id": "<i2",
        **dict.fromkeys(("rcs", "vx", "vy", "vx_comp", "vy_comp"), "<f4"),
        **dict.fromkeys(("is_quality_valid", "ambig_state", "x_rms", "y_rms"), "i1"),
        **dict.fromkeys(("invalid_state", "pdh0", "vx_rms", "vy_rms"), "i1"),
    },
    "continental_ars408_relative": dict.fromkeys(("x", "y", "rcs", "vx", "vy"), "<f4"),
    "continental_ars548": {
        **dict.fromkeys(("x", "y", "z", "azimuth", "azimuth_std", "elevation"), "<f4"),
        **dict.fromkeys(("elevation_std", "range", "range_std", "range_rate"), "<f4"),
        "range_rate_std": "<f4",
        "rcs": "i1",
        "measurement_id": "<u2",
        **dict.fromkeys(("positive_predictive_value", "classification"), "u1"),
        "multi_target_probability": "u1",
        "object_id": "<u2",
        "ambiguity_flag": "u1",
    },
    "smartmicro_umrr": dict.fromkeys(
        (
            *("x", "y", "z", "radial_speed", "power", "rcs", "noise", "snr"),
            *("azimuth_angle", "elevation_angle", "range"),
        ),
        "<f4",
    ),
    "aptiv_converted": dict.fromkeys(("x", "y", "rcs", "range_rate"), "<f4"),
    "autoware_radar_scan": dict.fromkeys(("x", "y", "z", "intensity"), "<f4"),
}

#: One return 30 m ahead and 40 m to the left: the line of sight is (0.6, 0.8).
LINE = np.array([0.6, 0.8])


def only_radar(name: str) -> RadarSource:
    (radar,) = load_sensor_set(ROOT / "config" / "radars" / f"{name}.yaml").radars.values()
    return radar


def test_every_map_has_a_driver_here_and_every_driver_a_map():
    assert {path.stem for path in MAPS} == set(DRIVERS)


@pytest.mark.parametrize("name", DRIVERS)
def test_a_return_of_the_driver_becomes_its_speed_over_ground(name):
    radar, kinds = only_radar(name), DRIVERS[name]
    own_mps = np.zeros(2) if radar.velocity_is_compensated else np.array([10.0, 0.0])
    over_ground_mps = 5.0 * LINE  # it drives away at 5 m/s
    measured_mps = over_ground_mps - (own_mps @ LINE) * LINE
    values = {
        **dict.fromkeys(kinds, 0.0),
        "x": 30.0,
        "y": 40.0,
        radar.fields.rcs: 7.0,
        radar.fields.vx: measured_mps[0],
        radar.fields.vy: measured_mps[1],
        radar.fields.radial: measured_mps @ LINE,
        **{key: allowed[0] for key, allowed in radar.keep.items()},
    }
    message = cloud({key: [values[key]] for key in kinds}, kinds)
    scan = to_radar_scan(message, "RADAR_FRONT", radar, [*own_mps, 0.0])
    rcs_dbsm = 7.0 if radar.fields.rcs else 0.0
    wanted = [30.0, 40.0, 0.0, rcs_dbsm, *over_ground_mps, 0.0]
    np.testing.assert_allclose(scan.cloud.points, [wanted], atol=1e-5)
    assert scan.dropped == {}


@pytest.mark.parametrize("name", DRIVERS)
def test_a_cloud_without_the_velocity_is_refused(name):
    radar, kinds = only_radar(name), dict(DRIVERS[name])
    del kinds[radar.fields.radial or radar.fields.vx]
    message = cloud({key: [1.0] for key in kinds}, kinds)
    with pytest.raises(SensorError, match="not there"):
        to_radar_scan(message, "RADAR_FRONT", radar, [0.0, 0.0, 0.0])


def test_ambiguous_and_stopped_ars408_returns_are_left_out():
    radar, kinds = only_radar("continental_ars408"), DRIVERS["continental_ars408"]
    rows = {key: np.full(4, 1.0) for key in kinds}
    rows["invalid_state"] = np.array([0, 1, 0, 0])
    rows["dyn_prop"] = np.array([0, 0, 7, 0])
    rows["ambig_state"] = np.array([3, 3, 3, 4])
    scan = to_radar_scan(cloud(rows, kinds), "RADAR_FRONT", radar)
    assert len(scan.cloud.points) == 1
    assert scan.dropped == {"filtered": 3}
