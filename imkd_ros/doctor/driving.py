# SPDX-License-Identifier: Apache-2.0
"""What a recording's pictures and scans show frame by frame. No ROS in here.

Frames are made by the node's own pipeline, and judged by the same code that watches them on a
vehicle: `imkd_core.health`.
"""

from collections.abc import Iterator

from imkd_core.data.bags.recording import Bag
from imkd_core.errors import DataError
from imkd_core.health.calibration import CalibrationMonitor, CalibrationSettings
from imkd_core.health.calibration_rig import rig_findings
from imkd_core.health.faults import WRONG_SCALE, Finding
from imkd_core.health.monitor import SensorHealth
from imkd_core.runtime.slots import SyncSettings
from imkd_core.types import Frame, SensorRig
from imkd_ros.bridge.pipeline import Pipeline
from imkd_ros.bridge.pipeline_settings import PipelineSettings
from imkd_ros.doctor.facts import Driven
from imkd_ros.doctor.findings import FindingLog
from imkd_ros.doctor.pictures import WIDTH_PX
from imkd_ros.doctor.wanted import Wanted

#: Frames that are looked at, from the first on: half a minute and more.
_FRAMES = 400

#: Cameras whose motion is followed in a frame; all of a recording that is short.
_CAMERAS_AT_ONCE, _SHORT_S = 2, 15.0


def look_at_driving(bag: Bag, wanted: Wanted) -> Driven:
    """Look at the frames of a recording.

    Args:
        bag: open.
        wanted: what the node would listen to.
    """
    health, monitor, rig = SensorHealth(), None, None
    log = FindingLog()
    is_short = (bag.end_ns - bag.start_ns) * 1e-9 < _SHORT_S
    at_once = 0 if is_short else _CAMERAS_AT_ONCE
    pipeline = Pipeline(wanted.sensors, _settings(wanted))
    try:
        for frame in _frames(bag, wanted, pipeline):
            if monitor is None or pipeline.rig is not rig:
                rig = pipeline.rig
                monitor = CalibrationMonitor(rig, CalibrationSettings(cameras_at_once=at_once))
            log.add(one for one in health.look(frame) if one.sensor in wanted.sensors.cameras)
            monitor.add(frame)
            if log.looks >= _FRAMES:
                break
    finally:
        pipeline.close()
    moving = () if monitor is None or rig is None else _by_motion(monitor, rig)
    judged = frozenset[str]() if monitor is None else monitor.judged
    return Driven(frames=log.looks, findings=(*log.lasting(), *moving), judged=judged)


def _by_motion(monitor: CalibrationMonitor, rig: SensorRig) -> Iterator[Finding]:
    """Yield what motion tells; what the numbers alone tell is judged without a recording."""
    static = {(item.sensor, item.fault) for item in rig_findings(rig)}
    for finding in monitor.findings:
        if (finding.sensor, finding.fault) not in static and finding.fault != WRONG_SCALE:
            yield finding


def _settings(wanted: Wanted) -> PipelineSettings:
    return PipelineSettings(
        sync=SyncSettings(
            cameras=tuple(wanted.sensors.cameras),
            radars=tuple(wanted.sensors.radars),
            tolerance_ns=wanted.tolerance_ns,
            deadline_ns=wanted.deadline_ns,
            dead_after_ns=wanted.dead_after_ns,
        ),
        base_frame=wanted.base_frame,
        ego_frame=wanted.ego_frame,
        odometry_topic=wanted.odometry_topic,
        decode_width_px=WIDTH_PX,
    )


def _frames(bag: Bag, wanted: Wanted, pipeline: Pipeline) -> Iterator[Frame]:
    given = {
        topic.name: topic.given
        for topic in wanted.topics
        if topic.name in bag.topics and bag.topics[topic.name].type_name == topic.type_name
    }
    for message in bag.messages(given):
        try:
            decoded = bag.decode(message)
        except DataError:
            continue  # counted where the topic is judged
        for pending in pipeline.on_message(given[message.topic], decoded, message.stamp_ns):
            frame = pending.finish()
            if frame is not None:
                yield frame
