# SPDX-License-Identifier: Apache-2.0
"""Roads: centre lines, lanes, pavements, crossings, and paths that turn from one into another.

Traffic keeps to the right. Offsets across a road are positive to the left of its centre line.
"""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from imkd_core.geometry import Float64

#: Distance between the points of a path.
STEP_M = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Path:
    """A smooth line in the global xy plane.

    Attributes:
        points_m: (N, 2), about `STEP_M` apart.
    """

    points_m: Float64

    @cached_property
    def station_m(self) -> Float64:
        """(N,) length along the path up to each point."""
        steps = np.hypot(*np.diff(self.points_m, axis=0).T)
        return np.concatenate([[0.0], np.cumsum(steps)])

    @cached_property
    def yaw_rad(self) -> Float64:
        """(N,) heading at each point, without jumps."""
        dx, dy = np.gradient(self.points_m, axis=0).T
        return np.asarray(np.unwrap(np.arctan2(dy, dx)))

    @cached_property
    def curvature_radpm(self) -> Float64:
        """(N,) change of heading per metre."""
        return np.gradient(self.yaw_rad, self.station_m)

    @property
    def length_m(self) -> float:
        """Length of the whole path."""
        return float(self.station_m[-1])

    def position(self, station_m: ArrayLike) -> Float64:
        """Return (..., 2) points at stations; the ends hold beyond them."""
        station = np.asarray(station_m, dtype=np.float64)
        x = np.interp(station, self.station_m, self.points_m[:, 0])
        y = np.interp(station, self.station_m, self.points_m[:, 1])
        return np.stack([x, y], axis=-1)

    def yaw(self, station_m: ArrayLike) -> Float64:
        """Return (...) headings at stations."""
        return np.asarray(
            np.interp(np.asarray(station_m, dtype=np.float64), self.station_m, self.yaw_rad)
        )

    def curvature(self, station_m: ArrayLike) -> Float64:
        """Return (...) curvatures at stations."""
        station = np.asarray(station_m, dtype=np.float64)
        return np.asarray(np.interp(station, self.station_m, self.curvature_radpm))

    def place(self, station_m: float) -> tuple[float, float, float, float]:
        """Return x, y, heading and curvature at one station; quicker than the methods above."""
        stations, x, y, yaw, bend = self._columns
        i = min(max(bisect_right(stations, station_m) - 1, 0), len(stations) - 2)
        share = (station_m - stations[i]) / max(stations[i + 1] - stations[i], 1e-9)
        share = min(max(share, 0.0), 1.0)
        return (
            x[i] + share * (x[i + 1] - x[i]),
            y[i] + share * (y[i + 1] - y[i]),
            yaw[i] + share * (yaw[i + 1] - yaw[i]),
            bend[i] + share * (bend[i + 1] - bend[i]),
        )

    @cached_property
    def _columns(self) -> tuple[list[float], ...]:
        columns = (self.station_m, *self.points_m.T, self.yaw_rad, self.curvature_radpm)
        return tuple(column.tolist() for column in columns)

    def beside(self, station_m: ArrayLike, offset_m: ArrayLike) -> Float64:
        """Return (..., 2) points to the left of the path by an offset."""
        yaw = self.yaw(station_m)
        normal = np.stack([-np.sin(yaw), np.cos(yaw)], axis=-1)
        return self.position(station_m) + normal * np.asarray(offset_m)[..., None]

    def nearest(self, points_m: Float64) -> tuple[Float64, Float64]:
        """Return the station (P,) and the offset to the left (P,) of points (P, 2)."""
        coarse = self.points_m[::4]
        difference = points_m[:, None] - coarse[None]
        index = np.argmin(np.einsum("pnc,pnc->pn", difference, difference), axis=1)
        yaw = self.yaw_rad[::4][index]
        delta = points_m - coarse[index]
        along = np.cos(yaw) * delta[:, 0] + np.sin(yaw) * delta[:, 1]
        across = -np.sin(yaw) * delta[:, 0] + np.cos(yaw) * delta[:, 1]
        return self.station_m[::4][index] + along, across


