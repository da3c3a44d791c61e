# SPDX-License-Identifier: Apache-2.0
"""One camera's taps do not depend on its neighbours, but for where its rows begin."""

import numpy as np

from imkd_core.view_lut import build_camera_part, build_view_geometry, join_parts
from tests.core.rigs import rig_of, spec_of

SPEC = spec_of()
CAMERAS = [(camera, camera.ego_from_cam) for camera in rig_of(cameras=3).cameras.values()]
ROWS = SPEC.feature_shape[1] * SPEC.depth.count


def parts_of(cameras):
    return [build_camera_part(n, camera, pose, SPEC) for n, (camera, pose) in enumerate(cameras)]


def test_the_number_of_a_camera_shifts_its_rows_and_nothing_else():
    first, third = (build_camera_part(n, *CAMERAS[0], SPEC).taps for n in (0, 2))
    np.testing.assert_array_equal(first.cell, third.cell)
    np.testing.assert_array_equal(first.weight, third.weight)
    np.testing.assert_array_equal(np.where(first.weight > 0, first.row + 2 * ROWS, 0), third.row)


def test_taps_lie_in_the_cameras_own_rows_heaviest_first():
    for number, part in enumerate(parts_of(CAMERAS)):
        rows = part.taps.row[part.taps.weight > 0]
        assert (rows >= number * ROWS).all()
        assert (rows < (number + 1) * ROWS).all()
        assert (np.diff(part.taps.weight, axis=1) <= 0).all()
        assert len(np.unique(part.taps.cell)) == len(part.taps.cell)


def test_joined_parts_are_the_table_and_parts_are_left_as_they_were():
    parts = parts_of(CAMERAS)
    before = [[np.copy(value) for value in part.taps] for part in parts]
    joined, whole = join_parts(parts, SPEC), build_view_geometry(CAMERAS, SPEC)
    for name in ("lut_index", "lut_weight", "tap_camera", "frustum_mask", "camera_params"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name), err_msg=name)
    for part, values in zip(parts, before, strict=True):
        for now, then in zip(part.taps, values, strict=True):
            np.testing.assert_array_equal(now, then)
