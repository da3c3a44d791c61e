# SPDX-License-Identifier: Apache-2.0
"""Controls of a fitted detector: change what the sensors say, and see whether the boxes follow.

A detector that knew its training frame by heart would give the same boxes whatever the cameras
show. Each control takes a frame and returns one in which the scene is gone, wrong or shifted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from imkd_core.types import CameraImage, Frame, RadarCloud

#: Columns of `RadarCloud.points` that hold the position x, y.
_XY = slice(0, 2)


@dataclass(frozen=True, kw_only=True)
class Control:
    """One control: a name (variants share it), what it does in words, the frame it makes."""

    name: str
    description: str
    change: Callable[[Frame], Frame]


def with_pixels(frame: Frame, pixels: Mapping[str, NDArray[np.uint8]]) -> Frame:
    """Return the frame in which some cameras show other pixels."""
    cameras = dict(frame.cameras)
    for name, shown in pixels.items():
        image = frame.cameras[name]
        cameras[name] = CameraImage(sensor=name, stamp_ns=image.stamp_ns, pixels=shown)
    return replace(frame, cameras=cameras)


def without_cameras(frame: Frame, *names: str) -> Frame:
    """Return the frame without some cameras; without all of them when none is named."""
    gone = names or tuple(frame.cameras)
    kept = {name: image for name, image in frame.cameras.items() if name not in gone}
    return replace(frame, cameras=kept)


def with_permuted_cameras(frame: Frame, step: int) -> Frame:
    """Return the frame in which each camera shows the picture of the `step`-th next one."""
    names = list(frame.cameras)
    shown = {
        name: frame.cameras[names[(i + step) % len(names)]].pixels for i, name in enumerate(names)
    }
    return with_pixels(frame, shown)


def with_mirrored_images(frame: Frame) -> Frame:
    """Return the frame in which left and right are swapped inside every picture."""
    mirrored = {
        name: np.ascontiguousarray(image.pixels[:, ::-1]) for name, image in frame.cameras.items()
    }
    return with_pixels(frame, mirrored)


def without_radar(frame: Frame) -> Frame:
    """Return the frame without radars."""
    return replace(frame, radars={})


def with_shifted_radar(frame: Frame, right_m: float) -> Frame:
    """Return the frame in which every radar return lies further to the radar's right."""
    radars = {
        name: tuple(_shifted(cloud, right_m) for cloud in clouds)
        for name, clouds in frame.radars.items()
    }
    return replace(frame, radars=radars)


def _shifted(cloud: RadarCloud, right_m: float) -> RadarCloud:
    points = cloud.points.copy()
    points[:, _XY] -= np.array([0.0, right_m], np.float32)
    return replace(cloud, points=points)


def standard_controls(camera: str, cameras: int, radar_shift_m: float = 5.0) -> tuple[Control, ...]:
    """Return the controls of the proof on real input.

    Args:
        camera: the one that is taken away.
        cameras: how many the rig has; every cyclic permutation of them is tried.
        radar_shift_m: how far radar returns are shifted.
    """
    return (
        Control(
            name="cameras_masked",
            description="all cameras masked",
            change=without_cameras,
        ),
        *(
            Control(
                name="cameras_permuted",
                description=f"each camera shows the picture of camera +{step}",
                change=partial(with_permuted_cameras, step=step),
            )
            for step in range(1, cameras)
        ),
        Control(
            name="images_mirrored",
            description="left and right swapped in every picture",
            change=with_mirrored_images,
        ),
        Control(
            name="camera_masked",
            description=f"{camera} masked",
            change=lambda frame: without_cameras(frame, camera),
        ),
        Control(name="radar_masked", description="radar masked", change=without_radar),
        Control(
            name="radar_shifted",
            description=f"radar returns shifted by {radar_shift_m:g} m",
            change=lambda frame: with_shifted_radar(frame, radar_shift_m),
        ),
    )
