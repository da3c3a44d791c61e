# SPDX-License-Identifier: Apache-2.0
"""Figures of a choice of drives are those of the boxes of these drives."""

import numpy as np
import pytest

from imkd_core.config import NUSCENES_CLASSES
from imkd_core.errors import DataError
from imkd_core.evaluation.boxes import BoxTable
from imkd_core.evaluation.drive_hits import DriveHits, match_drives
from imkd_core.evaluation.nuscenes_metrics import evaluate
from tests.core.evaluation.oracle import noisy_copies, random_boxes

#: Drive of each of nine samples; the drives are of unequal length.
DRIVE_OF = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2])


@pytest.fixture(scope="module")
def boxes():
    rng = np.random.default_rng(3)
    truth = random_boxes(rng, 500, len(DRIVE_OF), true=True)
    return noisy_copies(rng, truth, spread_m=0.8, ties=True), truth


@pytest.fixture(scope="module")
def hits(boxes):
    return match_drives(*boxes, DRIVE_OF)


def drives_of(boxes: BoxTable, drives: list[int]) -> BoxTable:
    """The boxes of some drives, one after the other, their samples numbered anew."""
    parts, start = [], 0
    for drive in drives:
        samples = np.flatnonzero(drive == DRIVE_OF)
        part = boxes.select(np.isin(boxes.sample, samples))
        moved = {item: getattr(part, item) for item in part.__dataclass_fields__}
        moved["sample"] = part.sample - samples[0] + start
        parts.append(BoxTable(**moved))
        start += len(samples)
    return BoxTable.joined(parts)


def assert_same(one, two, rtol=0.0):
    assert (one.samples, one.truth, one.found) == (two.samples, two.truth, two.found)
    np.testing.assert_allclose([one.nds, one.mean_ap], [two.nds, two.mean_ap], rtol=rtol, atol=0)
    for name in NUSCENES_CLASSES:
        first, second = one.classes[name], two.classes[name]
        assert (first.truth, first.found) == (second.truth, second.found)
        np.testing.assert_allclose(first.ap, second.ap, rtol=rtol, atol=0)
        np.testing.assert_allclose(
            list(first.errors.values()), list(second.errors.values()), rtol=rtol, atol=0
        )


def test_every_drive_once_is_the_plain_evaluation_to_the_last_bit(boxes, hits):
    assert_same(hits.metrics(), evaluate(*boxes, len(DRIVE_OF)))
    assert_same(hits.metrics([1, 1, 1]), evaluate(*boxes, len(DRIVE_OF)))


@pytest.mark.parametrize("drives", [[0], [1], [2], [0, 2], [1, 2]], ids=str)
def test_a_part_of_the_drives_is_the_evaluation_of_their_boxes(boxes, hits, drives):
    found, truth = (drives_of(table, drives) for table in boxes)
    expected = evaluate(found, truth, int(np.isin(DRIVE_OF, drives).sum()))
    times = np.isin(np.arange(3), drives).astype(int)
    assert_same(hits.metrics(times), expected)
    assert_same(hits.select(drives).metrics(), expected)


def test_a_drive_that_counts_twice_is_its_boxes_twice():
    rng = np.random.default_rng(8)
    truth = random_boxes(rng, 300, len(DRIVE_OF), true=True)
    found = noisy_copies(rng, truth, spread_m=0.5)
    often = match_drives(found, truth, DRIVE_OF).metrics([2, 0, 1])
    parts = [drives_of(table, [0, 0, 2]) for table in (found, truth)]
    expected = evaluate(*parts, 11)
    assert (often.truth, often.found, often.samples) == (expected.truth, expected.found, 11)
    # Of the two copies of a pair one is first in one order and one in the other: all the same.
    assert_same(often, expected, rtol=1e-12)


def test_no_boxes_at_all_have_figures_too():
    hits = match_drives(BoxTable.empty(), BoxTable.empty(), [0, 0, 1])
    assert hits.samples.tolist() == [2, 1]
    assert hits.metrics().nds == evaluate(BoxTable.empty(), BoxTable.empty(), 3).nds
    assert match_drives(BoxTable.empty(), BoxTable.empty(), []).metrics().samples == 0


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("drive", np.full(1, 3)),
        ("label", np.full(1, 10)),
        ("score", np.ones(2)),
        ("errors", np.ones((1, 4))),
        ("truth", np.zeros((3, 2), np.int64)),
    ],
    ids=str,
)
def test_columns_that_do_not_fit_are_refused(column, value):
    columns = {
        "samples": np.ones(3, np.int64),
        "truth": np.zeros((3, 10), np.int64),
        "drive": np.zeros(1, np.int64),
        "label": np.zeros(1, np.int64),
        "score": np.ones(1),
        "is_hit": np.zeros((1, 4), np.bool_),
        "errors": np.zeros((0, 5)),
    }
    assert len(DriveHits(**columns).score) == 1
    with pytest.raises(DataError, match="hits of drives"):
        DriveHits(**(columns | {column: value}))


def test_errors_without_their_detection_and_other_rules_are_refused(hits):
    columns = {name: getattr(hits, name) for name in hits.__dataclass_fields__}
    with pytest.raises(DataError, match="not as many errors"):
        DriveHits(**(columns | {"errors": hits.errors[1:]})).metrics()
    with pytest.raises(DataError, match="other rules"):
        DriveHits(**(columns | {"is_hit": hits.is_hit[:, :3]})).metrics()
