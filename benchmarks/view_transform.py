# SPDX-License-Identifier: Apache-2.0
"""Image cells to the bird's-eye view: our look-up table against exact lift-splat (LSS).

    python -m benchmarks.view_transform [--rounds 15] [--data DRIVES --frames 80]

Both take the depth network's outputs and give the camera's map, in ONNX Runtime and in torch, for
both students, in turns. LSS adds up every point of the frustum: `index_add` over all points (the
baseline of the goal, which the R50 answers), over the points on the grid alone, and `scatter_add`.
The operators that torch exported stand in the JSON.

Then the shipped student looks at drives that it was not trained on, once through the table and
once through exact LSS with the same weights (each cell's sum divided by the rays that reach it, as
the table's weights sum to 1). A student that was trained with exact LSS would be the stricter
judge: these weights know a map without holes and now see one with holes. Without --data two drives
are made on the spot.
"""

import argparse
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from benchmarks.exact_lss import INDEX_ADD, KEPT, WAYS, ExactLss, point_cells
from benchmarks.goals import judged
from benchmarks.harness import Figure, Goal, Report, Timing, run_benchmark, time_in_turns
from benchmarks.machine import idle_warnings
from benchmarks.students import R50_CONFIG, model_of
from benchmarks.unseen_drives import open_drives, score_view_transforms
from benchmarks.view_lut_moving import make_cameras
from imkd_core.config import InputSpec
from imkd_core.model.view_transform import ViewTransform
from imkd_core.recipe import load_config
from imkd_core.resources import bundle_folder
from imkd_core.runtime.bundle import load_bundle
from imkd_core.runtime.providers import CPU_PROVIDER, ProviderSettings, open_session
from imkd_core.view_lut import build_view_geometry

TABLE = "table"
NAMES = ("depth_logits", "context", "camera_mask", "frustum_mask", "lut_index", "lut_weight")

OPSET = 20


def arguments_of(spec: InputSpec, channels: int) -> tuple[dict[str, Tensor], Tensor]:
    """Return made-up maps with the true geometry of six cameras, and the points' cells."""
    cameras = [(camera, camera.ego_from_cam) for camera in make_cameras()]
    geometry = build_view_geometry(cameras, spec)
    height, width = spec.feature_shape
    rng = torch.Generator().manual_seed(0)
    values = (
        torch.randn(1, 6, spec.depth.count, height, width, generator=rng),
        torch.randn(1, 6, channels, height, width, generator=rng),
        torch.ones(1, 6),
        torch.from_numpy(geometry.frustum_mask)[None],
        torch.from_numpy(geometry.lut_index)[None],
        torch.from_numpy(geometry.lut_weight)[None],
    )
    return dict(zip(NAMES, values, strict=True)), point_cells(cameras, spec)


