# SPDX-License-Identifier: Apache-2.0
"""How a student is built, taught and trained: what stands in `config/*.yaml`.

Frozen values that refuse nonsense when they are built. An unknown key is an error with a guess.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from pathlib import Path
from typing import Any

from imkd_core.config import HeadSpec, InputSpec
from imkd_core.mapping import from_mapping, read_yaml, require, with_overrides
from imkd_core.teaching import DistillConfig, IntensityConfig, LabelEncoderConfig, TeacherConfig


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Layers and widths of a student (method.md 3).

    Attributes:
        backbone: "resnet18", "resnet50", "resnet101" or "mobilenet_v2".
        backbone_width: channels of ResNet's stem (64 in torchvision's files).
        neck_channels: channels of each of the neck's four levels.
        depth_channels: width of the depth and context net.
        context_channels: channels of the camera's BEV map.
        radar_widths: channels of the radar encoder's three stages.
        radar_channels: channels of the radar's BEV map.
        fused_channels: channels of the fused map.
        trunk_channels: channels of the BEV trunk's three stages.
        trunk_blocks: residual blocks of each of them.
        trunk_neck_channels: channels of each of the BEV neck's four levels.
        head_channels: width of the head's towers.
    """

    backbone: str
    backbone_width: int = 64
    neck_channels: int = 128
    depth_channels: int = 256
    context_channels: int = 80
    radar_widths: tuple[int, int, int] = (64, 128, 256)
    radar_channels: int = 80
    fused_channels: int = 128
    trunk_channels: tuple[int, int, int] = (160, 320, 640)
    trunk_blocks: tuple[int, int, int] = (2, 2, 2)
    trunk_neck_channels: int = 64
    head_channels: int = 64

    def __post_init__(self) -> None:
        """Refuse unknown backbones and empty layers."""
        known = ("resnet18", "resnet50", "resnet101", "mobilenet_v2")
        require(
            self.backbone in known,
            f"model.backbone must be one of {', '.join(known)}, got '{self.backbone}'",
        )
        for item in fields(self):
            value = getattr(self, item.name)
            numbers = value if isinstance(value, tuple) else (value,)
            require(
                all(isinstance(n, str) or n >= 1 for n in numbers),
                f"model.{item.name} must be positive, got {value}",
            )


