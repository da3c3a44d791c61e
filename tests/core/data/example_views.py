# SPDX-License-Identifier: Apache-2.0
"""A camera's view as the changes take it, of a picture of noise."""

import numpy as np

from imkd_core.data.changes.image_change import ImageChange, Picture
from imkd_core.data.changes.views import View
from tests.core.rigs import camera_of, spec_of

SPEC = spec_of()
SHAPE = (SPEC.image_height_px, SPEC.image_width_px, 3)
CAMERA = camera_of()


def view(**changes):
    """The view of `CAMERA`, unchanged but for what is given."""
    pixels = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    values = {
        "name": "front",
        "camera": CAMERA,
        "pose": CAMERA.ego_from_cam,
        "picture": Picture(pixels=pixels, network_from_picture=np.eye(3)),
        "change": ImageChange(),
    }
    return View(**{**values, **changes})
