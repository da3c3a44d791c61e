# SPDX-License-Identifier: Apache-2.0
"""What became of every frame, on `~/output/status`; and why there is none.

One DiagnosticArray a frame, in it one status named `<node>: status`: level and sentence for a
person, and for a program the values of `bridge.recorded_status.status_values`. The header's stamp
is the frame's; where there is no frame, the node's clock.
"""

import threading
import time
from collections.abc import Callable, Collection
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile

from imkd_core.health.degradation import (
    ANSWERED,
    MISSING_UNCALIBRATED,
    REPLACED,
    FrameStatus,
    Level,
    no_frame,
    not_answered,
)
from imkd_core.runtime.slots import MISSING_NEVER, MISSING_SILENT, Unmade
from imkd_ros.bridge.pipeline import Pipeline
from imkd_ros.bridge.recorded_status import status_values
from imkd_ros.bridge.sensors import SensorSet
from imkd_ros.node.diagnostics import diagnostic_array
from imkd_ros.node.health import InferenceState
from imkd_ros.node.inputs import OnQos, incompatible_qos_text
from imkd_ros.node.outputs import to_time
from imkd_ros.node.verdicts import ERROR, OK, WARN, Status

_TOPIC = "~/output/status"

#: A status goes out at least so often while the node is active; seconds.
PERIOD_S = 0.45

#: Outcome of a frame while nobody listens.
IDLE = not_answered("nobody listens to boxes")

#: Why a sensor that sends is in no frame.
MISSING_NO_FRAME = "no frame yet"


class StatusOutput:
    """Publishes the status of frames; from any thread.

    Args:
        node: that the publisher belongs to.
        hardware: `hardware_id` of the statuses.
        on_qos: is told of subscribers whose QoS cannot be met.
        clock: seconds on a steady clock.
    """

    def __init__(
        self,
        node: LifecycleNode,
        hardware: str,
        on_qos: OnQos,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._name = node.get_fully_qualified_name().lstrip("/")
        self._hardware = hardware
        self._clock = clock
        self._lock = threading.Lock()
        self._on_qos = on_qos
        self._publisher = node.create_lifecycle_publisher(
            DiagnosticArray,
            _TOPIC,
            QoSProfile(depth=5),
            event_callbacks=PublisherEventCallbacks(incompatible_qos=self._on_incompatible),
        )
        self.start()

    @property
    def level(self) -> Level:
        """Of the last status."""
        return self._level

    @property
    def is_due(self) -> bool:
        """Whether the last status is long ago."""
        return self._clock() - self._told_s >= PERIOD_S

    def start(self) -> None:
        """The node became active: the first status is due at once."""
        self._level, self._told_s = Level.BLIND, float("-inf")

    def tell(self, status: FrameStatus) -> None:
        """Publish the status of a frame, or of there being none."""
        with self._lock:
            self._level, self._told_s = status.level, self._clock()
            if self._node.context.ok() and self._publisher.get_subscription_count():
                stamp = to_time(status.stamp_ns)
                told = [as_status(status, self._name)]
                self._publisher.publish(diagnostic_array(told, self._name, self._hardware, stamp))

    def tell_unmade(self, unmade: Unmade) -> None:
        """Tell of a frame that was due and did not come about; the level stays."""
        outcome = no_frame(unmade.reason)
        self.tell(FrameStatus(stamp_ns=unmade.stamp_ns, level=self._level, outcome=outcome))

    def close(self) -> None:
        """Give the publisher back."""
        self._node.destroy_lifecycle_publisher(self._publisher)

    def _on_incompatible(self, event: Any) -> None:
        self._on_qos(_TOPIC, incompatible_qos_text(_TOPIC, event.last_policy_kind, "subscriber"))


def as_status(status: FrameStatus, node: str) -> Status:
    """Return the line that tells a frame's status.

    Args:
        status: of the frame.
        node: its name, for where to look for the remedy.
    """
    level, message = _verdict(status, node)
    values = status_values(status)
    return Status(name="status", level=level, message=message, values=values)


def _verdict(status: FrameStatus, node: str) -> tuple[int, str]:
    is_idle = status.outcome == IDLE
    if status.level == Level.BLIND:
        return ERROR, f"blind, {status.outcome}: see '{node}: frames' in /diagnostics"
    if status.outcome.startswith(not_answered("")) and not is_idle:
        return ERROR, f"{status.outcome}: see '{node}: frames' in /diagnostics"
    told = "nobody listens: nothing is inferred" if is_idle else status.outcome
    if status.level == Level.FULL:
        return OK, "all sensors are used" if told == ANSWERED else f"all sensors send; {told}"
    names = list(status.missing)
    also = "" if told in (ANSWERED, REPLACED) else f" ({told})"
    lost = f", without {', '.join(names)}" if names else ""
    where = f"'{node}: {names[0] if names else 'frames'}' in /diagnostics"
    return WARN, f"{status.level}{also}{lost}: see {where} for what to do"


def without_frame(
    pipeline: Pipeline,
    sensors: SensorSet,
    state: InferenceState,
    now_ns: int,
    *,
    timeout_ns: int,
    last: Level,
) -> FrameStatus:
    """Return the status while no frame comes, with the reason.

    Args:
        pipeline: what arrived.
        sensors: the sensor set.
        state: of the node.
        now_ns: the node's clock.
        timeout_ns: silence after which a sensor counts as lost in any case.
        last: level of the last status; it holds on while sensors send and no frame is due.
    """
    tally = pipeline.tally
    silent = {name for name in tally.newest if tally.is_silent(name, now_ns, timeout_ns)}
    reason = _blindness(pipeline, silent, now_ns)
    if reason:
        missing = {name: _missing(name, pipeline, silent) for name in sensors.names}
        return FrameStatus(
            stamp_ns=now_ns, level=Level.BLIND, outcome=no_frame(reason), missing=missing
        )
    busy = "the one before is still being answered"
    reason = busy if state.is_answering else "none is complete or due yet"
    return FrameStatus(stamp_ns=now_ns, level=last, outcome=no_frame(reason))


def _blindness(pipeline: Pipeline, silent: Collection[str], now_ns: int) -> str:
    """Return why no sensor gives anything at all; empty while one does."""
    came = set(pipeline.tally.newest)
    rules = (
        (now_ns == 0, "time stands still, nobody publishes /clock"),
        (not came, "no sensor has sent anything yet"),
        (came <= set(silent), "all sensors are silent"),
        (not pipeline.rig.cameras and not pipeline.rig.radars, "no sensor is calibrated"),
    )
    return next((text for holds, text in rules if holds), "")


def _missing(name: str, pipeline: Pipeline, silent: Collection[str]) -> str:
    rules = (
        (name not in pipeline.tally.newest, MISSING_NEVER),
        (name in silent, MISSING_SILENT),
        (name in pipeline.uncalibrated, MISSING_UNCALIBRATED),
    )
    return next((text for holds, text in rules if holds), MISSING_NO_FRAME)
