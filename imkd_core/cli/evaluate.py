# SPDX-License-Identifier: Apache-2.0
"""Measure a model bundle on recorded or simulated drives: mAP, NDS, and where they come from.

Runs the detector over every key frame and writes metrics.json and report.html into --output:
figures by class, range, weather, light and speed, with the number of true boxes beside each. Boxes
scored 0.01 or more count, 500 a sample at most, as is usual for nuScenes. The metrics are those of
the nuScenes detection task; --results-json writes a file that nuscenes-devkit can judge as well.

How steady the boxes are from frame to frame (scored 0.3 or more) is told as well: flicker, jitter,
track length. `imkd compare` sets two such folders against each other.

Each --lose adds a run with sensors taken away; names with commas are lost together. --conditions
adds the standard ones: one, three and all cameras; one, three and all radars.

An interrupted run continues where it stopped: predictions are kept scene by scene.

Examples:
  imkd evaluate --model models/imkd_tiny --data DATA --output out/evaluation
  imkd evaluate --model runs/tiny/bundle --data DATA --limit 100 --output out/quick
  imkd evaluate ... --role int8_u8 --provider CPUExecutionProvider
  imkd evaluate ... --role int8_s8 --backend tensorrt
  imkd evaluate ... --lose all-cameras --lose all-radars --lose CAM_FRONT,CAM_BACK
"""

import argparse
import os
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("--model", required=True, help="bundle: a folder, or the name of one")
    parser.add_argument("--data", type=Path, required=True, help="nuScenes folder (with v1.0-*)")
    parser.add_argument("--version", help="table folder (default: the only v1.0-* there is)")
    parser.add_argument("--scenes", nargs="+", default=[], help="scenes (default: all)")
    parser.add_argument(
        "--limit",
        type=int,
        help="key frames at most, spread evenly; a model with a memory also runs some before each",
    )
    parser.add_argument(
        "--lose",
        action="append",
        default=[],
        metavar="SENSORS",
        help="also run without these: all-cameras, all-radars, or names; may be repeated",
    )
    parser.add_argument(
        "--conditions", action="store_true", help="also run without the standard sets of sensors"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of figures and report")
    parser.add_argument("--results-json", type=Path, help="also write a nuScenes result file")
    parser.add_argument("--score", type=float, default=0.01, help="least score (default: 0.01)")
    _add_backend_arguments(parser)
    parser.add_argument("--workers", type=int, help="processes (default: one for each core)")
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out samples that cannot be read; counted"
    )
    parser.add_argument("--pictures", type=int, default=3, help="frames shown (default: 3)")


def _add_backend_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what runs the model: the node's parameters model.*, without its fallbacks."""
    from imkd_core.runtime.backends import BACKENDS
    from imkd_core.runtime.providers import AUTO, OPENVINO_PRECISIONS

    group = parser.add_argument_group("what runs the model, as the node's parameters model.*")
    group.add_argument("--role", default="fp32", help="file of the bundle (default: fp32)")
    group.add_argument(
        "--backend", choices=BACKENDS, default=BACKENDS[0], help=f"default: {BACKENDS[0]}"
    )
    group.add_argument(
        "--provider",
        default=AUTO,
        help="of ONNX Runtime, such as CPUExecutionProvider (default: auto, which takes OpenVINO "
        "where it is installed and can run the model)",
    )
    group.add_argument(
        "--openvino-precision", choices=OPENVINO_PRECISIONS, default=OPENVINO_PRECISIONS[0]
    )
    group.add_argument("--engine-folder", type=Path, help="of TensorRT (default: the user's cache)")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate; print the figures and where the report is."""
    from imkd_core.cli.common import progress
    from imkd_core.cli.evaluation.run import EvaluationOptions, evaluate_bundle
    from imkd_core.cli.evaluation.summary import summary_lines
    from imkd_core.data.nuscenes.reader import CAMERAS, RADARS
    from imkd_core.evaluation.losses import STANDARD_LOSSES, parse_loss
    from imkd_core.resources import bundle_folder
    from imkd_core.runtime.backends import BackendSettings

    backend = BackendSettings(
        backend=arguments.backend,
        providers=tuple(name.strip() for name in arguments.provider.split(",")),
        openvino_precision=arguments.openvino_precision,
        engine_folder=arguments.engine_folder,
    )
    losses = [parse_loss(text, (*CAMERAS, *RADARS)) for text in arguments.lose]
    if arguments.conditions:
        losses += STANDARD_LOSSES
    options = EvaluationOptions(
        version=arguments.version,
        scenes=tuple(arguments.scenes),
        limit=arguments.limit,
        losses=tuple(dict.fromkeys(losses)),
        score_threshold=arguments.score,
        role=arguments.role,
        backend=backend,
        workers=arguments.workers or os.cpu_count() or 1,
        skip_bad=arguments.skip_bad,
        results_json=arguments.results_json,
        pictures=arguments.pictures,
    )
    output = arguments.output
    with progress("frames") as update:
        evaluation = evaluate_bundle(
            bundle_folder(arguments.model), arguments.data, output, options, update
        )
    sys.stdout.write("\n".join(summary_lines(evaluation)))
    sys.stdout.write(f"\nmetrics: {output / 'metrics.json'}\nreport: {output / 'report.html'}\n")
    return 0
