# SPDX-License-Identifier: Apache-2.0
"""The files of a replay, as its report reads them.

    FOLDER/
      index.html               written by `replay_report.write_replay_report`
      failed.json              recording -> why it has no folder; only where there is one
      <bag>/                   a folder a recording; one is taken for such where it has frames.jsonl
        frames.jsonl           what became of every frame, a line a frame, in the order of time
        timings.jsonl          a line a frame that was answered (apart: times differ run by run)
        summary.json           facts and figures of the recording
        curves.json            precision over recall, where truth was there (`write_curves`)
        pictures/              <stamp_ns>_mosaic.jpg, _bev.jpg, _icam.jpg, _irad.jpg
        report.html            written by `replay_report.write_replay_report`

A line of frames.jsonl (`as_mapping` of `imkd_ros.replay` gives stamp and boxes):

    {"stamp_ns": 1700000000000000000,
     "boxes": [{"class": "car", "score": 0.9, "center_m": [x, y, z], "size_m": [l, w, h],
                "yaw_rad": 0.1, "velocity_mps": [vx, vy]}, ...],
     "status": {"level": "degraded", "outcome": "answered",
                "age_ms": {"CAM_FRONT": -12.5, ...},              of the sensors that were used
                "missing": {"CAM_BACK": "frozen", ...}},          sensor -> reason
     "findings": [{"sensor": "CAM_BACK", "fault": "frozen", "since_ns": 1700000000000000000,
                   "is_certain": true, "remedy": "start its driver again"}, ...]}

Only `stamp_ns` must be there. A frame that was not answered stands there too, with an outcome that
says why and no boxes. A sensor is shown as used where `age_ms` has it, as missing where `missing`
has it, and as suspect where it is used although a finding names it. The same picture may serve
several frames: a frame without one is shown with the last picture before it, and the page says so.

A line of timings.jsonl: `{"stamp_ns": ..., "stage_ms": {"prepare": 3.1, ..., "total": 40.2}}`.

summary.json; every key may be left out:

    {"bag": "monday", "mode": "offline", "seconds": 8.0,
     "cameras": ["CAM_FRONT", ...], "radars": [...],              of the sensor file: rows to show
     "figures": {"flicker": 0.02, "nds": 0.51, "map": 0.5, ...},  name -> number or null
     "dropped": {"CAM_FRONT": {"late": 3}, "frames": {...}},      sensor -> reason -> count
     "unreadable": {"/camera/image": 2},                          topic -> messages
     "about": {"model": "imkd_tiny", ...},                        fact -> text
     "data_notice": "licence of the data in the pictures"}
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.errors import DataError
from imkd_core.evaluation.frame_pictures import LEAST_SCORE
from imkd_core.evaluation.nuscenes_metrics import DetectionMetrics, DetectionRules
from imkd_core.evaluation.results import write_atomic

FAILED = "failed.json"
FRAMES, TIMINGS, SUMMARY, CURVES = "frames.jsonl", "timings.jsonl", "summary.json", "curves.json"
PICTURES = "pictures"

#: Kinds of pictures in the order of the page -> what each shows.
PICTURE_KINDS: Mapping[str, str] = {
    "mosaic": "Cameras",
    "bev": "Seen from above",
    "icam": "I_cam",
    "irad": "I_rad",
}


@dataclass(frozen=True, kw_only=True)
class FaultSeen:
    """A fault of a sensor that still sends.

    Attributes:
        sensor, fault: whose, and what.
        is_certain: whether the sensor is better left out.
        remedy: what to do; empty where it is not told.
    """

    sensor: str
    fault: str
    is_certain: bool = False
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class ReplayedFrame:
    """What became of one frame.

    Attributes:
        stamp_ns: reference time.
        level: of degradation; empty where it is not told.
        outcome: "answered", or why not.
        classes: of the boxes scored `LEAST_SCORE` or more, one a box.
        age_ms: used sensor -> reference time minus stamp of its reading.
        missing: sensor -> reason.
        faults: of sensors that still send.
        stage_ms: stage -> milliseconds; empty where it was not measured.
        pictures: kind -> file name in the folder of pictures.
    """

    stamp_ns: int
    level: str = ""
    outcome: str = "answered"
    classes: tuple[str, ...] = ()
    age_ms: Mapping[str, float] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[FaultSeen, ...] = ()
    stage_ms: Mapping[str, float] = field(default_factory=dict)
    pictures: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_answered(self) -> bool:
        """Whether boxes of this frame were given out, even if there are none."""
        return self.outcome == "answered"


@dataclass(frozen=True, kw_only=True)
class ClassCurve:
    """Precision over recall 0..1 of one class with true boxes.

    Attributes:
        class_name: whose.
        ap: mean over the distances.
        truth: number of true boxes.
        at_m: distance limit -> 101 precisions at recalls 0..1.
    """

    class_name: str
    ap: float
    truth: int
    at_m: Mapping[float, tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class ReplayedBag:
    """All that is known of one replayed recording.

    Attributes:
        folder: where its files are.
        name: of the recording.
        frames: in the order of the file.
        summary: as in the file; empty where there is none.
        curves: where truth was there.
    """

    folder: Path
    name: str
    frames: tuple[ReplayedFrame, ...]
    summary: Mapping[str, Any] = field(default_factory=dict)
    curves: tuple[ClassCurve, ...] = ()


def read_bags(folder: Path) -> list[ReplayedBag]:
    """Return the replayed recordings of a folder, by name.

    Raises:
        DataError: there is none, or a file is not what this module's text says.
    """
    found = sorted(path.parent for path in folder.glob(f"*/{FRAMES}"))
    if not found:
        raise DataError(
            f"{folder} holds no replayed recording (no <bag>/{FRAMES}); name the folder that "
            "`imkd replay` wrote"
        )
    return [read_bag(path) for path in found]


def read_failed(folder: Path) -> dict[str, str]:
    """Return recording -> why there is nothing of it.

    Raises:
        DataError: the file is no mapping.
    """
    return {str(name): str(why) for name, why in _object(folder / FAILED).items()}


def read_bag(folder: Path) -> ReplayedBag:
    """Return one replayed recording.

    Raises:
        DataError: a file cannot be read, or is not what this module's text says.
    """
    summary = _object(folder / SUMMARY)
    timings = {
        stamp_ns: _numbers(line, "stage_ms", where)
        for where, stamp_ns, line in _lines(folder / TIMINGS)
    }
    pictures = _pictures(folder / PICTURES)
    frames = tuple(
        _frame(where, stamp_ns, line, timings.get(stamp_ns, {}), pictures.get(stamp_ns, {}))
        for where, stamp_ns, line in _lines(folder / FRAMES)
    )
    return ReplayedBag(
        folder=folder,
        name=str(summary.get("bag", folder.name)),
        frames=frames,
        summary=summary,
        curves=_curves(folder / CURVES),
    )


def write_curves(path: Path, metrics: DetectionMetrics, rules: DetectionRules) -> None:
    """Write the curves of the classes that have true boxes, for `read_bag`.

    Args:
        path: of the file, `CURVES` in the recording's folder.
        metrics: of the recording.
        rules: that they were made by.

    Raises:
        DataError: the file cannot be written.
    """
    told = [
        {
            "class": name,
            "ap": metrics.classes[name].ap,
            "truth": metrics.classes[name].truth,
            "at_m": {
                f"{limit_m:g}": [round(float(value), 4) for value in one.precision]
                for limit_m, one in zip(rules.distances_m, metrics.curves[name], strict=True)
            },
        }
        for name in NUSCENES_CLASSES
        if metrics.classes[name].truth
    ]
    write_atomic(path, f"{json.dumps(told)}\n".encode())


def _curves(path: Path) -> tuple[ClassCurve, ...]:
    if not path.is_file():
        return ()
    raw = _json(path, path.read_bytes())
    try:
        return tuple(
            ClassCurve(
                class_name=str(one["class"]),
                ap=float(one["ap"]),
                truth=int(one["truth"]),
                at_m={
                    float(limit): tuple(float(value) for value in values)
                    for limit, values in one["at_m"].items()
                },
            )
            for one in raw
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _malformed(str(path), "it does not hold curves") from None


def _lines(path: Path) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yield (place in words, stamp, values) of each line; nothing where there is no file."""
    if not path.is_file():
        return
    for number, text in enumerate(path.read_bytes().splitlines(), start=1):
        if not text.strip():
            continue
        where = f"{path}, line {number}"
        line = _json(where, text)
        stamp_ns = line.get("stamp_ns") if isinstance(line, dict) else None
        if type(stamp_ns) is not int:
            raise _malformed(where, "it has no whole number 'stamp_ns'")
        yield where, stamp_ns, line


