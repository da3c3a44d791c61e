# SPDX-License-Identifier: Apache-2.0
"""What the look-up table of a moving vehicle costs: rebuilt whole, and camera by camera.

    OMP_NUM_THREADS=1 python -m benchmarks.view_lut_moving [--frames 200] [--config FILE]

The poses are those of a drive: six cameras at 12 Hz whose exposures are staggered over a period,
at 0 to 20 m/s, with jitter of the exposure. Both ways run in turn on the same frames of the same
process: the full rebuild is the baseline of the cache. The first frame, which builds everything, is
left out.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import ROOT, Figure, Report, run_benchmark
from benchmarks.machine import idle_warnings
from imkd_core.config import InputSpec
from imkd_core.geometry import Float64, rigid_transform
from imkd_core.recipe import load_config
from imkd_core.runtime.view_cache import ViewCache
from imkd_core.types import CameraModel
from imkd_core.view_lut import build_view_geometry

CONFIG = ROOT / "config" / "imkd_tiny.yaml"

CAMERAS = 6
PERIOD_S = 1 / 12

#: name -> speed, yaw rate and jitter of the exposure
DRIVES = {
    "at rest": (0.0, 0.0, 1e-3),
    "walking pace": (1.5, 0.0, 1e-3),
    "town, cameras triggered": (13.9, 0.0, 1e-5),
    "town, cameras jitter": (13.9, 0.0, 1e-3),
    "turning": (5.0, 0.5, 1e-3),
    "country road": (20.0, 0.02, 1e-3),
}

_BODY_FROM_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def _about_z(angle_rad: float) -> Float64:
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def make_cameras() -> list[CameraModel]:
    """Return a ring of cameras of 1600 x 900 px."""
    cameras = []
    for number in range(CAMERAS):
        turn = _about_z(2 * np.pi * number / CAMERAS)
        pose = rigid_transform(turn @ _BODY_FROM_OPTICAL, turn @ (1.0, 0.0, 0.0) + (0, 0, 1.5))
        k = np.array([[1260.0, 0.0, 799.5], [0.0, 1260.0, 449.5], [0.0, 0.0, 1.0]])
        cameras.append(
            CameraModel(width_px=1600, height_px=900, pixel_from_cam=k, ego_from_cam=pose)
        )
    return cameras


def drive_poses(
    cameras: Sequence[CameraModel], frames: int, drive: tuple[float, float, float]
) -> list[list[tuple[CameraModel, Float64]]]:
    """Return each frame's cameras with their effective poses; the last camera is the reference."""
    speed_mps, yaw_rate, jitter_s = drive
    rng = np.random.default_rng(0)
    found = []
    for _ in range(frames):
        exposures_s = np.arange(CAMERAS) / CAMERAS * PERIOD_S + rng.normal(0, jitter_s, CAMERAS)
        frame = []
        for camera, age_s in zip(cameras, exposures_s.max() - exposures_s, strict=True):
            motion = rigid_transform(_about_z(-yaw_rate * age_s), (-speed_mps * age_s, 0.0, 0.0))
            frame.append((camera, motion @ camera.ego_from_cam))
        found.append(frame)
    return found


def measure_drive(cameras: Sequence[CameraModel], frames: int, spec: InputSpec, drive: Any) -> Any:
    """Return the figures of one drive."""
    cache, is_live = ViewCache(spec), (True,) * CAMERAS
    full_ms: list[float] = []
    cached_ms: list[float] = []
    for number, frame in enumerate(drive_poses(cameras, frames + 1, drive)):
        if number == 1:
            full_ms.clear()
            cached_ms.clear()
            cache.parts = 0
        full_ms.append(_milliseconds(partial(build_view_geometry, frame, spec)))
        cached_ms.append(_milliseconds(partial(cache.geometry, frame, is_live)))
    figures = {
        f"{name}_{label}_ms": round(float(np.percentile(values, percent)), 3)
        for name, values in (("full_rebuild", full_ms), ("cached", cached_ms))
        for label, percent in (("p50", 50), ("p95", 95))
    }
    ratio = np.median(full_ms) / np.median(cached_ms)
    return {**figures, "ratio_p50": round(float(ratio), 2), "cameras_built": cache.parts / frames}


def _milliseconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1e3


def figures_of(drive: str, found: dict[str, Any]) -> Iterator[Figure]:
    """Yield the figures of one drive."""
    note = f"{found['ratio_p50']} times faster than the full rebuild"
    for way in ("full_rebuild", "cached"):
        for percentile in ("p50", "p95"):
            yield Figure(
                name=f"{drive}: {way.replace('_', ' ')}, {percentile}",
                value=found[f"{way}_{percentile}_ms"],
                unit="ms",
                note=note if way == "cached" else "",
            )
    built = float(found["cameras_built"])
    yield Figure(name=f"{drive}: cameras built a frame", value=built, unit="")


def measure(options: argparse.Namespace) -> Report:
    """Measure all drives."""
    warned = idle_warnings()
    frames = 5 if options.quick else options.frames
    spec, cameras = load_config(options.config).inputs, make_cameras()
    found = {name: measure_drive(cameras, frames, spec, drive) for name, drive in DRIVES.items()}
    return Report(
        name="view_lut_moving",
        figures=tuple(figure for name, one in found.items() for figure in figures_of(name, one)),
        facts={"config": options.config.stem, "frames": frames, "warnings": warned},
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--config", type=Path, default=CONFIG)


def main() -> int:
    """Measure and print."""
    return run_benchmark("view_lut_moving", __doc__, measure, add_options)


if __name__ == "__main__":
    sys.exit(main())
