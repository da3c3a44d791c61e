# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from imkd_core.errors import DataError
from imkd_core.training.engine import StepReport
from imkd_core.training.logbook.logs import BOARD_FOLDER, LOG_FILE, TrainingLog
from tests.core.training.full_disk import full_disk


def report(step, **changes):
    values = {"loss": 1.5, "terms": {"box": 3.0}, "gradient_norm": 2.0, **changes}
    return StepReport(step=step, **values)


def write(directory, first_step, steps):
    log = TrainingLog(directory, first_step)
    for step in steps:
        log.write(report(step))
    log.close()


def steps_in(directory):
    lines = (directory / LOG_FILE).read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def test_a_line_holds_every_figure_of_a_step(tmp_path):
    log = TrainingLog(tmp_path, 0)
    log.write(report(1, gradient_norm=float("inf"), skipped={4: "radar.pcd is truncated"}))
    log.show({"heatmap": np.zeros((4, 6, 3), np.uint8)}, 1)
    log.close()
    (line,) = (tmp_path / LOG_FILE).read_text().splitlines()
    found = json.loads(line)
    assert (found["step"], found["loss"], found["loss/box"]) == (1, 1.5, 3.0)
    assert found["gradient_norm"] is None
    assert found["skipped"] == {"4": "radar.pcd is truncated"}
    assert {"learning_rate", "samples_per_s"} <= found.keys()
    assert len(list((tmp_path / BOARD_FOLDER).iterdir())) == 1


def test_a_resumed_run_repeats_no_step_and_mends_a_line_that_was_cut_off(tmp_path):
    write(tmp_path, 0, range(1, 8))
    path = tmp_path / LOG_FILE
    path.write_text(path.read_text()[:-20])
    write(tmp_path, 4, range(5, 9))
    assert steps_in(tmp_path) == list(range(1, 9))
    assert {item.name for item in tmp_path.iterdir()} == {LOG_FILE, BOARD_FOLDER}


def test_a_full_disk_names_the_file(tmp_path):
    log = TrainingLog(tmp_path, 0)
    with full_disk(100):
        with pytest.raises(DataError, match=r"log\.jsonl.*free space"):
            log.write(report(1))
        with pytest.raises(DataError, match=r"tensorboard.*free space"):
            log.show({"heat": np.zeros((64, 64, 3), np.uint8)}, 1)
    log.close()
