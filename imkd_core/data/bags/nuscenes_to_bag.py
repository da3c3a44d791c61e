# SPDX-License-Identifier: Apache-2.0
"""A nuScenes scene as a rosbag2: what a vehicle would have published, and the ground truth.

    bag = BagWriter(Path("drive"), custom_data=provenance("scene-0061"))
    with bag:
        write_scene(NuScenes(root), "scene-0061", bag, SceneOptions(repeat=20))

Topics: `/sensing/<camera>/image/compressed` (the original JPEG bytes) and `.../camera_info`,
`/sensing/<radar>/points` (all returns, all 18 fields), on demand `/sensing/lidar_top/points` (x, y,
z, intensity 0..255, ring), `/tf`, `/tf_static`, `/odometry`,
`/ground_truth/boxes` and `/ground_truth/objects`. Frames: odom -> base_link at every stamp, where
odom is the vehicle's pose at the first key frame and base_link is nuScenes' ego frame; base_link
-> `<camera>_optical_frame`, `<radar>` and `lidar_top`. The log time of a message is its stamp;
poses are logged a little before, as odometry runs ahead of images.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from imkd_core.data.bags.bag_writer import BagWriter
from imkd_core.data.bags.box_messages import make_box_array, make_objects_table
from imkd_core.data.bags.ego_messages import EgoTrack
from imkd_core.data.bags.messages import make, make_header, make_point_cloud, make_transform
from imkd_core.data.nuscenes.reader import NuScenes, SampleRecord
from imkd_core.data.nuscenes.reading import Reading
from imkd_core.data.nuscenes.truth import Truth
from imkd_core.data.point_clouds import (
    RADAR_RECORD,
    RadarFilter,
    read_lidar_bin,
    read_radar_pcd,
)
from imkd_core.errors import ConfigError, DataError
from imkd_core.geometry import invert_transform
from imkd_core.types import CameraModel

#: Poses are logged this long before their stamp.
POSE_LEAD_NS = 1_000_000

#: Time between the last key frame of one repetition and the first of the next: nuScenes' 2 Hz.
KEY_PERIOD_NS = 500_000_000

NUSCENES_LICENCE = (
    "nuScenes data set, (c) Motional; H. Caesar et al., CVPR 2020, https://www.nuscenes.org. "
    "CC BY-NC-SA 4.0 and the nuScenes terms of use: non-commercial use only, with attribution; "
    "this covers everything made from this bag."
)


@dataclass(frozen=True, kw_only=True)
class SceneOptions:
    """What of a scene goes into the bag.

    Attributes:
        with_sweeps: images and scans between key frames too, where the dataroot has them.
        with_lidar: the LiDAR too, which the vehicle does not need; half a megabyte a sweep.
        key_frames: the first so many key frames of the scene; None = all.
        repeat: the scene, so many times one after another, stamps running on. Poses are the same
            every time: the vehicle jumps back.
        period_s: time from one repetition to the next; None = as if the scene went on at 2 Hz.

    Raises:
        ConfigError: nothing to write, or no time to pass.
    """

    with_sweeps: bool = False
    with_lidar: bool = False
    key_frames: int | None = None
    repeat: int = 1
    period_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        if self.repeat < 1:
            raise ConfigError(f"repeat must be 1 or more, got {self.repeat}")
        if self.key_frames is not None and self.key_frames < 1:
            raise ConfigError(f"key_frames must be 1 or more, got {self.key_frames}")
        if self.period_s is not None and not 0 < self.period_s < 1e6:
            raise ConfigError(f"period_s must be above 0, got {self.period_s}")


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """One message to be: where, when, and how it is made for a shift in time."""

    topic: str
    type_name: str
    log_ns: int
    make: Callable[[int], Any]


def provenance(
    scene: str, licence: str = NUSCENES_LICENCE, description: str = ""
) -> dict[str, str]:
    """Return the custom data of a bag's metadata: where it is from, what may be done with it.

    Args:
        scene: name of the scene.
        licence: of the data.
        description: words of the scene that tell its weather and light; "" leaves them out.
    """
    told = {"description": description} if description else {}
    source = {"source": f"nuScenes layout, {scene}", "licence": licence}
    return {**source, **told, "written_by": "imkd bag"}


def description_of(nuscenes: NuScenes, scene: str) -> str:
    """Return the words of a scene that tell its weather and light; "" where it has none."""
    samples = nuscenes.samples(scene)
    return samples[0].description if samples else ""


def optical_frame(camera: str) -> str:
    """Return the TF frame of a camera."""
    return f"{camera.lower()}_optical_frame"


def write_scene(
    nuscenes: NuScenes,
    scene: str,
    bag: BagWriter,
    options: SceneOptions | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write a scene to a bag; return the number of key frames in it.

    Args:
        nuscenes: the dataroot.
        scene: name of the scene.
        bag: where to write; the caller closes it.
        options: what to write.
        on_progress: called with (messages written, messages in all).

    Raises:
        DataError: the scene is missing, empty or damaged.
        ConfigError: the repetitions would overlap.
    """
    options = options or SceneOptions()
    samples = nuscenes.samples(scene)[: options.key_frames]
    if not samples:
        raise DataError(f"scene '{scene}' has no samples; its tables are incomplete")
    readings = _readings(nuscenes, scene, samples, options)
    entries = sorted(_entries(samples, readings), key=lambda entry: entry.log_ns)
    period_ns = _period_ns(samples, entries, options)
    static = _make_static(entries[0].log_ns, readings)
    bag.write("/tf_static", "tf2_msgs/msg/TFMessage", entries[0].log_ns, static)
    total = options.repeat * len(entries)
    for pass_number in range(options.repeat):
        shift_ns = pass_number * period_ns
        for i, entry in enumerate(entries):
            message = entry.make(shift_ns)
            bag.write(entry.topic, entry.type_name, entry.log_ns + shift_ns, message)
            if on_progress is not None:
                on_progress(pass_number * len(entries) + i + 1, total)
    return options.repeat * len(samples)


