# SPDX-License-Identifier: Apache-2.0
"""What a model expects and gives: frozen values that refuse nonsense when they are built.

`InputSpec` and `HeadSpec` travel with the weights in `bundle.json`. How a student is built and
trained stands in `recipe`. Derived numbers are properties.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from imkd_core.bev_grid import BevGrid
from imkd_core.mapping import UNSAID, require

#: The ten classes of the nuScenes detection task, in the order of the paper's task groups.
NUSCENES_CLASSES = (
    "car",
    "truck",
    "construction_vehicle",
    "bus",
    "trailer",
    "barrier",
    "motorcycle",
    "bicycle",
    "pedestrian",
    "traffic_cone",
)

#: The six task groups of CenterPoint on nuScenes (method.md 3.6).
NUSCENES_TASKS = (
    ("car",),
    ("truck", "construction_vehicle"),
    ("bus", "trailer"),
    ("barrier",),
    ("motorcycle", "bicycle"),
    ("pedestrian", "traffic_cone"),
)

#: Channels of the radar statistics grid, in order (method.md 3.2).
RADAR_GRID_CHANNELS = (
    "log_count",
    "rcs_mean",
    "rcs_max",
    "vx_mean",
    "vy_mean",
    "speed_max",
    "radial_speed_std",
    "age_mean",
    "age_min",
    "x_offset_mean",
    "y_offset_mean",
    "occupancy",
)

#: Channels of the regression code at a cell (method.md 3.6, "Targets").
BOX_CODE = (
    "dx",  # metres from the cell's centre
    "dy",
    "z",  # metres, geometric centre
    "log_length",
    "log_width",
    "log_height",
    "sin_yaw",
    "cos_yaw",
    "vx",
    "vy",
)


@dataclass(frozen=True, kw_only=True)
class DepthBins:
    """Bins of depth along the optical axis; bin i covers [min + i * step, min + (i + 1) * step)."""

    min_m: float = 2.0
    max_m: float = 58.0
    step_m: float = 0.5

    def __post_init__(self) -> None:
        """Refuse an empty range or a broken number of bins."""
        bins = (self.max_m - self.min_m) / self.step_m if self.step_m > 0 else 0.0
        require(
            0 < self.min_m < self.max_m < inf
            and 0.5 < bins < inf
            and abs(bins - round(bins)) < 1e-6,
            f"depth {self.min_m}..{self.max_m} m must hold a whole number of bins of "
            f"{self.step_m} m, and min_m must be positive",
        )

    @property
    def count(self) -> int:
        """Number of bins, D."""
        return round((self.max_m - self.min_m) / self.step_m)


#: Kinds of temporal memory (method.md 3.5, 12.2 a).
MEMORY_KINDS = ("none", "window", "recurrent")


@dataclass(frozen=True, kw_only=True)
class MemorySpec:
    """What a model remembers of earlier frames; the rest of the world keeps it for the model.

    Attributes:
        kind: "none": every frame by itself. "window": the merged maps F_mrg of `frames` earlier
            moments. "recurrent": one map, the fused map F_fus of the moment before, which holds
            all that came before it.
        frames: maps that enter the network, K: 0 for "none", 1 for "recurrent".
        channels: of a remembered map, the student's `model.fused_channels`; 0 for "none".
        interval_s: time between two remembered maps, and from the newest to the present.
        max_gap_s: a longer time without a frame empties the memory.
    """

    kind: str = "none"
    frames: int = 0
    channels: int = 0
    interval_s: float = 0.5
    max_gap_s: float = 2.0

    def __post_init__(self) -> None:
        """Refuse numbers that do not belong together."""
        known = ", ".join(MEMORY_KINDS)
        require(
            self.kind in MEMORY_KINDS, f"inputs.memory.kind must be of {known}, got '{self.kind}'"
        )
        least, most = {"none": (0, 0), "window": (1, 8), "recurrent": (1, 1)}[self.kind]
        require(
            least <= self.frames <= most,
            f"inputs.memory.frames must be {least}..{most} for kind '{self.kind}', got "
            f"{self.frames}",
        )
        require(
            (self.channels > 0) == (self.kind != "none") and self.channels >= 0,
            f"inputs.memory.channels must be positive with a memory and 0 without, got "
            f"{self.channels} for kind '{self.kind}'",
        )
        require(
            0 < self.interval_s <= self.max_gap_s < inf,
            "inputs.memory.interval_s must be positive and inputs.memory.max_gap_s finite and not "
            "below it",
        )


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What a model takes: image size, depth bins, grids, sweeps, memory.

    Attributes:
        image_height_px, image_width_px: network image size; multiples of `feature_stride_px`.
        feature_stride_px: pixels per image-feature cell.
        depth: bins of the depth distribution.
        bev: grid of all BEV maps and outputs.
        radar_refinement: radar cells per BEV cell and direction.
        radar_sweeps: scans per radar merged into the radar grid.
        lut_taps: K of the view transform's gather.
        z_min_m, z_max_m: heights (ego frame) that the view transform collapses.
        memory: maps of earlier frames; a file without the key means none.
    """

    image_height_px: int
    image_width_px: int
    bev: BevGrid
    feature_stride_px: int = 16
    depth: DepthBins = field(default_factory=DepthBins)
    radar_refinement: int = 2
    radar_sweeps: int = 1
    lut_taps: int = 8
    z_min_m: float = -5.0
    z_max_m: float = 3.0
    memory: MemorySpec = field(default_factory=MemorySpec, metadata=UNSAID)

    def __post_init__(self) -> None:
        """Refuse sizes that do not fit together."""
        for name in ("image_height_px", "image_width_px"):
            value = getattr(self, name)
            require(
                value > 0 and value % 32 == 0,
                f"inputs.{name} must be a positive multiple of 32, got {value}",
            )
        require(
            self.feature_stride_px in (8, 16),
            f"inputs.feature_stride_px must be 8 or 16, got {self.feature_stride_px}",
        )
        require(1 <= self.radar_refinement <= 4, "inputs.radar_refinement must be 1..4")
        require(1 <= self.radar_sweeps <= 16, "inputs.radar_sweeps must be 1..16")
        require(4 <= self.lut_taps <= 32, "inputs.lut_taps must be 4..32")
        require(
            -inf < self.z_min_m < self.z_max_m < inf,
            "inputs.z_min_m must be below inputs.z_max_m, both finite",
        )
        require(
            self.bev.rows % 8 == 0 and self.bev.columns % 8 == 0,
            f"inputs.bev: rows and columns must be multiples of 8, got {self.bev.shape}",
        )

    @property
    def feature_shape(self) -> tuple[int, int]:
        """(H, W) of the image features."""
        stride = self.feature_stride_px
        return self.image_height_px // stride, self.image_width_px // stride

    @property
    def radar_grid(self) -> BevGrid:
        """Grid of the radar statistics."""
        return self.bev.refined(self.radar_refinement)


