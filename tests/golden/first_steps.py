# SPDX-License-Identifier: Apache-2.0
"""The losses of twenty seeded steps on made-up data, kept in `first_steps.json`.

A refactoring leaves them as they are. A change of numerics renews them and says so in its message:

    python -m tests.golden.first_steps
"""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from imkd_core.data.learning.dataset import DetectionDataset
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.recipe import AugmentConfig, Config
from imkd_core.training.student_task import StudentTask
from imkd_core.training.train import Run, train
from tests.core.training.small_stage import CONFIG, write_drive

FILE = Path(__file__).with_suffix(".json")
STEPS = 20


def golden_config() -> Config:
    """Return the small student, changed as the shipped ones are, with small steps.

    AdamW's first steps go by the sign of a gradient, so a difference in its last bit, which another
    CPU makes, moves a weight by twice the learning rate: with 5e-4 losses of CPUs with other
    instructions differ by 8e-3, with 1e-4 by 4e-4.
    """
    steps = replace(
        CONFIG.train,
        steps=STEPS,
        batch_size=2,
        learning_rate=5e-5,
        warmup_steps=4,
        freeze_norm_from=0.6,
        ema_decay=0.9,
        precision="fp32",
        seed=7,
    )
    augment = AugmentConfig(
        flip_y=0.5, bev_yaw_deg=10, brightness=0.2, blank_camera=0.1, drop_radar=0.1
    )
    return replace(CONFIG, name="golden", train=steps, augment=augment)


def first_steps() -> list[dict[str, float]]:
    """Train for twenty steps on one thread; return total and terms of each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            root, config = Path(folder), golden_config()
            write_drive(root / "drive")
            samples = DetectionDataset(NuScenes(root / "drive").samples(), config)
            how = Run(directory=root / "run", device="cpu", picture_every_steps=0)
            train(
                lambda: StudentTask.from_config(config),
                samples,
                config,
                how,
                lambda r: rows.append({"loss": r.loss, **r.terms}),
            )
    finally:
        torch.set_num_threads(threads)
    return rows


def main() -> None:
    """Write the file anew."""
    rows = [{k: float(f"{v:.6g}") for k, v in row.items()} for row in first_steps()]
    FILE.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
