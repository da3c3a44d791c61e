# SPDX-License-Identifier: Apache-2.0
"""The pictures of one frame that a report shows: cameras, view from above, and the fusion's gates.

    pictures = frame_pictures(frame, detections, rig, grid=grid, missing=status.missing)
    for kind, data in as_jpeg(pictures).items():
        (folder / f"{frame.stamp_ns}_{kind}.jpg").write_bytes(data)

All pictures of a kind have one size for one rig and grid, so that a page can show one after the
other without moving. The gates are drawn cell by cell, nothing is smoothed: a regular pattern in
them is in the numbers. I_rad of a model whose radar encoder enlarges its coarse maps by transposed
convolutions (stride equal to the kernel) repeats with a period of two cells, in every precision.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from imkd_core.bev_grid import BevGrid
from imkd_core.drawing import Picture
from imkd_core.types import Detections, Frame, SensorRig
from imkd_core.visualization import (
    bev_picture,
    camera_mosaic,
    encode_jpeg,
    heat_map,
    radar_points,
    radar_velocities,
)

#: Gate of `Detections.reliability` -> kind of picture, and its title.
GATES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"camera": ("icam", "I_cam"), "radar": ("irad", "I_rad")}
)

#: Boxes scored less than this are left out of pictures: they would hide what is seen.
LEAST_SCORE = 0.3

_TILE_WIDTH_PX, _BEV_HEIGHT_PX, _GATE_HEIGHT_PX = 640, 720, 480


def frame_pictures(
    frame: Frame,
    detections: Detections | None,
    rig: SensorRig,
    maps: Mapping[str, ArrayLike] | None = None,
    truth: Detections | None = None,
    *,
    grid: BevGrid,
    missing: Mapping[str, str] | None = None,
    suspect: Mapping[str, str] | None = None,
    least_score: float = LEAST_SCORE,
) -> dict[str, Picture]:
    """Return kind ("mosaic", "bev", "icam", "irad") -> (H, W, 3) uint8 RGB of one frame.

    Args:
        frame: what the detector saw; a camera that it lacks gets a dark tile.
        detections: what it found; None where the frame was not answered.
        rig: calibration in force.
        maps: "camera" and "radar" -> (Y, X) gate 0..1 on the grid; None: `detections.reliability`.
            What is not there has no picture.
        truth: true objects, drawn in outline.
        grid: of the maps, and the range that is shown from above.
        missing: camera -> why the frame lacks it.
        suspect: camera -> fault of a picture that was used all the same.
        least_score: of the boxes that are drawn.

    Raises:
        ValueError: a map does not have the grid's shape.
    """
    found = None
    if detections is not None:
        found = detections.select(np.flatnonzero(detections.scores >= least_score))
    if maps is None:
        maps = detections.reliability if detections is not None else {}
    pictures = {
        "mosaic": camera_mosaic(
            frame,
            rig,
            found,
            truth,
            tile_width_px=_TILE_WIDTH_PX,
            missing=missing,
            suspect=suspect,
            legend=False,
        ),
        "bev": bev_picture(
            found,
            truth,
            radar_points(frame, rig),
            grid,
            height_px=_BEV_HEIGHT_PX,
            radar_velocity_mps=radar_velocities(frame, rig),
            legend=False,
        ),
    }
    outlined = truth if truth is not None else found
    for name, (kind, title) in GATES.items():
        if name in maps:
            pictures[kind] = heat_map(
                maps[name], grid, title=title, boxes=outlined, height_px=_GATE_HEIGHT_PX
            )
    return pictures


def as_jpeg(pictures: Mapping[str, Picture], quality: int = 82) -> dict[str, bytes]:
    """Return the pictures as JPEG of a quality 1..100."""
    return {kind: encode_jpeg(picture, quality) for kind, picture in pictures.items()}