def _readings(
    nuscenes: NuScenes, scene: str, samples: tuple[SampleRecord, ...], options: SceneOptions
) -> tuple[Reading, ...]:
    """Return the readings to write, up to the last of the samples."""
    found = tuple(reading for sample in samples for reading in sample.readings.values())
    if options.with_sweeps:
        last_ns = max(reading.stamp_ns for reading in found)
        found = tuple(r for r in nuscenes.readings(scene) if r.stamp_ns <= last_ns)
    wanted = {"camera", "radar", *(("lidar",) if options.with_lidar else ())}
    return tuple(reading for reading in found if reading.modality in wanted)


def _entries(samples: tuple[SampleRecord, ...], readings: tuple[Reading, ...]) -> Iterator[_Entry]:
    odom_from_global = invert_transform(samples[0].global_from_reference)
    poses = {r.stamp_ns: odom_from_global @ r.global_from_ego for r in readings}
    poses |= {s.stamp_ns: odom_from_global @ s.global_from_reference for s in samples}
    track = EgoTrack(poses)
    for stamp_ns in poses:
        log_ns = stamp_ns - POSE_LEAD_NS
        for topic, type_name, make_pose in (
            ("/tf", "tf2_msgs/msg/TFMessage", track.make_tf),
            ("/odometry", "nav_msgs/msg/Odometry", track.make_odometry),
        ):
            yield _Entry(
                topic=topic,
                type_name=type_name,
                log_ns=log_ns,
                make=partial(make_pose, stamp_ns),
            )
    for reading in readings:
        yield from _sensor_entries(reading)
    for sample in samples:
        yield from _truth_entries(sample)


def _sensor_entries(reading: Reading) -> Iterator[_Entry]:
    prefix = f"/sensing/{reading.sensor.lower()}"
    image, points = partial(_make_image, reading), partial(_make_points, reading)
    if reading.camera is None:
        parts = [("points", "sensor_msgs/msg/PointCloud2", points)]
    else:
        info = partial(_make_camera_info, reading, reading.camera)
        parts = [
            ("camera_info", "sensor_msgs/msg/CameraInfo", info),
            ("image/compressed", "sensor_msgs/msg/CompressedImage", image),
        ]
    for name, type_name, make_message in parts:
        yield _Entry(
            topic=f"{prefix}/{name}",
            type_name=type_name,
            log_ns=reading.stamp_ns,
            make=make_message,
        )


def _truth_entries(sample: SampleRecord) -> Iterator[_Entry]:
    truth = sample.truth()
    for topic, type_name, make_message in (
        ("/ground_truth/boxes", "vision_msgs/msg/Detection3DArray", _make_truth_boxes),
        ("/ground_truth/objects", "sensor_msgs/msg/PointCloud2", _make_truth_table),
    ):
        yield _Entry(
            topic=topic,
            type_name=type_name,
            log_ns=sample.stamp_ns,
            make=partial(make_message, truth, sample.stamp_ns),
        )


