# SPDX-License-Identifier: Apache-2.0
"""The type store equals the official definitions, and builders make what ROS expects."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.data.bags import messages
from imkd_core.geometry import transform_from_quaternion

#: RIHS01 hashes of the released packages vision_msgs 4.1.1 and tf2_msgs 0.39.
OFFICIAL_HASHES = {
    "vision_msgs/msg/Detection3DArray": (
        "RIHS01_793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018"
    ),
    "vision_msgs/msg/Detection3D": "RIHS01_ddd703be",
    "tf2_msgs/msg/TFMessage": "RIHS01_e369d0f0",
}


@pytest.mark.parametrize("type_name", OFFICIAL_HASHES)
def test_type_hashes_are_the_official_ones(type_name):
    assert messages.typestore().hash_rihs01(type_name).startswith(OFFICIAL_HASHES[type_name])


def test_the_texts_equal_those_the_interface_packages_are_built_from(project_root: Path):
    folder = project_root / "tools" / "ros_wheels" / "vision_msgs" / "msg"
    built = {f"vision_msgs/msg/{path.stem}": _bare(path.read_text()) for path in folder.iterdir()}
    assert built == {name: _bare(text) for name, text in messages.EXTRA_DEFINITIONS.items()}


def _bare(text: str) -> list[str]:
    lines = (line.split("#")[0].split() for line in text.splitlines())
    return [" ".join(line) for line in lines if line]


@given(stamp_ns=st.integers(1, (1 << 31) * 10**9 - 1))
def test_a_header_keeps_its_stamp_to_the_nanosecond(stamp_ns):
    header = messages.make_header(stamp_ns, "base_link")
    raw = messages.serialize("std_msgs/msg/Header", header)
    back = messages.typestore().deserialize_cdr(raw, "std_msgs/msg/Header")
    assert back.stamp.sec * 10**9 + back.stamp.nanosec == stamp_ns
    assert back.frame_id == "base_link"


def test_a_transform_is_written_as_parent_from_child():
    half = np.sqrt(0.5)
    parent_from_child = transform_from_quaternion((1.0, 2.0, 3.0), (half, 0.0, 0.0, half))
    message = messages.make_transform(5, "odom", "base_link", parent_from_child)
    assert (message.header.frame_id, message.child_frame_id) == ("odom", "base_link")
    moved = message.transform.translation
    assert (moved.x, moved.y, moved.z) == (1.0, 2.0, 3.0)
    turned = message.transform.rotation
    np.testing.assert_allclose((turned.w, turned.z), (half, half))
    assert (turned.x, turned.y) == (0.0, 0.0)


@given(n=st.integers(0, 5))
def test_a_point_cloud_gives_its_columns_back(n):
    columns = {
        "x": np.arange(n, dtype=np.float32) / 3,
        "id": -np.arange(n, dtype=np.int16),
        "class_id": np.arange(n, dtype=np.uint32) + 7,
    }
    cloud = messages.make_point_cloud(9, "radar_front", columns)
    raw = messages.serialize("sensor_msgs/msg/PointCloud2", cloud)
    back = messages.typestore().deserialize_cdr(raw, "sensor_msgs/msg/PointCloud2")
    assert (back.height, back.width, back.point_step, back.row_step) == (1, n, 12, 12 * n)
    assert len(back.data) == back.row_step
    assert [item.offset for item in back.fields] == [0, 4, 8]
    read = messages.read_point_cloud(back)
    assert list(read) == list(columns)
    for name, column in columns.items():
        np.testing.assert_array_equal(read[name], column)
        assert read[name].dtype == column.dtype


def test_a_cloud_with_a_nan_is_not_called_dense():
    cloud = messages.make_point_cloud(9, "base_link", {"vx": np.array([np.nan, 1.0], "f4")})
    assert not cloud.is_dense
    assert messages.make_point_cloud(9, "base_link", {"vx": np.ones(2, "f4")}).is_dense
