# SPDX-License-Identifier: Apache-2.0
"""`imkd replay --online`: the real graph answers a recording as the offline replay does."""

import json
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from imkd_core.__main__ import main
from imkd_core.evaluation.replay_frames import FrameRecord
from imkd_core.health.degradation import FrameStatus, Level
from tests.ros.bag_tools import write_drive
from tests.ros.tiny_bundle import write_tiny_bundle

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]

FRAMES = 4


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a tiny bundle, a recording, and parameters that suit a busy machine."""
    folder = tmp_path_factory.mktemp("online")
    write_tiny_bundle(folder / "bundle")
    write_drive(folder, FRAMES)
    waits = "sync.deadline_ms: 400.0, ego_motion.max_wait_ms: 400.0"
    (folder / "p.yaml").write_text(f"/**: {{ros__parameters: {{{waits}}}}}\n")
    return folder


@pytest.mark.slow
def test_a_graph_answers_a_recording_as_the_offline_replay_does(place, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ("--report", out, "--model", place / "bundle", "--params", place / "p.yaml")
    command = ["replay", *map(str, (place / "drive", *arguments)), "--truth-topic", ""]
    assert main(command) == 0
    assert main([*command, "--online"]) == 0
    assert f"drive: {FRAMES} of {FRAMES} frames the same as offline" in capsys.readouterr().out
    agreement = json.loads((out / "online/agreement.json").read_text())["drive"]
    assert (agreement["same"], agreement["differences"]) == (FRAMES, {})
    online, offline = (
        json.loads((folder / "drive/summary.json").read_text()) for folder in (out / "online", out)
    )
    assert online["mode"].startswith("online")
    assert online["boxes_key"] == offline["boxes_key"]
    assert online["outcomes"]["answered"] == offline["outcomes"]["answered"] == FRAMES
    assert online["levels"]["full"] >= FRAMES
    assert len((out / "online/drive/timings.jsonl").read_text().splitlines()) == FRAMES
    assert (out / "online/index.html").is_file()


def test_what_did_not_reach_the_recording_is_told():
    from imkd_core.cli.replaying.online import frames_of
    from imkd_core.cli.replaying.online_findings import FaultsTold
    from imkd_ros.bridge.policy import no_boxes

    statuses = [
        FrameStatus(stamp_ns=1, level=Level.FULL, outcome="answered"),
        FrameStatus(stamp_ns=2, level=Level.BLIND, outcome="empty: policy blind"),
        FrameStatus(stamp_ns=3, level=Level.FULL, outcome="replaced by a newer frame"),
    ]
    answers = {stamp: no_boxes(stamp, ("car",)) for stamp in (2, 9)}
    frames: list[FrameRecord] = frames_of(statuses, answers, None, FaultsTold())
    assert [frame.stamp_ns for frame in frames] == [1, 2, 3, 9]
    assert frames[0].outcome == "not answered: the recorder lost it"
    assert frames[1].detections is not None
    assert frames[2].outcome == "replaced by a newer frame"
    assert (frames[3].level, frames[3].outcome) == ("not told", "answered")


@pytest.mark.parametrize("more", [("--workers", "2"), ("--ray",)])
def test_a_live_graph_has_the_machine_to_itself(place, tmp_path, capsys, more):
    command = ["replay", str(place / "drive"), "--report", str(tmp_path), "--online", *more]
    assert main(command) == 2
    assert "one recording after the other" in capsys.readouterr().err