def _make_truth_boxes(truth: Truth, stamp_ns: int, shift_ns: int) -> Any:
    """Return the true boxes; ids are annotation tokens."""
    stamp_ns += shift_ns
    ids = truth.annotation_tokens
    return make_box_array(truth.detections, "base_link", stamp_ns=stamp_ns, ids=ids)


def _make_truth_table(truth: Truth, stamp_ns: int, shift_ns: int) -> Any:
    """Return the true objects as the node's table, and how many LiDAR points each has."""
    stamp_ns += shift_ns
    extra = {"num_lidar_points": truth.num_lidar_points.astype(np.uint32)}
    return make_objects_table(truth.detections, "base_link", stamp_ns=stamp_ns, extra=extra)


def _make_image(reading: Reading, shift_ns: int) -> Any:
    return make(
        "sensor_msgs/msg/CompressedImage",
        header=make_header(reading.stamp_ns + shift_ns, optical_frame(reading.sensor)),
        format="jpeg",
        data=np.frombuffer(reading.read_bytes(), dtype=np.uint8),
    )


def _make_camera_info(reading: Reading, camera: CameraModel, shift_ns: int) -> Any:
    projection = np.hstack([camera.pixel_from_cam, np.zeros((3, 1))])
    whole = {"x_offset": 0, "y_offset": 0, "height": 0, "width": 0, "do_rectify": False}
    return make(
        "sensor_msgs/msg/CameraInfo",
        header=make_header(reading.stamp_ns + shift_ns, optical_frame(reading.sensor)),
        height=camera.height_px,
        width=camera.width_px,
        distortion_model=camera.distortion_model if camera.distortion else "plumb_bob",
        d=np.array(camera.distortion or (0.0,) * 5),
        k=camera.pixel_from_cam.reshape(-1),
        r=np.eye(3).reshape(-1),
        p=projection.reshape(-1),
        binning_x=0,
        binning_y=0,
        roi=make("sensor_msgs/msg/RegionOfInterest", **whole),
    )


def _make_points(reading: Reading, shift_ns: int) -> Any:
    stamp_ns, frame_id = reading.stamp_ns + shift_ns, reading.sensor.lower()
    if reading.modality == "lidar":
        x, y, z, intensity, ring = read_lidar_bin(reading.path).T
        columns = {"x": x, "y": y, "z": z, "intensity": intensity, "ring": ring.astype(np.uint16)}
        return make_point_cloud(stamp_ns, frame_id, columns)
    points = read_radar_pcd(reading.path, RadarFilter.none(), reading.max_points)
    columns = {
        name: points[:, i].astype(RADAR_RECORD[name])
        for i, name in enumerate(RADAR_RECORD.names or ())
    }
    return make_point_cloud(stamp_ns, frame_id, columns)


def _make_static(stamp_ns: int, readings: tuple[Reading, ...]) -> Any:
    """Return the TF of all sensors; a sensor's place is that of its first reading."""
    mounts = {reading.sensor: reading for reading in reversed(readings)}
    transforms = []
    for name, reading in sorted(mounts.items()):
        child = name.lower() if reading.camera is None else optical_frame(name)
        transforms.append(make_transform(stamp_ns, "base_link", child, reading.ego_from_sensor))
    return make("tf2_msgs/msg/TFMessage", transforms=transforms)


def _period_ns(
    samples: tuple[SampleRecord, ...], entries: list[_Entry], options: SceneOptions
) -> int:
    """Return the shift from one repetition to the next; refuse one that lets them overlap."""
    span_ns = entries[-1].log_ns - entries[0].log_ns
    if options.period_s is not None:
        period_ns = round(options.period_s * 1e9)
    else:
        keys_ns = samples[-1].stamp_ns - samples[0].stamp_ns + KEY_PERIOD_NS
        period_ns = max(keys_ns, span_ns + 10 * POSE_LEAD_NS)
    if options.repeat > 1 and period_ns <= span_ns:
        raise ConfigError(
            f"the scene lasts {span_ns * 1e-9:.3f} s, so repetitions every "
            f"{period_ns * 1e-9:.3f} s overlap; give a longer period"
        )
    return period_ns
