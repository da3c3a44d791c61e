# SPDX-License-Identifier: Apache-2.0
"""`imkd compare`: from two evaluations to a table, a JSON and an exit code for CI."""

import json

import pytest

from imkd_core.__main__ import main
from tests.core.data.made_up import write_dataroot
from tests.core.runtime.made_up_bundle import make_bundle


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two evaluations of one model: the second does not report faint boxes."""
    folder = tmp_path_factory.mktemp("compare")
    data = write_dataroot(folder / "drives", frames=2, scenes=5, cameras=("CAM_FRONT",), sweeps=0)
    bundle = make_bundle(folder / "bundle").root
    for name, score in (("a", "0.01"), ("b", "0.9")):
        arguments = ("--model", bundle, "--data", data.root, "--output", folder / name)
        more = ("--score", score, "--lose", "all-radars", "--workers", "1", "--pictures", "0")
        assert main(["evaluate", *map(str, (*arguments, *more))]) == 0
    return folder


def compare(runs, *more):
    return main(["compare", str(runs / "a"), str(runs / "b"), "--draws", "10", *map(str, more)])


def test_a_comparison_is_printed_and_written_and_no_limit_is_kept_by_default(runs, capsys):
    assert compare(runs, "--json", runs / "c.json") == 0
    printed = capsys.readouterr().out
    written = json.loads((runs / "c.json").read_text())
    for folder, side in (("a", "a"), ("b", "b")):
        figures = json.loads((runs / folder / "metrics.json").read_text())
        assert written["figures"]["nds"][side] == figures["nds"]
        assert written["figures"]["map"][side] == figures["map"]
    assert len(written["drives"]) == 5
    assert written["limits"] == []
    assert "5 drives" in printed
    assert f"{written['figures']['nds']['a']:.4f}" in printed


def test_a_broken_limit_is_told_and_is_exit_code_1(runs, capsys):
    code = compare(
        *(runs, "--fail-if", "boxes_per_frame<1e6", "--fail-if", "nds>2"),
        *("--json", runs / "d.json", "--html", runs / "d.html"),
    )
    assert code == 1
    printed = capsys.readouterr().out
    assert "BROKEN  boxes_per_frame<1e6: B - A is" in printed
    assert "kept    nds>2: B - A is" in printed
    assert printed.endswith("1 of 2 limits are broken\n")
    assert "1 of 2 limits broken" in (runs / "d.html").read_text()
    limits = json.loads((runs / "d.json").read_text())["limits"]
    assert [one["failed"] for one in limits] == [True, False]


def test_limits_that_are_kept_are_exit_code_0(runs, capsys):
    assert compare(runs, "--fail-if", "nds>2", "--condition", "without all radars") == 0
    assert "condition without all radars" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--fail-if", "nds"), "is no limit"),
        (("--fail-if", "speed<0"), "no figure is called 'speed'"),
        (("--condition", "without luck"), "there is no"),
        (("--draws", "-1"), "1 draw or more"),
    ],
    ids=str,
)
def test_what_cannot_be_compared_is_an_error_of_the_user(runs, more, words, capsys):
    assert compare(runs, *more) == 2
    assert words in capsys.readouterr().err
