# SPDX-License-Identifier: Apache-2.0
"""A camera that hangs otherwise than it is calibrated."""

from dataclasses import replace

import cv2
import numpy as np

from imkd_core.geometry import rigid_transform


def about(axis, degrees):
    """The rotation about an axis of the vehicle."""
    return cv2.Rodrigues(np.radians(degrees) * np.eye(3)[axis])[0]


def turned(camera, axis, degrees):
    """The camera, turned about an axis of the vehicle."""
    pose = camera.ego_from_cam
    rotation = about(axis, degrees) @ pose[:3, :3]
    return replace(camera, ego_from_cam=rigid_transform(rotation, pose[:3, 3]))
