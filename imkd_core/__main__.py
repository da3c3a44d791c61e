# SPDX-License-Identifier: Apache-2.0
"""The command line: `imkd VERB`. Thin: a verb's module is imported when the verb is called."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from imkd_core.errors import ImkdError

#: verb -> (module in imkd_core.cli, what it does in one line)
VERBS = {
    "simulate": ("simulate", "make drives through made-up towns, in the nuScenes layout"),
    "train": ("train", "train the LiDAR teacher, the label encoder or a student"),
    "experiment": ("experiment", "compare students that differ in a few settings"),
    "export": ("export", "turn a checkpoint into a model bundle (ONNX and bundle.json)"),
    "quantize": ("quantize", "add int8 files to a bundle, calibrated on recorded drives"),
    "build-engine": ("build_engine", "build a bundle's TensorRT engine, for here or another GPU"),
    "evaluate": ("evaluate", "measure a model bundle: mAP, NDS, and where they come from"),
    "compare": ("compare", "two runs, drive by drive, with intervals and limits for CI"),
    "bag": ("bag", "nuScenes data to rosbag2 and recordings to data sets; what is in a bag"),
    "replay": ("replay", "run the detector over a recording, offline and deterministic"),
    "doctor": ("doctor", "check this installation, a ROS graph or a bag; how to mend each fault"),
    "demo": ("demo", "the whole job on a drive made on the spot, with the model that ships"),
    "bench": ("bench", "measure speed and memory here, with baselines; from a source checkout"),
    "prove-real": ("prove_real", "the whole job on a real key frame, over a real ROS 2 graph"),
}

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

DESCRIPTION = "Camera-radar 3D object detection (IMKD): data, training, export, replay, checks."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code: 0 done, 1 not passed, 2 an error of the user."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    verb = next((argument for argument in arguments if not argument.startswith("-")), None)
    if verb not in VERBS:
        _overview().parse_args(arguments)
        _overview().print_help()
        return EXIT_USER_ERROR
    module = importlib.import_module(f"imkd_core.cli.{VERBS[verb][0]}")
    parser = argparse.ArgumentParser(
        prog=f"imkd {verb}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    arguments.remove(verb)
    try:
        return int(module.run(parser.parse_args(arguments)))
    except ImkdError as error:
        sys.stderr.write(f"imkd {verb}: {error}\n")
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        sys.stderr.write(f"imkd {verb}: interrupted\n")
        return EXIT_INTERRUPTED


def _overview() -> argparse.ArgumentParser:
    verbs = "\n".join(f"  {verb:<14}{text}" for verb, (_, text) in VERBS.items())
    parser = argparse.ArgumentParser(
        prog="imkd",
        description=f"{DESCRIPTION}\n\nverbs:\n{verbs}",
        epilog="'imkd VERB --help' teaches a verb.",
        usage="imkd VERB [options]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", choices=list(VERBS), metavar="VERB", help="one of the above")
    return parser


if __name__ == "__main__":
    sys.exit(main())
