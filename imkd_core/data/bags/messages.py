# SPDX-License-Identifier: Apache-2.0
"""ROS messages without ROS: the type store of the bags, and builders for what this project writes.

Message objects are those of the library `rosbags`: they have the fields of the ROS types, by the
same names, so the converters of `imkd_ros` accept them as they accept messages of rclpy.
"""

import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imkd_core.errors import DataError
from imkd_core.geometry import Float64, quaternion_from_rotation

try:
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore
    from rosbags.typesys.store import Typestore
except ModuleNotFoundError as error:
    raise DataError(
        f"bags need the Python package 'rosbags' ({error}); install it with: pip install rosbags"
    ) from error

#: Message types that the library does not know; the owner of these texts for bags. They travel
#: with the installed package, for bags are read where neither ROS nor the source tree is.
EXTRA_DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "vision_msgs/msg/VisionClass": "uint16 class_id\nstring class_name",
        "vision_msgs/msg/LabelInfo": (
            "std_msgs/Header header\nVisionClass[] class_map\nfloat32 threshold"
        ),
        "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score",
        "vision_msgs/msg/ObjectHypothesisWithPose": (
            "ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose"
        ),
        "vision_msgs/msg/BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size",
        "vision_msgs/msg/Detection3D": (
            "std_msgs/Header header\nObjectHypothesisWithPose[] results\n"
            "BoundingBox3D bbox\nstring id"
        ),
        "vision_msgs/msg/Detection3DArray": "std_msgs/Header header\nDetection3D[] detections",
    }
)

#: PointField datatypes by numpy dtype.
POINT_FIELD_DATATYPES: Mapping[str, int] = MappingProxyType(
    {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}
)


def new_typestore() -> Typestore:
    """Return a type store of its own: ROS 2's common types, and `EXTRA_DEFINITIONS`."""
    store = get_typestore(Stores.ROS2_KILTED)
    for type_name, text in EXTRA_DEFINITIONS.items():
        store.register(get_types_from_msg(text, type_name))
    return store


@functools.cache
def typestore() -> Typestore:
    """Return the project's one type store; it is not changed after this."""
    return new_typestore()


def serialize(type_name: str, message: Any) -> bytes:
    """Return the CDR bytes of a message object, little endian."""
    return bytes(typestore().serialize_cdr(message, type_name, little_endian=True))


def make(type_name: str, **values: Any) -> Any:
    """Return a message object of a type name such as "std_msgs/msg/Header"; all fields given."""
    return typestore().types[type_name](**values)


def make_header(stamp_ns: int, frame_id: str) -> Any:
    """Return a std_msgs/Header."""
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    stamp = make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
    return make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)


def make_vector(xyz: Sequence[float] | NDArray[Any]) -> Any:
    """Return a geometry_msgs/Vector3."""
    x, y, z = (float(value) for value in xyz)
    return make("geometry_msgs/msg/Vector3", x=x, y=y, z=z)


def make_point(xyz: Sequence[float] | NDArray[Any]) -> Any:
    """Return a geometry_msgs/Point."""
    x, y, z = (float(value) for value in xyz)
    return make("geometry_msgs/msg/Point", x=x, y=y, z=z)


def make_quaternion(rotation: NDArray[Any]) -> Any:
    """Return a geometry_msgs/Quaternion of a (3, 3) rotation."""
    w, x, y, z = (float(value) for value in quaternion_from_rotation(rotation))
    return make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)


def make_pose(parent_from_child: Float64) -> Any:
    """Return a geometry_msgs/Pose of a (4, 4) transform."""
    return make(
        "geometry_msgs/msg/Pose",
        position=make_point(parent_from_child[:3, 3]),
        orientation=make_quaternion(parent_from_child[:3, :3]),
    )


def make_transform(stamp_ns: int, parent: str, child: str, parent_from_child: Float64) -> Any:
    """Return a geometry_msgs/TransformStamped of a (4, 4) transform."""
    return make(
        "geometry_msgs/msg/TransformStamped",
        header=make_header(stamp_ns, parent),
        child_frame_id=child,
        transform=make(
            "geometry_msgs/msg/Transform",
            translation=make_vector(parent_from_child[:3, 3]),
            rotation=make_quaternion(parent_from_child[:3, :3]),
        ),
    )


def make_point_cloud(stamp_ns: int, frame_id: str, columns: Mapping[str, NDArray[Any]]) -> Any:
    """Return an unorganised, little-endian PointCloud2 with one field a column.

    Args:
        stamp_ns: the header's stamp.
        frame_id: the header's frame.
        columns: field name -> (N,) array of a dtype in `POINT_FIELD_DATATYPES`.
    """
    layout = [(name, column.dtype.newbyteorder("<")) for name, column in columns.items()]
    row = np.dtype(layout, align=True)  # C++ readers dereference the fields where they lie
    n = len(next(iter(columns.values())))
    table = np.zeros(n, dtype=row)
    for name, column in columns.items():
        table[name] = column
    fields = [
        make(
            "sensor_msgs/msg/PointField",
            name=name,
            offset=entry[1],
            datatype=POINT_FIELD_DATATYPES[entry[0].str[1:]],
            count=1,
        )
        for name, entry in (row.fields or {}).items()
    ]
    return make(
        "sensor_msgs/msg/PointCloud2",
        header=make_header(stamp_ns, frame_id),
        height=1,
        width=n,
        fields=fields,
        is_bigendian=False,
        point_step=row.itemsize,
        row_step=row.itemsize * n,
        data=table.view(np.uint8).reshape(-1) if n else np.zeros(0, np.uint8),
        is_dense=all(np.isfinite(column).all() for column in columns.values()),
    )


def read_point_cloud(message: Any) -> dict[str, NDArray[Any]]:
    """Return the columns of a PointCloud2 that `make_point_cloud` wrote: name -> (N,) array."""
    kinds = {number: kind for kind, number in POINT_FIELD_DATATYPES.items()}
    order = ">" if message.is_bigendian else "<"
    row = np.dtype(
        {
            "names": [item.name for item in message.fields],
            "formats": [order + kinds[item.datatype] for item in message.fields],
            "offsets": [item.offset for item in message.fields],
            "itemsize": message.point_step,
        }
    )
    table = np.frombuffer(bytes(message.data), dtype=row)
    return {name: table[name] for name in row.names or ()}
