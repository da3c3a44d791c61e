# SPDX-License-Identifier: Apache-2.0
"""What the teachers are, and how the student listens to them (method.md 4, 5, 12, 13)."""

from dataclasses import dataclass, fields
from math import isfinite

from imkd_core.mapping import require

#: Columns of the points that the LiDAR teacher takes: metres in the ego frame, reflectance
#: 0..255, age in seconds, and the logarithm of 1 + the returns in the point's pillar.
LIDAR_POINT_COLUMNS = ("x", "y", "z", "intensity", "age", "log_count")


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """The LiDAR teacher: CenterPoint on pillars, on the student's BEV grid (method.md 4.1).

    Attributes:
        lidar_sweeps: sweeps merged, the key frame's and those before it.
        pillar_refinement: pillars per BEV cell and direction.
        pillar_channels: width of the point network.
        channels: of F_L, the map at BEV resolution that is taught.
        trunk_channels, trunk_blocks: stages behind F_L.
        trunk_neck_channels: channels of each level of its neck.
        head_channels: width of the head's towers.
        drop_points: largest share of points left out in training.
        max_points: points given to the network at most; crowded pillars are thinned first.
        filter_clutter: whether lone, dark, near returns (rain, snow, spray) are left out
            (method.md 13).
    """

    lidar_sweeps: int = 10
    pillar_refinement: int = 2
    pillar_channels: int = 32
    channels: int = 64
    trunk_channels: tuple[int, int, int] = (64, 128, 128)
    trunk_blocks: tuple[int, int, int] = (1, 2, 2)
    trunk_neck_channels: int = 32
    head_channels: int = 32
    drop_points: float = 0.1
    max_points: int = 60_000
    filter_clutter: bool = False

    def __post_init__(self) -> None:
        """Refuse empty layers."""
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name not in ("drop_points", "filter_clutter"):
                numbers = value if isinstance(value, tuple) else (value,)
                require(all(n >= 1 for n in numbers), f"teacher.{item.name} must be positive")
        require(self.pillar_refinement <= 8, "teacher.pillar_refinement must be 1..8")
        require(0 <= self.drop_points < 1, "teacher.drop_points must be 0 or more and below 1")


@dataclass(frozen=True, kw_only=True)
class LabelEncoderConfig:
    """The label teacher, an approximate inverse of the LiDAR teacher's head (method.md 4.2).

    Attributes:
        channels: width of its layers.
    """

    channels: int = 64

    def __post_init__(self) -> None:
        """Refuse an empty layer."""
        require(self.channels >= 1, "labels.channels must be positive")


#: Readings of the block "Voxelized Intensity Extraction" (method.md 4.4).
INTENSITY_VARIANTS = ("analytic", "learned", "activation", "literal", "uniform")


