# SPDX-License-Identifier: Apache-2.0
"""Whatever decides about an engine is in its key, and changes its name."""

import json
from dataclasses import fields, replace

import pytest

from imkd_core.errors import ConfigError
from imkd_core.runtime.tensorrt.keys import CameraRange, EngineKey, Target, differences

TARGET = Target(gpu_name="GPU X", compute_capability=(8, 9), cuda_version="13.0")
KEY = EngineKey(
    onnx_sha256="a" * 64,
    package="tensorrt",
    version="11.4.0",
    target=TARGET,
    cameras=CameraRange.exactly(6),
    precision="fp16",
)
OTHERS = {
    "onnx_sha256": "b" * 64,
    "package": "tensorrt_rtx",
    "version": "11.4.1",
    "gpu_name": replace(TARGET, gpu_name="GPU Y"),
    "compute_capability": replace(TARGET, compute_capability=(8, 6)),
    "cuda_version": replace(TARGET, cuda_version="12.9"),
    "cameras": CameraRange(least=5, likely=6, most=6),
    "precision": "fp32",
}


@pytest.mark.parametrize("part", OTHERS)
def test_each_part_changes_facts_and_name(part):
    field = "target" if isinstance(OTHERS[part], Target) else part
    other = replace(KEY, **{field: OTHERS[part]})
    assert other.facts != KEY.facts
    assert other.name != KEY.name


def test_every_part_is_tried_above():
    names = {field.name for kind in (EngineKey, Target) for field in fields(kind)}
    assert names - {"target"} == set(OTHERS)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("package", "TensorRT 'tensorrt_rtx 11.4.0' (here 'tensorrt 11.4.0')"),
        ("version", "TensorRT 'tensorrt 11.4.1' (here 'tensorrt 11.4.0')"),
        ("gpu_name", "GPU 'GPU Y' (here 'GPU X')"),
        ("compute_capability", "compute capability 8.6 (here 8.9)"),
        ("cuda_version", "CUDA 12.9 (here 13.0)"),
    ],
)
def test_what_keeps_an_engine_of_the_same_purpose_from_serving_is_said(part, words):
    field = "target" if isinstance(OTHERS[part], Target) else part
    assert differences(KEY.facts, replace(KEY, **{field: OTHERS[part]}).facts) == [words]


@pytest.mark.parametrize("part", ["onnx_sha256", "cameras", "precision"])
def test_an_engine_of_another_purpose_is_not_compared(part):
    assert differences(KEY.facts, replace(KEY, **{part: OTHERS[part]}, version="9").facts) == []
    assert differences(KEY.facts, KEY.facts) == []
    assert differences(KEY.facts, {}) == []


@pytest.mark.parametrize("target", [None, "a GPU", {"compute_capability": "8.9"}])
def test_damaged_facts_are_compared_all_the_same(target):
    assert differences(KEY.facts, {**KEY.facts, "target": target})


def test_facts_survive_json_and_the_name_is_a_plain_file_name():
    assert json.loads(json.dumps(KEY.facts)) == KEY.facts
    assert KEY.name.isalnum()
    assert replace(KEY).name == KEY.name


def test_a_timing_cache_serves_all_networks_of_one_tensorrt_on_one_gpu():
    assert replace(KEY, onnx_sha256="b" * 64, precision="fp32").timing_name == KEY.timing_name
    for part in ("version", "package"):
        assert replace(KEY, **{part: "other"}).timing_name != KEY.timing_name
    assert replace(KEY, target=OTHERS["gpu_name"]).timing_name != KEY.timing_name


def test_people_read_all_of_it():
    text = str(KEY)
    for part in ("fp16", "tensorrt 11.4.0", "GPU X", "8.9", "13.0", "6..6..6", "aaaaaaaaaaaa"):
        assert part in text


@pytest.mark.parametrize("counts", [(0, 1, 1), (2, 1, 3), (1, 4, 3)])
def test_cameras_out_of_order_are_refused(counts):
    with pytest.raises(ConfigError, match="least <= likely"):
        CameraRange(**dict(zip(("least", "likely", "most"), counts, strict=True)))


def test_ahead_of_time_is_for_any_gpu_of_a_compute_capability():
    target = Target.ahead_of_time((8, 6))
    assert target.is_ahead_of_time
    assert not TARGET.is_ahead_of_time
