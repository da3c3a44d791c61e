# SPDX-License-Identifier: Apache-2.0
"""A recording as values becomes tables that the reader takes, all at once or not at all."""

import errno
from pathlib import Path

import numpy as np
import pytest

from imkd_core.data.bags import recorded_dataset
from imkd_core.data.bags.recorded_dataset import VERSION, DatasetWriter, reading_path
from imkd_core.data.bags.recorded_scene import (
    KeyFrame,
    Mount,
    RecordedScene,
    StoredFile,
    TrueObject,
    scene_rows,
)
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.data.point_clouds import RADAR_RECORD
from imkd_core.data.point_writing import write_radar_pcd
from imkd_core.errors import DataError
from imkd_core.geometry import rigid_transform

START_NS = 1_700_000_000_000_000_000
CATEGORIES = ("vehicle.car", "human.pedestrian.adult")


def pose(x: float, y: float = 0.0):
    return rigid_transform(np.eye(3), (x, y, 0.0))


def thing(x, track="", category="vehicle.car", velocity=(np.nan, np.nan), lidar=3):
    return TrueObject(
        category=category,
        track=track,
        global_from_box=pose(x, 4.0),
        size_m=(4.0, 2.0, 1.5),
        velocity_mps=velocity,
        lidar_points=lidar,
        radar_points=1,
    )


def scene(name: str, objects, max_points: int = 125) -> RecordedScene:
    """A radar at 10 m/s; `objects` holds those of each key frame, half a second apart."""
    keys = tuple(
        KeyFrame(
            stamp_ns=START_NS + i * 500_000_000, global_from_ego=pose(5.0 * i), objects=tuple(found)
        )
        for i, found in enumerate(objects)
    )
    files = tuple(
        StoredFile(
            channel="bumper",
            stamp_ns=key.stamp_ns - 20_000_000,
            filename=reading_path("bumper", name, key.stamp_ns, "pcd", is_key=True),
            key=i,
            is_key=True,
            global_from_ego=pose(5.0 * i - 0.2),
        )
        for i, key in enumerate(keys)
    )
    mount = Mount(
        channel="bumper", modality="radar", ego_from_sensor=pose(3.0), max_points=max_points
    )
    return RecordedScene(name=name, description="d", mounts=(mount,), keys=keys, files=files)


def write(output: Path, *scenes: RecordedScene) -> NuScenes:
    with DatasetWriter(output, CATEGORIES) as writer:
        for item in scenes:
            for file in item.files:
                records = np.ones(3, dtype=RADAR_RECORD)
                records["invalid_state"], records["ambig_state"] = 0, 3
                write_radar_pcd(writer.root / file.filename, records)
            writer.add(item)
        assert not output.exists()
    return NuScenes(output, VERSION)


def test_the_reader_gets_poses_boxes_and_scans(tmp_path):
    reader = write(tmp_path / "set", scene("one", [[thing(20.0)], [thing(21.0)]]))
    first, second = reader.samples("one")
    assert second.stamp_ns == START_NS + 500_000_000
    np.testing.assert_allclose(second.global_from_reference, pose(5.0))
    truth = second.truth()
    np.testing.assert_allclose(truth.detections.center_m, [[16.0, 4.0, 0.0]])
    np.testing.assert_allclose(truth.detections.size_m, [[4.0, 2.0, 1.5]])
    assert (truth.num_lidar_points.tolist(), truth.num_radar_points.tolist()) == ([3], [1])
    frame = second.frame(radar_sweeps=2)
    newest, older = frame.radars["bumper"]
    assert len(newest.points) == 3
    assert older.stamp_ns == first.readings["bumper"].stamp_ns
    np.testing.assert_allclose(frame.motion_at(older.stamp_ns), pose(-5.2), atol=1e-9)


def test_velocities_come_from_the_object_else_from_its_track_else_from_nowhere(tmp_path):
    objects = [
        [thing(20.0, "a"), thing(30.0, "b", velocity=(7.0, 1.0)), thing(40.0)],
        [thing(30.0, "b"), thing(40.5), thing(22.0, "a")],
    ]
    reader = write(tmp_path / "set", scene("one", objects))
    first, second = (sample.truth().detections.velocity_mps for sample in reader.samples())
    np.testing.assert_allclose(first, [[4, 0], [7, 1], [np.nan] * 2])
    np.testing.assert_allclose(second, [[np.nan] * 2, [np.nan] * 2, [4, 0]])


def test_an_id_that_is_used_for_two_kinds_of_objects_is_two_objects():
    objects = [[thing(20.0, "7")], [thing(20.0, "7", category="human.pedestrian.adult")]]
    rows, _ = scene_rows(scene("one", objects))
    assert len(rows["instance"]) == 2


def test_the_same_scene_gives_the_same_rows():
    objects = [[thing(20.0, "a")], [thing(22.0, "a")]]
    assert scene_rows(scene("one", objects)) == scene_rows(scene("one", objects))
    tokens = [row["token"] for row in scene_rows(scene("two", objects))[0]["sample_annotation"]]
    assert not set(tokens) & {
        row["token"] for row in scene_rows(scene("one", objects))[0]["sample_annotation"]
    }


def test_a_key_frame_without_objects_is_a_sample(tmp_path):
    (record,) = write(tmp_path / "set", scene("one", [[]])).samples()
    assert len(record.truth()) == 0


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (scene("one", [[]]), "two recordings are called 'one'"),
        (scene("two", [[]], max_points=9), "another kind"),
    ],
)
def test_scenes_that_do_not_go_together_are_refused(tmp_path, second, words):
    with pytest.raises(DataError, match=words):
        write(tmp_path / "set", scene("one", [[]]), second)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(path, data):
        raise DataError(f"cannot write {path} ({errno.ENOSPC})")

    monkeypatch.setattr(recorded_dataset, "write_atomic", full)
    with pytest.raises(DataError, match="cannot write"):
        write(tmp_path / "set", scene("one", [[]]))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_taken_meanwhile_is_left_alone(tmp_path):
    writer = DatasetWriter(tmp_path / "set", CATEGORIES)
    writer.add(scene("one", [[]]))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine").write_text("precious")
    with pytest.raises(DataError, match="cannot move"), writer:
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["set", "mine"]
