# SPDX-License-Identifier: Apache-2.0
import contextlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imkd_core.data.point_clouds import (
    MAX_RADAR_POINTS,
    RADAR_FILE_FIELDS,
    RADAR_RECORD,
    RadarFilter,
    read_lidar_bin,
    read_radar_pcd,
    to_lidar_cloud,
    to_radar_cloud,
)
from imkd_core.errors import ConfigError, DataError
from tests.core.data.made_up import RADAR_HEADER, RADAR_STRUCT, radar_file

ALL = RadarFilter.none()
FLOAT_COLUMNS = [i for i, code in enumerate("fffbhfffffbbbbbbbb") if code == "f"]


def radar_return(**changes):
    values = dict.fromkeys(RADAR_FILE_FIELDS, 0.0)
    values |= {"x": 10.0, "ambig_state": 3, "is_quality_valid": 1, **changes}
    return tuple(
        value if index in FLOAT_COLUMNS else int(value)
        for index, value in enumerate(values[name] for name in RADAR_FILE_FIELDS)
    )


floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
bytes_signed = st.integers(-128, 127)
returns = st.tuples(
    *[floats] * 3, bytes_signed, st.integers(-32768, 32767), *[floats] * 5, *[bytes_signed] * 8
)


@pytest.fixture(scope="module")
def pcd(tmp_path_factory):
    return tmp_path_factory.mktemp("radar") / "scan.pcd"


@given(st.lists(returns, max_size=MAX_RADAR_POINTS), st.integers(0, 5000))
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], max_examples=40)
def test_what_was_packed_is_read_whatever_the_padding(pcd, points, padding):
    pcd.write_bytes(radar_file(points, padding))
    expected = np.array(points, dtype=np.float32).reshape(-1, 18)
    np.testing.assert_array_equal(read_radar_pcd(pcd, ALL), expected)


def test_the_record_is_43_bytes_without_gaps():
    assert RADAR_RECORD.itemsize == RADAR_STRUCT.size == 43


@given(st.lists(returns, min_size=1, max_size=20))
@settings(max_examples=25)
def test_the_filters_keep_what_the_devkit_keeps(pcd, points):
    devkit = pytest.importorskip("nuscenes.utils.data_classes").RadarPointCloud
    states = [3, 4, 1]
    points = [
        (*p[:3], abs(p[3]) % 9, *p[4:11], states[i % 3], *p[12:14], abs(p[14]) % 3, *p[15:])
        for i, p in enumerate(points)
    ]
    pcd.write_bytes(radar_file(points))
    expected = devkit.from_file(str(pcd)).points.T
    np.testing.assert_array_equal(read_radar_pcd(pcd), expected.astype(np.float32))
    everything = {"invalid_states": range(18), "dynprop_states": range(18)}
    expected = devkit.from_file(str(pcd), **everything, ambig_states=range(18)).points.T
    np.testing.assert_array_equal(read_radar_pcd(pcd, ALL), expected.astype(np.float32))


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, True),
        ({"dyn_prop": 6}, True),
        ({"dyn_prop": 7}, False),
        ({"dyn_prop": -1}, False),
        ({"invalid_state": 4}, False),
        ({"ambig_state": 4}, False),
        ({"ambig_state": 2}, False),
    ],
)
def test_the_default_filter_is_the_devkits(pcd, change, kept):
    pcd.write_bytes(radar_file([radar_return(**change)]))
    assert len(read_radar_pcd(pcd)) == kept
    assert len(read_radar_pcd(pcd, ALL)) == 1


def test_each_filter_can_be_set_alone(pcd):
    changes = [{}, {"invalid_state": 4}, {"ambig_state": 4}, {"dyn_prop": 7}]
    pcd.write_bytes(radar_file([radar_return(**change) for change in changes]))
    for radar_filter, kept in (
        (RadarFilter(invalid_states=(0, 4)), 2),
        (RadarFilter(ambig_states=None), 2),
        (RadarFilter(dynprop_states=(7,)), 1),
        (RadarFilter(invalid_states=()), 0),
    ):
        assert len(read_radar_pcd(pcd, radar_filter)) == kept


def test_close_returns_are_dropped_in_a_square_as_the_devkit_does(pcd):
    spots = [(0.9, 0.9), (0.9, 1.0), (1.5, 0.0), (-0.5, -0.5)]
    pcd.write_bytes(radar_file([radar_return(x=x, y=y) for x, y in spots]))
    kept = read_radar_pcd(pcd, RadarFilter(min_distance_m=1.0))[:, :2]
    np.testing.assert_allclose(kept, [(0.9, 1.0), (1.5, 0.0)])
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(ConfigError, match="min_distance_m"):
            RadarFilter(min_distance_m=bad)


