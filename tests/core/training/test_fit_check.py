# SPDX-License-Identifier: Apache-2.0
import dataclasses
from types import SimpleNamespace

import pytest

from imkd_core.config import MemorySpec
from imkd_core.data.nuscenes.reader import NuScenes, SampleRecord
from imkd_core.errors import ConfigError, DataError
from imkd_core.training.fit_check import check_fits
from tests.core.data.made_up import CAMERA_YAW_DEG, write_dataroot
from tests.core.model.small import HEAD
from tests.core.training.small_stage import CONFIG


@pytest.fixture(scope="module")
def samples(drive_root):
    return NuScenes(drive_root).samples()


def with_inputs(**changes):
    return dataclasses.replace(CONFIG, inputs=dataclasses.replace(CONFIG.inputs, **changes))


@pytest.mark.parametrize("stage", ["teacher", "labels", "student"])
def test_data_and_configuration_that_fit_pass(samples, stage):
    check_fits(samples, CONFIG, stage)


def test_no_samples_are_refused():
    with pytest.raises(DataError, match="no samples"):
        check_fits([], CONFIG, "student")


def test_other_classes_are_refused_by_name(samples):
    with pytest.raises(ConfigError, match=r"head.class_names are car, pedestrian, cone"):
        check_fits(samples, dataclasses.replace(CONFIG, head=HEAD), "labels")


def test_images_larger_than_the_datas_are_refused_for_a_student_alone(samples):
    large = with_inputs(image_width_px=1632)
    with pytest.raises(ConfigError, match="1600 x 900, smaller than"):
        check_fits(samples, large, "student")
    check_fits(samples, large, "teacher")


def test_other_cameras_in_one_training_set_are_refused(samples, tmp_path):
    names = tuple(CAMERA_YAW_DEG)[:2]
    write_dataroot(tmp_path, frames=1, lidar_points=50, cameras=names)
    fewer = NuScenes(tmp_path).samples()
    check_fits(fewer, CONFIG, "student")
    with pytest.raises(ConfigError, match=r"CAM_BACK_LEFT.*--scenes"):
        check_fits([*fewer, *samples], CONFIG, "student")


@pytest.mark.parametrize("channels", [{"cameras": ()}, {"radars": ()}])
def test_a_student_without_cameras_or_radars_is_refused(tmp_path, channels):
    write_dataroot(tmp_path, frames=1, lidar_points=50, **channels)
    with pytest.raises(ConfigError, match="needs one of each"):
        check_fits(NuScenes(tmp_path).samples(), CONFIG, "student")


def test_a_memory_needs_samples_that_know_their_pose(samples):
    memory = MemorySpec(kind="recurrent", frames=1, channels=CONFIG.model.fused_channels)
    check_fits(samples, with_inputs(memory=memory), "student")
    first = samples[0]
    known = {name: getattr(first, name) for name in ("scene", "stamp_ns", "rig")}
    methods = {name: getattr(first, name) for name in ("frame", "lidar", "truth")}
    lost = SimpleNamespace(token="lost", **known, **methods)
    check_fits([lost], CONFIG, "student")
    with pytest.raises(ConfigError, match=r"'lost'.*memory\.kind to none"):
        check_fits([lost], with_inputs(memory=memory), "student")


class WithoutLidar(SampleRecord):
    """A sample whose LiDAR file cannot be read."""

    def lidar(self, sweeps=1, min_distance_m=0.0):
        raise DataError("no LIDAR_TOP")


def test_a_teacher_without_lidar_is_refused_with_a_way_out(samples):
    names = [item.name for item in dataclasses.fields(SampleRecord)]
    sample = WithoutLidar(**{name: getattr(samples[0], name) for name in names})
    with pytest.raises(DataError, match=rf"{sample.token}.*no LIDAR_TOP.*label-only"):
        check_fits([sample], CONFIG, "teacher")
