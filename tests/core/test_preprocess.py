# SPDX-License-Identifier: Apache-2.0
"""A frame becomes the network's inputs; a missing sensor is masked and never imitated."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imkd_core.bev_grid import BevGrid
from imkd_core.config import RADAR_GRID_CHANNELS, DepthBins, InputSpec
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.errors import SensorError
from imkd_core.geometry import (
    invert_transform,
    project_points,
    rigid_transform,
    transform_points,
)
from imkd_core.imaging import fit_window, to_network_image
from imkd_core.preprocess import effective_cameras, prepare_inputs
from imkd_core.types import CameraImage, Frame, SensorRig
from imkd_core.view_lut import build_view_geometry
from tests.core.rigs import STAMP_NS, cloud_of, frame_of, rig_of, spec_of

SPEC = spec_of(radar_refinement=2, radar_sweeps=2)
RIG = rig_of(cameras=3, radars=2)


def without(frame: Frame, *names: str, **changes) -> Frame:
    values = {
        "stamp_ns": frame.stamp_ns,
        "cameras": {n: c for n, c in frame.cameras.items() if n not in names},
        "radars": {n: c for n, c in frame.radars.items() if n not in names},
        "reference_from_ego": frame.reference_from_ego,
    }
    return Frame(**{**values, **changes})


def test_names_dtypes_and_shapes_are_the_contracts():
    inputs = prepare_inputs(frame_of(RIG), RIG, SPEC)
    actual = {name: (value.dtype.name, value.shape) for name, value in inputs.items()}
    assert actual == {
        "images": ("uint8", (3, 3, 64, 160)),
        "camera_mask": ("float32", (3,)),
        "camera_params": ("float32", (3, 16)),
        "frustum_mask": ("float32", (3, 64, 4, 10)),
        "lut_index": ("int32", (40 * 64, 16)),
        "lut_weight": ("float32", (40 * 64, 16)),
        "radar_grid": ("float32", (12, 80, 128)),
        "radar_mask": ("float32", (1,)),
    }


@given(st.sets(st.sampled_from([*RIG.cameras, *RIG.radars])))
@settings(max_examples=20)
def test_missing_sensors_are_masked(missing):
    full = frame_of(RIG)
    inputs = prepare_inputs(without(full, *missing), RIG, SPEC)
    reference = prepare_inputs(full, RIG, SPEC)
    live = np.array([name not in missing for name in RIG.cameras])
    np.testing.assert_array_equal(inputs["camera_mask"], live)
    np.testing.assert_array_equal(inputs["images"][live], reference["images"][live])
    assert not inputs["images"][~live].any()
    assert inputs["radar_mask"] == [not missing.issuperset(RIG.radars)]
    used = inputs["lut_index"] // (SPEC.feature_shape[1] * SPEC.depth.count)
    assert live[used[inputs["lut_weight"] > 0]].all()
    np.testing.assert_array_equal(inputs["camera_params"], reference["camera_params"])
    if missing.issuperset(RIG.radars):
        assert not inputs["radar_grid"].any()


def test_the_order_of_cameras_is_the_rigs_and_not_the_frames():
    full = frame_of(RIG)
    turned = without(full, cameras=dict(reversed(full.cameras.items())))
    images = prepare_inputs(turned, RIG, SPEC)["images"]
    for number, (name, camera) in enumerate(RIG.cameras.items()):
        expected = to_network_image(full.cameras[name], camera, SPEC)
        np.testing.assert_array_equal(images[number], expected)


def test_an_empty_scan_is_a_scan():
    empty = without(frame_of(RIG), radars={"RADAR_0": (cloud_of("RADAR_0", []),)})
    silent = without(frame_of(RIG), radars={"RADAR_0": ()})
    assert prepare_inputs(empty, RIG, SPEC)["radar_mask"] == [1]
    assert prepare_inputs(silent, RIG, SPEC)["radar_mask"] == [0]
    assert not prepare_inputs(empty, RIG, SPEC)["radar_grid"].any()


def test_unknown_sensors_are_refused_by_name():
    other = rig_of(cameras=5, radars=3)
    with pytest.raises(SensorError, match=r"CAM_3, CAM_4, RADAR_2.*the rig knows CAM_0"):
        prepare_inputs(frame_of(other), RIG, SPEC)


def test_only_the_newest_sweeps_count():
    clouds = tuple(
        cloud_of("RADAR_0", [[5.0 * i, 0, 0, 0, 0, 0, 0]], STAMP_NS - 10 * i) for i in range(4)
    )
    frame = without(frame_of(RIG), *RIG.radars, radars={"RADAR_0": clouds})
    occupied = prepare_inputs(frame, RIG, SPEC)["radar_grid"][-1]
    assert occupied.sum() == SPEC.radar_sweeps


def test_a_return_goes_through_its_radars_pose_to_the_cell_of_the_refined_grid():
    frame = without(
        frame_of(RIG), radars={"RADAR_1": (cloud_of("RADAR_1", [[4.0, 2.1, 0, 0, 0, 0, 0]]),)}
    )
    occupied = prepare_inputs(frame, RIG, SPEC)["radar_grid"][
        RADAR_GRID_CHANNELS.index("occupancy")
    ]
    row, column = SPEC.radar_grid.cell_index(np.array([3.0 + 4.0, 1.0 + 2.1]))[0]
    assert np.argwhere(occupied).tolist() == [[row, column]]


def test_own_motion_moves_the_camera_of_that_stamp_only():
    early_ns = STAMP_NS - 50_000_000
    motion = rigid_transform(np.eye(3), (-0.7, 0.1, 0.0))
    frame = frame_of(RIG)
    image = frame.cameras["CAM_1"]
    moved = without(
        frame,
        cameras={
            **frame.cameras,
            "CAM_1": CameraImage(sensor="CAM_1", stamp_ns=early_ns, pixels=image.pixels),
        },
        reference_from_ego={early_ns: motion},
    )
    poses = [pose for _, pose in effective_cameras(moved, RIG)]
    rest = [camera.ego_from_cam for camera in RIG.cameras.values()]
    np.testing.assert_array_equal(poses[0], rest[0])
    np.testing.assert_allclose(poses[1], motion @ rest[1])
    np.testing.assert_array_equal(poses[2], rest[2])
    params = prepare_inputs(moved, RIG, SPEC)["camera_params"]
    np.testing.assert_allclose(params[1, 4:], poses[1][:3].ravel(), atol=1e-6)


def test_a_given_geometry_is_used_and_changes_nothing():
    frame = frame_of(RIG)
    geometry = build_view_geometry(effective_cameras(frame, RIG), SPEC)
    given_one, built = prepare_inputs(frame, RIG, SPEC, geometry), prepare_inputs(frame, RIG, SPEC)
    assert given_one["frustum_mask"] is geometry.frustum_mask
    for name, value in built.items():
        np.testing.assert_array_equal(given_one[name], value, err_msg=name)


def test_images_are_written_over_whatever_a_given_array_held():
    frame = frame_of(RIG)
    less = Frame(
        stamp_ns=frame.stamp_ns,
        cameras=dict(list(frame.cameras.items())[1:]),
        radars=frame.radars,
    )
    array = np.full_like(prepare_inputs(frame, RIG, SPEC)["images"], 99)
    for one in (frame, less):
        images = prepare_inputs(one, RIG, SPEC, images=array)["images"]
        assert images is array
        np.testing.assert_array_equal(images, prepare_inputs(one, RIG, SPEC)["images"])


@pytest.mark.parametrize(
    "spoil",
    [lambda a: a[1:], lambda a: a.astype(np.float32), lambda a: a[..., ::-1], lambda a: a[0]],
)
def test_an_array_for_images_that_does_not_fit_is_refused(spoil):
    frame = frame_of(RIG)
    array = spoil(prepare_inputs(frame, RIG, SPEC)["images"])
    with pytest.raises(ValueError, match="contiguous uint8"):
        prepare_inputs(frame, RIG, SPEC, images=array)


def test_a_rig_without_sensors_gives_empty_inputs():
    rig = SensorRig(cameras={}, radars={})
    inputs = prepare_inputs(frame_of(rig), rig, SPEC)
    assert inputs["images"].shape == (0, 3, 64, 160)
    assert not inputs["lut_weight"].any()
    assert inputs["radar_mask"] == [0]


def test_on_the_real_key_frame_the_depth_of_a_true_box_raises_its_cell(nuscenes_one):
    """The real rig, its own motion included: pixel and depth of each centre lead to its cell."""
    data = NuScenes(nuscenes_one)
    record = data.samples()[0]
    bev = BevGrid(x_min_m=-51.2, x_max_m=51.2, y_min_m=-51.2, y_max_m=51.2, cell_m=0.8)
    spec = InputSpec(
        image_height_px=128, image_width_px=352, bev=bev, depth=DepthBins(min_m=2.0, step_m=1.0)
    )
    cameras = effective_cameras(record.frame(), record.rig)
    inputs = prepare_inputs(record.frame(), record.rig, spec)
    centers = record.truth().detections.center_m
    (rows, columns), inside = bev.cell_index(centers[:, :2])[0].T, bev.cell_index(centers[:, :2])[1]
    seen = 0
    for number, (camera, pose) in enumerate(cameras):
        k = fit_window(camera, spec).pixel_from_cam
        pixels, depth_m = project_points(k, transform_points(invert_transform(pose), centers))
        w, h, d = (pixels[:, 0] + 0.5) // 16, (pixels[:, 1] + 0.5) // 16, depth_m - 2.0
        usable = inside & (w >= 0) & (w < 22) & (h >= 0) & (h < 8) & (d >= 0) & (d < 56)
        for box in np.flatnonzero(usable):
            lifted = np.zeros((len(cameras), 22, 56))
            lifted[number, int(w[box]), int(d[box])] = 1
            read = lifted.reshape(-1)[inputs["lut_index"]] * inputs["lut_weight"]
            row, column = rows[box], columns[box]
            near = read.sum(axis=1).reshape(bev.shape)[
                max(0, row - 1) : row + 2, max(0, column - 1) : column + 2
            ]
            assert near.max() > 0
            seen += 1
    assert seen >= 50
