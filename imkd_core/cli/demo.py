# SPDX-License-Identifier: Apache-2.0
"""The whole vehicle path on a drive that is made on the spot, with the student that ships.

Needs no data and no network: simulates a drive that nobody trained on, writes it as a bag, plays
it through player, detector node and recorder over a real ROS 2 graph, replays it offline, judges
the boxes by the nuScenes metrics, and leaves report.html, pictures and summary.json in --output.
The world is made up, so the figures say what the student learned of it, and nothing of real roads.

Examples:
  imkd demo
  imkd demo --condition night --seed 5 --output out/night
  imkd demo --model runs/mine/bundle --duration 10
"""

import argparse
import sys
from functools import partial
from pathlib import Path

#: Seeds of the drives that train the shipped student are below; the demo's are above.
FIRST_SEED = 9000

#: Images as large as the widest student in `config/` takes them.
IMAGE_SIZE_PX = (704, 256)

PERIOD_S = 0.5

#: As low as the metrics look; pictures and recall count from 0.3.
PARAMETERS = {"post.score_threshold": 0.02, "post.max_boxes": 500}

CAVEAT = (
    "A made-up world: the drive was simulated for this report, under a seed that no model was "
    "trained on. The figures say how well the student knows that world, and that topics become "
    "boxes through the real path. They are no claim about real roads."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("--output", type=Path, default=Path("out/demo"), help="where all goes")
    parser.add_argument("--model", default="", help="bundle (default: the one that ships)")
    parser.add_argument("--seed", type=int, default=0, help="of the drive (default: 0)")
    parser.add_argument("--condition", default="clear", help="weather and light (default: clear)")
    parser.add_argument("--duration", type=float, default=20.0, help="of the drive, s (default 20)")
    parser.add_argument("--rate", type=float, default=1.0, help="playing speed (default: 1)")


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; say where the report is."""
    from imkd_core.cli.proof import graph, judge, report, truth
    from imkd_core.cli.proof.key_frames import nearest_answers, on_key_frames
    from imkd_core.data.nuscenes.boxes import score_detections
    from imkd_core.data.nuscenes.reader import NuScenes
    from imkd_core.evaluation.proof import OBSERVED
    from imkd_core.resources import bundle_folder
    from imkd_core.runtime.bundle import load_bundle
    from imkd_core.simulation.simulate import LICENCE, SimulationOptions, simulate
    from imkd_core.simulation.tables import VERSION

    output: Path = arguments.output
    bundle = load_bundle(bundle_folder(arguments.model))
    options = SimulationOptions(
        seed=FIRST_SEED + arguments.seed,
        size_px=IMAGE_SIZE_PX,
        conditions=(arguments.condition,),
        duration_s=arguments.duration,
    )
    _say(1, f"simulating {arguments.duration:g} s, {arguments.condition}")
    name = f"drive-{options.seed}-{arguments.condition}-{arguments.duration:g}s"
    simulate(output / name, 1, options)
    reader = NuScenes(output / name, VERSION)
    (scene,) = reader.scenes
    records = reader.samples(scene)

    _say(2, f"playing {len(records)} key frames through the ROS 2 graph")
    bag = output / "bag"
    frames = graph.write_drive(reader, scene, bag, LICENCE)
    recording = graph.play(bundle, bag, output, PERIOD_S, arguments.rate, PARAMETERS)
    _say(3, "replaying the same bag offline, and the controls")
    truth_at = truth.of_drive(records, bundle.inputs.bev)
    bags = (bag, recording)
    verdict = judge.judge(
        bundle,
        truth_at,
        bags,
        frames,
        "synthetic",
        OBSERVED,
        PARAMETERS,
        choose=partial(nearest_answers, records),
    )
    metrics = score_detections(records, on_key_frames(records, verdict.answers))
    _say(4, "writing the report")
    summary = {
        **verdict.summary,
        "drive": f"{scene}: {records[0].description}",
        "nds": metrics.present_nds,
        "map": metrics.present_mean_ap,
        "ap": {name: one.ap for name, one in metrics.classes.items() if one.truth},
    }
    words = report.Words(
        title="IMKD on a made-up drive",
        subtitle=f"{scene} ({records[0].description}): NDS {100 * metrics.present_nds:.1f}, "
        f"mAP {100 * metrics.present_mean_ap:.1f} over the classes present",
        caveat=CAVEAT,
        data_notice=f"Simulated: {LICENCE}.",
    )
    report.write(output, verdict, words, bundle.inputs.bev)
    sys.stdout.write(f"NDS {metrics.present_nds:.3f}  mAP {metrics.present_mean_ap:.3f}\n")
    return report.finish(output, summary, verdict.missed)


def _say(step: int, what: str) -> None:
    sys.stdout.write(f"[{step}/4] {what}\n")
    sys.stdout.flush()
