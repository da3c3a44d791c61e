# SPDX-License-Identifier: Apache-2.0
"""Figures of drives go to a file and come back the same; comparisons of two runs are paired."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from imkd_core.errors import ConfigError, DataError
from imkd_core.evaluation.comparison import (
    better_sign,
    changed_most,
    compare_runs,
    comparison_lines,
)
from imkd_core.evaluation.drive_figures import (
    DriveFigures,
    digest_of,
    figures_path,
    read_drive_figures,
    write_drive_figures,
)
from imkd_core.evaluation.drive_hits import match_drives
from imkd_core.evaluation.gates import judge_gate, parse_gate
from imkd_core.evaluation.steadiness import SUMS
from tests.core.evaluation.oracle import noisy_copies, random_boxes

DRIVES, SAMPLES = 8, 2
DRIVE_OF = np.repeat(np.arange(DRIVES), SAMPLES)
NAMES = tuple(f"drive-{i}" for i in range(DRIVES))


def run_of(spread_m, truth_seed=1, flicker=0.1, **changes):
    """A run whose boxes are off by some spread, and whose tracks flicker so often."""
    truth = random_boxes(np.random.default_rng(truth_seed), 400, len(DRIVE_OF), true=True)
    found = noisy_copies(np.random.default_rng(2), truth, spread_m=spread_m)
    steady = np.zeros((DRIVES, len(SUMS)))
    steady[:, SUMS.index("links")] = np.arange(10, 10 + DRIVES)
    steady[:, SUMS.index("returns")] = flicker * np.arange(10, 10 + DRIVES)
    columns = {
        "about": {"model": f"spread {spread_m:g}"},
        "drives": NAMES,
        "digests": tuple(digest_of([name]) for name in NAMES),
        "steady": steady,
        "hits": match_drives(found, truth, DRIVE_OF),
    }
    return DriveFigures(**(columns | changes))


@pytest.fixture(scope="module")
def good():
    return run_of(0.3)


@pytest.fixture(scope="module")
def bad():
    return run_of(1.2, flicker=0.3)


@pytest.fixture(scope="module")
def comparison(good, bad):
    return compare_runs(good, bad, draws=40)


def judged(text, comparison):
    return judge_gate(parse_gate(text), comparison)


@pytest.mark.parametrize("has_truth", [True, False])
def test_a_file_gives_back_every_figure(good, tmp_path, has_truth):
    one = good if has_truth else run_of(0.3, hits=None)
    path = figures_path(tmp_path, "without CAM_FRONT, CAM_BACK")
    assert path.name == "without_CAM_FRONT+CAM_BACK.npz"
    write_drive_figures(path, one)
    back = read_drive_figures(path)
    assert (back.about, back.drives, back.digests) == (one.about, one.drives, one.digests)
    np.testing.assert_equal(back.figures(), one.figures())
    assert ("nds" in back.figures()) == has_truth


def test_no_file_a_damaged_one_and_one_of_another_version_are_refused(good, tmp_path):
    path = tmp_path / "run.npz"
    with pytest.raises(DataError, match="run `imkd evaluate`"):
        read_drive_figures(path)
    write_drive_figures(path, good)
    whole = path.read_bytes()
    for end in (0, 10, len(whole) // 2):
        path.write_bytes(whole[:end])
        with pytest.raises(DataError, match="is damaged"):
            read_drive_figures(path)
    facts = {"format": 0, "sums": [], "classes": [], "errors": []}
    with path.open("wb") as file:
        np.savez(file, facts=np.array(json.dumps(facts)))
    with pytest.raises(DataError, match="another version"):
        read_drive_figures(path)


def test_drives_named_twice_or_of_other_lengths_are_refused():
    with pytest.raises(DataError, match="named twice"):
        run_of(0.3, drives=(NAMES[0],) * DRIVES)
    with pytest.raises(DataError, match="lengths"):
        run_of(0.3, digests=("x",))


def test_a_run_is_as_good_as_itself(good):
    same = compare_runs(good, good, draws=20)
    for name, row in same.rows.items():
        if not math.isnan(row.a):
            assert row.difference.value == 0, name
            assert row.verdict == "", name
    assert not judged("nds<0", same).failed
    assert not judged("nds.low<0", same).failed


def test_what_is_worse_in_every_drive_is_worse(comparison):
    rows = comparison.rows
    assert rows["nds"].verdict == rows["map"].verdict == "worse"
    assert rows["translation_m"].verdict == "worse"
    assert rows["translation_m"].difference.low > 0
    assert rows["flicker"].difference.value == pytest.approx(0.2)
    assert rows["flicker"].verdict == "worse"
    assert "ap.car" in rows
    assert "velocity_mps.pedestrian" in rows


def test_what_is_better_is_the_other_way_round(good, bad, comparison):
    back = compare_runs(bad, good, draws=40)
    assert back.rows["nds"].verdict == back.rows["flicker"].verdict == "better"
    for name, row in back.rows.items():
        other = comparison.rows[name].difference
        ends = [-other.value, -other.high, -other.low]
        np.testing.assert_allclose(
            [row.difference.value, row.difference.low, row.difference.high], ends
        )


def test_the_same_seed_gives_the_same_intervals_and_the_order_of_drives_does_not_matter(good, bad):
    first = compare_runs(good, bad, draws=20, seed=3)
    again = compare_runs(good, bad.select(NAMES[::-1]), draws=20, seed=3)
    other = compare_runs(good, bad, draws=20, seed=4)
    one, two = (run.rows["nds"].difference for run in (first, again))
    assert (one.low, one.high) == pytest.approx((two.low, two.high))
    assert one.low != other.rows["nds"].difference.low


def test_pairing_makes_the_interval_narrow(good):
    """A second run that is a hair worse everywhere is told from the first, drives apart or not."""
    row = compare_runs(good, run_of(0.33), draws=40).rows["translation_m"]
    assert row.verdict == "worse"
    alone = [good.figures(times)["translation_m"] for times in np.eye(DRIVES, dtype=int)]
    assert row.difference.high - row.difference.low < np.ptp(alone) / 2


def test_few_drives_allow_no_interval(good, bad):
    few = compare_runs(good.select(NAMES[:4]), bad.select(NAMES[:4]), draws=20)
    row = few.rows["nds"]
    assert (row.difference.low, row.difference.high) == (-math.inf, math.inf)
    assert row.verdict == ""
    assert not judged("nds<-1", few).failed
    refused = judged("nds.high<0", few)
    assert refused.failed
    assert "too few drives" in refused.text
    json.dumps(few.to_json(), allow_nan=False)


def test_without_the_truth_of_both_only_steadiness_is_compared(good):
    blind = compare_runs(good, run_of(0.3, hits=None, flicker=0.05), draws=20)
    assert "nds" not in blind.rows
    assert blind.rows["flicker"].verdict == "better"
    assert "Without the truth" in comparison_lines(blind)[-1]
    with pytest.raises(ConfigError, match=r"no figure is called 'nds' \(without the truth"):
        judged("nds<0", blind)


def test_runs_that_cannot_be_paired_are_refused(good):
    with pytest.raises(DataError, match="only A has the drive 'drive-7'"):
        compare_runs(good, good.select(NAMES[:7]), draws=2)
    with pytest.raises(DataError, match="only B has the drive"):
        compare_runs(good.select(NAMES[:7]), good, draws=2)
    with pytest.raises(DataError, match="'drive-0' was judged on other samples"):
        compare_runs(good, run_of(0.3, digests=("x",) * DRIVES), draws=2)
    with pytest.raises(DataError, match="another truth"):
        compare_runs(good, run_of(0.3, truth_seed=9), draws=2)


def test_the_table_says_what_it_compares(comparison):
    text = "\n".join(comparison_lines(comparison))
    for words in ("A: model spread 0.3", "8 drives", "95 % interval", "ap.car", "flicker", "worse"):
        assert words in text
    assert "velocity_mps.car" not in text
    plain = json.loads(json.dumps(comparison.to_json(), allow_nan=False))
    assert plain["figures"]["velocity_mps.car"]["low"] is not None
    assert plain["figures"]["nds"]["verdict"] == "worse"
    assert (plain["draws"], plain["seed"], list(plain["drives"])) == (40, 0, list(NAMES))
    drive = plain["drives"]["drive-3"]
    assert drive["figure"] == "nds"
    assert drive["a"] > drive["b"]


def test_the_drives_that_changed_most_are_named(good):
    hits, is_other = good.hits, good.hits.drive != 5
    errors = hits.errors[is_other[hits.is_hit[:, 2]]]
    missed = replace(hits, is_hit=hits.is_hit & is_other[:, None], errors=errors)
    name, of_a, of_b = changed_most(compare_runs(good, run_of(0.3, hits=missed), draws=2))[0]
    assert name == "drive-5"
    assert of_b < of_a


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("nds<-0.005", True),
        ("nds < -1", False),
        ("nds.high<0", True),
        ("NDS.low>0", False),
        ("flicker>0.1", True),
        ("flicker>.3", False),
        ("translation_m.low>0", True),
        ("ap.car<-1e0", False),
        ("nds.high>0", False),
    ],
)
def test_a_limit_looks_at_the_difference_or_an_end_of_it(comparison, text, failed):
    judgement = judged(text, comparison)
    assert judgement.failed == failed
    assert judgement.text.startswith(f"{text}: ")
    assert "(A 0." in judgement.text


def test_a_figure_that_is_not_known_does_not_pass(comparison):
    assert math.isnan(comparison.rows["yaw_jitter_rad"].a)
    judgement = judged("yaw_jitter_rad>1", comparison)
    assert judgement.failed
    assert "not known" in judgement.text


@pytest.mark.parametrize(
    "text", ["", "nds", "nds<", "<0.1", "nds=0", "nds<-0.5%", "nds<<1", "a b<1"]
)
def test_what_is_no_limit_is_refused(text):
    with pytest.raises(ConfigError, match="is no limit"):
        parse_gate(text)


def test_a_figure_that_there_is_not_is_refused_with_a_guess(comparison):
    with pytest.raises(ConfigError, match="did you mean flicker"):
        judged("flickr>0", comparison)


def test_every_figure_knows_what_is_better(comparison):
    signs = {name: better_sign(name) for name in comparison.rows}
    assert {name for name in signs if signs[name] == 0} == {
        "boxes_per_frame",
        "count_drift_per_min",
    }
    assert (signs["ap.car"], signs["map"], signs["track_length_s"]) == (1, 1, 1)
    assert (signs["scale.car"], signs["lone_tracks"], signs["scale"]) == (-1, -1, -1)
