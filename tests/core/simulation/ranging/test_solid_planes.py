# SPDX-License-Identifier: Apache-2.0
import numpy as np

from imkd_core.simulation.ranging.solid_planes import planes_at, solid_planes, surface_at
from imkd_core.simulation.world.scene import Face, Shape, Surface
from tests.core.simulation.ranging.made_up_scenes import box_solid, pose

DARK = Surface(albedo=(0, 0, 0), reflectance=0.05, gloss=0.3)
PLATE = Surface(albedo=(1, 1, 1), reflectance=0.9, retro=1.0)


def painted_box():
    triangle = np.array([[1.0, -0.5, -0.5], [1.0, 0.5, -0.5], [1.0, 0.0, 0.5]])
    square = np.array([[1.0, -0.1, -0.4], [1.0, 0.1, -0.4], [1.0, 0.1, -0.2], [1.0, -0.1, -0.2]])
    decals = [(0, Face(corners_m=c, surface=s)) for c, s in ((triangle, DARK), (square, PLATE))]
    return Shape(solids=(box_solid(2, 3, 2, decals=decals),), size_m=(2, 3, 2))


def test_a_shape_is_prepared_once():
    shape = painted_box()
    assert solid_planes(shape) is solid_planes(shape)


def test_the_center_is_inside_all_planes_wherever_the_body_stands():
    planes = solid_planes(painted_box())
    global_from_body = pose(100.0, -40.0, 1.0, 0.7)
    zero_m = np.array([90.0, -30.0, 2.0])
    normals, offsets = planes_at(planes, global_from_body, zero_m)
    np.testing.assert_allclose(
        normals @ (global_from_body[:3, 3] - zero_m) - offsets,
        [-1, -1, -1.5, -1.5, -1, -1],
        atol=1e-5,
    )  # front, back, left, right, top, bottom


def test_of_two_decals_the_last_one_painted_is_seen():
    planes = solid_planes(painted_box())
    points = np.array([[1, 0, -0.3], [1, 0, 0.2], [1, 0.45, 0.3], [1, 1, 0]], dtype=np.float32)
    found = surface_at(planes, points, np.zeros(4, dtype=np.int64))
    np.testing.assert_allclose(found[:, 0], [0.9, 0.05, 0.4, 0.4], rtol=1e-6)
    np.testing.assert_array_equal(found[:, 2], [1, 0, 0, 0])


def test_a_decal_does_not_show_on_another_face():
    planes = solid_planes(painted_box())
    back = surface_at(planes, np.array([[-1, 0, -0.3]], np.float32), np.array([1]))
    np.testing.assert_allclose(back[0], [0.4, 0, 0], rtol=1e-6)
