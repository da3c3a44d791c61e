# SPDX-License-Identifier: Apache-2.0
"""What the cameras saw, with boxes on it, as one picture: drawn for people while somebody looks.

Drawing takes longer than a frame may wait: it is done aside, now and then, of the newest scene.
No ROS in here.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from imkd_core.drawing import Picture
from imkd_core.types import Detections, Frame, SensorRig
from imkd_core.visualization import camera_mosaic
from imkd_ros.node.aside import Aside


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is drawn of one frame.

    Attributes:
        frame: what the detector saw.
        rig: calibration of that frame.
        detections: what it found.
        missing: sensor -> why the frame lacks it.
        suspect: sensor -> fault of a measurement that was used all the same.
    """

    frame: Frame
    rig: SensorRig
    detections: Detections
    missing: Mapping[str, str] = field(default_factory=dict)
    suspect: Mapping[str, str] = field(default_factory=dict)


def draw(scene: Scene, tile_width_px: int) -> Picture:
    """Return a scene as an (H, W, 3) uint8 RGB picture.

    Args:
        scene: what is drawn.
        tile_width_px: width of each camera's picture in it.
    """
    return camera_mosaic(
        scene.frame,
        scene.rig,
        scene.detections,
        None,
        tile_width_px=tile_width_px,
        missing=scene.missing,
        suspect=scene.suspect,
        legend=False,
    )


class Mosaic:
    """Draws scenes in a thread of its own, which starts with the first.

    Args:
        is_wanted: whether anybody looks.
        publish: is called in the thread with a picture and the stamp of its frame.
        log: is told what went wrong, in words.
        rate_hz: pictures a second, at most.
        tile_width_px: width of each camera's picture.
        paint: draws a scene at a width of tiles.

    Attributes:
        rate_hz, tile_width_px: as given; may be changed at any time.
    """

    def __init__(
        self,
        *,
        is_wanted: Callable[[], bool],
        publish: Callable[[Picture, int], None],
        log: Callable[[str], object],
        rate_hz: float,
        tile_width_px: int,
        paint: Callable[[Scene, int], Picture] = draw,
    ) -> None:
        self._is_wanted = is_wanted
        self._publish = publish
        self.rate_hz = rate_hz
        self.tile_width_px = tile_width_px
        self._paint = paint
        self._aside: Aside[Scene] = Aside(
            self._work, trouble="the mosaic could not be drawn", log=log, name="imkd_mosaic"
        )
        self._due_s = 0.0

    @property
    def is_due(self) -> bool:
        """Whether somebody looks, and the last scene was taken in long enough ago."""
        return time.monotonic() >= self._due_s and self._is_wanted()

    def offer(self, scene: Scene) -> None:
        """Have a scene drawn, unless a newer one comes before its turn; returns at once."""
        self._due_s = time.monotonic() + 1.0 / self.rate_hz
        self._aside.offer(scene)

    def check(self) -> None:
        """Tell what ended the thread, if anything did; the next scene starts another."""
        self._aside.check()

    def stop(self) -> None:
        """Let the picture in hand be finished, and join the thread."""
        self._aside.stop()

    def _work(self, scene: Scene) -> None:
        self._publish(self._paint(scene, self.tile_width_px), scene.frame.stamp_ns)
