# SPDX-License-Identifier: Apache-2.0
"""A checked view on the fields of a sensor_msgs/PointCloud2, and tables written as one.

A view costs no copy; nothing is read before offsets, steps and sizes have been checked against
the bytes that are really there.
"""

from array import array
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imkd_core.errors import SensorError

#: PointField datatype -> numpy type, little endian.
DATATYPES: Mapping[int, str] = {
    1: "i1",
    2: "u1",
    3: "<i2",
    4: "<u2",
    5: "<i4",
    6: "<u4",
    7: "<f4",
    8: "<f8",
}

#: A message with more fields is not a sensor's.
MAX_FIELDS = 256


def bytes_of(data: Any, what: str) -> NDArray[np.uint8]:
    """Return the bytes of a message's `data` without a copy.

    Args:
        data: `array.array('B')` (rclpy), bytes, or a numpy uint8 array (rosbags).
        what: named in the error.

    Raises:
        SensorError: it is none of these.
    """
    try:
        view = np.frombuffer(data, dtype=np.uint8) if len(data) else np.zeros(0, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise SensorError(f"{what}: data is not a sequence of bytes ({error})") from None
    if len(view) != len(data):
        raise SensorError(f"{what}: data must be bytes, got {type(data).__name__} of other items")
    return view


def view_fields(
    message: Any, names: Sequence[str], what: str, max_points: int
) -> dict[str, NDArray[Any]]:
    """Return views on some fields of a cloud.

    Args:
        message: a PointCloud2, organised or not.
        names: fields to view.
        what: sensor or topic, named in errors.
        max_points: larger clouds are refused.

    Returns:
        name -> (N,) array of the field's own type, row by row.

    Raises:
        SensorError: a field is missing, doubled, of an unknown type, outside the point or on top
            of another; big-endian data; steps or sizes that do not fit; or too many points.
    """
    count = int(message.width) * int(message.height)
    _check_layout(message, count, what, max_points)
    layout = _field_layout(message, names, what)
    record = np.dtype(
        {
            "names": list(names),
            "formats": [kind for kind, _ in layout],
            "offsets": [offset for _, offset in layout],
            "itemsize": int(message.point_step),
        }
    )
    if count == 0:
        return {name: np.zeros(0, record)[name] for name in names}
    points: NDArray[Any] = np.ndarray(
        (int(message.height), int(message.width)),
        dtype=record,
        buffer=bytes_of(message.data, what).data,
        strides=(int(message.row_step), int(message.point_step)),
    )
    return {name: points[name].reshape(-1) for name in names}


def fill_table(message: Any, field_class: Any, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write columns into an empty PointCloud2 as one packed, unorganised, little-endian table.

    Args:
        message: its header is left alone.
        field_class: `sensor_msgs/PointField`, or what stands in for it.
        columns: name -> (N,) values of one of the types of `DATATYPES`.
    """
    codes = {np.dtype(kind): code for code, kind in DATATYPES.items()}
    record = np.dtype([(name, values.dtype) for name, values in columns.items()])
    rows = len(next(iter(columns.values())))
    table = np.zeros(rows, dtype=record)
    fields = []
    for name, values in columns.items():
        table[name] = values
        item = field_class()
        item.name, item.count = name, 1
        item.offset, item.datatype = record.fields[name][1], codes[values.dtype]  # type: ignore[index]
        fields.append(item)
    message.height, message.width = 1, rows
    message.fields = fields
    message.is_bigendian = False
    message.is_dense = bool(rows == 0 or all(np.isfinite(v).all() for v in columns.values()))
    message.point_step, message.row_step = record.itemsize, record.itemsize * rows
    message.data = array("B", table.tobytes())


def _check_layout(message: Any, count: int, what: str, max_points: int) -> None:
    point_step, row_step = int(message.point_step), int(message.row_step)
    if count > max_points:
        raise SensorError(
            f"{what}: cloud of {message.width} x {message.height} points; at most {max_points} "
            "are taken. Thin it out in the driver, or raise max_points"
        )
    if message.is_bigendian:
        raise SensorError(f"{what}: big-endian cloud; set the driver to little endian")
    row_bytes = int(message.width) * point_step
    if count and (point_step < 1 or (int(message.height) > 1 and row_step < row_bytes)):
        raise SensorError(
            f"{what}: point_step {point_step} and row_step {row_step} cannot hold rows of "
            f"{message.width} points; mend the driver"
        )
    needed = (int(message.height) - 1) * row_step + row_bytes if count else 0
    if len(message.data) < needed:
        raise SensorError(
            f"{what}: {len(message.data)} bytes of data, {needed} needed for {count} points of "
            f"{point_step} bytes; the message is cut off or its size fields are wrong"
        )


def _field_layout(message: Any, names: Sequence[str], what: str) -> list[tuple[str, int]]:
    """Return numpy type and offset of each field, after checks."""
    if len(message.fields) > MAX_FIELDS:
        raise SensorError(f"{what}: {len(message.fields)} fields; at most {MAX_FIELDS} are taken")
    found: dict[str, list[Any]] = {name: [] for name in names}
    for item in message.fields:  # a name costs a call, and there are twenty fields in a scan
        found.get(item.name, []).append(item)
    layout, taken = [], []
    for name, items in found.items():
        if len(items) != 1:
            have = ", ".join(str(item.name) for item in message.fields)[:400] or "none"
            number = "twice or more" if items else "not there"
            raise SensorError(
                f"{what}: field '{name}' is {number} (fields: {have}); set the sensor's field "
                "names in sensors.yaml to those of its driver"
            )
        kind, offset = DATATYPES.get(int(items[0].datatype)), int(items[0].offset)
        if kind is None or int(items[0].count) not in (0, 1):
            raise SensorError(
                f"{what}: field '{name}' has datatype {items[0].datatype} and count "
                f"{items[0].count}; one number of a PointField datatype (1..8) is needed"
            )
        end = offset + np.dtype(kind).itemsize
        if offset < 0 or end > int(message.point_step):
            raise SensorError(
                f"{what}: field '{name}' at bytes {offset}..{end} lies outside the point of "
                f"{message.point_step} bytes; mend the driver"
            )
        taken.append((offset, end, name))
        layout.append((kind, offset))
    _check_overlap(sorted(taken), what)
    return layout


def _check_overlap(taken: list[tuple[int, int, str]], what: str) -> None:
    for (_, end, name), (start, _, other) in pairwise(taken):
        if start < end:
            raise SensorError(
                f"{what}: fields '{name}' and '{other}' overlap in the point; mend the driver, or "
                "name two different fields"
            )
