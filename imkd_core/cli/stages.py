# SPDX-License-Identifier: Apache-2.0
"""What each stage of `imkd train` trains, and on what."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from imkd_core.cli.common import progress
from imkd_core.data.learning.dataset import DetectionDataset
from imkd_core.data.samples import Sample, TeachingSource
from imkd_core.errors import ConfigError
from imkd_core.recipe import Config
from imkd_core.training.distributed import World
from imkd_core.training.task import SampleSource, TrainingTask

if TYPE_CHECKING:
    from imkd_core.model.pretrained import LoadReport

#: Samples on which the intensity map's statistics are measured.
MEASURED_SAMPLES = 100

#: Report of the weights that a student started from, in its run's folder.
INIT_REPORT = "init.txt"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage that is ready to be trained."""

    make_task: Callable[[], TrainingTask]
    source: SampleSource


def prepare_stage(
    arguments: argparse.Namespace, config: Config, samples: Sequence[Sample], world: World
) -> Stage:
    """Return what is trained, and on what; a student's teachers are asked first.

    Raises:
        ConfigError: a teacher is needed and not given, or does not fit.
        DataError: files are missing or malformed.
    """
    builders = {"teacher": _teacher, "labels": _labels, "student": _student}
    return builders[arguments.stage](arguments, config, samples, world)


def _teacher(
    arguments: argparse.Namespace, config: Config, samples: Sequence[Sample], world: World
) -> Stage:
    from imkd_core.data.learning.teaching_datasets import TeacherDataset
    from imkd_core.training.teachers.teacher_task import TeacherTask

    del arguments, world
    return Stage(make_task=lambda: TeacherTask(config), source=TeacherDataset(samples, config))


def _labels(
    arguments: argparse.Namespace, config: Config, samples: Sequence[Sample], world: World
) -> Stage:
    from imkd_core.data.learning.teaching_datasets import LabelDataset
    from imkd_core.training.teachers.label_task import LabelTask
    from imkd_core.training.teachers.trained_teachers import load_teacher

    del world
    if arguments.teacher is None:
        raise ConfigError("the label encoder learns from a teacher; pass --teacher RUN")
    teacher = load_teacher(arguments.teacher, config)
    return Stage(make_task=lambda: LabelTask(config, teacher), source=LabelDataset(samples, config))


def _student(
    arguments: argparse.Namespace, config: Config, samples: Sequence[Sample], world: World
) -> Stage:
    from imkd_core.training.student_task import StudentTask
    from imkd_core.training.warm_start import start_from

    if arguments.init is not None and arguments.start is not None:
        raise ConfigError("--start brings a backbone with it; leave --init out")
    teaching = _teaching(arguments, config, samples, world)
    source = DetectionDataset(samples, config, teaching, int(arguments.memory * (1 << 30)))

    def make_task() -> TrainingTask:
        task = StudentTask.from_config(config)
        if arguments.init is not None:
            _take_backbone(task, arguments.init, arguments.output, world)
        if arguments.start is not None:
            _tell(start_from(task, arguments.start, "student"), arguments.output, world)
        return task

    return Stage(make_task=make_task, source=source)


def _teaching(
    arguments: argparse.Namespace, config: Config, samples: Sequence[Sample], world: World
) -> TeachingSource | None:
    """Return the teachers' maps, written first where they are not there yet."""
    from imkd_core.training.cache.teacher_cache import TeacherCache

    if not config.distill.needs_teacher:
        return None
    directory = arguments.cache or arguments.output.parent / "teacher_cache"
    if arguments.teacher is not None and arguments.labels is not None:
        if world.is_first:
            _write_cache(arguments, config, samples, directory)
        world.wait()
    elif arguments.cache is None:
        raise ConfigError(
            "this configuration distils: pass --teacher and --labels, or --cache with the maps of "
            "teachers, or --preset none"
        )
    return TeacherCache(directory, config)


def _write_cache(
    arguments: argparse.Namespace, config: Config, samples: Sequence[Sample], directory: Path
) -> None:
    from imkd_core.training.cache.teacher_cache import CacheProgress, Teachers, write_cache
    from imkd_core.training.teachers.intensity_statistics import read_statistics
    from imkd_core.training.teachers.trained_teachers import load_labels, load_teacher

    run = arguments.teacher if arguments.teacher.is_dir() else arguments.teacher.parent
    teachers = Teachers(
        lidar=load_teacher(arguments.teacher, config),
        labels=load_labels(arguments.labels, config),
        statistics=read_statistics(run),
    )
    with progress("teachers' maps", len(samples)) as update:

        def on_progress(done: CacheProgress) -> None:
            update(done.done, done.stage, done.total)

        write_cache(
            samples,
            teachers,
            config,
            directory,
            on_progress=on_progress,
            workers=os.cpu_count() or 1,
            label_only=arguments.skip_bad > 0,
        )


def _take_backbone(task: TrainingTask, file: Path, output: Path, world: World) -> None:
    """Fill the image backbone from a public file."""
    from imkd_core.model.pretrained import init_student
    from imkd_core.model.student import Student

    if not isinstance(task.delivered, Student):
        raise TypeError("only a student has an image backbone")
    _tell(init_student(task.delivered, file), output, world)


def _tell(report: "LoadReport", output: Path, world: World) -> None:
    """Say, and keep, what was left out and what keeps its random start."""
    if world.is_first:
        output.mkdir(parents=True, exist_ok=True)
        (output / INIT_REPORT).write_text(report.as_text(), encoding="utf-8")
        sys.stdout.write(f"{report.summary()}\nall keys: {output / INIT_REPORT}\n")


def after_stage(arguments: argparse.Namespace, config: Config, samples: Sequence[Sample]) -> None:
    """Do what belongs to a stage once its network is trained: the teacher's I_L is measured."""
    if arguments.stage != "teacher":
        return
    from imkd_core.training.teachers.intensity_statistics import (
        STATISTICS_FILE,
        measure_intensity,
        write_statistics,
    )

    if not (arguments.output / STATISTICS_FILE).exists():
        order = np.random.default_rng(0).permutation(len(samples))[:MEASURED_SAMPLES]
        chosen = [samples[index] for index in np.sort(order)]
        write_statistics(arguments.output, measure_intensity(chosen, config))
