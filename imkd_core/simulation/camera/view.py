# SPDX-License-Identifier: Apache-2.0
"""A pinhole camera somewhere in the made-up world."""

from dataclasses import dataclass

import numpy as np

from imkd_core.geometry import Float64


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """A pinhole somewhere in the world.

    Attributes:
        width_px, height_px: of the picture.
        pixel_from_cam: (3, 3).
        global_from_cam: (4, 4) of the optical frame; may mirror.
    """

    width_px: int
    height_px: int
    pixel_from_cam: Float64
    global_from_cam: Float64

    @property
    def position_m(self) -> Float64:
        """(3,) of the pinhole, global."""
        return self.global_from_cam[:3, 3]

    def scaled(self, factor: float) -> "View":
        """Return the same view with a picture `factor` times as large."""
        scale = np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]])
        return View(
            width_px=max(round(self.width_px * factor), 1),
            height_px=max(round(self.height_px * factor), 1),
            pixel_from_cam=scale @ self.pixel_from_cam,
            global_from_cam=self.global_from_cam,
        )

    def mirrored(self) -> "View":
        """Return the view that sees in each pixel what level ground mirrors there."""
        return View(
            width_px=self.width_px,
            height_px=self.height_px,
            pixel_from_cam=self.pixel_from_cam,
            global_from_cam=np.diag([1.0, 1.0, -1.0, 1.0]) @ self.global_from_cam,
        )

    def inverse_depth(self, normal: Float64, offset_m: Float64) -> Float64:
        """Return (N, 3) a, b, c with 1 / depth = a u + b v + c on planes `normal @ p = offset_m`.

        Args:
            normal: (N, 3) global.
            offset_m: (N,).
        """
        rotation = self.global_from_cam[:3, :3]
        above_m = offset_m - normal @ self.position_m
        safe = np.where(np.abs(above_m) < 1e-9, 1e-9, above_m)
        rays = rotation @ np.linalg.inv(self.pixel_from_cam)
        return np.asarray((normal @ rays) / safe[:, None])

    def ground_plane(self) -> Float64:
        """Return (3,) a, b, c of the ground z = 0; 1 / depth is positive below the horizon."""
        return np.asarray(self.inverse_depth(np.array([[0.0, 0.0, 1.0]]), np.zeros(1))[0])
