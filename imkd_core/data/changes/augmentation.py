# SPDX-License-Identifier: Apache-2.0
"""Changes of a training sample as a whole, and which true boxes survive them.

A change has three parts: each camera's image (`image_change`), the radars (`sensor_dropout`), and
the scene (`bev_change`). Where sensors are taken away, the boxes that only they saw go with them,
so a student can't be rewarded for knowing positions by heart (method.md 6, 12.3).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from imkd_core.config import InputSpec
from imkd_core.data.changes.bev_change import BevChange, sample_bev_change
from imkd_core.data.changes.image_change import ImageChange, sample_image_change, sample_view_change
from imkd_core.data.changes.sensor_dropout import RadarChange, camera_sides, sample_radar_change
from imkd_core.geometry import invert_transform, project_points, transform_points
from imkd_core.imaging import fit_window
from imkd_core.recipe import AugmentConfig
from imkd_core.types import Detections, Frame, SensorRig

#: Probability that every camera is blanked at once, where cameras are blanked at all.
ALL_BLANKED = 0.05


@dataclass(frozen=True, kw_only=True)
class SampleChange:
    """What happens to one sample; by default nothing.

    Attributes:
        cameras: what happens to images; nothing to those that are not named.
        stale: cameras that show an earlier picture, where there is one.
        radar: what happens to the radars.
        bev: what happens to the scene.
    """

    cameras: Mapping[str, ImageChange] = field(default_factory=dict)
    stale: frozenset[str] = frozenset()
    radar: RadarChange = field(default_factory=RadarChange)
    bev: BevChange = field(default_factory=BevChange)

    @property
    def blanked(self) -> frozenset[str]:
        """Cameras whose content is gone."""
        return frozenset(name for name, change in self.cameras.items() if change.blank)

    @property
    def keeps_geometry(self) -> bool:
        """Whether the look-up table stays as it is, unless a stale camera has an older pose."""
        return self.bev.is_identity and all(c.keeps_geometry for c in self.cameras.values())


def sample_change(
    rng: np.random.Generator, rig: SensorRig, augment: AugmentConfig, radar_sweeps: int = 1
) -> SampleChange:
    """Draw a change for a sample of this rig, of which `radar_sweeps` scans are merged."""
    all_blanked = augment.blank_camera > 0 and rng.random() < ALL_BLANKED
    cameras = {name: sample_image_change(rng, augment, all_blanked) for name in rig.cameras}
    drop = bool(rng.random() < augment.drop_radar)
    more = np.random.default_rng(rng.integers(1 << 63))
    cameras = {name: sample_view_change(more, augment, change) for name, change in cameras.items()}
    sides = camera_sides(rig)
    loses_side, side = more.random() < augment.drop_side, more.random()
    masked = sides[int(side * len(sides))] if loses_side and sides else frozenset()
    if more.random() < augment.drop_cameras:
        masked = frozenset(rig.cameras)
    for name in masked:
        cameras[name] = replace(cameras[name], blank="masked")
    stale = [name for name in rig.cameras if more.random() < augment.stale_camera]
    return SampleChange(
        cameras=cameras,
        stale=frozenset(stale),
        radar=replace(sample_radar_change(more, augment, radar_sweeps), drop=drop),
        bev=sample_bev_change(more, augment),
    )


def visible_in(
    boxes: Detections, frame: Frame, rig: SensorRig, spec: InputSpec
) -> dict[str, NDArray[np.bool_]]:
    """Return for each camera of the rig which box centres its network image shows.

    The frame gives the ego motion between the reference time and each exposure; a camera that is
    not in the frame is taken at the reference time.
    """
    seen = {}
    for name, camera in rig.cameras.items():
        image = frame.cameras.get(name)
        motion = frame.motion_at(image.stamp_ns) if image is not None else np.eye(4)
        cam_from_reference = invert_transform(motion @ camera.ego_from_cam)
        points_cam = transform_points(cam_from_reference, boxes.center_m)
        pixels, depth_m = project_points(fit_window(camera, spec).pixel_from_cam, points_cam)
        inside = (pixels >= -0.5) & (
            pixels < (spec.image_width_px - 0.5, spec.image_height_px - 0.5)
        )
        seen[name] = (depth_m > spec.depth.min_m) & inside.all(axis=1)
    return seen


def seen_only_by(
    visible: Mapping[str, NDArray[np.bool_]], cameras: frozenset[str]
) -> NDArray[np.bool_]:
    """Return which boxes are shown by at least one of `cameras` and by no other camera."""
    shape = next(iter(visible.values())).shape
    inside, outside = np.zeros(shape, bool), np.zeros(shape, bool)
    for name, shown in visible.items():
        target = inside if name in cameras else outside
        target |= shown
    return inside & ~outside


def lost_boxes(
    visible: Mapping[str, NDArray[np.bool_]],
    blanked: frozenset[str],
    returns_left: NDArray[np.bool_],
    returns_before: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Return which boxes some sensor saw before the change and none sees after it.

    Args:
        visible: camera -> (N,) which boxes it shows.
        blanked: cameras whose content is gone.
        returns_left: (N, P) which radar returns on which box are left.
        returns_before: (N, P) which there were.
    """
    after = np.asarray(returns_left.any(axis=1))
    before = np.asarray(returns_before.any(axis=1))
    for name, shown in visible.items():
        before |= shown
        if name not in blanked:
            after |= shown
    return before & ~after