@dataclass(frozen=True, kw_only=True, eq=False)
class Road:
    """A road with equal lanes both ways.

    Attributes:
        center: its centre line.
        lanes: in each direction.
        lane_m, bike_m, parking_m, pavement_m: widths of a lane, and on each side of the bicycle
            lane (0: none), the parking strip (0: none), the pavement.
        speed_mps: what drivers want.
    """

    center: Path
    lanes: int
    lane_m: float
    bike_m: float
    parking_m: float
    pavement_m: float
    speed_mps: float

    @property
    def lanes_m(self) -> float:
        """Half the width of all lanes."""
        return self.lanes * self.lane_m

    @property
    def kerb_m(self) -> float:
        """Distance from the centre line to the kerb."""
        return self.lanes_m + self.bike_m + self.parking_m

    @property
    def edge_m(self) -> float:
        """Distance from the centre line to the outer edge of the pavement."""
        return self.kerb_m + self.pavement_m

    def along(self, offset_m: float, is_reversed: bool = False) -> Path:
        """Return the line at an offset to the left; reversed, it runs the other way."""
        points = self.center.beside(self.center.station_m, np.float64(offset_m))
        return Path(points_m=points[::-1] if is_reversed else points)

    def lane(self, index: int, is_reversed: bool = False) -> Path:
        """Return the middle of a lane in the direction of travel; lane 0 is at the centre line."""
        offset = (index + 0.5) * self.lane_m
        return self.along(offset if is_reversed else -offset, is_reversed)

    def bike_lane(self, is_reversed: bool = False) -> Path:
        """Return the middle of the bicycle lane."""
        offset = self.lanes_m + self.bike_m / 2
        return self.along(offset if is_reversed else -offset, is_reversed)


@dataclass(frozen=True, kw_only=True, eq=False)
class Crossing:
    """A side road that meets the main road at a right angle.

    Attributes:
        station_m: of its middle, along the main road's centre line.
        road: the side road; it runs from the right of the main road to its left.
        middle_m: station on the side road where the centre lines meet.
        arms: signs of the offsets at which the side road exists: (-1, 1) crossing, one of them
            at a T-junction.
    """

    station_m: float
    road: Road
    middle_m: float
    arms: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Town:
    """The roads of a drive.

    Attributes:
        main: the road on which the own vehicle starts.
        crossings: along it.
        zebras_m: stations of zebra crossings of the main road, away from side roads.
        name: what kind of place it is, in a few words.
    """

    main: Road
    crossings: tuple[Crossing, ...]
    zebras_m: tuple[float, ...]
    name: str

    @property
    def roads(self) -> tuple[Road, ...]:
        """All roads, the main road first."""
        return (self.main, *(crossing.road for crossing in self.crossings))

    def is_in_crossing(self, station_m: float, margin_m: float = 0.0) -> bool:
        """Whether a station of the main road lies at a side road or a zebra crossing."""
        return any(
            abs(station_m - crossing.station_m) < crossing.road.edge_m + 4.0 + margin_m
            for crossing in self.crossings
        ) or any(abs(station_m - zebra) < 5.0 + margin_m for zebra in self.zebras_m)


#: name -> lanes, lane width, bicycle lane, parking, pavement, speed, largest curvature, crossings
_KINDS: dict[str, tuple[int, float, float, float, float, float, float, int]] = {
    "avenue": (2, 3.4, 0.0, 0.0, 3.5, 13.0, 0.002, 1),
    "boulevard": (2, 3.3, 1.5, 2.3, 3.5, 11.0, 0.003, 1),
    "main road": (3, 3.3, 0.0, 0.0, 3.0, 14.0, 0.002, 1),
    "street": (1, 3.4, 1.4, 2.2, 2.8, 8.5, 0.006, 2),
    "winding street": (1, 3.5, 1.3, 2.2, 2.6, 8.0, 0.012, 1),
    "side street": (1, 3.2, 0.0, 2.2, 2.4, 7.0, 0.004, 2),
}


