# SPDX-License-Identifier: Apache-2.0
"""One frame on the CPU, stage by stage: six JPEG images and five radars to boxes.

    python -m benchmarks.stages [--frames 200] [--precision auto] [--threads 2]

The shipped student in one process, without ROS, one stage after the other, on key frames of a
made-up drive of 1600 x 900 px. Decoding has one thread here (on the vehicle it runs beside the
inference of the frame before); the look-up table moves as on a drive at 50 km/h whose exposures
jitter by 1 ms. The node's own percentiles are in `benchmarks.live_graph`.
"""

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Figure, Report, Timing, run_benchmark
from benchmarks.machine import idle_warnings, memory_peak_mb
from benchmarks.view_lut_moving import DRIVES, drive_poses
from imkd_core.data.nuscenes.reader import NuScenes, SampleRecord
from imkd_core.encoded_image import decode_jpeg
from imkd_core.geometry import Float64
from imkd_core.postprocess import decode_boxes
from imkd_core.preprocess import prepare_inputs
from imkd_core.resources import bundle_folder
from imkd_core.runtime.backends import Backend, BackendSettings, open_backend
from imkd_core.runtime.bundle import Bundle, load_bundle
from imkd_core.runtime.roles import AUTO_ROLE, role_for
from imkd_core.runtime.view_cache import ViewCache
from imkd_core.simulation.simulate import SimulationOptions, simulate
from imkd_core.simulation.tables import VERSION
from imkd_core.types import CameraImage, CameraModel, Frame

STAGES = ("decode JPEG", "view table", "preprocess", "inference", "decode boxes")
SEED = 9600
SIZE_PX = (1600, 900)
DRIVE = "town, cameras jitter"

#: Frames at the start that are not counted.
WARM_UP = 5

Poses = list[tuple[CameraModel, Float64]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """One key frame as it comes from the sensors.

    Attributes:
        record: calibration and truth.
        jpegs: camera -> bytes.
        frame: radar scans and motion, without images.
    """

    record: SampleRecord
    jpegs: dict[str, bytes]
    frame: Frame


def make_scenes(folder: Path, duration_s: float, radar_sweeps: int) -> list[Scene]:
    """Make a drive and return its key frames."""
    options = SimulationOptions(
        seed=SEED, size_px=SIZE_PX, conditions=("clear",), duration_s=duration_s
    )
    simulate(folder, 1, options)
    return [
        Scene(
            record=record,
            jpegs={name: record.readings[name].path.read_bytes() for name in record.rig.cameras},
            frame=record.frame(radar_sweeps, with_images=False),
        )
        for record in NuScenes(folder, VERSION).samples()
    ]


class FramePath:
    """The stages of a frame, one after the other."""

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        self._bundle, self._backend = bundle, backend
        self._views = ViewCache(bundle.inputs)
        self._images: NDArray[np.uint8] | None = None

    def run(self, scene: Scene, poses: Poses) -> list[float]:
        """Return the milliseconds of each of `STAGES`."""
        spec, rig = self._bundle.inputs, scene.record.rig
        ticks_ns = [time.perf_counter_ns()]
        frame = self._decoded(scene)
        ticks_ns.append(time.perf_counter_ns())
        geometry = self._views.geometry(poses, [True] * len(poses))
        ticks_ns.append(time.perf_counter_ns())
        inputs = prepare_inputs(frame, rig, spec, geometry, self._buffer(len(poses)))
        ticks_ns.append(time.perf_counter_ns())
        outputs = self._backend.run(inputs)
        ticks_ns.append(time.perf_counter_ns())
        decode_boxes(outputs, self._bundle.head, frame.stamp_ns, self._bundle.thresholds)
        ticks_ns.append(time.perf_counter_ns())
        return [float(value) for value in np.diff(ticks_ns) * 1e-6]

    def _decoded(self, scene: Scene) -> Frame:
        width = self._bundle.inputs.image_width_px
        images = {
            name: CameraImage(
                sensor=name, stamp_ns=scene.frame.stamp_ns, pixels=decode_jpeg(data, name, width)
            )
            for name, data in scene.jpegs.items()
        }
        return Frame(
            stamp_ns=scene.frame.stamp_ns,
            cameras=images,
            radars=scene.frame.radars,
            reference_from_ego=scene.frame.reference_from_ego,
        )

    def _buffer(self, cameras: int) -> NDArray[np.uint8]:
        if self._images is None:
            spec = self._bundle.inputs
            shape = (cameras, 3, spec.image_height_px, spec.image_width_px)
            self._images = np.empty(shape, np.uint8)
        return self._images


def run_frames(path: FramePath, scenes: Sequence[Scene], frames: int) -> dict[str, list[float]]:
    """Return the milliseconds of each stage, and of all together, over frames."""
    cameras = list(scenes[0].record.rig.cameras.values())
    found: dict[str, list[float]] = defaultdict(list)
    for number, poses in enumerate(drive_poses(cameras, frames + WARM_UP, DRIVES[DRIVE])):
        spent_ms = path.run(scenes[number % len(scenes)], poses)
        if number >= WARM_UP:
            for name, value in zip((*STAGES, "all"), (*spent_ms, sum(spent_ms)), strict=True):
                found[name].append(value)
            found["all but inference"].append(sum(spent_ms) - spent_ms[STAGES.index("inference")])
    return found


def figures_of(found: dict[str, list[float]], bundle: Bundle) -> Iterator[Figure]:
    """Yield percentiles of each stage, and frames per second."""
    for name, values in found.items():
        yield from Timing(samples_ms=tuple(values)).figures(name)
    per_s = 1000 / Timing(samples_ms=tuple(found["all"])).p50_ms
    yield Figure(name="throughput of one process", value=round(per_s, 2), unit="1/s")
    yield Figure(
        name="peak memory of this process",
        value=round(memory_peak_mb(), 1),
        unit="MB",
        note=f"with the simulation that made the drive; {bundle.name}",
    )


def measure(options: argparse.Namespace) -> Report:
    """Measure one precision."""
    cv2.setNumThreads(1)
    warned = idle_warnings()
    bundle = load_bundle(bundle_folder(""))
    role = role_for(bundle, options.precision, "cpu")
    settings = BackendSettings(role=role, threads=options.threads)
    backend = open_backend(bundle, settings)
    frames, duration_s = (3, 0.5) if options.quick else (options.frames, 2.0)
    with tempfile.TemporaryDirectory() as folder:
        scenes = make_scenes(Path(folder), duration_s, bundle.inputs.radar_sweeps)
    found = run_frames(FramePath(bundle, backend), scenes, frames)
    facts: dict[str, Any] = {
        "backend": backend.name,
        "precision": role,
        "threads": options.threads,
        "frames": frames,
        "model_sha256": bundle.files[role].sha256,
        "jpeg_kb": round(float(np.mean([len(j) for s in scenes for j in s.jpegs.values()])) / 1e3),
        "warnings": warned,
    }
    backend.close()
    return Report(name="stages", figures=tuple(figures_of(found, bundle)), facts=facts)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--frames", type=int, default=200, help="that are counted (default: 200)")
    parser.add_argument(
        "--precision", default=AUTO_ROLE, help="file of the bundle (default: what it recommends)"
    )
    parser.add_argument("--threads", type=int, default=2, help="of inference (default: 2)")


def main() -> int:
    """Measure and print."""
    return run_benchmark("stages", __doc__, measure, add_options)


if __name__ == "__main__":
    sys.exit(main())
