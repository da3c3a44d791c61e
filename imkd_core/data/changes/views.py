# SPDX-License-Identifier: Apache-2.0
"""What each camera of a training sample shows after a change: picture, projection, depth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imkd_core.config import InputSpec
from imkd_core.data.changes.augmentation import SampleChange
from imkd_core.data.changes.image_change import ImageChange, Picture, changed_image
from imkd_core.data.learning.decoded import DecodedSample, Decoding, stale_picture
from imkd_core.data.learning.targets import bins_of_points
from imkd_core.data.samples import Sample
from imkd_core.geometry import Float64
from imkd_core.imaging import fit_window
from imkd_core.types import CameraModel
from imkd_core.view_lut import ViewGeometry, build_view_geometry

_NO_CHANGE = ImageChange()


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """One camera of a sample.

    Attributes:
        name: of the camera.
        camera: its calibration.
        pose: (4, 4) effective `ego_from_cam`, without a change of the scene.
        picture: what it delivered; None for nothing.
        change: of its image.
        is_stale: whether the picture is an earlier one.
    """

    name: str
    camera: CameraModel
    pose: Float64
    picture: Picture | None
    change: ImageChange
    is_stale: bool = False

    @property
    def is_live(self) -> bool:
        """Whether the network gets an image, with or without content."""
        return self.picture is not None and self.change.blank != "masked"

    @property
    def shows_the_scene(self) -> bool:
        """Whether that image shows what was there at the time of the sample."""
        return self.picture is not None and not self.change.blank and not self.is_stale


def sample_views(
    sample: Sample, decoded: DecodedSample, decoding: Decoding, change: SampleChange
) -> tuple[View, ...]:
    """Return the views of a sample in the order of its rig.

    Raises:
        DataError: an earlier picture cannot be read.
    """
    views = []
    for name, (camera, pose) in zip(decoded.rig.cameras, decoded.cameras, strict=True):
        image_change = change.cameras.get(name, _NO_CHANGE)
        picture, is_stale = decoded.pictures.get(name), False
        if name in change.stale and picture is not None and not image_change.blank:
            earlier = stale_picture(sample, name, decoding)
            if earlier is not None:
                (picture, pose), is_stale = earlier, True
        views.append(
            View(
                name=name,
                camera=camera,
                pose=pose,
                picture=picture,
                change=image_change,
                is_stale=is_stale,
            )
        )
    return tuple(views)


def view_images(views: Sequence[View], spec: InputSpec) -> NDArray[np.uint8]:
    """Return (N, 3, H, W) uint8 network images; zeros where a camera is masked or missing."""
    images = np.zeros((len(views), 3, spec.image_height_px, spec.image_width_px), np.uint8)
    for image, view in zip(images, views, strict=True):
        if view.is_live and view.picture is not None:
            image[...] = changed_image(view.picture, view.change, spec).transpose(2, 0, 1)
    return images


def views_geometry(
    views: Sequence[View], changed_from_ego: Float64 | None, spec: InputSpec
) -> ViewGeometry:
    """Return the geometry of changed views; `changed_from_ego` as in `build_view_geometry`."""
    return build_view_geometry(
        [(view.camera, view.pose) for view in views],
        spec,
        [
            fit_window(view.camera, spec).pixel_from_cam
            if view.change.keeps_geometry
            else view.change.changed_from_network(spec)
            @ fit_window(view.camera, spec).pixel_from_cam
            for view in views
        ],
        changed_from_ego,
    )


def view_depth_bins(
    views: Sequence[View],
    exact: NDArray[np.int64] | None,
    points: Mapping[str, NDArray[np.float32]],
    spec: InputSpec,
) -> NDArray[np.int64]:
    """Return (N, Hf, Wf) depth bins; -1 for cameras that do not show the scene.

    Args:
        views: the cameras.
        exact: (N, Hf, Wf) bins of unchanged images, where they are known already.
        points: camera -> (P, 3) u, v in pixels of the unchanged network image, and depth; cameras
            that are not in it get no depth, unless `exact` has it.
        spec: sizes and bins.
    """
    bins = np.full((len(views), *spec.feature_shape), -1, np.int64)
    for number, view in enumerate(views):
        if not view.shows_the_scene:
            continue
        if exact is not None and view.change.keeps_geometry:
            bins[number] = exact[number]
        elif view.name in points:
            changed_from_network = view.change.changed_from_network(spec)
            bins[number] = bins_of_points(points[view.name], changed_from_network, spec)
    return bins
