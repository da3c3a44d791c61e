# SPDX-License-Identifier: Apache-2.0
"""Messages that need no ROS: plain values with the fields of the real ones."""

from array import array
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

CODES = {"i1": 1, "u1": 2, "<i2": 3, "<u2": 4, "<i4": 5, "<u4": 6, "<f4": 7, "<f8": 8}


def header(stamp_ns: int = 1_600_000_000_123_456_789, frame_id: str = "sensor") -> SimpleNamespace:
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    return SimpleNamespace(
        stamp=SimpleNamespace(sec=seconds, nanosec=nanoseconds), frame_id=frame_id
    )


def image(
    pixels: NDArray[np.uint8], encoding: str, padding: int = 0, **changes: Any
) -> SimpleNamespace:
    """An Image of (H, W, bytes a pixel); each row is followed by `padding` bytes of rubbish."""
    height, width = pixels.shape[:2]
    rows = np.full((height, pixels[0].size + padding), 77, dtype=np.uint8)
    rows[:, : pixels[0].size] = pixels.reshape(height, -1)
    values: dict[str, Any] = {
        "header": header(),
        "height": height,
        "width": width,
        "encoding": encoding,
        "is_bigendian": 0,
        "step": rows.shape[1],
        "data": array("B", rows.tobytes()),
    }
    return SimpleNamespace(**{**values, **changes})


def field(name: str, offset: int, kind: str = "<f4", count: int = 1) -> SimpleNamespace:
    return SimpleNamespace(name=name, offset=offset, datatype=CODES[kind], count=count)


def cloud(
    columns: Mapping[str, Sequence[float]],
    kinds: Mapping[str, str] | None = None,
    rows: int = 1,
    point_padding: int = 0,
    row_padding: int = 0,
    **changes: Any,
) -> SimpleNamespace:
    """A PointCloud2 of some columns, float32 unless told otherwise."""
    types = {name: (kinds or {}).get(name, "<f4") for name in columns}
    fields, offset = [], 0
    for name, kind in types.items():
        fields.append(field(name, offset, kind))
        offset += np.dtype(kind).itemsize
    record = np.dtype(
        {
            "names": list(types),
            "formats": list(types.values()),
            "offsets": [item.offset for item in fields],
            "itemsize": offset + point_padding,
        }
    )
    count = len(next(iter(columns.values())))
    table = np.zeros(count, dtype=record)
    for name, values in columns.items():
        table[name] = values
    width = count // rows
    row_bytes = width * record.itemsize
    data = np.full((rows, row_bytes + row_padding), 77, dtype=np.uint8)
    data[:, :row_bytes] = np.frombuffer(table.tobytes(), np.uint8).reshape(rows, row_bytes)
    values = {
        "header": header(),
        "height": rows,
        "width": width,
        "fields": fields,
        "is_bigendian": False,
        "point_step": record.itemsize,
        "row_step": row_bytes + row_padding,
        "data": array("B", data.tobytes()),
        "is_dense": True,
    }
    return SimpleNamespace(**{**values, **changes})


class Empty:
    """Stands in for a message class: every field appears when it is first asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = Empty()
        setattr(self, name, value)
        return value


def _with_pose(pose: Any) -> None:
    pose.orientation.x = pose.orientation.y = 0.0


def _detection() -> Empty:
    item = Empty()
    item.id = ""
    _with_pose(item.bbox.center)
    return item


def _hypothesis() -> Empty:
    result = Empty()
    _with_pose(result.pose.pose)
    return result


STAND_INS = SimpleNamespace(
    Detection3D=_detection,
    Detection3DArray=Empty,
    LabelInfo=Empty,
    ObjectHypothesisWithPose=_hypothesis,
    PointCloud2=Empty,
    PointField=Empty,
    VisionClass=Empty,
)
