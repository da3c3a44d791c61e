# SPDX-License-Identifier: Apache-2.0
"""Measurements that are no measurements: bad pictures, broken JPEG, radar returns of NaN and inf.

The real graph, cameras at 6 Hz. Nothing may break, every frame is answered, and the node says which
sensor it is and masks the certain cases. No box may have a number that is not finite. Pictures of
pure noise must do no harm; whether they are told is measured, and not promised.
"""

from typing import Any

import numpy as np

from imkd_core.data.bags.messages import typestore
from tests.faults.episodes import Episode, episodes, plan_of, told_of, yield_percent
from tests.faults.judge import crashes
from tests.faults.live import Run, Told, play
from tests.faults.suite import Context, Figure, at_least, at_most, told

EVERY = 2
LASTS_S = 4.0

_CAMERA, _RADAR = ("CAM_BACK",), ("RADAR_FRONT",)

#: Noise becomes the camera's past, against which its sound pictures are judged afterwards.
_NOISY_CAMERA = ("CAM_BACK_LEFT",)

CASES = {
    "black camera": ("black", _CAMERA, 0.0),
    "covered camera": ("covered", _CAMERA, 0.0),
    "frozen camera": ("frozen", _CAMERA, 0.0),
    "white camera": ("white", _CAMERA, 0.0),
    "camera of noise": ("noise", _NOISY_CAMERA, 0.0),
    "corrupt JPEG": ("corrupt", _CAMERA, 0.0),
    "radar returns of NaN": ("radar_nan", _RADAR, 0.5),
    "radar returns of infinity": ("radar_inf", _RADAR, 0.5),
    "radar without returns": ("radar_empty", _RADAR, 0.0),
}

#: Cases that nobody promises to tell -> what a figure of 0 means.
_UNPROMISED = {
    "radar returns of NaN": "filtered, and not told",
    "radar returns of infinity": "filtered, and not told",
    "camera of noise": "not told: no check looks for noise",
}


def run(context: Context) -> list[Figure]:
    """Play all, and look at answers and words."""
    found = episodes(CASES, LASTS_S)
    seen = play(context, "run", plan_of(found, EVERY), with_boxes=True)
    first = crashes("bad data", seen)
    if not seen.sent:
        return [first]
    return [
        first,
        at_most("bad data: boxes with numbers that are not finite", broken_boxes(seen), 0),
        *(figure for one in found for figure in judge(seen, one)),
    ]


def judge(seen: Run, episode: Episode) -> list[Figure]:
    """Return the figures of one case."""
    name = episode.name
    sensor = episode.fault.sensors[0]
    words = told_of(seen, episode, sensor)
    begin_ns = seen.steady_ns(episode.fault.begin_s)
    after = f"{(words[0].arrived_ns - begin_ns) * 1e-9:.1f} s: {words[0].message}" if words else ""
    count = float(len(words))
    word = f"{name}: told on /diagnostics"
    return [
        at_least(f"{name}: frames answered", yield_percent(seen, episode), 99.0, "%"),
        _unpromised(seen, episode, words)
        if name in _UNPROMISED
        else at_least(word, count, 1, "", after),
    ]


def _unpromised(seen: Run, episode: Episode, words: list[Told]) -> Figure:
    """Return how often a case was told while it lasted; what was said afterwards is in the note."""
    end_ns = seen.steady_ns(episode.fault.end_s)
    inside = [one for one in words if one.arrived_ns <= end_ns]
    note = inside[0].message if inside else _UNPROMISED[episode.name]
    if words and not inside:
        note += f"; when it was over: {words[0].message}"
    return told(f"{episode.name}: told on /diagnostics", len(inside), "", note)


def broken_boxes(seen: Run) -> int:
    """Return the number of boxes with a number that is not finite."""
    count = 0
    for cdr in seen.boxes.values():
        array: Any = typestore().deserialize_cdr(cdr, "vision_msgs/msg/Detection3DArray")
        for one in array.detections:
            box = one.bbox
            numbers = [*vars(box.center.position).values(), *vars(box.size).values()]
            numbers += [*vars(box.center.orientation).values()]
            numbers += [result.hypothesis.score for result in one.results]
            values = [float(value) for value in numbers if isinstance(value, int | float)]
            count += not np.isfinite(values).all()
    return count