def test_nan_in_the_first_return_means_an_empty_scan(pcd):
    pcd.write_bytes(radar_file([radar_return(vx=np.nan), radar_return()]))
    assert read_radar_pcd(pcd).shape == (0, 18)
    pcd.write_bytes(radar_file([]))
    assert read_radar_pcd(pcd).shape == (0, 18)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_later_return_that_is_not_finite_is_refused_if_it_is_kept(pcd, bad):
    pcd.write_bytes(radar_file([radar_return(), radar_return(rcs=bad, invalid_state=1)]))
    assert len(read_radar_pcd(pcd)) == 1
    with pytest.raises(DataError, match="not finite"):
        read_radar_pcd(pcd, ALL)


def test_a_full_scan_needs_no_byte_behind_it(pcd):
    data = radar_file([radar_return()] * 125, padding=0)
    pcd.write_bytes(data)
    assert read_radar_pcd(pcd).shape == (125, 18)
    pcd.write_bytes(data[:-1])
    with pytest.raises(DataError, match=r"promises 125 returns of 43 bytes.* 5374 bytes"):
        read_radar_pcd(pcd)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("WIDTH 2", "WIDTH 126", "0 to 125"),
        ("WIDTH 2", "WIDTH -2", "WIDTH"),
        ("WIDTH 2", "WIDTH two", "WIDTH"),
        ("WIDTH 2", "WIDTH 99999999999999999999", "WIDTH"),
        ("WIDTH 2\n", "", "WIDTH"),
        ("POINTS 2", "POINTS 3", "POINTS"),
        ("HEIGHT 1", "HEIGHT 2", "HEIGHT"),
        ("DATA binary", "DATA ascii", "DATA"),
        ("DATA binary", "DATA binary_compressed", "DATA"),
        ("x y z dyn_prop", "x y z range", "FIELDS"),
        ("SIZE 4 4 4 1", "SIZE 8 4 4 1", "SIZE"),
        ("TYPE F F F I", "TYPE F F F U", "TYPE"),
        ("COUNT 1 1", "COUNT 1 2", "COUNT"),
        ("DATA binary\n", "", "no PCD header"),
    ],
)
def test_a_malformed_header_is_refused_by_its_line(pcd, old, new, message):
    header = RADAR_HEADER.format(count=2)
    assert old in header
    pcd.write_bytes(header.replace(old, new).encode() + bytes(8000))
    with pytest.raises(DataError, match=message) as caught:
        read_radar_pcd(pcd)
    assert str(pcd) in str(caught.value)


@given(st.binary(max_size=600))
def test_any_bytes_are_read_or_refused(pcd, data):
    for content in (data, radar_file([radar_return()] * 3)[: len(data)] + data):
        pcd.write_bytes(content)
        points = None
        with contextlib.suppress(DataError):
            points = read_radar_pcd(pcd, ALL)
        assert points is None or np.isfinite(points).all()


@pytest.mark.parametrize("read", [read_radar_pcd, read_lidar_bin])
def test_missing_files_and_folders_are_refused(tmp_path, read):
    with pytest.raises(DataError, match=r"no file .*missing"):
        read(tmp_path / "missing.pcd")
    with pytest.raises(DataError, match="cannot read"):
        read(tmp_path)


def test_lidar_files_are_rows_of_five(tmp_path):
    path = tmp_path / "a.pcd.bin"
    points = np.arange(35, dtype="<f4").reshape(7, 5)
    path.write_bytes(points.tobytes())
    np.testing.assert_array_equal(read_lidar_bin(path), points)
    path.write_bytes(b"")
    assert read_lidar_bin(path).shape == (0, 5)
    path.write_bytes(points.tobytes()[:-4])
    with pytest.raises(DataError, match="no whole number of points"):
        read_lidar_bin(path)
    points[3, 3] = np.nan
    path.write_bytes(points.tobytes())
    with pytest.raises(DataError, match="not finite"):
        read_lidar_bin(path)


def test_a_radar_cloud_carries_the_compensated_velocity():
    raw = np.array([radar_return(x=1, y=2, z=3, rcs=4, vx=5, vy=6, vx_comp=7, vy_comp=8)])
    cloud = to_radar_cloud(raw, "RADAR_FRONT", 123)
    assert cloud.points.tolist() == [[1, 2, 3, 4, 7, 8, 0]]
    assert (cloud.sensor, cloud.stamp_ns) == ("RADAR_FRONT", 123)
    assert to_radar_cloud(np.zeros((0, 18)), "r", 1).points.shape == (0, 7)


def test_lidar_sweeps_are_moved_into_the_newest_and_aged():
    now = np.array([[5, 0, 1, 100, 3], [0.5, 0.5, 0, 9, 9]], np.float32)
    before = np.array([[4, 0, 1, 50, 7]], np.float32)
    shift = np.eye(4)
    shift[0, 3] = -2.0
    sweeps = [(now, np.eye(4), 0.0), (before, shift, 0.05)]
    cloud = to_lidar_cloud(sweeps, "LIDAR_TOP", 9, min_distance_m=1.0)
    expected = [[5, 0, 1, 100, 3, 0], [2, 0, 1, 50, 7, 0.05]]
    np.testing.assert_allclose(cloud.points, expected, rtol=1e-6)
    assert len(to_lidar_cloud(sweeps, "LIDAR_TOP", 9).points) == 3
