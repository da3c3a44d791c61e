# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from imkd_core.data.learning.teacher_maps import TeacherMaps, read_teacher_maps, write_teacher_maps
from imkd_core.errors import DataError
from imkd_core.types import Detections


def made_up_maps(seed=0, objects=3, channels=4, shape=(6, 10), classes=2):
    rng = np.random.default_rng(seed)
    spread = np.array([30.0, 3.0, 0.5, 0.0])[:channels, None, None]
    return TeacherMaps(
        f_lidar=(rng.normal(size=(channels, *shape)) * spread).astype(np.float32),
        f_label=(rng.normal(size=(channels, *shape)) * spread).astype(np.float32),
        i_lidar=rng.random(shape).astype(np.float32),
        heat=rng.random((classes, *shape)).astype(np.float32),
        annotation_tokens=tuple(f"a{i}" for i in range(objects)),
        boxes=made_up_boxes(rng, objects),
        quality=0.5,
        depth_points={"CAM_FRONT": np.array([[10.5, 20.25, 33.0]], np.float32), "CAM_BACK": EMPTY},
    )


def made_up_boxes(rng, count):
    return Detections(
        stamp_ns=7,
        class_names=("car", "cone"),
        center_m=rng.normal(size=(count, 3)),
        size_m=rng.uniform(1, 4, size=(count, 3)),
        yaw_rad=rng.uniform(-3, 3, size=count),
        velocity_mps=rng.normal(size=(count, 2)),
        scores=rng.random(count),
        labels=rng.integers(2, size=count),
    )


EMPTY = np.zeros((0, 3), np.float32)


def test_maps_come_back_within_half_a_level(tmp_path):
    maps = made_up_maps()
    back = read_teacher_maps(write_teacher_maps(tmp_path / "t.npz", maps))
    for name in ("f_lidar", "f_label"):
        given, read = getattr(maps, name), getattr(back, name)
        level = np.abs(given).max(axis=(1, 2)) / 127
        assert (np.abs(read - given).max(axis=(1, 2)) <= 0.501 * level + 1e-30).all()
        assert read.dtype == np.float32
    np.testing.assert_allclose(back.i_lidar, maps.i_lidar, atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(back.heat, maps.heat, atol=0.5 / 255 + 1e-6)
    for name in ("center_m", "size_m", "yaw_rad", "velocity_mps", "scores", "labels"):
        np.testing.assert_array_equal(getattr(back.boxes, name), getattr(maps.boxes, name))
    assert (back.boxes.stamp_ns, back.boxes.class_names) == (7, ("car", "cone"))
    assert back.has_lidar
    assert back.annotation_tokens == maps.annotation_tokens
    assert back.quality == maps.quality
    np.testing.assert_array_equal(back.depth_points["CAM_FRONT"], [[10.5, 20.25, 33.0]])
    assert back.depth_points["CAM_BACK"].shape == (0, 3)


def test_a_sample_without_objects_comes_back(tmp_path):
    back = read_teacher_maps(write_teacher_maps(tmp_path / "t.npz", made_up_maps(objects=0)))
    assert back.annotation_tokens == ()
    assert len(back.boxes) == 0


def test_a_truncated_file_is_refused_by_name(tmp_path):
    path = write_teacher_maps(tmp_path / "t.npz", made_up_maps())
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"t\.npz.*writes it anew"):
        read_teacher_maps(path)
    with pytest.raises(DataError, match=r"absent\.npz"):
        read_teacher_maps(tmp_path / "absent.npz")


def test_a_full_disk_leaves_no_file_behind(tmp_path, monkeypatch):
    def no_space(file, **arrays):
        file.write(b"part")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", no_space)
    with pytest.raises(DataError, match="No space left"):
        write_teacher_maps(tmp_path / "t.npz", made_up_maps())
    assert list(tmp_path.iterdir()) == []


def test_maps_of_different_grids_are_refused():
    with pytest.raises(DataError, match=r"heat must be \(2, 6, 10\)"):
        TeacherMaps(**{**vars(made_up_maps()), "heat": np.zeros((2, 10, 6), np.float32)})
    with pytest.raises(DataError, match="3 boxes, 1 tokens"):
        TeacherMaps(**{**vars(made_up_maps()), "annotation_tokens": ("a",)})
