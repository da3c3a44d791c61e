# SPDX-License-Identifier: Apache-2.0
"""A simulated dataroot: our reader and the devkit load it, and what it says is so."""

import hashlib
import json

import numpy as np
import pytest
from nuscenes.eval.detection.config import config_factory
from nuscenes.eval.detection.evaluate import DetectionEval
from nuscenes.nuscenes import NuScenes as Devkit
from nuscenes.utils.data_classes import LidarPointCloud, RadarPointCloud

from imkd_core.data.nuscenes.reader import CAMERAS, LIDAR, RADARS, NuScenes
from imkd_core.data.point_clouds import RadarFilter, read_lidar_bin
from imkd_core.errors import ConfigError, DataError
from imkd_core.geometry import points_in_box, transform_points
from imkd_core.simulation.simulate import SimulationOptions, simulate, write_bags
from imkd_core.simulation.tables import VERSION, drive_rows_path
from tests.core.simulated import DRIVES, OPTIONS

SHORT = SimulationOptions(seed=3, size_px=(160, 64), conditions=("rain",), duration_s=0.5)


@pytest.fixture(scope="module")
def nuscenes(dataroot):
    return NuScenes(dataroot, VERSION, RadarFilter.none())


@pytest.fixture(scope="module")
def devkit(dataroot):
    return Devkit(version=VERSION, dataroot=str(dataroot), verbose=False)


def _digests(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_our_reader_loads_every_sensor_of_every_key_frame(nuscenes):
    samples = nuscenes.samples()
    assert len(samples) == DRIVES * 6
    for sample in samples:
        assert set(sample.readings) == {*CAMERAS, *RADARS, LIDAR}
    last = samples[5]
    frame = last.frame(radar_sweeps=6)
    assert frame.cameras["CAM_BACK"].pixels.shape == (128, 320, 3)
    assert all(len(scans) == 6 for scans in frame.radars.values())
    assert len(last.history(LIDAR, 10)) == 10


def test_stamps_are_those_of_the_sensors_rates(nuscenes):
    for scene in nuscenes.scenes:
        keys = [sample.stamp_ns for sample in nuscenes.samples(scene)]
        assert set(np.diff(keys)) == {500_000_000}
        readings = nuscenes.readings(scene)
        for channel, period_ms in ((LIDAR, 50.0), ("RADAR_FRONT", 1000 / 13)):
            stamps = [r.stamp_ns * 1e-6 for r in readings if r.sensor == channel]
            np.testing.assert_allclose(np.diff(stamps), period_ms, atol=0.01)
        for sample in nuscenes.samples(scene):
            for name, reading in sample.readings.items():
                limit_ms = 0 if name == LIDAR else 40 if name in RADARS else 42
                assert abs(reading.stamp_ns - sample.stamp_ns) <= limit_ms * 1e6


def test_points_in_boxes_are_as_many_as_the_tables_say(nuscenes):
    counted = 0
    for sample in nuscenes.samples()[::4]:
        truth = sample.truth()
        points = read_lidar_bin(sample.readings[LIDAR].path)[:, :3]
        points = transform_points(sample.readings[LIDAR].ego_from_sensor, points)
        boxes = truth.detections
        for i in range(len(truth)):
            inside = points_in_box(
                points, boxes.center_m[i], boxes.size_m[i], float(boxes.yaw_rad[i])
            )
            assert abs(int(inside.sum()) - truth.num_lidar_points[i]) <= 1  # boxes are float32
            counted += int(inside.sum())
    assert counted > 500


def test_velocities_of_the_tables_are_those_of_the_world(nuscenes):
    speeds = []
    for sample in nuscenes.samples()[1:5]:
        velocity = sample.truth().detections.velocity_mps
        speeds += np.hypot(*velocity[np.isfinite(velocity).all(axis=1)].T).tolist()
    assert max(speeds) > 1.0
    assert max(speeds) < 20.0
    assert min(speeds) < 0.01


def test_boxes_of_every_visibility_occur_and_attributes_are_set(nuscenes):
    truths = [sample.truth() for sample in nuscenes.samples()]
    assert {int(v) for truth in truths for v in truth.visibility} >= {1, 4}
    names = {name for truth in truths for name in truth.attributes}
    assert {"vehicle.parked", "pedestrian.moving"} <= names
    assert all(truth.num_lidar_points.sum() > 0 for truth in truths)
    assert any(truth.num_radar_points.sum() > 0 for truth in truths)


def test_the_devkit_loads_it(devkit, dataroot):
    assert len(devkit.scene) == DRIVES
    assert devkit.scene[1]["description"].startswith("night, ")
    sample = devkit.sample[3]
    path, *_ = devkit.get_sample_data(sample["data"]["CAM_FRONT"])
    assert path.startswith(str(dataroot))
    lidar, _ = LidarPointCloud.from_file_multisweep(devkit, sample, LIDAR, LIDAR, nsweeps=10)
    assert lidar.nbr_points() > 100_000
    RadarPointCloud.disable_filters()
    try:
        radar, _ = RadarPointCloud.from_file_multisweep(
            devkit, sample, "RADAR_FRONT", LIDAR, nsweeps=6
        )
    finally:
        RadarPointCloud.default_filters()
    assert radar.nbr_points() > 50


def test_the_devkits_evaluation_runs_on_its_splits(devkit, dataroot, tmp_path):
    names = json.loads((dataroot / VERSION / "splits.json").read_text())
    assert sorted(names) == ["all", "clear", "night"]
    scenes = {scene["token"]: scene["name"] for scene in devkit.scene}
    tokens = [s["token"] for s in devkit.sample if scenes[s["scene_token"]] in names["night"]]
    meta = dict.fromkeys(("use_camera", "use_lidar", "use_radar", "use_map", "use_external"), False)
    results = {token: [_truth_as_result(devkit, token)] for token in tokens}
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"meta": meta, "results": results}))
    config = config_factory("detection_cvpr_2019")
    evaluation = DetectionEval(devkit, config, str(path), "night", str(tmp_path), verbose=False)
    metrics, _ = evaluation.evaluate()
    assert 0 <= metrics.nd_score < 1
    assert len(evaluation.gt_boxes.all) > 20


