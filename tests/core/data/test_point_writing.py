# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from nuscenes.utils.data_classes import RadarPointCloud

from imkd_core.data.point_clouds import (
    MAX_RADAR_POINTS,
    RADAR_FILE_FIELDS,
    RADAR_RECORD,
    RadarFilter,
    read_lidar_bin,
    read_radar_pcd,
    to_radar_cloud,
)
from imkd_core.data.point_writing import to_radar_records, write_lidar_bin, write_radar_pcd
from imkd_core.errors import DataError, SensorError
from imkd_core.types import RadarCloud
from tests.core.data.made_up import radar_file

COUNTS = (1, 7, MAX_RADAR_POINTS)


def records_of(count, seed=0):
    rng = np.random.default_rng(seed)
    records = np.zeros(count, dtype=RADAR_RECORD)
    for name in RADAR_FILE_FIELDS:
        if records[name].dtype.kind == "f":
            records[name] = rng.normal(size=count) * 20
        else:
            records[name] = rng.integers(-128, 128, count)
    return records


@pytest.mark.parametrize("count", COUNTS)
def test_what_is_written_is_read_back(tmp_path, count):
    records = records_of(count)
    write_radar_pcd(tmp_path / "scan.pcd", records)
    points = read_radar_pcd(tmp_path / "scan.pcd", RadarFilter.none())
    for column, name in enumerate(RADAR_FILE_FIELDS):
        np.testing.assert_array_equal(points[:, column], records[name].astype(np.float32))


@pytest.mark.parametrize("count", COUNTS)
def test_a_file_is_byte_for_byte_that_of_a_real_layout(tmp_path, count):
    records = records_of(count)
    write_radar_pcd(tmp_path / "scan.pcd", records)
    written = (tmp_path / "scan.pcd").read_bytes()
    assert len(written) == 4096 + 43 * count
    assert written == radar_file([tuple(record) for record in records.tolist()])


@pytest.mark.parametrize("count", COUNTS)
def test_the_devkit_reads_the_same_returns(tmp_path, count):
    records = records_of(count)
    write_radar_pcd(tmp_path / "scan.pcd", records)
    every = list(range(-128, 128))
    cloud = RadarPointCloud.from_file(str(tmp_path / "scan.pcd"), every, every, every)
    expected = np.array([records[name].astype(np.float64) for name in RADAR_FILE_FIELDS])
    np.testing.assert_array_equal(cloud.points, expected)


def test_a_scan_without_returns_is_empty_to_us_and_to_the_devkit(tmp_path):
    path = tmp_path / "scan.pcd"
    write_radar_pcd(path, records_of(0))
    assert path.stat().st_size == 4096 + 43
    assert len(read_radar_pcd(path, RadarFilter.none())) == 0
    assert RadarPointCloud.from_file(str(path)).points.shape == (18, 0)


@pytest.mark.parametrize(
    "records", [np.zeros(126, dtype=RADAR_RECORD), np.zeros((3, 18)), records_of(4).reshape(2, 2)]
)
def test_other_records_are_refused(tmp_path, records):
    with pytest.raises(SensorError, match=r"scan\.pcd: expected at most 125"):
        write_radar_pcd(tmp_path / "scan.pcd", records)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "nowhere").write_text("a file in its place")
    with pytest.raises(DataError, match="nowhere"):
        write_radar_pcd(tmp_path / "nowhere" / "scan.pcd", records_of(2))


def test_lidar_points_are_read_back(tmp_path):
    points = np.random.default_rng(3).normal(size=(11, 5)).astype(np.float32)
    write_lidar_bin(tmp_path / "sweep.pcd.bin", points)
    np.testing.assert_array_equal(read_lidar_bin(tmp_path / "sweep.pcd.bin"), points)


def test_lidar_points_of_another_width_are_refused(tmp_path):
    with pytest.raises(SensorError, match=r"expected \(N, 5\)"):
        write_lidar_bin(tmp_path / "sweep.pcd.bin", np.zeros((3, 4), np.float32))


@pytest.mark.parametrize("count", [0, 7, 400])
def test_the_returns_of_any_radar_pass_the_filter_and_come_back(tmp_path, count):
    points = np.random.default_rng(count).normal(0, 20, (count, 7)).astype(np.float32)
    points[:, 6] = 0
    cloud = RadarCloud(sensor="bumper", stamp_ns=5, points=points)
    path = tmp_path / "a.pcd"
    write_radar_pcd(path, to_radar_records(cloud), max_points=400)
    back = to_radar_cloud(read_radar_pcd(path, max_points=400), "bumper", 5)
    np.testing.assert_array_equal(back.points, points)
