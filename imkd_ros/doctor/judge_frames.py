# SPDX-License-Identifier: Apache-2.0
"""Whether frames hang together, and the vehicle's motion is known. Pure."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from imkd_core.health.check import AMBER, GREEN, RED, Check
from imkd_ros.doctor.facts import FrameFacts, Observation
from imkd_ros.doctor.judge_time import TIME_GOES_BACK
from imkd_ros.doctor.wanted import Wanted, near_names

#: Share of stamps at which the vehicle's pose must be known; below, a fault and a note.
_POSE_RED, _POSE_AMBER = 0.5, 0.75


def judge_frames(observation: Observation, wanted: Wanted) -> Iterator[Check]:
    """Yield what is wrong with TF and the sensors' poses, and a line on each of TF and ego motion.

    Args:
        observation: what was seen.
        wanted: what the node listens to.
    """
    frames = observation.frames
    for reason, count in frames.refusals.items():
        yield Check(
            name="TF",
            level=RED,
            found=f"{count} transforms or poses are refused: {reason}",
            remedy="mend their publisher, as the message says",
        )
    yield from _judge_tree(frames, wanted)
    yield from _judge_named(observation, wanted)
    yield from _judge_ego(frames, wanted)


def _judge_tree(frames: FrameFacts, wanted: Wanted) -> Iterator[Check]:
    lost = {n: f for n, f in frames.frame_of.items() if n not in frames.ego_from_sensor}
    by_reason: dict[tuple[str, str], list[str]] = defaultdict(list)
    for sensor, frame in lost.items():
        by_reason[_why_lost(frame, frames, wanted)].append(sensor)
    for (found, remedy), sensors in by_reason.items():
        name = sensors[0] if len(sensors) == 1 else "TF"
        of = "" if len(sensors) == 1 else f" (of {', '.join(sensors)})"
        yield Check(name=name, level=RED, found=found + of, remedy=remedy)
    silent = [name for name in wanted.sensors.names if name not in frames.frame_of]
    if not lost and frames.ego_from_sensor:
        rest = f"; no frame is named by {', '.join(silent)}" if silent else ""
        count = len(frames.ego_from_sensor)
        yield Check(
            name="TF",
            level=GREEN,
            found=f"{len(frames.frames)} frames; {count} sensors hang on {wanted.base_frame}{rest}",
        )


def _why_lost(frame: str, frames: FrameFacts, wanted: Wanted) -> tuple[str, str]:
    """Return what is missing between a frame and the vehicle's, and what to do."""
    start = "start the vehicle description that publishes it on /tf_static (robot_state_publisher)"
    if not frames.frames:
        return "missing TF: nothing on /tf or /tf_static", start
    if wanted.base_frame not in frames.frames:
        guesses = near_names(wanted.base_frame, frames.frames)
        hint = f"did you mean {' or '.join(guesses)}? " if guesses else ""
        return (
            f"missing TF: no frame is called '{wanted.base_frame}'",
            f"{hint}Set base_frame to the frame of the vehicle, or {start}",
        )
    if frame in frames.frames:
        return (
            f"missing TF: nothing links '{frame}' with '{wanted.base_frame}'",
            f"publish the transform {wanted.base_frame} <- {frame} on /tf_static",
        )
    others = {taken for taken in frames.frame_of.values() if taken != frame}
    guesses = near_names(frame, frames.frames - others)
    if guesses:
        return (
            f"wrong frame id: TF has no frame '{frame}'",
            f"did you mean {' or '.join(guesses)}? Correct frame_id in the driver, or name the "
            "right one as frame_id in the sensor file",
        )
    return f"missing TF: no frame '{frame}'", start


def _judge_named(observation: Observation, wanted: Wanted) -> Iterator[Check]:
    """Judge whether images name the frame of their own CameraInfo."""
    owner = {facts.info_frame: name for name, facts in observation.cameras.items()}
    for name in wanted.sensors.cameras:
        info_frame = observation.cameras[name].info_frame
        topics = [topic.name for topic in wanted.readings(name)]
        named = [f for t in topics if t in observation.traffic for f in _frames(observation, t)]
        others = [frame for frame in named if frame != info_frame]
        if not info_frame or not others:
            continue
        if owner.get(others[0], name) != name:
            yield Check(
                name=name,
                level=RED,
                found=f"swapped cameras: its images name the frame '{others[0]}' of "
                f"{owner[others[0]]}, its CameraInfo '{info_frame}'",
                remedy="correct image and camera_info of both cameras in the sensor file",
            )
            continue
        yield Check(
            name=name,
            level=AMBER,
            found=f"its images name the frame '{others[0]}', its CameraInfo '{info_frame}', which "
            "the node takes",
            remedy="let the driver name one optical frame in both",
        )


def _frames(observation: Observation, topic: str) -> tuple[str, ...]:
    return observation.traffic[topic].frame_ids


def _judge_ego(frames: FrameFacts, wanted: Wanted) -> Iterator[Check]:
    name = "ego motion"
    if not wanted.has_ego_motion:
        yield Check(
            name=name,
            level=AMBER,
            found="none is asked for: the vehicle is taken to stand",
            remedy="set ego_motion.frame or ego_motion.odometry_topic for a vehicle that drives",
        )
        return
    source = (
        "odometry" if wanted.odometry_topic else f"TF {wanted.ego_frame} <- {wanted.base_frame}"
    )
    if not frames.poses:
        guesses = near_names(wanted.ego_frame, frames.frames) if wanted.ego_frame else []
        hint = f"did you mean {' or '.join(guesses)}? " if guesses else ""
        yield Check(
            name=name,
            level=RED,
            found=f"no pose of the vehicle by {source}",
            remedy=f"{hint}Start the odometry, or set ego_motion.frame or "
            "ego_motion.odometry_topic to what it publishes",
        )
        return
    if frames.jumps:
        yield Check(
            name=name,
            level=AMBER,
            found=f"time goes back {frames.jumps} times in the poses",
            remedy=TIME_GOES_BACK,
        )
        return
    yield _known(name, source, frames)


def _known(name: str, source: str, frames: FrameFacts) -> Check:
    share = frames.known_share
    if share < _POSE_AMBER:  # NaN is not
        return Check(
            name=name,
            level=RED if share < _POSE_RED else AMBER,
            found=f"the pose is known at {100 * share:.0f} % of the stamps of readings",
            remedy="let the odometry go by the same clock as the sensors, at 20 Hz or more",
        )
    speed = "" if np.isnan(frames.speed_mps) else f", up to {frames.speed_mps:.1f} m/s"
    return Check(name=name, level=GREEN, found=f"{frames.poses} poses by {source}{speed}")
