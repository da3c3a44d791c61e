# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace
from math import inf, nan

import pytest

from imkd_core.config import NUSCENES_CLASSES, MemorySpec
from imkd_core.errors import ConfigError
from imkd_core.mapping import from_mapping, to_mapping
from imkd_core.recipe import AugmentConfig, Config, ModelConfig, TrainConfig, load_config
from imkd_core.teaching import (
    INTENSITY_VARIANTS,
    DistillConfig,
    IntensityConfig,
    LabelEncoderConfig,
    TeacherConfig,
)
from tests.core.model.small import CONFIG


@pytest.mark.parametrize(
    "change", [{"backbone": "resnet34"}, {"radar_channels": 0}, {"trunk_blocks": (2, 0, 2)}]
)
def test_a_broken_model_is_refused_by_name(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        replace(ModelConfig(backbone="resnet18"), **change)


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": inf},
        {"clip_norm": nan},
        {"seed": -1},
        {"weight_box": -1.0},
        {"weight_heatmap": nan},
        {"backbone_rate_factor": -0.5},
        {"freeze_norm_from": 1.5},
        {"ema_decay": 1.0},
        {"precision": "fp8"},
        {"checkpoint_every_steps": 0},
    ],
)
def test_a_broken_training_value_is_refused_by_name(change):
    with pytest.raises(ConfigError, match=f"train.{next(iter(change))}"):
        replace(TrainConfig(), **change)


@pytest.mark.parametrize(
    "change",
    [
        {"blank_camera": 1.0},
        {"drop_radar": -0.1},
        {"drop_radar": 1.1},
        {"flip_x": 1.1},
        {"brightness": 1.0},
        {"noise": -1.0},
        {"noise": inf},
        {"zoom": nan},
        {"rotation_deg": 46.0},
        {"bev_yaw_deg": 181.0},
    ],
)
def test_a_broken_augmentation_is_refused_by_name(change):
    with pytest.raises(ConfigError, match=f"augment.{next(iter(change))}"):
        replace(AugmentConfig(), **change)


def test_students_of_one_kind_of_sensor_can_be_asked_for():
    assert replace(AugmentConfig(), drop_radar=1.0, flip_x=1.0).drop_radar == 1
    assert replace(AugmentConfig(), drop_cameras=1.0).drop_cameras == 1


@pytest.mark.parametrize(
    ("section", "change"),
    [
        (TeacherConfig(), {"channels": 0}),
        (TeacherConfig(), {"trunk_blocks": (1, 0, 1)}),
        (TeacherConfig(), {"pillar_refinement": 9}),
        (TeacherConfig(), {"drop_points": 1.0}),
        (LabelEncoderConfig(), {"channels": 0}),
        (IntensityConfig(), {"variant": "guess"}),
        (IntensityConfig(), {"minimum": 0.0}),
        (IntensityConfig(), {"full_reflectance": -1.0}),
        (IntensityConfig(), {"blur_cells": -1.0}),
        (DistillConfig(), {"response": -1.0}),
        (DistillConfig(), {"gate": nan}),
        (DistillConfig(), {"l2r_form": "soft"}),
        (DistillConfig(), {"response_form": "soft"}),
        (DistillConfig(), {"decay_from": 1.1}),
        (DistillConfig(), {"decay_to": 1.1}),
        (DistillConfig(), {"object_floor": 1.1}),
        (DistillConfig(), {"guard_every_steps": 0}),
        (DistillConfig(), {"guard_patience": 0}),
    ],
)
def test_a_broken_value_of_the_teaching_is_refused_by_name(section, change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        replace(section, **change)


def test_a_memory_keeps_maps_of_the_student_s_own_width():
    memory = MemorySpec(kind="window", frames=1, channels=CONFIG.model.fused_channels)
    replace(CONFIG, inputs=replace(CONFIG.inputs, memory=memory))
    wrong = replace(memory, channels=memory.channels + 1)
    with pytest.raises(ConfigError, match=r"memory.channels is 10, model.fused_channels 9"):
        replace(CONFIG, inputs=replace(CONFIG.inputs, memory=wrong))


def test_the_parts_of_the_intensity_map_sum_to_one():
    with pytest.raises(ConfigError, match="sum to 1"):
        IntensityConfig(reflectance=0.5)
    assert IntensityConfig(reflectance=1.0, density=0.0, consistency=0.0).variant == "analytic"
    assert {IntensityConfig(variant=name).variant for name in INTENSITY_VARIANTS} == set(
        INTENSITY_VARIANTS
    )


@pytest.mark.parametrize("term", ["lidar_to_radar", "lidar_to_fused", "label_to_fused", "response"])
def test_every_term_of_a_teacher_asks_for_one(term):
    assert replace(DistillConfig(), **{term: 0.1}).needs_teacher


def test_gates_and_doppler_need_no_teacher():
    assert not DistillConfig(gate=0.1, doppler=0.1).needs_teacher


@pytest.mark.parametrize("value", [CONFIG, CONFIG.augment, ModelConfig(backbone="mobilenet_v2")])
def test_a_recipe_survives_json(value):
    raw = json.loads(json.dumps(to_mapping(value)))
    assert from_mapping(type(value), raw) == value


@pytest.mark.parametrize("name", ["imkd_tiny", "imkd_r50", "imkd_r101"])
def test_the_shipped_configurations_load(project_root, name):
    config = load_config(project_root / "config" / f"{name}.yaml")
    assert isinstance(config, Config)
    assert config.name == name
    assert config.head.class_names == NUSCENES_CLASSES


def test_overrides_reach_the_configuration(project_root):
    path = project_root / "config" / "imkd_tiny.yaml"
    config = load_config(path, {"train.steps": 7, "inputs.depth.step_m": 1.0, "name": "other"})
    assert (config.train.steps, config.inputs.depth.count, config.name) == (7, 56, "other")
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        load_config(path, {"train.step": 7})
    with pytest.raises(ConfigError, match="not a group"):
        load_config(path, {"name.steps": 7})