@dataclass(frozen=True, kw_only=True)
class IntensityConfig:
    """The voxelised intensity map I_L (method.md 4.4).

    Attributes:
        variant: "analytic" (A), "learned" (B), "activation" (C), "literal" (reflectance alone
            through the three-stage pyramid) or "uniform" (a control).
        reflectance, density, consistency: weights of A's three parts; they sum to 1.
        minimum: I_min, where nothing returned.
        full_reflectance: reflectance that counts as 1, on the scale 0..255; 0 takes the 95th
            percentile of the training set, so that another LiDAR's scale does not matter.
        blur_cells: standard deviation of the blur.
    """

    variant: str = "analytic"
    reflectance: float = 0.4
    density: float = 0.4
    consistency: float = 0.2
    minimum: float = 0.02
    full_reflectance: float = 0.0
    blur_cells: float = 0.7

    def __post_init__(self) -> None:
        """Refuse unknown variants and weights that do not sum to 1."""
        require(
            self.variant in INTENSITY_VARIANTS,
            f"intensity.variant must be one of {', '.join(INTENSITY_VARIANTS)}, "
            f"got '{self.variant}'",
        )
        weights = (self.reflectance, self.density, self.consistency)
        require(
            all(weight >= 0 for weight in weights) and abs(sum(weights) - 1) < 1e-6,
            f"intensity: reflectance, density and consistency must sum to 1, got {weights}",
        )
        require(0 < self.minimum < 1, "intensity.minimum must be between 0 and 1")
        require(self.full_reflectance >= 0, "intensity.full_reflectance must not be negative")
        require(self.blur_cells >= 0, "intensity.blur_cells must not be negative")


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Weights and switches of the distillation (method.md 5.3 to 5.7, 12, 13); 0 switches off.

    Attributes:
        lidar_to_radar, lidar_to_fused, label_to_fused, response: weights of the four terms.
        gate: weight of the supervision of the intensity gates.
        doppler: weight of the radial-velocity term on objects with radar returns.
        l2r_form: "masked" (ours) or "literal" (weight 1 everywhere).
        response_form: "quality" (ours) or "ld_exact" (LabelDistill's, which only suppresses).
        channels: of the cached teacher maps (principal components); 0 keeps all.
        adaptor_blocks: residual blocks of an adaptor (method.md 4.5 has one); 0 takes half the
            time, which matters where small students are trained on CPUs.
        warmup_steps: linear warm-up of all weights above.
        decay_from: fraction of the steps after which lidar_to_radar and lidar_to_fused fall along
            a cosine to `decay_to` of themselves; 1 never.
        decay_to: see there.
        guard_ratio: a term whose gradient on the fused map stays above this multiple of the
            detection's is scaled down; 0 switches the guard off.
        guard_every_steps: how often the gradient norms are taken.
        guard_patience: checks in a row that must fail.
        object_floor: share of the label mask that I_L is raised to inside boxes that LiDAR saw, so
            that dark objects are taught (13); 0 leaves I_L as it is.
        huber: distance to the teacher, in standard deviations, from which the feature terms grow
            linearly instead of squared (13); 0 squares all.
        reliability_swap: labels weigh more where LiDAR is weak (method.md 12.10).
        teacher_quality: LiDAR terms are scaled by how good the teacher is on the sample (13).
        shuffle: a control: the maps of another sample teach.
    """

    lidar_to_radar: float = 0.0
    lidar_to_fused: float = 0.0
    label_to_fused: float = 0.0
    response: float = 0.0
    gate: float = 0.0
    doppler: float = 0.0
    l2r_form: str = "masked"
    response_form: str = "quality"
    channels: int = 16
    adaptor_blocks: int = 1
    warmup_steps: int = 1000
    decay_from: float = 1.0
    decay_to: float = 0.3
    guard_ratio: float = 2.0
    guard_every_steps: int = 200
    guard_patience: int = 3
    object_floor: float = 0.5
    huber: float = 3.0
    reliability_swap: bool = True
    teacher_quality: bool = True
    shuffle: bool = False

    def __post_init__(self) -> None:
        """Refuse negative weights and unknown forms."""
        for item in fields(self):
            value = getattr(self, item.name)
            if not isinstance(value, (str, bool)):
                require(
                    isfinite(value) and value >= 0,
                    f"distill.{item.name} must be finite and not negative, got {value}",
                )
        for name, known in (
            ("l2r_form", ("masked", "literal")),
            ("response_form", ("quality", "ld_exact")),
        ):
            value = getattr(self, name)
            require(value in known, f"distill.{name} must be {' or '.join(known)}, got '{value}'")
        require(self.decay_from <= 1, "distill.decay_from must be 0..1")
        require(self.decay_to <= 1, "distill.decay_to must be 0..1")
        require(self.object_floor <= 1, "distill.object_floor must be 0..1")
        for name in ("guard_every_steps", "guard_patience"):
            require(getattr(self, name) >= 1, f"distill.{name} must be 1 or more")

    @property
    def needs_teacher(self) -> bool:
        """Whether any term needs cached teacher maps."""
        return any((self.lidar_to_radar, self.lidar_to_fused, self.label_to_fused, self.response))
