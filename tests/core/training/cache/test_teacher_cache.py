# SPDX-License-Identifier: Apache-2.0
import dataclasses
import shutil

import numpy as np
import pytest
import torch

from imkd_core.data.learning.dataset import DetectionDataset
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.errors import ConfigError, DataError
from imkd_core.model.frozen import freeze
from imkd_core.model.label_encoder import LabelEncoder
from imkd_core.model.teacher import Teacher
from imkd_core.recipe import ModelConfig
from imkd_core.teaching import DistillConfig
from imkd_core.training.cache import teacher_cache
from imkd_core.training.cache.teacher_cache import INDEX_FILE, TeacherCache, Teachers, write_cache
from imkd_core.training.student_task import StudentTask
from imkd_core.training.task import collate
from imkd_core.training.teachers.intensity_statistics import measure_intensity
from tests.core.data.made_up import write_dataroot
from tests.core.model.small import MODEL
from tests.core.training.fitted_teachers import CONFIG as FITTED

CONFIG = dataclasses.replace(
    FITTED,
    model=ModelConfig(**vars(MODEL)),
    distill=DistillConfig(
        channels=16,
        lidar_to_radar=0.3,
        lidar_to_fused=0.3,
        label_to_fused=0.3,
        response=1.0,
        gate=0.05,
        doppler=0.1,
    ),
)


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    root = tmp_path_factory.mktemp("drive")
    write_dataroot(root, frames=3, lidar_points=600)
    return root


@pytest.fixture(scope="module")
def records(drive):
    return NuScenes(drive).samples()


def made_up_teachers(records, seed=0):
    torch.manual_seed(seed)
    return Teachers(
        lidar=freeze(Teacher.from_config(CONFIG)),
        labels=freeze(LabelEncoder.from_config(CONFIG)),
        statistics=measure_intensity(records, CONFIG),
    )


@pytest.fixture(scope="module")
def teachers(records):
    return made_up_teachers(records)


@pytest.fixture(scope="module")
def written(records, teachers, tmp_path_factory):
    directory = tmp_path_factory.mktemp("cache")
    write_cache(records, teachers, CONFIG, directory)
    return directory


def test_the_cache_gives_back_what_the_teachers_say(records, teachers, written):
    cache = TeacherCache(written, CONFIG)
    assert len(cache) == 3
    for record in records:
        lesson, maps = teachers.teach(record, CONFIG), cache.load(record.token)
        wanted = {
            "f_lidar": cache.projection.apply(lesson.features),
            "f_label": cache.projection.apply_label(lesson.label_features),
        }
        for name, exact in wanted.items():
            level = np.abs(exact).max(axis=(1, 2), keepdims=True) / 127
            assert (np.abs(getattr(maps, name) - exact) <= 0.51 * level + 1e-6).all()
        np.testing.assert_allclose(maps.i_lidar, lesson.intensity, atol=0.003)
        np.testing.assert_allclose(maps.heat, lesson.heat, atol=0.003)
        assert maps.annotation_tokens == lesson.annotation_tokens
        assert maps.has_lidar
        assert 0 < maps.quality <= 1
    assert 0.5 < cache.projection.kept_lidar <= 1


def test_an_object_that_lidar_hardly_sees_trusts_the_teacher_less(records, teachers, written):
    lesson, maps = (
        teachers.teach(records[0], CONFIG),
        TeacherCache(written, CONFIG).load(records[0].token),
    )
    truth = records[0].truth()
    points = dict(zip(truth.annotation_tokens, truth.num_lidar_points.tolist(), strict=True))
    share = np.array([min(1, points[token] / 5) for token in maps.annotation_tokens])
    np.testing.assert_allclose(maps.boxes.scores, lesson.boxes.scores * share, rtol=1e-5)


def contents(directory):
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


