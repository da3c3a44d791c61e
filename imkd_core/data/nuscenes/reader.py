# SPDX-License-Identifier: Apache-2.0
"""Reader of nuScenes v1.0 dataroots: sensors, poses and true objects of each sample.

    nuscenes = NuScenes(Path("/data/nuscenes"), version="v1.0-mini")
    for record in nuscenes.samples("scene-0061"):
        frame, truth = record.frame(radar_sweeps=6), record.truth()

Every sensor has a stamp and an ego pose of its own. The reference of a sample is the ego frame at
its LIDAR_TOP stamp: `frame.reference_from_ego` brings every reading there. A sample without
LIDAR_TOP has its own timestamp and the ego pose that it names (`ego_pose_token`, which nuScenes
does not have) as reference, and without that its reading nearest in time. Sensors keep the channel
names of the tables. A radar or camera that a sample lacks is simply not in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np

from imkd_core.data.nuscenes.reading import Reading, read_pose, read_reading
from imkd_core.data.nuscenes.tables import Record, Tables
from imkd_core.data.nuscenes.truth import Truth, read_truth
from imkd_core.data.point_clouds import RadarFilter, read_lidar_bin, to_lidar_cloud
from imkd_core.errors import DataError
from imkd_core.geometry import Float64, invert_transform
from imkd_core.types import Frame, LidarCloud, SensorRig

CAMERAS = (
    "CAM_FRONT",
    "CAM_FRONT_RIGHT",
    "CAM_BACK_RIGHT",
    "CAM_BACK",
    "CAM_BACK_LEFT",
    "CAM_FRONT_LEFT",
)
RADARS = (
    "RADAR_FRONT",
    "RADAR_FRONT_LEFT",
    "RADAR_FRONT_RIGHT",
    "RADAR_BACK_LEFT",
    "RADAR_BACK_RIGHT",
)
LIDAR = "LIDAR_TOP"

_ORDER = {name: index for index, name in enumerate((*CAMERAS, *RADARS, LIDAR))}


@dataclass(frozen=True, kw_only=True, eq=False)
class SampleRecord:
    """One key frame. Files are read by the methods, each time anew.

    Attributes:
        token: of the sample.
        scene: name of its scene.
        stamp_ns: the reference time, LIDAR_TOP's stamp where there is one.
        global_from_reference: pose (4, 4) of the ego frame at the reference time.
        rig: calibration of the cameras and radars that this sample has.
        readings: channel -> key frame reading, cameras first, then radars, then LiDAR.
    """

    token: str
    scene: str
    stamp_ns: int
    global_from_reference: Float64
    rig: SensorRig
    readings: Mapping[str, Reading]
    source: "NuScenes" = field(repr=False)

    @property
    def has_lidar(self) -> bool:
        """Whether `lidar` can be asked; if not, the sample teaches by its labels alone."""
        return LIDAR in self.readings

    @property
    def odom_from_ego(self) -> Float64:
        """(4, 4) pose of the reference ego frame; nuScenes' global frame does not jump."""
        return self.global_from_reference

    @property
    def description(self) -> str:
        """What the data set says of the scene ("Rain, parked cars"); "" where it says nothing."""
        tables = self.source.tables
        scene = tables.get("scene", tables.get("sample", self.token)["scene_token"])
        return str(scene.get("description", ""))

    def history(self, sensor: str, count: int) -> tuple[Reading, ...]:
        """Return up to `count` readings of a sensor, newest (the key frame) first."""
        readings = [self.readings[sensor]]
        while len(readings) < count and readings[-1].previous:
            readings.append(self.source.reading(readings[-1].previous))
        return tuple(readings)

    def frame(
        self,
        radar_sweeps: int = 1,
        target_width_px: int | None = None,
        with_images: bool = True,
    ) -> Frame:
        """Read images and radar scans.

        Args:
            radar_sweeps: scans of each radar, the key frame's and those before it.
            target_width_px: images may be decoded at a reduced size not below this width.
            with_images: False leaves the cameras out, for radar-only work.

        Raises:
            DataError: a file is missing or malformed.
        """
        cameras = [self.readings[name] for name in self.rig.cameras] if with_images else []
        radars = {name: self.history(name, radar_sweeps) for name in self.rig.radars}
        scans = [scan for scans in radars.values() for scan in scans]
        keep = self.source.radar_filter
        motion = {r.stamp_ns: self.reference_from_ego(r) for r in (*cameras, *scans)}
        motion[self.stamp_ns] = self._from_reference(self.global_from_reference)
        return Frame(
            stamp_ns=self.stamp_ns,
            cameras={reading.sensor: reading.image(target_width_px) for reading in cameras},
            radars={
                name: tuple(scan.radar_cloud(keep) for scan in scans)
                for name, scans in radars.items()
            },
            reference_from_ego=motion,
            odom_from_ego=self.odom_from_ego,
        )

    def reference_from_ego(self, reading: Reading) -> Float64:
        """Return (4, 4) from the ego frame at a reading's stamp to the reference ego frame."""
        return self._from_reference(reading.global_from_ego)

    def lidar(self, sweeps: int = 1, min_distance_m: float = 0.0) -> tuple[LidarCloud, Float64]:
        """Read LIDAR_TOP, merged with past sweeps in the LiDAR frame of the reference time.

        Args:
            sweeps: sweeps to merge, the key frame's and those before it, ego motion taken out.
            min_distance_m: points with |x| and |y| both below are dropped (the devkit merges
                sweeps with 1 m); 0 keeps all.

        Returns:
            The cloud, with the age of each point, and (4, 4) `ego_from_lidar`.

        Raises:
            DataError: there is no LiDAR, or a file is missing or malformed.
        """
        if not self.has_lidar:
            raise DataError(
                f"sample '{self.token}' has no {LIDAR}: it can be trained on by its labels alone, "
                "but no LiDAR teacher learns from it"
            )
        newest = self.readings[LIDAR]
        lidar_from_reference = invert_transform(newest.ego_from_sensor)
        parts = [
            (
                read_lidar_bin(reading.path),
                lidar_from_reference @ self.reference_from_ego(reading) @ reading.ego_from_sensor,
                (self.stamp_ns - reading.stamp_ns) * 1e-9,
            )
            for reading in self.history(LIDAR, sweeps)
        ]
        cloud = to_lidar_cloud(parts, LIDAR, self.stamp_ns, min_distance_m)
        return cloud, newest.ego_from_sensor

    def truth(self) -> Truth:
        """Return the true objects in the ego frame of the reference time.

        Raises:
            DataError: an annotation is broken.
        """
        ego_from_global = invert_transform(self.global_from_reference)
        return read_truth(self.source.tables, self.token, ego_from_global, self.stamp_ns)

    def _from_reference(self, global_from_ego: Float64) -> Float64:
        return np.asarray(invert_transform(self.global_from_reference) @ global_from_ego)


