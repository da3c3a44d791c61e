# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from imkd_core.errors import DataError
from imkd_core.evaluation.boxes import BoxTable
from imkd_core.evaluation.nuscenes_metrics import DetectionRules, evaluate
from imkd_core.evaluation.replay_report_files import read_bag, read_bags, write_curves

STAMP_NS = 1_700_000_000_000_000_000
BOX = {"class": "car", "score": 0.9, "center_m": [1, 2, 0]}


def write(folder, frames, timings=(), summary=None, pictures=()):
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for name, lines in (("frames", frames), ("timings", timings)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text)
    if summary is not None:
        (folder / "summary.json").write_text(json.dumps(summary))
    for name in pictures:
        (folder / "pictures" / name).write_bytes(b"")
    return folder


def test_what_was_written_of_a_frame_is_read(tmp_path):
    line = {
        "stamp_ns": STAMP_NS,
        "boxes": [BOX, BOX],
        "status": {
            "level": "degraded",
            "outcome": "not answered: the model failed",
            "age_ms": {"CAM_FRONT": -12.5},
            "missing": {"CAM_BACK": "frozen"},
        },
        "findings": [{"sensor": "CAM_BACK", "fault": "frozen", "is_certain": True}],
    }
    timings = [{"stamp_ns": STAMP_NS, "stage_ms": {"total": 40.0}}]
    pictures = [f"{STAMP_NS}_bev.jpg", f"{STAMP_NS}_other.jpg", "x_bev.jpg", f"{STAMP_NS}.jpg"]
    bag = read_bag(write(tmp_path / "monday", [line], timings, {"seconds": 8.0}, pictures))
    (frame,) = bag.frames
    assert bag.name == "monday"
    assert bag.summary["seconds"] == 8.0
    assert (frame.level, frame.is_answered) == ("degraded", False)
    assert frame.classes == ("car", "car")
    assert frame.age_ms == {"CAM_FRONT": -12.5}
    assert frame.missing == {"CAM_BACK": "frozen"}
    assert [(one.sensor, one.fault, one.is_certain) for one in frame.faults] == [
        ("CAM_BACK", "frozen", True)
    ]
    assert frame.stage_ms == {"total": 40.0}
    assert frame.pictures == {"bev": f"{STAMP_NS}_bev.jpg"}


def test_a_stamp_alone_makes_a_frame_and_the_other_files_may_be_missing(tmp_path):
    (tmp_path / "frames.jsonl").write_text(f'{{"stamp_ns": {STAMP_NS}}}\n\n')
    bag = read_bag(tmp_path)
    assert [frame.stamp_ns for frame in bag.frames] == [STAMP_NS]
    assert bag.frames[0].is_answered
    assert bag.curves == ()
    assert not bag.summary


def test_every_folder_with_frames_is_a_recording(tmp_path):
    for name in ("tuesday", "monday"):
        write(tmp_path / name, [], summary={"bag": name.upper()})
    (tmp_path / "drives").mkdir()
    assert [bag.name for bag in read_bags(tmp_path)] == ["MONDAY", "TUESDAY"]
    with pytest.raises(DataError, match="holds no replayed recording"):
        read_bags(tmp_path / "drives")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"stamp_ns": 1.5}',
        '{"stamp_ns": true}',
        '{"stamp_ns": 1, "boxes": {}}',
        '{"stamp_ns": 1, "boxes": [1]}',
        '{"stamp_ns": 1, "boxes": [{}]}',
        '{"stamp_ns": 1, "status": []}',
        '{"stamp_ns": 1, "status": {"age_ms": {"A": "late"}}}',
        '{"stamp_ns": 1, "findings": [{"sensor": "A"}]}',
        "\xff",
        "[" * 100_000,
    ],
)
def test_a_malformed_line_is_refused_by_its_number(tmp_path, text):
    good = f'{{"stamp_ns": {STAMP_NS}}}'
    (tmp_path / "frames.jsonl").write_bytes(f"{good}\n{text}\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"frames\.jsonl, line 2: .*replay the recording again"):
        read_bag(tmp_path)


@pytest.mark.parametrize("text", ["[1]", '{"a": 1}', '[{"class": "car"}]', "3"])
def test_malformed_curves_are_refused(tmp_path, text):
    write(tmp_path, [])
    (tmp_path / "curves.json").write_text(text)
    with pytest.raises(DataError, match="does not hold curves"):
        read_bag(tmp_path)


def cars(n: int, score: float) -> BoxTable:
    return BoxTable(
        sample=np.zeros(n, int),
        label=np.zeros(n, int),
        center_m=np.stack([np.arange(n) * 6.0, np.zeros(n), np.zeros(n)], axis=1),
        size_m=np.full((n, 3), 2.0),
        yaw_rad=np.zeros(n),
        velocity_mps=np.zeros((n, 2)),
        score=np.full(n, score),
        attribute=np.full(n, 1),
        points=np.full(n, 5),
        ego_distance_m=np.arange(n) * 6.0,
    )


def test_curves_of_classes_with_true_boxes_are_written_and_read(tmp_path):
    rules = DetectionRules()
    metrics = evaluate(cars(3, 0.5), cars(4, 1.0), 1, rules)
    write(tmp_path, [])
    write_curves(tmp_path / "curves.json", metrics, rules)
    (curve,) = read_bag(tmp_path).curves
    assert (curve.class_name, curve.truth) == ("car", 4)
    assert curve.ap == pytest.approx(metrics.classes["car"].ap)
    assert tuple(curve.at_m) == rules.distances_m
    assert all(len(values) == 101 for values in curve.at_m.values())
    assert curve.at_m[2.0][50] == pytest.approx(metrics.curves["car"][2].precision[50], abs=1e-4)