@pytest.mark.parametrize("broken_at", [0, 2])
def test_interrupted_writing_resumes_to_the_same_bytes(
    records, teachers, written, tmp_path, monkeypatch, broken_at
):
    calls = []

    def interrupted(path, maps):
        calls.append(path)
        if len(calls) > broken_at:
            raise KeyboardInterrupt
        return original(path, maps)

    original = teacher_cache.write_teacher_maps
    with monkeypatch.context() as patched:
        patched.setattr(teacher_cache, "write_teacher_maps", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_cache(records, teachers, CONFIG, tmp_path)
    with pytest.raises(DataError, match="an unfinished teacher cache"):
        TeacherCache(tmp_path, CONFIG)
    progress = []
    write_cache(records, teachers, CONFIG, tmp_path, on_progress=progress.append)
    assert [step.done for step in progress] == list(range(1, 4 - broken_at))
    assert contents(tmp_path) == contents(written)


def test_a_finished_cache_is_not_written_again(records, teachers, written):
    before = contents(written)
    progress = []
    write_cache(records, teachers, CONFIG, written, on_progress=progress.append)
    assert progress == []
    assert contents(written) == before


def test_more_samples_are_added_and_fewer_take_none_away(records, teachers, written, tmp_path):
    assert len(write_cache(records[:1], teachers, CONFIG, tmp_path)) == 1
    assert len(write_cache(records[1:2], teachers, CONFIG, tmp_path)) == 2
    assert len(write_cache(records[:1], teachers, CONFIG, tmp_path)) == 2
    assert TeacherCache(tmp_path, CONFIG).load(records[1].token) is not None


def test_several_threads_write_the_same_cache(records, teachers, written, tmp_path):
    write_cache(records, teachers, CONFIG, tmp_path, workers=3)
    assert contents(tmp_path) == contents(written)


def test_the_cache_of_other_teachers_or_configurations_is_refused(records, teachers, written):
    with pytest.raises(ConfigError, match="other teachers: teacher, labels differ"):
        write_cache(records, made_up_teachers(records, seed=1), CONFIG, written)
    other = dataclasses.replace(
        CONFIG, intensity=dataclasses.replace(CONFIG.intensity, variant="uniform")
    )
    with pytest.raises(ConfigError, match=r"another configuration: intensity differ.*--cache"):
        TeacherCache(written, other)
    fewer = dataclasses.replace(CONFIG, distill=dataclasses.replace(CONFIG.distill, channels=8))
    with pytest.raises(ConfigError, match="channels differ"):
        TeacherCache(written, fewer)
    weights = dataclasses.replace(CONFIG, distill=DistillConfig(channels=16, response=2.0))
    assert len(TeacherCache(written, weights)) == 3


def test_no_cache_and_an_unknown_sample_are_refused(written, tmp_path):
    with pytest.raises(DataError, match="no teacher cache"):
        TeacherCache(tmp_path, CONFIG)
    with pytest.raises(DataError, match="no sample 'elsewhere'"):
        TeacherCache(written, CONFIG).load("elsewhere")
    (tmp_path / INDEX_FILE).write_text("{")
    with pytest.raises(DataError, match="not readable JSON"):
        TeacherCache(tmp_path, CONFIG)


@pytest.fixture
def blind_drive(drive, tmp_path):
    """The same drive without any LiDAR file."""
    shutil.copytree(drive, tmp_path / "blind")
    for folder in ("samples", "sweeps"):
        shutil.rmtree(tmp_path / "blind" / folder / "LIDAR_TOP", ignore_errors=True)
    return tmp_path / "blind"


def test_students_read_no_lidar_and_see_the_same_depth(records, blind_drive, written):
    cache = TeacherCache(written, CONFIG)
    blind = DetectionDataset(NuScenes(blind_drive).samples(), CONFIG, teaching=cache)
    seeing = DetectionDataset(records, CONFIG)
    for index in range(3):
        from_cache, from_lidar = (d.sample(index, None).depth_bin for d in (blind, seeing))
        assert (from_lidar >= 0).sum() > 10
        assert (from_cache == from_lidar).mean() > 0.98  # float16 moves a few over a border


def test_the_whole_task_learns_from_the_cache(blind_drive, written):
    cache = TeacherCache(written, CONFIG)
    source = DetectionDataset(NuScenes(blind_drive).samples(), CONFIG, teaching=cache)
    task = StudentTask.from_config(CONFIG)
    optimizer = torch.optim.AdamW(task.parameters(), 3e-3)
    batch = collate([source.sample(index, None) for index in range(2)])
    history = []
    for step in range(8):
        terms = task(batch, 5000 + step)
        optimizer.zero_grad()
        terms.total().backward()
        optimizer.step()
        history.append(terms.as_floats())
    assert all(np.isfinite(list(values.values())).all() for values in history)
    for term in ("lidar_to_radar", "lidar_to_fused", "label_to_fused"):
        assert history[-1][term] < history[0][term], term


def test_the_control_teaches_each_sample_what_belongs_to_another(records, written):
    shuffled = dataclasses.replace(
        CONFIG, distill=dataclasses.replace(CONFIG.distill, shuffle=True)
    )
    cache = TeacherCache(written, CONFIG)
    own = DetectionDataset(records, CONFIG, teaching=cache)
    other = DetectionDataset(records, shuffled, teaching=cache)
    for index in range(3):
        mine, given = own.sample(index, None), other.sample(index, None)
        assert not np.array_equal(mine.teaching["f_lidar"], given.teaching["f_lidar"])
        others = [own.sample(i, None).teaching["f_lidar"] for i in range(3) if i != index]
        assert any(np.array_equal(maps, given.teaching["f_lidar"]) for maps in others)
        np.testing.assert_array_equal(mine.targets.heatmap, given.targets.heatmap)
        np.testing.assert_array_equal(mine.depth_bin, given.depth_bin)


def test_a_sample_without_lidar_is_an_error_or_by_choice_taught_by_labels_alone(
    records, teachers, drive, tmp_path
):
    shutil.copytree(drive, tmp_path / "torn")
    torn = NuScenes(tmp_path / "torn").samples()
    (torn[1].readings["LIDAR_TOP"].path).unlink()
    with pytest.raises(DataError, match="LIDAR_TOP"):
        write_cache(torn, teachers, CONFIG, tmp_path / "strict")
    cache = write_cache(torn, teachers, CONFIG, tmp_path / "cache", label_only=True)
    assert set(cache.label_only) >= {torn[1].token}
    maps = cache.load(torn[1].token)
    assert not maps.has_lidar
    assert np.abs(maps.f_lidar).max() == maps.i_lidar.max() == 0
    assert np.abs(maps.f_label).max() > 0
    taught = DetectionDataset(torn, CONFIG, teaching=cache).sample(1, None)
    assert taught.teaching["has_lidar"] == 0
    assert (taught.depth_bin == -1).all()


def without_lidar(record):
    readings = {name: one for name, one in record.readings.items() if name != "LIDAR_TOP"}
    return dataclasses.replace(record, readings=readings)


def test_a_site_without_lidar_needs_no_choice(records, teachers, tmp_path):
    mixed = (records[0], without_lidar(records[1]), records[2])
    cache = write_cache(mixed, teachers, CONFIG, tmp_path / "cache")
    assert set(cache.label_only) == {records[1].token}
    assert cache.load(records[0].token).has_lidar


def test_no_lidar_at_all_is_refused_with_the_remedy(records, teachers, tmp_path):
    with pytest.raises(DataError, match="--preset none"):
        write_cache([without_lidar(one) for one in records], teachers, CONFIG, tmp_path / "cache")