def _truth_as_result(devkit, token):
    return {
        "sample_token": token,
        "translation": devkit.get("sample_annotation", devkit.get("sample", token)["anns"][0])[
            "translation"
        ],
        "size": [1.9, 4.6, 1.7],
        "rotation": [1, 0, 0, 0],
        "velocity": [0, 0],
        "detection_name": "car",
        "detection_score": 0.5,
        "attribute_name": "vehicle.parked",
    }


def test_the_same_options_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        simulate(tmp_path / name, 1, SHORT)
    assert _digests(tmp_path / "one") == _digests(tmp_path / "two")


def test_an_interrupted_run_goes_on_and_leaves_finished_drives_alone(tmp_path):
    whole, part = tmp_path / "whole", tmp_path / "part"
    simulate(whole, 2, SHORT)
    simulate(part, 1, SHORT)
    first = drive_rows_path(part, SHORT.scene(0)).stat().st_mtime_ns
    (part / f".{SHORT.scene(1)}-part" / "samples").mkdir(parents=True)  # killed half-way
    calls = []
    simulate(part, 2, SHORT, on_drive=lambda *call: calls.append(call))
    assert drive_rows_path(part, SHORT.scene(0)).stat().st_mtime_ns == first
    assert calls == [(1, 2, ""), (2, 2, SHORT.scene(1))]
    assert _digests(whole) == _digests(part)


def test_a_folder_with_other_drives_is_refused(dataroot, tmp_path):
    other = SimulationOptions(seed=6, size_px=OPTIONS.size_px, duration_s=3.0)
    with pytest.raises(ConfigError, match=r"other options \(conditions, seed\)"):
        simulate(dataroot, 1, other)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not made by imkd"):
        simulate(tmp_path, 1, SHORT)


def test_a_damaged_drive_is_named(tmp_path):
    simulate(tmp_path / "root", 1, SHORT)
    path = drive_rows_path(tmp_path / "root", SHORT.scene(0))
    path.write_text("{")
    with pytest.raises(DataError, match=r"simulated-3-0000\.json.*delete it"):
        simulate(tmp_path / "root", 1, SHORT)


@pytest.mark.parametrize(
    "wrong",
    [
        {"conditions": ("hail",)},
        {"conditions": ()},
        {"size_px": (1600, 901)},
        {"seed": -1},
        {"duration_s": 0},
    ],
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ConfigError):
        SimulationOptions(**wrong)


def test_a_drive_becomes_a_bag(dataroot):
    scene = OPTIONS.scene(0)
    write_bags(dataroot, [scene])
    found = list((dataroot / "bags" / scene).glob("*.mcap"))
    assert len(found) == 1
    assert found[0].stat().st_size > 100_000
