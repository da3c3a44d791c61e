# SPDX-License-Identifier: Apache-2.0
"""A real process, killed with SIGKILL at moments drawn by chance, against one left in peace."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml

from imkd_core.mapping import to_mapping
from imkd_core.training.checkpoint import FILE_NAME, load_checkpoint
from tests.core.training.small_stage import with_train

STEPS = 24
CONFIG = with_train(steps=STEPS, batch_size=2, checkpoint_every_steps=2, ema_decay=0.9)


def start(project_root, drive_root, config, output):
    command = [sys.executable, "-m", "imkd_core", "train", "student", "--device", "cpu"]
    command += ["--config", str(config), "--data", str(drive_root), "--output", str(output)]
    return subprocess.Popen(
        [*command, "--resume", "--pictures", "10"],
        cwd=project_root,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def logged(output):
    path = output / "log.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def kill_after(process, output, steps, extra_s):
    """Kill a process when it has logged so many steps, and a moment later."""
    while logged(output) < steps:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.002)
    time.sleep(extra_s)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(
    project_root, drive_root, tmp_path
):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(json.loads(json.dumps(to_mapping(CONFIG)))))
    peaceful = start(project_root, drive_root, config, tmp_path / "peaceful")
    rng = np.random.default_rng(time.time_ns())
    killed = tmp_path / "killed"
    moments = sorted(rng.choice(np.arange(1, STEPS - 4), size=3, replace=False).tolist())
    for steps in moments:
        process = start(project_root, drive_root, config, killed)
        kill_after(process, killed, steps, float(rng.uniform(0, 0.1)))
    for process in (start(project_root, drive_root, config, killed), peaceful):
        said, _ = process.communicate(timeout=800)
        assert process.returncode == 0, said
    ours, theirs = load_checkpoint(killed), load_checkpoint(tmp_path / "peaceful")
    assert ours.step == theirs.step == STEPS
    for part in ("model", "average", "optimizer"):
        torch.testing.assert_close(
            getattr(ours, part), getattr(theirs, part), rtol=0, atol=0, msg=f"killed at {moments}"
        )
    lines = [json.loads(line) for line in (killed / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    assert {item.name for item in killed.iterdir()} == {FILE_NAME, "log.jsonl", "tensorboard"}
