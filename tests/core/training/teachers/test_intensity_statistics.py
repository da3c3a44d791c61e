# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

from imkd_core.data.learning.label_maps import label_maps
from imkd_core.data.learning.lidar_points import within
from imkd_core.data.learning.teaching_datasets import lidar_points
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.errors import ConfigError, DataError
from imkd_core.model.intensity import (
    IntensityStatistics,
    blurred_evidence,
    cell_range_m,
    gather_evidence,
)
from imkd_core.training.teachers.intensity_statistics import (
    STATISTICS_FILE,
    measure_intensity,
    read_statistics,
    write_statistics,
)
from tests.core.data.made_up import write_dataroot
from tests.core.training.fitted_teachers import CONFIG

GRID = CONFIG.inputs.bev


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    root = tmp_path_factory.mktemp("drive")
    write_dataroot(root, frames=2, lidar_points=600)
    return NuScenes(root).samples()


@pytest.fixture(scope="module")
def statistics(records):
    return measure_intensity(records, CONFIG)


def test_the_reflectance_scale_is_the_95th_percentile_of_all_points(records, statistics):
    clouds = [within(lidar_points(record, CONFIG), CONFIG.inputs) for record in records]
    expected = np.percentile(np.concatenate(clouds)[:, 3], 95)
    assert statistics.full_reflectance == pytest.approx(expected, abs=2)


def test_rings_reach_over_the_whole_grid_and_fall_with_range(statistics):
    counts = np.array(statistics.reference_counts)
    assert len(counts) * 2 > cell_range_m(GRID).max()
    assert counts.min() >= 1
    assert np.isfinite(counts).all()


def test_the_map_reaches_1_inside_about_a_twentieth_of_the_foreground(records, statistics):
    reference = statistics.reference_count(cell_range_m(GRID))
    values = []
    for record in records:
        points = within(lidar_points(record, CONFIG), CONFIG.inputs)
        evidence = gather_evidence(points, GRID, statistics.full_reflectance)
        foreground = label_maps(record.truth().detections, GRID)[10:].any(axis=0)
        values.append(blurred_evidence(evidence, reference, CONFIG.intensity)[foreground])
    seen = np.concatenate(values)
    assert (seen[seen > 0] > statistics.normaliser).mean() == pytest.approx(0.05, abs=0.03)


def test_a_given_reflectance_scale_is_kept(records):
    config = replace(CONFIG, intensity=replace(CONFIG.intensity, full_reflectance=20.0))
    assert (
        measure_intensity(records, config).normaliser
        != measure_intensity(records, CONFIG).normaliser
    )


def test_data_without_points_on_the_grid_are_refused(records):
    far = replace(CONFIG.inputs, z_min_m=-90.0, z_max_m=-80.0)
    with pytest.raises(DataError, match="no LiDAR point"):
        measure_intensity(records, replace(CONFIG, inputs=far))
    with pytest.raises(DataError, match="no LiDAR point"):
        measure_intensity([], CONFIG)


def test_missing_broken_and_foreign_files_are_refused_by_name(tmp_path):
    with pytest.raises(DataError, match="imkd train teacher"):
        read_statistics(tmp_path)
    (tmp_path / STATISTICS_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"intensity\.json is not readable"):
        read_statistics(tmp_path)
    (tmp_path / STATISTICS_FILE).write_text('{"sweeps": 3}', encoding="utf-8")
    with pytest.raises(ConfigError, match="is missing"):
        read_statistics(tmp_path)


def test_a_folder_that_cannot_be_written_leaves_nothing_behind(tmp_path, statistics):
    with pytest.raises(DataError, match="cannot write"):
        write_statistics(tmp_path / "absent", statistics)
    assert isinstance(statistics, IntensityStatistics)
    assert list(tmp_path.iterdir()) == []
