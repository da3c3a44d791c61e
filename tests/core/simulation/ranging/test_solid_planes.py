# SPDX-License-Identifier: Apache-2.0
import numpy as np

from imkd_core.simulation.ranging.scene_planes import scene_planes
from imkd_core.simulation.ranging.solid_planes import solid_planes
from imkd_core.simulation.world.scene import Body, Face, Shape, Surface
from tests.core.simulation.ranging.made_up_scenes import box_solid, placed, snapshot

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


def painted_scene():
    body = Body(number=0, category="", shape=painted_box(), rcs_dbsm=0.0)
    return snapshot(placed(body, 100.0, -40.0, 0.7))


def surface_at(points, plane):
    """Look up points of the body frame on planes of the body."""
    scene = painted_scene()
    zero_m = np.array([90.0, -30.0, 2.0])
    moved = scene.placed[0].global_from_body
    seen = np.asarray(points) @ moved[:3, :3].T + moved[:3, 3] - zero_m
    planes = scene_planes(scene, zero_m)
    return planes.surfaces(seen.astype(np.float32), np.asarray(plane, dtype=np.int64))


def test_the_center_is_inside_all_planes_wherever_the_body_stands():
    scene = painted_scene()
    zero_m = np.array([90.0, -30.0, 2.0])
    planes = scene_planes(scene, zero_m)
    center = scene.placed[0].global_from_body[:3, 3] - zero_m
    np.testing.assert_allclose(
        planes.normals @ center - planes.offsets,
        [-1, -1, -1.5, -1.5, -1, -1],
        atol=1e-5,
    )  # front, back, left, right, top, bottom


def test_of_two_decals_the_last_one_painted_is_seen():
    points = np.array([[1, 0, -0.3], [1, 0, 0.2], [1, 0.45, 0.3], [1, 1, 0]])
    found = surface_at(points, np.zeros(4))
    np.testing.assert_allclose(found[:, 0], [0.9, 0.05, 0.4, 0.4], rtol=1e-6)
    np.testing.assert_array_equal(found[:, 2], [1, 0, 0, 0])


def test_a_decal_does_not_show_on_another_face():
    back = surface_at(np.array([[-1, 0, -0.3]]), [1])
    np.testing.assert_allclose(back[0], [0.4, 0, 0], rtol=1e-6)
