# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest

from imkd_core import view_lut
from imkd_core.bev_grid import BevGrid
from imkd_core.config import HeadSpec, InputSpec
from imkd_core.data.changes import views
from imkd_core.data.learning.dataset import DetectionDataset
from imkd_core.data.learning.teacher_maps import TeacherMaps
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.errors import DataError
from imkd_core.preprocess import prepare_inputs
from imkd_core.recipe import AugmentConfig, Config, ModelConfig
from imkd_core.teaching import DistillConfig
from tests.core.data.made_up import write_dataroot

CONFIG = Config(
    name="small",
    inputs=InputSpec(
        image_height_px=64,
        image_width_px=160,
        bev=BevGrid(x_min_m=-24.0, x_max_m=40.0, y_min_m=-24.0, y_max_m=24.0, cell_m=1.0),
    ),
    head=HeadSpec(),
    model=ModelConfig(backbone="resnet18"),
    augment=AugmentConfig(
        pixel_shift_px=2, brightness=0.2, noise=3, blank_camera=0.5, drop_radar=0.5
    ),
)


CENTRED = BevGrid(x_min_m=-24.0, x_max_m=24.0, y_min_m=-20.0, y_max_m=20.0, cell_m=1.0)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    root = tmp_path_factory.mktemp("drive")
    write_dataroot(root, frames=2, lidar_points=500)
    return NuScenes(root).samples()


def config_of(bev=CONFIG.inputs.bev, distill=None, **augment):
    return dataclasses.replace(
        CONFIG,
        inputs=dataclasses.replace(CONFIG.inputs, bev=bev),
        augment=AugmentConfig(**augment),
        distill=DistillConfig(channels=3, **(distill or {})),
    )


def teaching_of(record, grid, seed=0):
    """Teachers that know the truth, and whose maps are noise."""
    rng, truth = np.random.default_rng(seed), record.truth()
    return TeacherMaps(
        f_lidar=rng.normal(size=(3, *grid.shape)).astype(np.float32),
        f_label=rng.normal(size=(3, *grid.shape)).astype(np.float32),
        i_lidar=rng.uniform(size=grid.shape).astype(np.float32),
        heat=rng.uniform(size=(10, *grid.shape)).astype(np.float32),
        annotation_tokens=truth.annotation_tokens,
        boxes=truth.detections,
        quality=0.5,
        depth_points={
            name: np.array([[80.0, 32.0, 10.0], [20.0, 50.0, 5.0]], np.float32)
            for name in record.rig.cameras
        },
    )


class Taught:
    """A teaching source; it remembers what it was asked for."""

    def __init__(self, teachings):
        self.teachings, self.asked = teachings, []

    def load(self, token):
        self.asked.append(token)
        return self.teachings.get(token)


def taught(records, grid=CONFIG.inputs.bev):
    return Taught({r.token: teaching_of(r, grid, seed) for seed, r in enumerate(records)})


def objects(sample):
    """Rows of a sample's object list."""
    return np.flatnonzero(sample.targets.code_weight.sum(axis=1) > 0)


def test_unchanged_inputs_are_those_of_the_vehicle(records):
    sample = DetectionDataset(records, CONFIG).sample(0, None)
    frame = records[0].frame(target_width_px=CONFIG.inputs.image_width_px)
    expected = prepare_inputs(frame, records[0].rig, CONFIG.inputs)
    assert sample.inputs.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(sample.inputs[name], value, err_msg=name)


def test_every_trainable_box_on_the_grid_is_a_target(records):
    dataset = DetectionDataset(records, CONFIG)
    for index, record in enumerate(records):
        truth = record.truth()
        _, inside = CONFIG.inputs.bev.cell_index(truth.detections.center_m[:, :2])
        wanted = inside & (truth.num_lidar_points + truth.num_radar_points > 0)
        targets = dataset.sample(index, None).targets
        assert wanted.any()
        assert (targets.code_weight.sum(axis=1) > 0).sum() == wanted.sum()


