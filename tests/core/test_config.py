# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.bev_grid import BevGrid
from imkd_core.config import (
    NUSCENES_CLASSES,
    NUSCENES_TASKS,
    DepthBins,
    HeadSpec,
    InputSpec,
    MemorySpec,
)
from imkd_core.errors import ConfigError
from imkd_core.mapping import from_mapping, to_mapping

BEV = BevGrid(x_min_m=-12.8, x_max_m=38.4, y_min_m=-25.6, y_max_m=25.6, cell_m=0.8)
INPUTS = InputSpec(image_height_px=128, image_width_px=352, bev=BEV)


@given(st.integers(1, 200), st.sampled_from([0.1, 0.25, 0.5, 0.8, 1.0]), st.integers(1, 20))
def test_depth_bins_are_as_many_as_fit(count, step_m, start):
    bins = DepthBins(min_m=start * step_m, max_m=(start + count) * step_m, step_m=step_m)
    assert bins.count == count


@pytest.mark.parametrize(
    "change",
    [
        {"min_m": 0.0},
        {"min_m": -1.0},
        {"max_m": 1.0},
        {"step_m": 0.0},
        {"step_m": -0.5},
        {"step_m": 0.3},
        {"max_m": inf},
        {"max_m": nan},
        {"min_m": nan},
        {"step_m": nan},
        {"step_m": inf},
    ],
)
def test_broken_depth_bins_are_refused(change):
    with pytest.raises(ConfigError, match="depth"):
        replace(DepthBins(), **change)


def test_feature_and_radar_shapes_follow_from_the_sizes():
    assert INPUTS.feature_shape == (8, 22)
    assert replace(INPUTS, feature_stride_px=8).feature_shape == (16, 44)
    assert INPUTS.radar_grid.shape == (128, 128)
    assert replace(INPUTS, radar_refinement=3).radar_grid.cell_m == pytest.approx(0.8 / 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_height_px": 100}, "image_height_px"),
        ({"image_width_px": 0}, "image_width_px"),
        ({"feature_stride_px": 32}, "feature_stride_px"),
        ({"radar_refinement": 0}, "radar_refinement"),
        ({"radar_sweeps": 17}, "radar_sweeps"),
        ({"lut_taps": 3}, "lut_taps"),
        ({"z_min_m": 3.0}, "z_min_m"),
        ({"z_max_m": inf}, "z_max_m"),
        ({"z_min_m": nan}, "z_min_m"),
        ({"bev": replace(BEV, x_max_m=39.2)}, "multiples of 8"),
    ],
)
def test_broken_inputs_are_refused_by_name(change, message):
    with pytest.raises(ConfigError, match=message):
        replace(INPUTS, **change)


def test_the_default_head_partitions_the_ten_classes():
    head = HeadSpec()
    assert [name for task in NUSCENES_TASKS for name in task] == list(NUSCENES_CLASSES)
    assert head.task_of_class == (0, 1, 1, 2, 2, 3, 4, 4, 5, 5)
    assert set(head.nms_radius_m) == set(NUSCENES_CLASSES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": NUSCENES_TASKS[1:]}, "exactly once"),
        ({"tasks": (*NUSCENES_TASKS, ("car",))}, "exactly once"),
        ({"candidates": 0}, "candidates"),
        ({"candidates": 3841}, "candidates"),
        ({"peak_window": 2}, "peak_window"),
        ({"score_threshold": 1.1}, "score_threshold"),
        ({"score_threshold": nan}, "score_threshold"),
        ({"max_boxes": 0}, "max_boxes"),
        ({"nms_radius_m": {"car": 2.0}}, "lacks"),
        ({"nms_radius_m": dict.fromkeys([*NUSCENES_CLASSES, "dog"], 1.0)}, "dog"),
        ({"nms_radius_m": dict.fromkeys(NUSCENES_CLASSES, -1.0)}, "negative"),
        ({"nms_radius_m": dict.fromkeys(NUSCENES_CLASSES, inf)}, "finite"),
    ],
)
def test_a_broken_head_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        replace(HeadSpec(), **change)


@pytest.mark.parametrize("value", [INPUTS, HeadSpec()])
def test_specs_survive_json(value):
    raw = json.loads(json.dumps(to_mapping(value)))
    assert from_mapping(type(value), raw) == value


MEMORIES = (
    MemorySpec(),
    MemorySpec(kind="window", frames=3, channels=16),
    MemorySpec(kind="recurrent", frames=1, channels=16, interval_s=1.0, max_gap_s=1.0),
)


@pytest.mark.parametrize("memory", MEMORIES)
def test_a_memory_survives_json_and_an_absent_key_is_no_memory(memory):
    spec = InputSpec(image_height_px=64, image_width_px=96, bev=BEV, memory=memory)
    plain = json.loads(json.dumps(to_mapping(spec)))
    assert from_mapping(InputSpec, plain) == spec
    assert ("memory" in plain) == (memory.kind != "none")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "elephant"}, "memory.kind"),
        ({"frames": 1}, r"memory.frames must be 0..0 for kind 'none'"),
        ({"channels": 8}, "memory.channels"),
        ({"kind": "window", "channels": 8}, r"memory.frames must be 1..8"),
        ({"kind": "recurrent", "channels": 8, "frames": 2}, r"memory.frames must be 1..1"),
        ({"kind": "recurrent", "frames": 1}, "memory.channels"),
        ({"interval_s": 0.0}, "interval_s"),
        ({"max_gap_s": inf}, "max_gap_s"),
        ({"interval_s": nan}, "interval_s"),
        ({"interval_s": 3.0}, "max_gap_s"),
    ],
)
def test_a_broken_memory_is_refused_by_name(change, message):
    with pytest.raises(ConfigError, match=message):
        MemorySpec(**change)
