# SPDX-License-Identifier: Apache-2.0
"""The table of the node's parameters: names, defaults, ranges, and what each is for. No ROS."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from imkd_core.errors import ConfigError
from imkd_core.runtime.backends import BACKENDS
from imkd_core.runtime.providers import AUTO, OPENVINO_PRECISIONS
from imkd_core.runtime.roles import AUTO_ROLE

Value = bool | int | float | str

#: ROS has whole numbers of 64 bits; one beyond is none.
_LARGEST_WHOLE = 2**63


@dataclass(frozen=True, kw_only=True)
class ParameterSpec:
    """One parameter.

    Attributes:
        name: dotted, with the unit as suffix.
        default: its type is the parameter's type.
        description: one sentence.
        low, high: allowed range of a number, both included.
        choices: allowed words; empty = any.
        is_live: may be changed while the node is configured.
    """

    name: str
    default: Value
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    is_live: bool = False

    @property
    def allowed(self) -> str:
        """What a value may be, in words."""
        kind = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
        words = kind[type(self.default)]
        if self.choices:
            words = "one of " + ", ".join(f"'{choice}'" for choice in self.choices)
        elif self.low is not None:
            words += f" from {self.low:g} to {self.high:g}"
        return words

    def checked(self, value: Any) -> Value:
        """Return the value in the parameter's type (a whole number may stand for a float).

        Raises:
            ConfigError: naming the parameter, the value and what is allowed.
        """
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        is_beyond = is_whole and abs(value) >= _LARGEST_WHOLE
        if isinstance(self.default, float) and is_whole and not is_beyond:
            value = float(value)
        if is_beyond or type(value) is not type(self.default) or not self._in_range(value):
            raise ConfigError(f"parameter '{self.name}' must be {self.allowed}, got {value!r}")
        return value

    def _in_range(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, int | float):
            return True
        is_within = self.low is None or self.high is None or self.low <= value <= self.high
        return math.isfinite(value) and is_within


_SPECS = (
    ParameterSpec(
        name="model.bundle",
        default="",
        description="Folder of the model bundle; empty = the bundle installed with the package.",
    ),
    ParameterSpec(
        name="model.precision",
        default=AUTO_ROLE,
        choices=(AUTO_ROLE, "fp32", "fp16", "int8_s8", "int8_u8"),
        description="Which graph of the bundle runs: 'auto' takes what the bundle recommends for "
        "what runs it, fp32 where it recommends nothing; int8_s8 is for TensorRT and OpenVINO, "
        "int8_u8 for plain ONNX Runtime.",
    ),
    ParameterSpec(
        name="model.backend",
        default=BACKENDS[0],
        choices=BACKENDS,
        description="What runs the model. TensorRT needs an NVIDIA GPU, and the first configure "
        "builds an engine for it, which can take minutes.",
    ),
    ParameterSpec(
        name="model.cpu_fallback",
        default=False,
        description="Where TensorRT cannot run, or fails while it runs, let ONNX Runtime run the "
        "model on the CPU; the log and /diagnostics say so. Otherwise configure is refused, and a "
        "frame that fails is not answered.",
    ),
    ParameterSpec(
        name="model.engine_folder",
        default="",
        description="Folder of TensorRT's engines, writable by this user alone; empty = "
        "imkd/engines in the user's cache folder.",
    ),
    ParameterSpec(
        name="model.provider",
        default=AUTO,
        description="What ONNX Runtime runs on: 'auto' takes OpenVINO's plugin where it is "
        "installed and can run the model, else the CPU; or a name such as 'CPUExecutionProvider' "
        "or 'OpenVINOExecutionProvider', several as 'A, B' with the first choice first.",
    ),
    ParameterSpec(
        name="model.openvino_precision",
        default=OPENVINO_PRECISIONS[0],
        choices=OPENVINO_PRECISIONS,
        description="How OpenVINO computes what is not quantised: 'f32' as the other providers do, "
        "'device' leaves it to OpenVINO, which takes bf16 where the processor has AMX. bf16 is "
        "never forced: without AMX it is four times slower.",
    ),
    ParameterSpec(
        name="model.threads",
        default=0,
        low=0,
        high=64,
        description="Threads of the inference backend; 0 = one less than there are cores, which "
        "leaves one to messages and images, and four at most.",
    ),
    ParameterSpec(
        name="model.allow_spinning",
        default=False,
        description="Let idle inference threads spin: 1-2 ms faster on a machine of its own, "
        "two to four times slower beside other load.",
    ),
    ParameterSpec(
        name="model.memory",
        default=True,
        description="Let a model that has a memory read the frames before; otherwise it answers "
        "every frame by itself. No effect on a model without one.",
    ),
    ParameterSpec(
        name="sensors_file",
        default="",
        description="YAML file of the sensor set; empty = config/sensors.yaml of the package.",
    ),
    ParameterSpec(
        name="base_frame",
        default="base_link",
        description="TF frame of the vehicle (x forward, y left, z up); boxes are in it.",
    ),
    ParameterSpec(
        name="ego_motion.frame",
        default="odom",
        description="TF frame that stands still, for ego motion; empty = no ego motion.",
    ),
    ParameterSpec(
        name="ego_motion.odometry_topic",
        default="",
        description="nav_msgs/Odometry to take ego motion from instead of TF; empty = TF.",
    ),
    ParameterSpec(
        name="ego_motion.max_wait_ms",
        default=20.0,
        low=0,
        high=5000,
        description="Longest wait of a complete frame for the pose at its newest stamp; then the "
        "pose is extrapolated.",
    ),
    ParameterSpec(
        name="sync.method",
        default="slots",
        choices=("slots", "message_filters"),
        description="Synchroniser: our own, or the one of a ROS installation (which gives "
        "nothing while a sensor is missing).",
    ),
    ParameterSpec(
        name="sync.tolerance_ms",
        default=120.0,
        low=1.0,
        high=1000.0,
        description="Largest difference of a reading's stamp from the frame's reference; must "
        "cover the rig's stagger, up to one camera period.",
    ),
    ParameterSpec(
        name="sync.deadline_ms",
        default=150.0,
        low=1.0,
        high=5000.0,
        description="Time from a frame's first image until it goes out with what is there.",
    ),
    ParameterSpec(
        name="sync.dead_after_ms",
        default=1000.0,
        low=10.0,
        high=60_000.0,
        description="Silence after which a sensor is not waited for in any case (one whose period "
        "is known, after one and a half periods or what is usual of it); must exceed the longest "
        "sensor period and sync.deadline_ms.",
    ),
    ParameterSpec(
        name="input.queue_depth",
        default=2,
        low=1,
        high=5,
        description="Depth of the sensor subscriptions (best effort, keep last).",
    ),
    ParameterSpec(
        name="decode.threads",
        default=1,
        low=0,
        high=16,
        description="Threads that decode images while the frame before is inferred; the inference "
        "thread helps. 0 = it does so alone, when it takes a frame.",
    ),
    ParameterSpec(
        name="post.score_threshold",
        default=-1.0,
        low=-1.0,
        high=1.0,
        is_live=True,
        description="Lowest score of a box; negative = the bundle's own thresholds.",
    ),
    ParameterSpec(
        name="post.class_score_thresholds",
        default="",
        is_live=True,
        description="Thresholds of single classes, as 'car=0.4, pedestrian=0.25'.",
    ),
    ParameterSpec(
        name="post.class_max_range_m",
        default="",
        is_live=True,
        description="Farthest range of single classes, as 'pedestrian=40, barrier=30'.",
    ),
    ParameterSpec(
        name="post.max_boxes",
        default=200,
        low=1,
        high=500,
        is_live=True,
        description="Boxes published at most, the best first.",
    ),
    ParameterSpec(
        name="health.mask_bad_sensors",
        default=True,
        is_live=True,
        description="Leave a sensor out of the frames while its fault leaves no doubt: a camera "
        "that is frozen or black, a radar that is frozen or empty. Other faults are told alone.",
    ),
    ParameterSpec(
        name="health.watch_calibration",
        default=True,
        is_live=True,
        description="Watch the calibration of cameras and radars while the vehicle drives, beside "
        "the answers, and tell what is wrong with it; nothing is left out of the frames for it.",
    ),
    ParameterSpec(
        name="policy.degraded",
        default="publish",
        choices=("publish", "publish_empty", "stop"),
        is_live=True,
        description="What is published of a frame that lacks some of the sensors: its boxes, an "
        "empty array, or nothing. ~/output/status tells it in any case.",
    ),
    ParameterSpec(
        name="policy.camera_only",
        default="publish",
        choices=("publish", "publish_empty", "stop"),
        is_live=True,
        description="What is published of a frame without any radar.",
    ),
    ParameterSpec(
        name="policy.radar_only",
        default="publish",
        choices=("publish", "publish_empty", "stop"),
        is_live=True,
        description="What is published of a frame without any camera.",
    ),
    ParameterSpec(
        name="policy.blind",
        default="stop",
        choices=("stop", "publish_empty"),
        is_live=True,
        description="What is published while no sensor can be used: nothing, so that an empty "
        "array always means that nothing was found, or empty arrays twice a second.",
    ),
    ParameterSpec(
        name="diagnostics.period_sec",
        default=1.0,
        low=0.1,
        high=10.0,
        description="Period of /diagnostics; a change of level is published at once.",
    ),
    ParameterSpec(
        name="diagnostics.sensor_timeout_sec",
        default=1.0,
        low=0.1,
        high=60.0,
        is_live=True,
        description="Silence after which a sensor counts as lost; one whose period is known counts "
        "as lost after three periods, and 0.3 s, where that is sooner.",
    ),
    ParameterSpec(
        name="diagnostics.latency_warn_ms",
        default=200.0,
        low=1.0,
        high=10_000.0,
        is_live=True,
        description="Median time from a frame's reference stamp to its boxes that is a warning.",
    ),
    ParameterSpec(
        name="debug.mosaic_rate_hz",
        default=2.0,
        low=0.1,
        high=10.0,
        is_live=True,
        description="Pictures a second at most on ~/debug/image_mosaic, while somebody looks.",
    ),
    ParameterSpec(
        name="debug.mosaic_tile_width_px",
        default=320,
        low=64,
        high=1600,
        is_live=True,
        description="Width of each camera's part of that picture.",
    ),
    ParameterSpec(
        name="memory.keep_heap",
        default=True,
        description="Tell glibc to keep freed memory until clean-up: images are megabytes, and "
        "giving each back costs twice the CPU. No effect on other C libraries.",
    ),
)

#: All parameters, by name, in the order of the documentation.
SPECS: Mapping[str, ParameterSpec] = MappingProxyType({spec.name: spec for spec in _SPECS})
