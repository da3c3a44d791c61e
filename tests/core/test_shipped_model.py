# SPDX-License-Identifier: Apache-2.0
"""The student that ships: whole, small, described, and able on a drive made for the test."""

import re

import numpy as np
import pytest

from imkd_core.cli.evaluation.run import EvaluationOptions, evaluate_bundle
from imkd_core.config import NUSCENES_CLASSES
from imkd_core.evaluation.losses import ALL_CAMERAS, ALL_RADARS, Loss
from imkd_core.export.tensorrt_check import check_tensorrt, is_tensorrt_installed
from imkd_core.resources import bundle_folder, bundles
from imkd_core.runtime.backends import BackendSettings, open_backend
from imkd_core.runtime.bundle import load_bundle
from imkd_core.runtime.detector import Detector
from imkd_core.runtime.roles import recommendations
from imkd_core.runtime.tensorrt.keys import CameraRange
from imkd_core.simulation.simulate import SimulationOptions, simulate
from imkd_core.types import RADAR_FIELDS, Frame, RadarCloud, SensorRig
from tests.core.rigs import STAMP_NS, rig_of

#: Drives of the training are numbered from 1, those of the demo from 9000.
SEED = 9101

LARGEST_BYTES = 20_000_000

ROLES = ("fp32", "int8_s8", "int8_u8")


def test_one_model_ships_and_it_is_the_default():
    assert [folder.name for folder in bundles()] == ["imkd_tiny"]
    assert bundle_folder("") == bundles()[0]


def test_the_bundle_is_whole_small_and_says_what_it_was_made_of():
    folder = bundle_folder("")
    bundle = load_bundle(folder)  # sizes and hashes are checked
    assert bundle.head.class_names == NUSCENES_CLASSES
    assert sum(path.stat().st_size for path in folder.iterdir()) <= LARGEST_BYTES
    assert "made-up" in bundle.provenance["trained_on"]
    assert bundle.provenance["licence"] == "Apache-2.0"


@pytest.mark.parametrize("role", ROLES)
def test_the_files_name_no_folder_of_who_exported_them(role):
    content = load_bundle(bundle_folder("")).path(role).read_bytes()
    assert b"stack_trace" not in content
    assert b".py" not in content


def test_int8_costs_at_most_half_a_point_and_runs_where_it_was_measured():
    bundle = load_bundle(bundle_folder(""))
    for role in ("int8_s8", "int8_u8"):
        cost = bundle.producer["int8"][role]["cost"]
        assert cost["key_frames"] >= 320
        assert max(cost["nds_lost"], cost["map_lost"]) <= 0.005
    assert recommendations(bundle) == {"cpu": "int8_u8"}


@pytest.mark.skipif(not is_tensorrt_installed(), reason="tensorrt-rtx is not installed")
@pytest.mark.parametrize("role", ["fp32", "int8_s8"])
def test_tensorrt_builds_the_files_that_ship_to_the_end(role):
    path = load_bundle(bundle_folder("")).path(role)
    report = check_tensorrt(path, CameraRange.exactly(6))
    assert report.plan_bytes > 1_000_000


def test_the_card_names_the_files_that_lie_beside_it():
    folder = bundle_folder("")
    card = (folder / "MODEL_CARD.md").read_text()
    bundle = load_bundle(folder)
    assert set(bundle.files) == set(ROLES)
    for role in ROLES:
        assert bundle.files[role].sha256 in card
    for word in ("rain", "fog", "night", "low sun", "no radar", "no camera", "Intended use"):
        assert re.search(word, card, re.IGNORECASE), word


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    root = tmp_path_factory.mktemp("unseen")
    options = SimulationOptions(
        seed=SEED, size_px=(704, 256), conditions=("clear",), duration_s=4.0
    )
    simulate(root / "drives", 2, options)
    losses = (Loss(sensors=(ALL_CAMERAS,)), Loss(sensors=(ALL_RADARS,)))
    options = EvaluationOptions(losses=losses, report=False)
    return evaluate_bundle(bundle_folder(""), root / "drives", root / "evaluation", options)


def test_it_knows_drives_that_it_never_saw(evaluation):
    metrics = evaluation.conditions[0].metrics
    assert metrics.present_nds > 0.3
    assert metrics.present_mean_ap > 0.3


def test_both_kinds_of_sensor_matter(evaluation):
    with_all, no_cameras, no_radars = (one.metrics.present_mean_ap for one in evaluation.conditions)
    assert no_cameras < 0.7 * with_all
    assert no_radars < 0.9 * with_all


def test_radars_alone_give_the_same_boxes_with_masked_cameras_and_without_any_in_the_rig():
    rng = np.random.default_rng(3)
    rig = rig_of(cameras=6, radars=3)
    scans = {}
    for name in rig.radars:
        points = np.zeros((40, len(RADAR_FIELDS)), np.float32)
        points[:, :2] = rng.uniform(-40, 40, (40, 2))
        points[:, 3:6] = rng.uniform(-5, 15, (40, 3))
        scans[name] = (RadarCloud(sensor=name, stamp_ns=STAMP_NS, points=points),)
    frame = Frame(stamp_ns=STAMP_NS, cameras={}, radars=scans)
    bundle = load_bundle(bundle_folder(""))
    backend = open_backend(bundle, BackendSettings(threads=1))
    try:
        blind = SensorRig(cameras={}, radars=rig.radars)
        masked, without = (Detector(bundle, backend, one).detect(frame) for one in (rig, blind))
    finally:
        backend.close()
    assert len(masked) == len(without) > 0
    np.testing.assert_allclose(masked.center_m, without.center_m, atol=1e-4)
    np.testing.assert_allclose(masked.scores, without.scores, atol=1e-5)
