# SPDX-License-Identifier: Apache-2.0
"""What was observed on a graph or in a recording: plain frozen values, judged elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from imkd_core.geometry import Float64
from imkd_core.health.faults import Finding
from imkd_core.types import CameraModel


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A publisher or subscriber of a topic.

    Attributes:
        node: full name; empty in a recording.
        type_name: of its messages.
        is_reliable: it offers, or asks for, reliable delivery.
        is_latched: it offers, or asks for, what was sent before (transient local).
    """

    node: str
    type_name: str
    is_reliable: bool
    is_latched: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Traffic:
    """What came on a topic.

    Attributes:
        arrivals_ns: (N,) int64, when each message came, by the clock of the node; in a recording
            its log time.
        stamps_ns: (N,) int64, of its header; 0 where that is no time. Empty for messages without
            a header.
        frame_ids: of the headers, in the order that they first came.
        median_bytes: size of a message.
        unreadable: reason -> messages that could not be read.
    """

    arrivals_ns: NDArray[np.int64]
    stamps_ns: NDArray[np.int64]
    frame_ids: tuple[str, ...] = ()
    median_bytes: int = 0
    unreadable: Mapping[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of messages."""
        return len(self.arrivals_ns)


@dataclass(frozen=True, kw_only=True)
class CameraFacts:
    """What a camera's messages say.

    Attributes:
        model: intrinsics of the newest usable CameraInfo, at the origin; None without one.
        info_frame: frame that CameraInfo names.
        info_refusal: why a CameraInfo was refused; empty = none was.
        sizes_px: (width, height) of the images, in the order that they first came.
        refusals: reason -> images that the node would refuse.
    """

    model: CameraModel | None = None
    info_frame: str = ""
    info_refusal: str = ""
    sizes_px: tuple[tuple[int, int], ...] = ()
    refusals: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class RadarFacts:
    """What a radar's scans say.

    Attributes:
        fields: names of the fields of the newest scan.
        returns: (S,) returns of each scan.
        kept: (S,) of these, what the node uses.
        range_m: 5th, 50th and 95th percentile of the returns' range, as the fields say it.
        speed_mps: the same of the absolute speed, after `velocity_scale`.
        rcs_dbsm: the same of the cross-section.
        azimuth_rad: lowest and highest azimuth in the radar's frame, 1 in 100 left out.
        dropped: reason -> returns that the node leaves out.
        refusals: reason -> scans that the node would refuse.
        faults: fault of `health.faults` that lasts at the end -> stamp of its first sign.
    """

    fields: tuple[str, ...]
    returns: NDArray[np.int64]
    kept: NDArray[np.int64]
    range_m: tuple[float, float, float]
    speed_mps: tuple[float, float, float]
    rcs_dbsm: tuple[float, float, float]
    azimuth_rad: tuple[float, float]
    dropped: Mapping[str, int]
    refusals: Mapping[str, int]
    faults: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameFacts:
    """What TF and odometry say.

    Attributes:
        frames: names of all frames.
        frame_of: sensor -> frame that the node looks up for it; only where one is named.
        ego_from_sensor: sensor -> (4, 4), where TF leads there.
        refusals: reason -> transforms or odometry messages that the node refuses.
        poses: number of the vehicle's poses.
        speed_mps: highest speed of the vehicle; NaN where it is not known.
        jumps: how often the poses went back in time.
        known_share: share of the cameras' stamps (radars' without cameras) at which the
            vehicle's pose is known; NaN without stamps.
    """

    frames: frozenset[str]
    frame_of: Mapping[str, str]
    ego_from_sensor: Mapping[str, Float64]
    refusals: Mapping[str, int]
    poses: int
    speed_mps: float
    jumps: int
    known_share: float


@dataclass(frozen=True, kw_only=True)
class ClockFacts:
    """What /clock says on a running graph.

    Attributes:
        is_used: the node goes by it.
        publishers: of /clock.
        ticks: messages on it.
        advance_s: sum of its steps forward.
        silent_s: time from its last step, up or down, to the end.
        jumps: how often it went back.
    """

    is_used: bool
    publishers: int
    ticks: int
    advance_s: float
    silent_s: float = 0.0
    jumps: int = 0


@dataclass(frozen=True, kw_only=True)
class NodeFacts:
    """What the detector node says on a running graph.

    Attributes:
        is_there: a node of its name is on the graph.
        state: of its life cycle; empty = it did not answer.
        status: message of the newest `~/output/status`; empty = none came.
        status_level: of it, 0 to 2.
    """

    is_there: bool
    state: str = ""
    status: str = ""
    status_level: int = 0


@dataclass(frozen=True, kw_only=True)
class Driven:
    """What pictures and scans show while the vehicle drives.

    Attributes:
        frames: that were looked at; of a graph, how often pictures were.
        findings: faults of cameras' pictures, and of calibrations that do not fit the motion.
        judged: sensors whose calibration the motion told enough about; None where it was not
            looked at: on a graph.
    """

    frames: int
    findings: tuple[Finding, ...]
    judged: frozenset[str] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Observation:
    """All that was observed.

    Attributes:
        source: in words, such as "the bag drive".
        seconds: observed, by the clock of this machine; in a recording by its log times.
        start_ns, end_ns: first and last moment, by the clock of the arrivals.
        publishers: topic -> those who publish it; all topics that exist, also without any.
        subscribers: topic -> those who listen; empty for a recording.
        traffic: topic -> what came, for the topics that are wanted and exist.
        cameras, radars: sensor -> what its messages say; only sensors that sent something.
        frames: TF and ego motion.
        clock: /clock; None for a recording.
        node: the detector; None for a recording.
        driven: what pictures and scans show; None where no picture was looked at.
    """

    source: str
    seconds: float
    start_ns: int
    end_ns: int
    publishers: Mapping[str, tuple[Endpoint, ...]]
    subscribers: Mapping[str, tuple[Endpoint, ...]]
    traffic: Mapping[str, Traffic]
    cameras: Mapping[str, CameraFacts]
    radars: Mapping[str, RadarFacts]
    frames: FrameFacts
    clock: ClockFacts | None = None
    node: NodeFacts | None = None
    driven: Driven | None = None

    @property
    def is_live(self) -> bool:
        """Whether it is a running graph."""
        return self.clock is not None
