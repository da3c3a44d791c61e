# SPDX-License-Identifier: Apache-2.0
"""Parameters -> settings: each reaches the part it is meant for."""

import os
from pathlib import Path

import numpy as np
import pytest

from imkd_core import resources
from imkd_core.errors import BundleError, ConfigError
from imkd_core.resources import bundle_folder, sensors_file, share_folder
from imkd_core.types import Detections
from imkd_ros.bridge.assembly import (
    backend_settings,
    capped,
    pipeline_settings,
    thresholds,
)
from imkd_ros.bridge.parameters import NodeSettings
from imkd_ros.bridge.sensors import sensor_set_from_mapping
from imkd_ros.node.throttle import Throttle
from tests.ros.tiny_bundle import INPUTS, write_tiny_bundle

SENSORS = sensor_set_from_mapping({"cameras": {"A": {}}, "radars": {"R": {}}})


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


def settings(**values):
    return NodeSettings(values={name.replace("__", "."): v for name, v in values.items()})


def test_synchronisation_and_frames_reach_the_pipeline():
    given = settings(
        sync__tolerance_ms=30.0,
        sync__deadline_ms=70.0,
        sync__dead_after_ms=500.0,
        sync__method="message_filters",
        base_frame="body",
        ego_motion__frame="world",
        ego_motion__odometry_topic="/odometry",
    )
    found = pipeline_settings(given, SENSORS, INPUTS)
    assert (found.sync.cameras, found.sync.radars) == (("A",), ("R",))
    assert (found.sync.tolerance_ns, found.sync.deadline_ns) == (30_000_000, 70_000_000)
    assert found.sync.dead_after_ns == 500_000_000
    assert (found.method, found.base_frame) == ("message_filters", "body")
    assert (found.ego_frame, found.odometry_topic) == ("world", "/odometry")
    assert found.decode_width_px == INPUTS.image_width_px


def test_threads_and_precision_reach_the_backend():
    found = backend_settings(
        settings(model__threads=3, model__precision="fp16", model__allow_spinning=True)
    )
    assert (found.threads, found.role, found.allow_spinning) == (3, "fp16", True)


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (3, 2), (5, 4), (64, 4)])
def test_by_default_one_core_is_left_to_everything_else(monkeypatch, cores, threads):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores), raising=False)
    assert settings().count("model.threads") == 0
    assert backend_settings(settings()).threads == threads
    assert backend_settings(settings(model__threads=3)).threads == 3


def test_what_runs_the_model_reaches_the_backend():
    given = settings(
        model__backend="tensorrt", model__cpu_fallback=True, model__engine_folder="~/engines"
    )
    found = backend_settings(given, cameras=5)
    assert (found.backend, found.cpu_fallback, found.cameras) == ("tensorrt", True, 5)
    assert found.engine_folder == Path.home() / "engines"
    plain = backend_settings(settings())
    assert (plain.backend, plain.cpu_fallback) == ("onnxruntime", False)
    assert (plain.cameras, plain.engine_folder) == (None, None)


def test_thresholds_are_the_bundles_own_until_parameters_overrule_them(bundle):
    assert thresholds(settings(), bundle) == bundle.thresholds
    found = thresholds(
        settings(
            post__score_threshold=0.2,
            post__class_score_thresholds="pedestrian=0.6",
            post__class_max_range_m="car=30",
        ),
        bundle,
    )
    assert dict(found.score) == {"car": 0.2, "pedestrian": 0.6}
    assert dict(found.max_range_m) == {"car": 30.0}


def test_a_class_that_the_model_does_not_know_is_refused(bundle):
    with pytest.raises(ConfigError, match="tram"):
        thresholds(settings(post__class_max_range_m="tram=30"), bundle)


def test_of_too_many_boxes_the_best_stay():
    found = Detections(
        stamp_ns=1,
        class_names=("car",),
        center_m=np.zeros((4, 3)),
        size_m=np.ones((4, 3)),
        yaw_rad=np.zeros(4),
        velocity_mps=np.zeros((4, 2)),
        scores=np.array([0.2, 0.9, 0.5, 0.7]),
        labels=np.zeros(4, np.int64),
    )
    np.testing.assert_allclose(capped(found, 2).scores, [0.9, 0.7], rtol=1e-6)
    assert capped(found, 4) is found


def test_the_packages_own_files_are_found(project_root):
    assert sensors_file("").is_file()
    assert (share_folder() / "config" / "detector.param.yaml").is_file()
    assert sensors_file("~/mine.yaml").is_absolute()


@pytest.mark.parametrize(("names", "words"), [((), "no model ships"), (("a", "b"), "a, b")])
def test_without_one_bundle_of_its_own_it_says_what_to_do(tmp_path, monkeypatch, names, words):
    for name in names:
        write_tiny_bundle(tmp_path / "models" / name)
    monkeypatch.setattr(resources, "share_folder", lambda: tmp_path)
    with pytest.raises(BundleError, match=words) as raised:
        bundle_folder("")
    assert "model.bundle" in str(raised.value)


def test_the_one_bundle_of_the_package_is_the_default(tmp_path, monkeypatch):
    write_tiny_bundle(tmp_path / "models" / "tiny")
    monkeypatch.setattr(resources, "share_folder", lambda: tmp_path)
    assert bundle_folder("") == tmp_path / "models" / "tiny"
    assert bundle_folder("/given").as_posix() == "/given"


def test_a_throttle_lets_one_of_a_kind_through_in_a_while():
    throttle = Throttle(5.0)
    assert [throttle.is_due("a", s) for s in (0.0, 4.9, 5.0, 5.1)] == [True, False, True, False]
    assert throttle.is_due("b", 5.1)
    assert throttle.is_due("a", 1.0)  # the clock went back
