# SPDX-License-Identifier: Apache-2.0
"""One camera image after decoding to what the network takes: ours against the usual numpy chain.

    python -m benchmarks.preprocessing [--rounds 200]

A made-up picture of 1600 x 900 px as JPEG. Ours decodes at 1/2 or 1/4 and scales, crops and
splits into planes of uint8; the graph normalises. The chain is what a node with cv_bridge and numpy
does: the full image (copied, as cv_bridge does), scaled with OpenCV, cropped, to float32,
normalised, transposed. It scales without aliasing (INTER_AREA), as ours does; what it costs with
OpenCV's default (INTER_LINEAR, which skips pixels) stands beside it. Decoding is timed apart, and
ours on the full image (raw topics) as well. OpenCV has one thread. The goals are held by the slower
of the two students: what a node with this decoder saves. On the same full image both do the same
work; these ratios stand in the goal's remark.
"""

import argparse
import sys
from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.goals import judged
from benchmarks.harness import ROOT, Figure, Report, Timing, run_benchmark, time_in_turns
from benchmarks.machine import idle_warnings
from imkd_core.config import InputSpec
from imkd_core.encoded_image import decode_jpeg
from imkd_core.imaging import fit_window, to_network_image
from imkd_core.recipe import load_config
from imkd_core.resources import bundle_folder
from imkd_core.runtime.bundle import load_bundle
from imkd_core.types import CameraImage, CameraModel

SIZE_PX = (1600, 900)
STAMP_NS = 1_700_000_000_000_000_000
JPEG_QUALITY = 80

#: ImageNet's mean and deviation of RGB, grey levels.
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)

OURS, OURS_FULL = "ours", "ours, full image"
CHAIN, ALIASED_CHAIN = "numpy chain", "numpy chain, aliased"

Pixels = NDArray[np.uint8]


def numpy_chain(
    full: Pixels, camera: CameraModel, spec: InputSpec, method: int
) -> NDArray[np.float32]:
    """Return (3, H, W) float32, normalised, of a full (900, 1600, 3) image, step by step."""
    window = fit_window(camera, spec)
    image = full.copy()
    size = (window.resized_width_px, window.resized_height_px)
    scaled = np.asarray(cv2.resize(image, size, interpolation=method))
    bottom = window.top_px + spec.image_height_px
    right = window.left_px + spec.image_width_px
    cropped = scaled[window.top_px : bottom, window.left_px : right]
    normalised = (cropped.astype(np.float32) - MEAN) / STD
    return np.ascontiguousarray(normalised.transpose(2, 0, 1))


def make_picture(rng: np.random.Generator) -> Pixels:
    """Return a (900, 1600, 3) picture with edges and textures of all sizes, as a street has."""
    picture = np.zeros((SIZE_PX[1], SIZE_PX[0], 3), np.float32)
    for octave in range(2, 9):
        shape = (SIZE_PX[1] >> octave, SIZE_PX[0] >> octave, 3)
        noise = rng.normal(0, 6 * octave, (max(shape[0], 2), max(shape[1], 2), 3))
        picture += cv2.resize(noise.astype(np.float32), SIZE_PX, interpolation=cv2.INTER_CUBIC)
    return np.clip(picture + 120, 0, 255).astype(np.uint8)


def camera_model() -> CameraModel:
    """Return a camera of 1600 x 900 px without distortion."""
    k = np.array([[1260.0, 0.0, 799.5], [0.0, 1260.0, 449.5], [0.0, 0.0, 1.0]])
    width, height = SIZE_PX
    return CameraModel(width_px=width, height_px=height, pixel_from_cam=k, ego_from_cam=np.eye(4))


def alternatives(data: bytes, spec: InputSpec) -> dict[str, Callable[[], object]]:
    """Return what is timed for one student."""
    camera, width = camera_model(), spec.image_width_px
    full, reduced = decode_jpeg(data, "CAM"), decode_jpeg(data, "CAM", width)
    images = {OURS: reduced, OURS_FULL: full}
    out = np.empty((3, spec.image_height_px, width), np.uint8)

    def ours(pixels: Pixels) -> Callable[[], object]:
        image = CameraImage(sensor="CAM", stamp_ns=STAMP_NS, pixels=pixels)
        return lambda: to_network_image(image, camera, spec, out)

    return {
        **{name: ours(pixels) for name, pixels in images.items()},
        CHAIN: lambda: numpy_chain(full, camera, spec, cv2.INTER_AREA),
        ALIASED_CHAIN: lambda: numpy_chain(full, camera, spec, cv2.INTER_LINEAR),
        "decoding, ours (reduced)": lambda: decode_jpeg(data, "CAM", width),
        "decoding, in full": lambda: decode_jpeg(data, "CAM"),
    }


def ratios_of(times: Mapping[str, Timing]) -> str:
    """Return in words how many times faster ours is than each chain, by what it starts from."""
    against = {"chain": times[CHAIN], "aliased chain": times[ALIASED_CHAIN]}
    reduced, full = (
        " and ".join(
            f"{times[ours].times_faster_than(timing):.1f} times the {name}"
            for name, timing in against.items()
        )
        for ours in (OURS, OURS_FULL)
    )
    return f"{reduced}; on the same full image {full}"


def measure(options: argparse.Namespace) -> Report:
    """Measure both students."""
    cv2.setNumThreads(1)
    warned = idle_warnings()
    picture = make_picture(np.random.default_rng(0))
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    data = cv2.imencode(".jpg", picture, quality)[1].tobytes()
    specs = {
        "shipped student": load_bundle(bundle_folder("")).inputs,
        "R50": load_config(ROOT / "config" / "imkd_r50.yaml").inputs,
    }
    figures = [Figure(name="JPEG", value=len(data) / 1000, unit="kB", note="1600 x 900 px")]
    slowest_ms = 0.0
    ratios: dict[str, float] = {}
    notes = []
    for student, spec in specs.items():
        times = time_in_turns(
            alternatives(data, spec), 5 if options.quick else options.rounds, lead_in=1
        )
        size = f"{spec.image_width_px} x {spec.image_height_px} px"
        for name, timing in times.items():
            figures += timing.figures(f"{student}: {name}", size)
        ratio = times[OURS].times_faster_than(times[CHAIN])
        figures.append(
            Figure(name=f"{student}: ours against the chain", value=ratio, unit="times", note=size)
        )
        slowest_ms = max(slowest_ms, times[OURS].p50_ms)
        ratios[student] = ratio
        notes.append(f"{student}: {ratios_of(times)}")
    remark = "; ".join(("ours from a reduced JPEG, the chain from the full one", *notes))
    goals = (
        judged("preprocess_time", slowest_ms),
        judged("preprocess_ratio", min(ratios.values()), remark),
    )
    facts = {"jpeg_quality": JPEG_QUALITY, "opencv": cv2.__version__, "warnings": warned}
    return Report(name="preprocessing", figures=tuple(figures), goals=goals, facts=facts)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--rounds", type=int, default=200, help="samples (default: 200)")


def main() -> int:
    """Measure and print."""
    return run_benchmark("preprocessing", __doc__, measure, add_options)


if __name__ == "__main__":
    sys.exit(main())
