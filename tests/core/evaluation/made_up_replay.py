# SPDX-License-Identifier: Apache-2.0
"""A replay's folder with faults, made up: three cameras lost, one frozen, all radars lost."""

import json
from pathlib import Path

import numpy as np

from imkd_core.visualization import encode_jpeg

CAMERAS = ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK")
RADARS = ("RADAR_FRONT", "RADAR_BACK")
START_NS = 1_700_000_000_000_000_000
FRAMES = 60
#: Frames (first, end) -> sensors that are missing, and why.
FAULTS = {
    (10, 20): (CAMERAS[:3], "silent"),
    (30, 36): (("CAM_BACK",), "frozen"),
    (45, 55): (RADARS, "silent"),
}


def stamp_ns(index: int) -> int:
    """Return the stamp of a frame."""
    return START_NS + index * 100_000_000


def write_replay(folder: Path, *, faulty: bool = True, figures=None, every: int = 1) -> Path:
    """Write one recording's folder; a picture for every so-many-th frame; return it."""
    (folder / "pictures").mkdir(parents=True)
    lines = [_line(i, FAULTS if faulty else {}) for i in range(FRAMES)]
    (folder / "frames.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    timings = [
        {"stamp_ns": stamp_ns(i), "stage_ms": {"preprocess": 4.0, "inference": 30.0 + i % 7}}
        for i in range(FRAMES)
    ]
    (folder / "timings.jsonl").write_text("".join(json.dumps(line) + "\n" for line in timings))
    summary = {
        "bag": folder.name,
        "mode": "offline",
        "cameras": CAMERAS,
        "radars": RADARS,
        "figures": {"flicker": 0.125, "yaw_flips": None} | (figures or {}),
        "dropped": {"CAM_BACK": {"late": 7}, "frames": {}},
        "unreadable": {"/camera": 2},
        "about": {"model": "a <model>"},
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    for i in range(0, FRAMES, every):
        for kind, size in (("mosaic", (24, 72)), ("bev", (36, 36)), ("icam", (36, 30))):
            picture = np.full((*size, 3), 4 * i, np.uint8)
            (folder / "pictures" / f"{stamp_ns(i)}_{kind}.jpg").write_bytes(encode_jpeg(picture))
    return folder


def _line(index: int, faults) -> dict:
    missing = {
        name: why
        for (first, end), (names, why) in faults.items()
        if first <= index < end
        for name in names
    }
    used = [name for name in (*CAMERAS, *RADARS) if name not in missing]
    is_blind = not set(used) & set(RADARS)
    level = "full" if not missing else "camera_only" if is_blind else "degraded"
    findings = [
        {"sensor": name, "fault": why, "is_certain": True, "remedy": "start its driver again"}
        for name, why in missing.items()
        if why == "frozen"
    ]
    boxes = [{"class": "car", "score": 0.8}] * (3 if missing else 6)
    return {
        "stamp_ns": stamp_ns(index),
        "boxes": [*boxes, {"class": "bus", "score": 0.1}],
        "status": {
            "level": level,
            "outcome": "answered",
            "age_ms": dict.fromkeys(used, 12.0),
            "missing": missing,
        },
        "findings": findings,
    }