def make_town(length_m: float, start_m: float, rng: np.random.Generator) -> Town:
    """Draw a town.

    Args:
        length_m: of the main road.
        start_m: where the own vehicle starts on it; crossings lie ahead of that.
        rng: chance.
    """
    name = str(rng.choice(list(_KINDS)))
    lanes, lane_m, bike_m, parking_m, pavement_m, speed_mps, bend, crossings = _KINDS[name]
    main = Road(
        center=_center_line(length_m, bend, rng),
        lanes=lanes,
        lane_m=lane_m,
        bike_m=bike_m,
        parking_m=parking_m,
        pavement_m=pavement_m,
        speed_mps=speed_mps * rng.uniform(0.9, 1.1),
    )
    found: list[Crossing] = []
    station = start_m + rng.uniform(30.0, 75.0)
    while len(found) < crossings and station < length_m - 90.0:
        found.append(_crossing(main, station, rng))
        station += rng.uniform(90.0, 140.0)
    zebras: list[float] = []
    for _ in range(2):
        zebra = float(rng.uniform(start_m + 20.0, start_m + 150.0))
        if all(abs(zebra - c.station_m) > 28.0 for c in found) and not zebras:
            zebras.append(zebra)
    return Town(main=main, crossings=tuple(found), zebras_m=tuple(zebras), name=name)


def turn(first: Path, second: Path, radius_m: float) -> Path:
    """Return a path along `first`, around the corner where they meet, and along `second`.

    Args:
        first: lane to leave.
        second: lane to join; it crosses the first.
        radius_m: about how far before the corner the curve begins.
    """
    difference = first.points_m[:, None] - second.points_m[None]
    distance = np.einsum("fsc,fsc->fs", difference, difference)
    i, j = np.unravel_index(int(np.argmin(distance)), distance.shape)
    leave, join = first.station_m[i] - radius_m, second.station_m[j] + radius_m
    a, d = first.position(leave), second.position(join)
    handle = 0.56 * radius_m
    b = a + handle * _heading(first, leave)
    c = d - handle * _heading(second, join)
    t = np.linspace(0.0, 1.0, 60)[1:-1, None]
    curve = (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d
    before = first.points_m[first.station_m <= leave - STEP_M]
    after = second.points_m[second.station_m >= join + STEP_M]
    return resampled(np.concatenate([before, a[None], curve, d[None], after]))


def resampled(points_m: Float64) -> Path:
    """Return a path with evenly spaced points along a polyline (N, 2)."""
    rough = Path(points_m=points_m)
    count = max(2, round(rough.length_m / STEP_M) + 1)
    return Path(points_m=rough.position(np.linspace(0.0, rough.length_m, count)))


def _heading(path: Path, station_m: float) -> Float64:
    yaw = float(path.yaw(station_m))
    return np.array([np.cos(yaw), np.sin(yaw)])


def _center_line(length_m: float, bend_radpm: float, rng: np.random.Generator) -> Path:
    """Return a line of straights and bends that turns by less than about 70 degrees in all."""
    count = round(length_m / STEP_M) + 1
    curvature = np.zeros(count)
    station, sign = 0.0, float(rng.choice([-1, 1]))
    while station < length_m:
        part = rng.uniform(50.0, 120.0)
        inside = slice(int(station / STEP_M), int((station + part) / STEP_M))
        curvature[inside] = sign * bend_radpm * rng.uniform(0.0, 1.0)
        station, sign = station + part, -sign
    width = 41
    padded = np.pad(curvature, width // 2, mode="edge")
    smooth = np.convolve(padded, np.full(width, 1 / width), mode="valid")
    turned = np.cumsum(smooth) * STEP_M
    yaw = turned * min(1.0, 1.2 / max(1e-9, float(np.abs(turned).max())))
    yaw = yaw + rng.uniform(-0.25, 0.25)
    steps = STEP_M * np.column_stack([np.cos(yaw), np.sin(yaw)])
    return Path(points_m=np.cumsum(steps, axis=0) + rng.uniform(300.0, 900.0, 2))


def _crossing(main: Road, station_m: float, rng: np.random.Generator) -> Crossing:
    reach = 150.0
    middle = main.center.position(station_m)
    yaw = float(main.center.yaw(station_m)) + np.pi / 2
    line = np.linspace(-reach, reach, round(2 * reach / STEP_M) + 1)
    points = middle + line[:, None] * np.array([np.cos(yaw), np.sin(yaw)])
    arms: tuple[int, ...] = (-1, 1)
    if rng.random() < 0.35:
        arms = (-1,) if rng.random() < 0.5 else (1,)
    parking = 2.2 if rng.random() < 0.5 else 0.0
    road = Road(
        center=Path(points_m=points),
        lanes=1 if main.lanes < 3 else 2,
        lane_m=3.4,
        bike_m=0.0,
        parking_m=parking,
        pavement_m=2.6,
        speed_mps=9.0,
    )
    return Crossing(station_m=station_m, road=road, middle_m=reach, arms=arms)
