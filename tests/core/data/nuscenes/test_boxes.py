# SPDX-License-Identifier: Apache-2.0
"""Figures from a data folder: ours and those of the devkit's whole evaluation of one file."""

import numpy as np
import pytest

from imkd_core.data.nuscenes.boxes import global_boxes, read_true_boxes, score_detections
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.errors import DataError
from imkd_core.evaluation.results import read_results, write_results
from imkd_core.types import Detections
from tests.core.data.made_up import MadeUpObject, write_dataroot
from tests.core.evaluation.oracle import assert_equal_to_devkit


def noisy(truth: Detections, rng) -> Detections:
    """Detections near the true boxes, with clutter, more than 500 of them."""
    copies = truth.select(rng.integers(0, len(truth), 2 * len(truth) + 520))
    n = len(copies)
    is_first = np.arange(n) < 2 * len(truth)
    spread_m = np.where(is_first, 0.4, 20.0)[:, None]
    return Detections(
        stamp_ns=truth.stamp_ns,
        class_names=truth.class_names,
        center_m=copies.center_m + rng.normal(0, 1, (n, 3)) * spread_m,
        size_m=copies.size_m * rng.uniform(0.8, 1.2, (n, 3)),
        yaw_rad=copies.yaw_rad + rng.normal(0, 0.3, n),
        velocity_mps=np.nan_to_num(copies.velocity_mps) + rng.normal(0, 0.3, (n, 2)),
        scores=np.where(is_first, rng.uniform(0.2, 1, n), rng.uniform(0.01, 0.3, n)),
        labels=copies.labels,
    )


def devkit_evaluation(root, version, results, tmp_path, monkeypatch):
    """The devkit's `DetectionEval`, unmodified, over all scenes of a folder."""
    nuscenes = pytest.importorskip("nuscenes")
    from nuscenes.eval.common import loaders
    from nuscenes.eval.common.config import config_factory
    from nuscenes.eval.detection.evaluate import DetectionEval

    theirs = nuscenes.NuScenes(version, str(root), verbose=False)
    names = {"mini_train": [scene["name"] for scene in theirs.scene]}
    monkeypatch.setattr(loaders, "create_splits_scenes", lambda: names)
    config = config_factory("detection_cvpr_2019")
    judge = DetectionEval(
        theirs, config, str(results), "mini_train", str(tmp_path / "devkit"), verbose=False
    )
    return judge.evaluate()[0]


@pytest.mark.filterwarnings("ignore")
def test_the_devkit_gives_the_same_for_the_real_key_frame(nuscenes_one, tmp_path, monkeypatch):
    check_against_devkit(NuScenes(nuscenes_one), nuscenes_one, tmp_path, monkeypatch)


@pytest.mark.filterwarnings("ignore")
def test_the_devkit_gives_the_same_for_a_drive(tmp_path, monkeypatch):
    drive = write_dataroot(tmp_path / "data", frames=4)
    reader = NuScenes(drive.root, drive.version)
    check_against_devkit(reader, drive.root, tmp_path, monkeypatch)


def check_against_devkit(reader, root, tmp_path, monkeypatch):
    reader.tables.velocities = {}  # the devkit does not know our velocities.json
    records, rng = reader.samples(), np.random.default_rng(0)
    found = {record.token: noisy(record.truth().detections, rng) for record in records}
    path = tmp_path / "results.json"
    boxes = global_boxes(records, found)
    tokens = [record.token for record in records]
    poses = [record.global_from_reference for record in records]
    write_results(path, boxes, tokens, poses)
    devkit = devkit_evaluation(root, reader.tables.version, path, tmp_path, monkeypatch)
    metrics = score_detections(records, found)
    assert 0.01 < metrics.nds < 0.9
    assert_equal_to_devkit(metrics, devkit)
    back = read_results(path, tokens, np.array([pose[:3, 3] for pose in poses]))
    np.testing.assert_allclose(back.center_m, boxes.center_m)


@pytest.mark.filterwarnings("ignore")
def test_bicycle_racks_hide_the_bicycles_in_them_as_in_the_devkit(tmp_path, monkeypatch):
    def at(category, x_m, size_wlh_m, **changes):
        place = {"position_m": (x_m, 3.0), "size_wlh_m": size_wlh_m}
        return MadeUpObject(category=category, **place, **changes)

    objects = (
        at("static_object.bicycle_rack", 12.0, (2.0, 6.0, 2.0), yaw_rad=0.3),
        at("vehicle.bicycle", 12.5, (0.6, 1.8, 1.2), attribute="cycle.without_rider"),
        at("vehicle.bicycle", 20.0, (0.6, 1.8, 1.2), attribute="cycle.with_rider"),
        at("vehicle.car", 11.5, (1.9, 4.5, 1.6), attribute="vehicle.parked"),
    )
    drive = write_dataroot(tmp_path / "data", frames=3, objects=objects)
    reader = NuScenes(drive.root, drive.version)
    truth = read_true_boxes(reader.samples())
    assert truth.racks.sample.tolist() == [0, 1, 2]
    assert truth.racks.contains(truth.boxes).sum() == 6
    found = {record.token: record.truth().detections for record in reader.samples()}
    bicycles = score_detections(reader.samples(), found).classes["bicycle"]
    assert bicycles.found == 3
    check_against_devkit(reader, drive.root, tmp_path, monkeypatch)


def test_the_truth_given_back_is_found_whole(tmp_path):
    drive = write_dataroot(tmp_path, frames=3)
    records = NuScenes(drive.root, drive.version).samples()
    found = {record.token: record.truth().detections for record in records}
    metrics = score_detections(records, found)
    # Cars that stand at a light have an attribute that the rule does not give.
    assert metrics.present_mean_ap == pytest.approx(1)
    assert metrics.present_errors["translation_m"] < 1e-4
    assert metrics.present_errors["velocity_mps"] < 1e-3
    assert metrics.present_errors["orientation_rad"] < 1e-3  # the ego frame is tilted


def test_a_sample_without_detections_is_named(tmp_path):
    drive = write_dataroot(tmp_path, frames=2)
    records = NuScenes(drive.root, drive.version).samples()
    with pytest.raises(DataError, match=records[0].token):
        score_detections(records, {})


def test_the_description_of_a_scene_is_read(tmp_path):
    drive = write_dataroot(tmp_path, frames=1)
    record = NuScenes(drive.root, drive.version).samples()[0]
    assert isinstance(record.description, str)
