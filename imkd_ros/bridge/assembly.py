# SPDX-License-Identifier: Apache-2.0
"""Parameters -> settings of the parts. No ROS in here: the node and the replay share it."""

from pathlib import Path

import numpy as np

from imkd_core.config import InputSpec
from imkd_core.postprocess import Thresholds
from imkd_core.runtime.backends import BackendSettings
from imkd_core.runtime.bundle import Bundle
from imkd_core.runtime.processor import inference_threads, usable_cores
from imkd_core.runtime.slots import SyncSettings
from imkd_core.types import Detections
from imkd_ros.bridge.parameters import NodeSettings, class_values
from imkd_ros.bridge.pipeline_settings import PipelineSettings
from imkd_ros.bridge.sensors import SensorSet, check_topic

#: Farthest range that can be asked for, metres.
_MAX_RANGE_M = 1000.0


def pipeline_settings(
    settings: NodeSettings, sensors: SensorSet, inputs: InputSpec
) -> PipelineSettings:
    """Return how messages become frames.

    Args:
        settings: the node's parameters (`NodeSettings(values={})` = all defaults).
        sensors: names of the sensors, in order.
        inputs: of the model.

    Raises:
        ConfigError: a value is impossible beside the others.
    """
    odometry_topic = settings.text("ego_motion.odometry_topic")
    check_topic("parameter 'ego_motion.odometry_topic'", odometry_topic)
    return PipelineSettings(
        sync=SyncSettings(
            cameras=tuple(sensors.cameras),
            radars=tuple(sensors.radars),
            tolerance_ns=settings.nanoseconds("sync.tolerance_ms"),
            deadline_ns=settings.nanoseconds("sync.deadline_ms"),
            dead_after_ns=settings.nanoseconds("sync.dead_after_ms"),
            radar_sweeps=inputs.radar_sweeps,
        ),
        method=settings.text("sync.method"),
        base_frame=settings.text("base_frame"),
        ego_frame=settings.text("ego_motion.frame"),
        odometry_topic=odometry_topic,
        pose_wait_ns=settings.nanoseconds("ego_motion.max_wait_ms"),
        decode_width_px=inputs.image_width_px,
        decode_threads=settings.count("decode.threads"),
    )


def backend_settings(settings: NodeSettings, cameras: int = 0) -> BackendSettings:
    """Return how the model is run.

    Args:
        settings: the node's parameters.
        cameras: of the sensor file, which an engine is built for; 0 = any number up to 8.
    """
    folder = settings.text("model.engine_folder")
    return BackendSettings(
        backend=settings.text("model.backend"),
        cpu_fallback=settings.flag("model.cpu_fallback"),
        cameras=cameras or None,
        engine_folder=Path(folder).expanduser() if folder else None,
        role=settings.text("model.precision"),
        threads=settings.count("model.threads") or inference_threads(usable_cores()),
        allow_spinning=settings.flag("model.allow_spinning"),
        providers=tuple(name.strip() for name in settings.text("model.provider").split(",")),
        openvino_precision=settings.text("model.openvino_precision"),
    )


def thresholds(settings: NodeSettings, bundle: Bundle) -> Thresholds:
    """Return what is reported: the bundle's own, overruled by the parameters.

    Raises:
        ConfigError: a parameter names an unknown class or an impossible value.
    """
    names = bundle.head.class_names
    score = dict(bundle.thresholds.score)
    general = settings.number("post.score_threshold")
    if general >= 0:
        score = dict.fromkeys(names, general)
    score |= class_values(settings, "post.class_score_thresholds", names, 1.0)
    ranges_m = class_values(settings, "post.class_max_range_m", names, _MAX_RANGE_M)
    return Thresholds(score=score, max_range_m={**bundle.thresholds.max_range_m, **ranges_m})


def capped(detections: Detections, max_boxes: int) -> Detections:
    """Return the best `max_boxes` boxes."""
    if len(detections) <= max_boxes:
        return detections
    return detections.select(np.argsort(-detections.scores, kind="stable")[:max_boxes])
