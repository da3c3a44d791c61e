# SPDX-License-Identifier: Apache-2.0
"""Building blocks: closed, convex, seen from outside, and fitted to their box."""

import numpy as np
import pytest

from imkd_core.simulation.world import surfaces
from imkd_core.simulation.world.solids import (
    FRONT,
    LEFT,
    beam,
    box,
    convex_hull,
    fitted,
    frustum,
    octahedron,
    prism,
    wheel,
)

STEEL = surfaces.STEEL
BLOCKS = {
    "box": box((0, 2), (-1, 1), (0, 3), STEEL, [(LEFT, (0.2, 0.8, 0.3, 0.6), surfaces.GLASS)]),
    "frustum": frustum((0, 2, -1, 1), (0.4, 1.5, -0.5, 0.6), (0, 1), STEEL),
    "prism": prism([(0, 0), (2, 0), (1.5, 1), (0.2, 0.8)], (-1, 1), STEEL),
    "wheel": wheel((0.5, 0.4), 0.4, (-0.1, 0.2), (surfaces.RUBBER, surfaces.RIM)),
    "slanted beam": beam((0, 0, 0), (1, 2, 3), (0.2, 0.3), STEEL),
    "upright beam": beam((0, 0, 0), (0, 0, 3), (0.2, 0.3), STEEL),
    "octahedron": octahedron((1, 2, 3), (1, 2, 0.5), STEEL),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_is_convex_and_its_faces_look_outside(name):
    solid = BLOCKS[name]
    beyond = solid.corners_m @ solid.planes[:, :3].T - solid.planes[:, 3]
    assert beyond.max() < 1e-9
    assert (beyond.min(axis=0) < -1e-3).all()  # there is something behind every face


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_is_closed(name):
    # divergence theorem: the area vectors of a closed surface cancel
    total = np.zeros(3)
    for face in BLOCKS[name].faces:
        fan = face.corners_m - face.corners_m[0]
        total += np.cross(fan[1:-1], fan[2:]).sum(axis=0)
    np.testing.assert_allclose(total, 0, atol=1e-9)


def test_paint_lies_on_its_face_and_looks_the_same_way():
    for name in ("box", "wheel"):
        for index, paint in BLOCKS[name].decals:
            face = BLOCKS[name].faces[index]
            np.testing.assert_allclose(
                (paint.corners_m - face.center_m) @ face.normal, 0, atol=1e-9
            )
            np.testing.assert_allclose(paint.normal, face.normal, atol=1e-9)


def test_a_panel_on_the_front_runs_from_right_to_left_and_upwards():
    solid = box((0, 2), (-1, 1), (0, 4), STEEL, [(FRONT, (0.0, 0.25, 0.5, 1.0), surfaces.GLASS)])
    corners = solid.decals[0][1].corners_m
    np.testing.assert_allclose(corners[0], (2, -1, 2))
    np.testing.assert_allclose(corners[2], (2, -0.5, 4))


def test_a_beam_joins_its_ends():
    solid = beam((1, 1, 0), (1, 3, 2), (0.2, 0.2), STEEL)
    np.testing.assert_allclose(solid.corners_m.mean(axis=0), (1, 2, 1), atol=1e-9)


def test_a_fitted_shape_fills_its_box():
    shape = fitted(list(BLOCKS.values()), (4.0, 2.0, 1.5))
    corners = np.concatenate([solid.corners_m for solid in shape.solids])
    np.testing.assert_allclose(corners.max(axis=0), (2.0, 1.0, 0.75), atol=1e-9)
    np.testing.assert_allclose(corners.min(axis=0), (-2.0, -1.0, -0.75), atol=1e-9)


def test_the_hull_leaves_out_inner_points_and_turns_left():
    hull = convex_hull(np.array([(0, 0), (2, 0), (1, 0.5), (2, 2), (0, 2), (1, 1)], dtype=float))
    assert hull.tolist() == [[0, 0], [2, 0], [2, 2], [0, 2]]