@dataclass(frozen=True, kw_only=True)
class HeadSpec:
    """What a model gives: classes, task groups, candidates, and the suppression it was tuned with.

    Attributes:
        class_names: names in label order.
        tasks: groups of classes that share one regression code; a partition of `class_names`.
        candidates: boxes that the graph decodes (top K over classes and cells).
        peak_window: side of the maximum filter in the graph; 1 keeps all cells, because a 3 x 3
            window merges pedestrians that stand 0.6 to 0.8 m apart.
        nms_radius_m: per class, effective, not squared; barriers stand in rows 0.6 m apart.
        score_threshold: default for all classes.
        max_boxes: boxes kept after suppression.
    """

    class_names: tuple[str, ...] = NUSCENES_CLASSES
    tasks: tuple[tuple[str, ...], ...] = NUSCENES_TASKS
    candidates: int = 1000
    peak_window: int = 1
    nms_radius_m: Mapping[str, float] = field(
        default_factory=lambda: {
            "car": 2.0,
            "truck": 2.0,
            "construction_vehicle": 2.0,
            "bus": 2.5,
            "trailer": 2.5,
            "barrier": 0.5,
            "motorcycle": 0.6,
            "bicycle": 0.6,
            "pedestrian": 0.4,
            "traffic_cone": 0.4,
        }
    )
    score_threshold: float = 0.1
    max_boxes: int = 300

    def __post_init__(self) -> None:
        """Check that tasks partition the classes and every class has a radius."""
        grouped = [name for task in self.tasks for name in task]
        require(
            sorted(grouped) == sorted(self.class_names) and len(set(grouped)) == len(grouped),
            "head.tasks must hold every class of head.class_names exactly once",
        )
        require(1 <= self.candidates <= 3840, "head.candidates must be 1..3840 (TensorRT's top-K)")
        require(self.peak_window in (1, 3), "head.peak_window must be 1 or 3")
        require(0 <= self.score_threshold <= 1, "head.score_threshold must be 0..1")
        require(1 <= self.max_boxes <= 3840, "head.max_boxes must be 1..3840")
        missing = sorted(set(self.class_names) - set(self.nms_radius_m))
        unknown = sorted(set(self.nms_radius_m) - set(self.class_names))
        require(not missing, f"head.nms_radius_m lacks {missing}")
        require(not unknown, f"head.nms_radius_m names unknown classes {unknown}")
        require(
            all(0 <= radius < inf for radius in self.nms_radius_m.values()),
            "head.nms_radius_m must be finite and not negative",
        )

    @property
    def task_of_class(self) -> tuple[int, ...]:
        """Index of the task group of each class, in label order."""
        return tuple(
            next(i for i, task in enumerate(self.tasks) if name in task)
            for name in self.class_names
        )
