# SPDX-License-Identifier: Apache-2.0
"""The proof, end to end and for real, on a made-up frame and with a student that is hardly fitted.

Whether the goals are met is for `make prove-real` on the real frame to say.
"""

import json

import pytest

from imkd_core.__main__ import main
from tests.core.data.made_up import write_dataroot

FRAMES = 4
SMALL = (
    "train.steps=2",
    "model.backbone_width=8",
    "model.trunk_channels=[16, 16, 16]",
    "model.fused_channels=16",
)


@pytest.mark.ros
@pytest.mark.slow
def test_the_proof_runs_through_the_real_graph_and_leaves_its_report(
    ros_environment, tmp_path, capsys
):
    write_dataroot(tmp_path / "data", frames=2, radars=("RADAR_FRONT",), lidar_points=500)
    output = tmp_path / "out"
    arguments = ["prove-real", "--data", str(tmp_path / "data"), "--output", str(output)]
    settings = [text for pair in SMALL for text in ("--set", pair)]
    assert main([*arguments, "--frames", str(FRAMES), *settings]) == 1
    assert "MISSED Recall within 1 m" in capsys.readouterr().out

    summary = json.loads((output / "summary.json").read_text())
    assert summary["frames_in"] == summary["frames_out"] == FRAMES
    assert summary["delivered_fraction"] == 1
    assert summary["online_equals_offline"] is True
    assert set(summary["controls"]) == {
        "cameras_masked",
        "cameras_permuted",
        "images_mirrored",
        "camera_masked",
        "radar_masked",
        "radar_shifted",
    }
    assert summary["latency_ms"]["inference"]["p50"] > 0
    assert summary["versions"]["python"]
    for name in ("report.html", "mosaic.png", "bev.png", "i_cam.png", "i_rad.png"):
        assert (output / name).stat().st_size > 10_000, name


def test_no_data_says_where_to_get_it(tmp_path, capsys):
    assert main(["prove-real", "--data", str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert "nuscenes.org" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_proof_without_frames_is_refused(tmp_path, capsys):
    assert main(["prove-real", "--data", str(tmp_path), "--frames", "0"]) == 2
    assert "--frames" in capsys.readouterr().err
