# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys

import pytest
import torch

from imkd_core.errors import ConfigError
from imkd_core.training.checkpoint import load_checkpoint
from imkd_core.training.distributed import (
    World,
    choose_device,
    gather_over_processes,
    join_world,
    mean_over_processes,
    shared_count,
)
from tests.core.training.one_of_two import STUDENT, plain_fit


def test_alone_sums_and_counts_are_ones_own():
    value = torch.tensor(3.0)
    assert mean_over_processes(value) == 3
    assert shared_count(value) == 3
    assert shared_count(torch.tensor(0)) == 1
    assert gather_over_processes({4: "text"}) == {4: "text"}


def test_without_torchrun_a_process_is_alone_and_writes(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with join_world("cpu") as world:
        assert (world.rank, world.size, world.is_first) == (0, 1, True)
        world.wait()


def test_devices_are_chosen_by_name():
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(ConfigError, match="unknown device"):
        choose_device("tpu")
    if not torch.cuda.is_available():
        assert choose_device("auto").type == "cpu"
        with pytest.raises(ConfigError, match="no CUDA"):
            choose_device("cuda")


@pytest.fixture(scope="module")
def both(tmp_path_factory, drive_root, project_root):
    """What two processes, started by torchrun, say after the same work."""
    output = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    command += ["--master_port", "0", "--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0"]
    command += ["-m", "tests.core.training.one_of_two", str(output), str(drive_root)]
    result = subprocess.run(
        command,
        cwd=project_root,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(project_root)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return output, [torch.load(output / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_two_processes_fit_what_one_would_from_the_same_batches(both):
    alone = plain_fit(World())
    for found in both[1]:
        torch.testing.assert_close(found["plain"], alone, rtol=1e-4, atol=1e-6)


def test_both_processes_hold_the_same_weights(both):
    first, second = both[1]
    torch.testing.assert_close(first["student"], second["student"], rtol=0, atol=0)
    torch.testing.assert_close(first["plain"], second["plain"], rtol=0, atol=0)


def test_the_first_process_writes_one_checkpoint_and_one_log_for_all(both):
    output, (first, _) = both
    checkpoint = load_checkpoint(output / "student")
    assert checkpoint.step == STUDENT.train.steps
    for name, value in first["student"].items():
        torch.testing.assert_close(checkpoint.model[name.removeprefix("student.")], value.detach())
    text = (output / "student" / "log.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STUDENT.train.steps + 1))
    assert sorted(item.name for item in (output / "student").iterdir()) == [
        "checkpoint.safetensors",
        "log.jsonl",
        "tensorboard",
    ]


def test_messages_of_all_processes_reach_all(both):
    for found in both[1]:
        assert found["told"] == {0: "rank 0", 1: "rank 1"}