#: Probabilities that may be 1: a student of one kind of sensor alone, or without history.
_ALL_OR_NOTHING = ("drop_cameras", "drop_radar", "drop_history", "history_jitter")


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How training samples are changed (method.md 6, 12.3); probabilities are per sample.

    Image changes act on the network image, and the camera geometry follows them; BEV changes act
    on everything that has a place in the ego frame: boxes and velocities, radar, LiDAR, camera
    poses and cached teacher maps.

    Attributes:
        pixel_shift_px: largest shift of an image that the geometry does not follow (less than a
            feature cell), network pixels.
        zoom: largest relative enlargement and reduction of an image.
        rotation_deg: largest rotation of an image.
        flip_image: probability that a camera's image is mirrored.
        brightness: largest relative change of brightness.
        contrast, saturation: largest relative change of each.
        noise: standard deviation of pixel noise, grey levels.
        blur: probability that an image is blurred.
        bev_yaw_deg: largest rotation of the scene about z.
        bev_scale: largest relative change of scale of the scene.
        flip_x, flip_y: probability that x, or y, of the scene changes its sign.
        blank_camera: probability that a camera is blanked; targets that only blanked cameras
            see are removed where no radar sees them either.
        radar_keeps: whether targets stay where a radar return is all that is left of them; False
            removes them, for a fit to so few frames that returns are known by heart.
        drop_side: probability that all cameras of one side are masked.
        stale_camera: probability that a camera shows the picture before (where sweeps exist).
        drop_cameras: probability that all cameras are masked; 1 trains a radar-only student.
        drop_radar: probability that all radars are dropped; 1 trains a camera-only student.
        stale_radar: probability that the newest scans of all radars are missing.
        drop_radar_sweep: probability of each sweep but one to be left out.
        drop_radar_points: share of radar returns left out.
        radar_noise_m: standard deviation of noise on radar positions.
        radar_clutter: share of made-up false returns added.
        drop_history: probability that only some of a sample's past frames, or none, are there.
        history_jitter: probability of each step back in time to be twice as long.
        history_noise_m, history_noise_deg: standard deviations of noise on own motion between
            frames.
    """

    pixel_shift_px: int = 0
    zoom: float = 0.0
    rotation_deg: float = 0.0
    flip_image: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    bev_yaw_deg: float = 0.0
    bev_scale: float = 0.0
    flip_x: float = 0.0
    flip_y: float = 0.0
    blank_camera: float = 0.0
    radar_keeps: bool = True
    drop_side: float = 0.0
    stale_camera: float = 0.0
    drop_cameras: float = 0.0
    drop_radar: float = 0.0
    stale_radar: float = 0.0
    drop_radar_sweep: float = 0.0
    drop_radar_points: float = 0.0
    radar_noise_m: float = 0.0
    radar_clutter: float = 0.0
    drop_history: float = 0.0
    history_jitter: float = 0.0
    history_noise_m: float = 0.0
    history_noise_deg: float = 0.0

    def __post_init__(self) -> None:
        """Refuse numbers outside their ranges."""
        for item in fields(self):
            value = getattr(self, item.name)
            require(
                isfinite(value) and value >= 0,
                f"augment.{item.name} must be finite and not negative, got {value}",
            )
        unbounded = (
            *("pixel_shift_px", "rotation_deg", "bev_yaw_deg", "noise", "radar_noise_m"),
            *("history_noise_m", "history_noise_deg"),
        )
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name not in unbounded and not isinstance(value, bool):
                may_be_1 = item.name.startswith("flip") or item.name in _ALL_OR_NOTHING
                is_right = value <= 1 if may_be_1 else value < 1
                require(is_right, f"augment.{item.name} must be below 1, got {value}")
        require(self.rotation_deg <= 45, "augment.rotation_deg must be 45 at most")
        require(self.bev_yaw_deg <= 180, "augment.bev_yaw_deg must be 180 at most")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a network is fitted (method.md 5.1, 5.2, 6).

    Attributes:
        steps: optimiser steps.
        batch_size: samples a step, over all processes together.
        learning_rate, backbone_rate_factor, weight_decay, clip_norm: AdamW.
        warmup_steps: steps of linear warm-up; a cosine follows, down to a hundredth.
        freeze_norm_from: fraction of the steps after which batch-norm statistics are held; 1 never.
        ema_decay: of the running mean of the weights that is delivered; 0 delivers the last ones.
        precision: "fp32", "bf16" or "fp16"; softmax and losses are fp32 always.
        seed: of every random choice.
        weight_heatmap, weight_box, weight_depth: of the losses.
        weight_perspective: of the loss that asks each image cell for the class it shows (a
            student's; see `data.learning.perspective`).
        velocity_weight: of vx and vy among the numbers of the box code (method.md 5.1: 1 for a
            student, 0.2 for a teacher). The loss is L1, so it is the share of the gradient.
        weight_consistency: of the loss that asks a memory to agree with itself where nothing
            moves (method.md 12.2 c).
        history_frames: past frames that a recurrent memory is rolled over before each key frame.
        memory_rate_factor: on the learning rate of the memory's own weights, which are new where
            a single-frame student is continued.
        checkpoint_every_steps: how often a resumable checkpoint is written.
    """

    steps: int = 1000
    batch_size: int = 1
    learning_rate: float = 4e-4
    backbone_rate_factor: float = 0.5
    weight_decay: float = 1e-2
    clip_norm: float = 5.0
    warmup_steps: int = 50
    freeze_norm_from: float = 1.0
    ema_decay: float = 0.0
    precision: str = "fp32"
    seed: int = 0
    weight_heatmap: float = 1.0
    weight_box: float = 0.25
    weight_depth: float = 3.0
    weight_perspective: float = 0.0
    velocity_weight: float = 1.0
    weight_consistency: float = 0.0
    history_frames: int = 2
    memory_rate_factor: float = 1.0
    checkpoint_every_steps: int = 200

    def __post_init__(self) -> None:
        """Refuse rates outside their ranges."""
        known = ("fp32", "bf16", "fp16")
        require(
            self.precision in known,
            f"train.precision must be one of {', '.join(known)}, got '{self.precision}'",
        )
        numbers = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "precision"}
        for name, value in numbers.items():
            require(
                isfinite(value) and value >= 0,
                f"train.{name} must be finite and not negative, got {value}",
            )
        for name in ("steps", "batch_size", "learning_rate", "clip_norm", "checkpoint_every_steps"):
            require(numbers[name] > 0, f"train.{name} must be positive")
        require(1 <= self.history_frames <= 8, "train.history_frames must be 1..8")
        require(self.freeze_norm_from <= 1, "train.freeze_norm_from must be 0..1")
        require(self.ema_decay < 1, "train.ema_decay must be below 1")


def _teacher_train() -> TrainConfig:
    return TrainConfig(velocity_weight=0.2)


@dataclass(frozen=True, kw_only=True)
class Config:
    """One student: what it takes, what it gives, how it is built, taught and trained."""

    name: str
    inputs: InputSpec
    head: HeadSpec
    model: ModelConfig
    train: TrainConfig = field(default_factory=TrainConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    teacher_train: TrainConfig = field(default_factory=_teacher_train)
    labels: LabelEncoderConfig = field(default_factory=LabelEncoderConfig)
    labels_train: TrainConfig = field(default_factory=_teacher_train)
    intensity: IntensityConfig = field(default_factory=IntensityConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)

    def __post_init__(self) -> None:
        """Refuse a memory of other maps than the student makes."""
        memory, channels = self.inputs.memory, self.model.fused_channels
        require(
            memory.kind == "none" or memory.channels == channels,
            f"inputs.memory.channels is {memory.channels}, model.fused_channels {channels}; the "
            "memory keeps the fused maps, so give both the same number",
        )


def load_config(path: Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read a YAML file into a `Config`.

    Args:
        path: for example `config/imkd_tiny.yaml`.
        overrides: dotted key -> value, for example {"train.steps": 300}.

    Raises:
        ConfigError: the file is missing, is not YAML, or holds an unknown or impossible value.
    """
    return from_mapping(Config, with_overrides(read_yaml(path), overrides or {}))