class NuScenes:
    """A nuScenes v1.0 dataroot.

    Args:
        root: the dataroot, with `samples`, `sweeps` and the table folder.
        version: name of the table folder, "v1.0-mini" or "v1.0-trainval".
        radar_filter: which radar returns are kept; the devkit's defaults where it is None.

    Raises:
        DataError: a table is missing or malformed; the message names it.
    """

    def __init__(
        self, root: Path, version: str = "v1.0-mini", radar_filter: RadarFilter | None = None
    ) -> None:
        self.tables = Tables(Path(root), version)
        self.radar_filter = radar_filter or RadarFilter()

    @property
    def scenes(self) -> tuple[str, ...]:
        """Names of the scenes, in the order of the table."""
        tables = self.tables
        return tuple(tables.get("scene", token)["name"] for token in tables.tokens("scene"))

    def sample_tokens(self, scene: str | None = None) -> tuple[str, ...]:
        """Return the tokens of a scene's samples in time order; of all scenes without one.

        Raises:
            DataError: there is no such scene, or its chain of samples is broken.
        """
        names = dict(zip(self.scenes, self.tables.tokens("scene"), strict=True))
        if scene is not None and scene not in names:
            raise DataError(f"no scene '{scene}'; there are {', '.join(names) or 'none'}")
        chosen = names.values() if scene is None else [names[scene]]
        return tuple(token for scene_token in chosen for token in self._chain(scene_token))

    def samples(self, scene: str | None = None) -> tuple[SampleRecord, ...]:
        """Return a scene's samples in time order; all samples without a scene."""
        return tuple(self.sample(token) for token in self.sample_tokens(scene))

    def sample(self, token: str) -> SampleRecord:
        """Return a sample by its token.

        Raises:
            DataError: a record is missing or malformed, or the sample has no reading at all.
        """
        sample = self.tables.get("sample", token)
        records = [row for row in self.tables.readings(token) if row["is_key_frame"]]
        found = sorted((read_reading(self.tables, record) for record in records), key=_rank)
        readings = {reading.sensor: reading for reading in found}
        if not found or len(readings) != len(found):
            raise DataError(
                f"sample '{token}': expected one key frame reading per channel and at least one, "
                f"got {[reading.sensor for reading in found]}"
            )
        stamp_ns, global_from_reference = self._reference(sample, readings)
        radars = [reading for reading in found if reading.modality == "radar"]
        return SampleRecord(
            token=token,
            scene=self.tables.get("scene", sample["scene_token"])["name"],
            stamp_ns=stamp_ns,
            global_from_reference=global_from_reference,
            rig=SensorRig(
                cameras={r.sensor: r.camera for r in found if r.camera is not None},
                radars={r.sensor: r.ego_from_sensor for r in radars},
            ),
            readings=MappingProxyType(readings),
            source=self,
        )

    def reading(self, token: str) -> Reading:
        """Return a reading, key frame or not, by the token of its sample_data record."""
        return read_reading(self.tables, self.tables.get("sample_data", token))

    def readings(self, scene: str) -> tuple[Reading, ...]:
        """Return all readings of a scene in time order, those between key frames too."""
        samples = self.sample_tokens(scene)
        records = [record for token in samples for record in self.tables.readings(token)]
        found = [read_reading(self.tables, record) for record in records]
        return tuple(sorted(found, key=lambda r: (r.stamp_ns, r.sensor)))

    def _reference(self, sample: Record, readings: Mapping[str, Reading]) -> tuple[int, Float64]:
        """Return stamp and ego pose that a sample's truth and readings are brought to."""
        if LIDAR in readings:
            return readings[LIDAR].stamp_ns, readings[LIDAR].global_from_ego
        stamp_ns = sample["timestamp"] * 1000
        pose_token = sample.get("ego_pose_token")
        if isinstance(pose_token, str):
            return stamp_ns, read_pose(self.tables.get("ego_pose", pose_token), "ego_pose")
        nearest = min(readings.values(), key=lambda reading: abs(reading.stamp_ns - stamp_ns))
        return nearest.stamp_ns, nearest.global_from_ego

    def _chain(self, scene_token: str) -> list[str]:
        """Return the samples of a scene by following `next`."""
        tokens: dict[str, None] = {}
        token = self.tables.get("scene", scene_token)["first_sample_token"]
        while token:
            if token in tokens:
                raise DataError(f"sample.json: the samples of scene '{scene_token}' run in a ring")
            tokens[token] = None
            token = self.tables.get("sample", token)["next"]
        return list(tokens)


def _rank(reading: Reading) -> tuple[int, int]:
    """Return where a reading stands in a sample; other names stay in the order of the table."""
    kinds = ("camera", "radar", "lidar")
    kind = kinds.index(reading.modality) if reading.modality in kinds else len(kinds)
    return kind, _ORDER.get(reading.sensor, len(_ORDER))
