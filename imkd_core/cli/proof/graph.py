# SPDX-License-Identifier: Apache-2.0
"""Fit the student to one frame, export it, and let the real ROS 2 graph answer a bag of it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imkd_core.cli.common import progress
from imkd_core.data.bags.bag_writer import BagWriter
from imkd_core.data.bags.nuscenes_to_bag import (
    SceneOptions,
    description_of,
    provenance,
    write_scene,
)
from imkd_core.data.learning.dataset import DetectionDataset
from imkd_core.data.nuscenes.reader import NuScenes, SampleRecord
from imkd_core.errors import ImkdError
from imkd_core.recipe import Config
from imkd_core.runtime.bundle import Bundle

#: The node waits this share of the frames' period for a late sensor or pose. A vehicle's default
#: suits 12 Hz; between key frames at 2 Hz there is time, and a machine that is busy needs it.
DEADLINE_SHARE = 0.8

#: Threads of inference, online and offline alike: another number may round differently.
THREADS = os.cpu_count() or 1


def fit_and_export(config: Config, record: SampleRecord, output: Path, licence: str) -> Bundle:
    """Fit to one sample, or continue an interrupted fit, and export the bundle.

    Raises:
        ConfigError: `output` holds a fit of another configuration.
        BundleError: the export does not pass its checks.
    """
    from imkd_core.cli.export import export_checkpoint
    from imkd_core.training.engine import StepReport
    from imkd_core.training.student_task import StudentTask
    from imkd_core.training.train import Run, train

    run_folder = output / f"run-{record.token[:8]}"  # a fit of another frame is never taken up
    with progress("fit", config.train.steps) as update:

        def on_step(report: StepReport) -> None:
            update(report.step, f"loss {report.loss:.3f}")

        dataset = DetectionDataset((record,), config)
        how = Run(directory=run_folder, resume=True)
        run = train(lambda: StudentTask.from_config(config), dataset, config, how, on_step)
    facts = {"trained_on": f"nuScenes key frame {record.token}, alone", "licence": licence}
    return export_checkpoint(run, output / "bundle", None, facts, (record,))


def write_repeated(record: SampleRecord, bag: Path, frames: int, period_s: float) -> None:
    """Write a bag in which one key frame repeats."""
    options = SceneOptions(key_frames=1, repeat=frames, period_s=period_s)
    with BagWriter(bag, overwrite=True, custom_data=provenance(record.scene)) as writer:
        write_scene(record.source, record.scene, writer, options)


def write_drive(reader: NuScenes, scene: str, bag: Path, licence: str) -> int:
    """Write a bag of a scene, sweeps and all; return its key frames."""
    options = SceneOptions(with_sweeps=True)
    about = provenance(scene, licence, description_of(reader, scene))
    with BagWriter(bag, overwrite=True, custom_data=about) as writer:
        return write_scene(reader, scene, writer, options)


def play(
    bundle: Bundle,
    bag: Path,
    output: Path,
    period_s: float,
    rate: float,
    parameters: Mapping[str, Any] | None = None,
) -> Path:
    """Play a bag through player, detector node and recorder; return the recording.

    Args:
        bundle: the model.
        bag: what is played.
        output: folder of the recording and the logs.
        period_s: time between two frames of the bag.
        rate: of playing.
        parameters: more parameters of the node.

    Raises:
        ImkdError: the graph failed; the message holds the ends of the logs.
    """
    from imkd_ros.graph.options import GraphOptions
    from imkd_ros.supervisor import run_graph

    recording = output / "recording"
    result = run_graph(
        GraphOptions(
            bag=bag,
            recording=recording,
            bundle=bundle.root,
            overrides={
                "model.threads": THREADS,
                "sync.deadline_ms": DEADLINE_SHARE * period_s * 1e3,
                "ego_motion.max_wait_ms": DEADLINE_SHARE * period_s * 1e3,
                **(parameters or {}),
            },
            rate=rate,
            overwrite=True,
            log_folder=output / "logs",
        )
    )
    if not result.is_ok:
        tails = "\n".join(f"--- {name}\n{tail}" for name, tail in result.log_tails.items())
        raise ImkdError(f"{result.failure}\n{tails}\nall logs: {result.log_folder}")
    return recording