def test_lidar_supervises_depth_where_the_cameras_look(records):
    depth_bin = DetectionDataset(records, CONFIG).sample(0, None).depth_bin
    assert depth_bin.shape == (6, *CONFIG.inputs.feature_shape)
    assert (depth_bin >= 0).any(axis=(1, 2)).all()
    assert depth_bin.max() < CONFIG.inputs.depth.count


def test_a_blanked_camera_takes_its_targets_and_its_depth_with_it(records):
    dataset = DetectionDataset(records, CONFIG)
    unchanged = (dataset.sample(0, None).targets.code_weight.sum(axis=1) > 0).sum()
    counts = []
    for seed in range(30):
        sample = dataset.sample(0, np.random.default_rng(seed))
        counts.append(int((sample.targets.code_weight.sum(axis=1) > 0).sum()))
        masked = sample.inputs["camera_mask"] == 0
        assert (sample.depth_bin[masked] == -1).all()
    assert min(counts) < unchanged
    assert max(counts) <= unchanged


def test_the_same_generator_gives_the_same_sample(records):
    dataset = DetectionDataset(records, CONFIG)
    first, second, third = (
        dataset.sample(0, np.random.default_rng(seed)).inputs["images"] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != third).any()


def test_samples_without_objects_are_samples(tmp_path):
    write_dataroot(tmp_path, frames=1, objects=(), lidar_points=100)
    sample = DetectionDataset(NuScenes(tmp_path).samples(), CONFIG).sample(0, None)
    assert sample.targets.heatmap.max() == 0


def test_no_samples_are_refused(records):
    with pytest.raises(DataError, match="no samples"):
        DetectionDataset([], CONFIG)


def test_sweeps_of_the_configuration_are_merged(records):
    inputs = dataclasses.replace(CONFIG.inputs, radar_sweeps=3)
    many = DetectionDataset(records, dataclasses.replace(CONFIG, inputs=inputs))
    one = DetectionDataset(records, CONFIG)
    occupancy = [d.sample(1, None).inputs["radar_grid"][0].sum() for d in (one, many)]
    assert occupancy[1] > occupancy[0] > 0


def test_a_mirrored_scene_gives_mirrored_arrays(records):
    plain = DetectionDataset(records, config_of(CENTRED)).sample(0, None)
    config = config_of(CENTRED, flip_y=1.0)
    flipped = DetectionDataset(records, config).sample(0, np.random.default_rng(0))
    heat, grid = flipped.targets.heatmap[:, ::-1], flipped.inputs["radar_grid"][:, ::-1]
    np.testing.assert_allclose(heat, plain.targets.heatmap, atol=1e-6)
    signs = np.ones((12, 1, 1))
    signs[[4, 10]] = -1  # vy and the offset in y
    np.testing.assert_allclose(grid * signs, plain.inputs["radar_grid"], atol=1e-4)
    mirror = np.array([1, -1, 1, 1, 1, 1, -1, 1, 1, -1])  # dy, sin yaw, vy
    np.testing.assert_allclose(flipped.targets.code * mirror, plain.targets.code, atol=1e-4)
    np.testing.assert_allclose(
        flipped.targets.doppler * [1, -1, 1, 1], plain.targets.doppler, atol=1e-4
    )
    np.testing.assert_array_equal(flipped.inputs["images"], plain.inputs["images"])
    np.testing.assert_array_equal(flipped.depth_bin, plain.depth_bin)


def test_mirrored_images_move_their_depth_with_them(records):
    plain = DetectionDataset(records, config_of()).sample(0, None)
    config = config_of(flip_image=1.0)
    flipped = DetectionDataset(records, config).sample(0, np.random.default_rng(0))
    np.testing.assert_array_equal(flipped.inputs["images"], plain.inputs["images"][..., ::-1])
    assert (flipped.depth_bin[..., ::-1] == plain.depth_bin).mean() > 0.99
    np.testing.assert_array_equal(
        flipped.inputs["frustum_mask"], plain.inputs["frustum_mask"][..., ::-1]
    )
    np.testing.assert_array_equal(flipped.targets.heatmap, plain.targets.heatmap)


