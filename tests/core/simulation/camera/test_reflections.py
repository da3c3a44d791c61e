# SPDX-License-Identifier: Apache-2.0
import numpy as np

from imkd_core.simulation.camera.faces import place_faces
from imkd_core.simulation.camera.light import light_scene
from imkd_core.simulation.camera.reflections import add_reflections
from imkd_core.simulation.camera.shading import face_colors
from imkd_core.simulation.camera.view import View
from tests.core.simulation.camera.small_scenes import (
    CAMERA,
    GLOBAL_FROM_CAM,
    car_like,
    placed_at,
    snapshot_of,
)

VIEW = View(
    width_px=CAMERA.width_px,
    height_px=CAMERA.height_px,
    pixel_from_cam=CAMERA.pixel_from_cam,
    global_from_cam=GLOBAL_FROM_CAM,
)


def wet_ground(*placed):
    snapshot = snapshot_of(*placed, condition="rain")
    image = np.full((CAMERA.height_px, CAMERA.width_px, 3), 0.05, dtype=np.float32)
    add_reflections(image, VIEW, snapshot.condition, light_scene(snapshot))
    return image


def test_the_sky_is_mirrored_more_the_flatter_one_looks():
    image = wet_ground()
    assert (image[:85] == np.float32(0.05)).all()
    assert image[100:110].mean() > image[-10:].mean()


def test_a_body_is_mirrored_below_itself():
    with_car, without = wet_ground(placed_at(car_like(), 14.0, 0.0)), wet_ground()
    changed = np.abs(with_car - without).max(axis=2) > 0.005
    rows, columns = np.nonzero(changed)
    assert rows.min() >= 88
    assert abs(columns.mean() - CAMERA.pixel_from_cam[0, 2]) < 12


def test_a_lamp_sends_more_light_than_the_paint_around_it():
    scene = light_scene(snapshot_of(placed_at(car_like(), 14.0, 0.0), condition="night"))
    chosen = np.flatnonzero(scene.faces.owner == 0)
    colors = face_colors(VIEW, snapshot_of(condition="night").condition, scene, chosen)
    is_lamp = place_faces(snapshot_of(placed_at(car_like(), 14.0, 0.0)).placed).look[:, 5] > 0
    assert colors.shape == (1 + len(chosen), 4)
    assert (colors[0] == 0).all()
    assert colors[1:, 0][is_lamp].min() > colors[1:, 0][~is_lamp].max()