def _frame(
    where: str,
    stamp_ns: int,
    line: Mapping[str, Any],
    stage_ms: Mapping[str, float],
    pictures: Mapping[str, str],
) -> ReplayedFrame:
    status = _part(line, "status", dict, where)
    boxes = _part(line, "boxes", list, where)
    findings = _part(line, "findings", list, where)
    missing = _part(status, "missing", dict, where)
    try:
        return ReplayedFrame(
            stamp_ns=stamp_ns,
            level=str(status.get("level", "")),
            outcome=str(status.get("outcome", "answered")),
            classes=tuple(
                str(box["class"]) for box in boxes if box.get("score", 1.0) >= LEAST_SCORE
            ),
            age_ms=_numbers(status, "age_ms", where),
            missing={str(name): str(why) for name, why in missing.items()},
            faults=tuple(_fault(one) for one in findings),
            stage_ms=stage_ms,
            pictures=pictures,
        )
    except (KeyError, TypeError, AttributeError):
        raise _malformed(where, "a box has no class, or a finding no sensor or fault") from None


def _fault(one: Mapping[str, Any]) -> FaultSeen:
    return FaultSeen(
        sensor=str(one["sensor"]),
        fault=str(one["fault"]),
        is_certain=bool(one.get("is_certain", False)),
        remedy=str(one.get("remedy", "")),
    )


def _part(line: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    """Return a part of a line; an empty one where it is left out."""
    value = line.get(key)
    if value is not None and not isinstance(value, kind):
        raise _malformed(where, f"'{key}' is no {kind.__name__}")
    return kind() if value is None else value


def _numbers(line: Mapping[str, Any], key: str, where: str) -> dict[str, float]:
    try:
        return {str(name): float(value) for name, value in _part(line, key, dict, where).items()}
    except (TypeError, ValueError):
        raise _malformed(where, f"'{key}' holds what is no number") from None


def _pictures(folder: Path) -> dict[int, dict[str, str]]:
    """Return stamp -> kind -> file name."""
    found: dict[int, dict[str, str]] = {}
    for path in sorted(folder.glob("*_*.jpg")):
        stamp, _, kind = path.stem.partition("_")
        if stamp.isdigit() and kind in PICTURE_KINDS:
            found.setdefault(int(stamp), {})[kind] = path.name
    return found


def _object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    raw = _json(path, path.read_bytes())
    if not isinstance(raw, dict):
        raise _malformed(str(path), "it is no mapping")
    return raw


def _json(where: object, text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _malformed(str(where), f"it is not JSON ({error})") from None


def _malformed(where: str, what: str) -> DataError:
    return DataError(f"{where}: {what}; replay the recording again")