def export(network: nn.Module, arguments: dict[str, Tensor], path: Path) -> list[str]:
    """Write a view transform as ONNX; return its operators."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            kwargs=arguments,
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            input_names=list(NAMES),
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch made no graph")
    program.save(path, external_data=False)
    return [node.op_type for node in onnx.load(path).graph.node]


def session_run(path: Path, arguments: dict[str, Tensor], threads: int) -> Callable[[], object]:
    """Return one run of a file in ONNX Runtime."""
    session = open_session(path, ProviderSettings(threads=threads, providers=(CPU_PROVIDER,)))
    wanted = {item.name for item in session.get_inputs()}
    feed = {name: value.numpy() for name, value in arguments.items() if name in wanted}
    return partial(session.run, None, feed)


def torch_run(network: nn.Module, arguments: dict[str, Tensor]) -> Callable[[], object]:
    """Return one run in eager torch."""

    def work() -> object:
        with torch.inference_mode():
            return network(**arguments)

    return work


def measure_student(
    spec: InputSpec, channels: int, ways: Sequence[str], options: argparse.Namespace
) -> tuple[dict[str, Timing], dict[str, list[str]]]:
    """Return times of all alternatives of one student, and the operators of each file."""
    arguments, cells = arguments_of(spec, channels)
    networks: dict[str, nn.Module] = {TABLE: ViewTransform(spec.bev.shape)}
    networks |= {f"LSS {way}": ExactLss(spec, cells, way) for way in ways}
    operators, works = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, network) in enumerate(networks.items()):
            path = Path(folder) / f"{number}.onnx"
            operators[name] = export(network, arguments, path)
            works[f"onnxruntime, {name}"] = session_run(path, arguments, options.threads)
    works |= {f"torch, {name}": torch_run(net, arguments) for name, net in networks.items()}
    rounds = 2 if options.quick else options.rounds
    return time_in_turns(works, rounds, warm_up=1, lead_in=1), operators


def students(quick: bool) -> dict[str, tuple[InputSpec, int]]:
    """Return name -> spec and context channels of the students."""
    bundle = load_bundle(bundle_folder(""))
    found = {"shipped student": (bundle.inputs, model_of(bundle).context_channels)}
    if not quick:
        config = load_config(R50_CONFIG)
        found["R50"] = (config.inputs, config.model.context_channels)
    return found


def figures_of(student: str, times: dict[str, Timing]) -> Iterator[Figure]:
    """Yield the figures of one student."""
    table = times[f"onnxruntime, {TABLE}"]
    for name, timing in times.items():
        note = f"the table in ONNX Runtime is {table.times_faster_than(timing):.2f} times faster"
        yield from timing.figures(f"{student}: {name}", note)


def detection_figures(options: argparse.Namespace) -> tuple[list[Figure], float | None, str]:
    """Return NDS and mAP through table and LSS, the points that LSS has more, and on what."""
    if options.quick:
        return [], None, "left out of a quick run"
    with tempfile.TemporaryDirectory() as folder:
        records = open_drives(options.data, Path(folder), options.frames)
        found = score_view_transforms(records)
    where = f"{len(records)} key frames of drives that were not trained on"
    figures = [
        Figure(name=f"shipped weights through {way}: {name}", value=value, unit=name, note=where)
        for way, (nds, mean_ap) in found.items()
        for name, value in (("NDS", round(100 * nds, 2)), ("mAP", round(100 * mean_ap, 2)))
    ]
    nds = [nds for nds, _ in found.values()]
    return figures, 100 * (nds[1] - nds[0]), where


def nds_goal(lost: float | None, where: str) -> Goal:
    """Return the goal of detections, and what was not tried for it.

    Args:
        lost: NDS points that LSS has more; None where it was not measured.
        where: what was judged, or why nothing was.
    """
    if lost is None:
        return judged("view_nds", None, where)
    note = (
        f"{where}; no model was trained with LSS: these weights were trained with the table; "
        "below 0: LSS is worse with them"
    )
    return judged("view_nds", lost, note)


def measure(options: argparse.Namespace) -> Report:
    """Measure both students, and the shipped one's detections."""
    warned = idle_warnings()
    torch.set_num_threads(options.threads)
    ways = (INDEX_ADD, KEPT) if options.quick else WAYS
    figures: list[Figure] = []
    ratios: dict[str, float] = {}
    operators: dict[str, Any] = {}
    for student, (spec, channels) in students(options.quick).items():
        times, operators[student] = measure_student(spec, channels, ways, options)
        figures += figures_of(student, times)
        table, lss = (times[f"onnxruntime, {name}"] for name in (TABLE, f"LSS {INDEX_ADD}"))
        ratios[student] = table.times_faster_than(lss)
    found, lost, where = detection_figures(options)
    judged_by = "R50" if "R50" in ratios else next(iter(ratios))
    ratio_note = "; ".join(f"{name} {value:.1f} times" for name, value in ratios.items())
    return Report(
        name="view_transform",
        figures=(*figures, *found),
        goals=(
            judged("view_ratio", ratios[judged_by], ratio_note),
            nds_goal(lost, where),
        ),
        facts={"threads": options.threads, "operators": operators, "warnings": warned},
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--threads", type=int, default=2, help="of each runtime (default: 2)")
    parser.add_argument("--rounds", type=int, default=15, help="samples (default: 15)")
    parser.add_argument("--data", type=Path, help="drives in the nuScenes layout")
    parser.add_argument("--frames", type=int, default=80, help="key frames judged (default: 80)")


def main() -> int:
    """Measure and print."""
    return run_benchmark("view_transform", __doc__, measure, add_options)


if __name__ == "__main__":
    sys.exit(main())