def test_all_changes_together_give_finite_arrays_of_the_same_shapes(records):
    everything = config_of(
        pixel_shift_px=2, zoom=0.1, rotation_deg=2, flip_image=0.5, brightness=0.2, contrast=0.2,
        saturation=0.2, noise=3, blur=0.5, bev_yaw_deg=22, bev_scale=0.1, flip_x=0.5, flip_y=0.5,
        blank_camera=0.2, drop_side=0.2, stale_camera=0.3, drop_cameras=0.1, drop_radar=0.2,
        stale_radar=0.3, drop_radar_sweep=0.3, drop_radar_points=0.1, radar_noise_m=0.3,
        radar_clutter=0.1,
    )  # fmt: skip
    dataset = DetectionDataset(records, everything, taught(records))
    plain = dataset.sample(1, None)
    for seed in range(15):
        sample = dataset.sample(1, np.random.default_rng(seed))
        for before, after in (
            (plain.inputs, sample.inputs),
            (plain.target_arrays(), sample.target_arrays()),
        ):
            assert before.keys() == after.keys()
            for name, value in after.items():
                assert value.shape == before[name].shape
                assert value.dtype == before[name].dtype
                assert np.isfinite(value).all()


def test_with_cached_teaching_no_lidar_file_is_opened(tmp_path):
    write_dataroot(tmp_path, frames=2, lidar_points=100)
    records = NuScenes(tmp_path).samples()
    for file in tmp_path.glob("s*/LIDAR_TOP/*"):
        file.unlink()
    dataset = DetectionDataset(records, config_of(), taught(records))
    sample = dataset.sample(0, None)
    stride, depth = CONFIG.inputs.feature_stride_px, CONFIG.inputs.depth
    expected = int((10.0 - depth.min_m) / depth.step_m)
    assert (sample.depth_bin[:, 32 // stride, 80 // stride] == expected).all()
    assert (sample.depth_bin >= 0).sum() == 2 * 6
    with pytest.raises(DataError, match="LIDAR_TOP"):
        DetectionDataset(records, config_of()).sample(0, None)


def test_taught_arrays_have_their_names_and_follow_the_sample(records):
    source = taught(records)
    sample = DetectionDataset(records, config_of(), source).sample(0, None)
    own = source.teachings[records[0].token]
    assert set(sample.teaching) == {
        "f_lidar", "f_label", "i_lidar", "heat_teacher", "code_teacher", "code_teacher_weight",
        "has_lidar", "teacher_quality", "label_mask", "radar_occupied",
    }  # fmt: skip
    np.testing.assert_array_equal(sample.teaching["f_lidar"], own.f_lidar)
    rows = objects(sample)
    np.testing.assert_array_equal(sample.teaching["code_teacher_weight"][rows], 1)
    np.testing.assert_allclose(
        sample.teaching["code_teacher"][rows], sample.targets.code[rows], atol=1e-4
    )
    is_centre = sample.targets.heatmap.max(axis=0) == 1
    assert sample.teaching["label_mask"][is_centre].min() > 0.5
    assert sample.teaching["radar_occupied"].sum() > 0


def test_a_sample_without_teaching_is_label_only(records):
    source = taught(records)
    del source.teachings[records[1].token]
    dataset = DetectionDataset(records, config_of(), source)
    with_lidar, without = dataset.sample(0, None), dataset.sample(1, None)
    assert with_lidar.target_arrays().keys() == without.target_arrays().keys()
    assert (with_lidar.teaching["has_lidar"], without.teaching["has_lidar"]) == ([1], [0])
    assert not without.teaching["f_lidar"].any()
    assert without.teaching["label_mask"].any()
    assert (without.depth_bin == -1).all()
    assert len(objects(without))


def test_the_shuffled_control_takes_anothers_maps_and_its_own_depth(records):
    source = taught(records)
    config = config_of(distill={"shuffle": True})
    sample = DetectionDataset(records, config, source).sample(0, None)
    other = source.teachings[records[1].token]
    np.testing.assert_array_equal(sample.teaching["f_lidar"], other.f_lidar)
    assert records[0].token in source.asked
    assert (sample.depth_bin >= 0).any()


def test_without_teachers_only_the_gate_needs_masks(records):
    assert DetectionDataset(records, config_of()).sample(0, None).teaching == {}
    gated = DetectionDataset(records, config_of(distill={"gate": 0.1})).sample(0, None)
    assert set(gated.teaching) == {"label_mask", "radar_occupied"}


def blind_sample(records, **augment):
    """All cameras masked, changed as said."""
    config = config_of(drop_cameras=1.0, **augment)
    dataset = DetectionDataset(records, config, taught(records))
    return dataset.sample(0, np.random.default_rng(0)), dataset.sample(0, None)


def test_without_cameras_the_boxes_stay_that_a_radar_sees(records):
    blind, plain = blind_sample(records)
    assert not blind.inputs["camera_mask"].any()
    np.testing.assert_array_equal(objects(blind), objects(plain))  # all have returns
    assert (blind.targets.doppler[objects(blind), 3] > 0).all()
    few, _ = blind_sample(records, drop_radar_points=0.9)
    assert 0 < len(objects(few)) < len(objects(plain))
    assert (few.targets.doppler[objects(few), 3] > 0).all()
    none, _ = blind_sample(records, drop_radar=1.0)
    assert len(objects(none)) == 0
    assert none.inputs["radar_mask"] == 0
    np.testing.assert_array_equal(none.teaching["label_mask"], plain.teaching["label_mask"])


def test_boxes_that_only_radar_sees_go_where_that_is_wanted(records):
    blind, _ = blind_sample(records, radar_keeps=False)
    assert len(objects(blind)) == 0


def test_a_stale_camera_has_its_own_pose_and_no_depth(records):
    dataset = DetectionDataset(records, config_of(stale_camera=0.999))
    plain, stale = dataset.sample(1, None), dataset.sample(1, np.random.default_rng(0))
    assert (stale.inputs["images"] != plain.inputs["images"]).any(axis=(1, 2, 3)).all()
    assert (stale.depth_bin == -1).all()
    moved = stale.inputs["camera_params"] - plain.inputs["camera_params"]
    assert (np.abs(moved[:, [7, 11]]).max(axis=1) > 0.1).all()  # the car drove on since then
    first = dataset.sample(0, np.random.default_rng(0))  # there is no picture before
    np.testing.assert_array_equal(first.inputs["images"], dataset.sample(0, None).inputs["images"])


def test_geometry_that_does_not_change_is_built_once(records, monkeypatch):
    built = []
    original = view_lut.build_view_geometry
    monkeypatch.setattr(
        views, "build_view_geometry", lambda *args: built.append(1) or original(*args)
    )
    dataset = DetectionDataset(records, config_of(brightness=0.2, blank_camera=0.3))
    for seed in range(4):
        dataset.sample(0, np.random.default_rng(seed))
    assert len(built) == 1
    turning = DetectionDataset(records, config_of(bev_yaw_deg=10))
    for seed in range(3):
        turning.sample(0, np.random.default_rng(seed))
    assert len(built) == 4


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    write_dataroot(tmp_path, frames=1, lidar_points=50)
    (image,) = tmp_path.glob("samples/CAM_BACK/*")
    image.write_bytes(image.read_bytes()[:2000])
    dataset = DetectionDataset(NuScenes(tmp_path).samples(), config_of())
    with pytest.raises(DataError, match=image.name):
        dataset.sample(0, None)
