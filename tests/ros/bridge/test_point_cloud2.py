# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from imkd_core.errors import SensorError
from imkd_ros.bridge.point_cloud2 import DATATYPES, bytes_of, fill_table, view_fields
from tests.ros.made_up_messages import cloud, field

XYZ = {"x": [1.0, 2.0, 3.0, 4.0], "y": [5.0, 6.0, 7.0, 8.0], "rcs": [-3.0, 0.5, 9.0, 2.0]}


@given(st.integers(1, 3), st.integers(0, 5), st.integers(0, 7), st.integers(0, 9), st.randoms())
def test_any_layout_gives_back_what_was_written(
    rows: int, width: int, point_padding: int, row_padding: int, rng: Any
) -> None:
    kinds = {name: rng.choice(list(DATATYPES.values())) for name in ("b", "a", "c", "d")}
    columns = {name: [rng.randrange(0, 100) for _ in range(rows * width)] for name in kinds}
    message = cloud(columns, kinds, rows, point_padding, row_padding)
    found = view_fields(message, ("c", "a"), "test", 100)
    for name in ("c", "a"):
        assert found[name].dtype == np.dtype(kinds[name])
        assert found[name].tolist() == columns[name]


@given(
    st.fixed_dictionaries(
        {
            "width": st.integers(0, 1 << 32),
            "height": st.integers(0, 1 << 32),
            "point_step": st.integers(0, 1 << 32),
            "row_step": st.integers(0, 1 << 32),
            "is_bigendian": st.booleans(),
            "data": st.binary(max_size=200),
        }
    ),
    st.lists(
        st.builds(
            SimpleNamespace,
            name=st.sampled_from(["x", "y", "z"]),
            offset=st.integers(0, 300),
            datatype=st.integers(0, 10),
            count=st.integers(0, 2),
        ),
        max_size=4,
    ),
)
def test_rubbish_is_refused_and_never_read(values: dict[str, Any], fields: list[Any]) -> None:
    message = SimpleNamespace(**values, fields=fields)
    try:
        found = view_fields(message, ("x", "y"), "radar 'front'", 1000)
    except SensorError:
        return
    assert len(found["x"]) == values["width"] * values["height"] <= 1000


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"point_step": 0}, "point_step 0"),
        ({"point_step": 7, "row_step": 28}, "lies outside the point"),
        ({"width": 5}, "bytes of data"),
        ({"width": 10_000_000}, "at most 100 are taken"),
        ({"width": 1 << 31, "height": 1 << 31}, "at most 100 are taken"),
        ({"is_bigendian": True}, "big-endian"),
        ({"height": 2, "width": 2, "row_step": 23}, "row_step 23"),
        ({"data": b""}, "0 bytes of data"),
        ({"data": [0.5] * 48}, "not a sequence of bytes"),
        ({"data": np.zeros(48, np.float32)}, "of other items"),
        ({"fields": []}, "'x' is not there"),
        ({"fields": [field("x", 0), field("x", 4), field("y", 8)]}, "'x' is twice"),
        ({"fields": [field("x", 0), field("y", 9)]}, "lies outside"),
        ({"fields": [field("x", 0), field("y", 2)]}, "overlap"),
        ({"fields": [field("x", 0), field("y", 0)]}, "overlap"),
        ({"fields": [field("x", 0, count=3), field("y", 4)]}, "count 3"),
        ({"fields": [SimpleNamespace(name="x", offset=0, datatype=9, count=1)]}, "datatype 9"),
        ({"fields": [field(f"f{i}", 0) for i in range(300)]}, "300 fields"),
    ],
)
def test_a_malformed_cloud_is_refused_with_the_reason(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(SensorError, match=text):
        view_fields(cloud(XYZ, **changes), ("x", "y"), "radar 'front'", 100)


def test_a_view_copies_nothing() -> None:
    message = cloud(XYZ)
    found = view_fields(message, ("rcs",), "test", 100)["rcs"]
    message.data[8:12] = type(message.data)("B", np.float32(42.0).tobytes())
    assert found[0] == 42.0


def test_a_cloud_without_points_is_fine() -> None:
    empty = cloud({"x": [], "y": []})
    assert view_fields(empty, ("x", "y"), "test", 100)["y"].shape == (0,)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_come_in_many_clothes(kind: Any) -> None:
    assert bytes_of(kind(b"abc"), "test").tolist() == [97, 98, 99]
    assert bytes_of(np.frombuffer(b"abc", np.uint8), "test").tolist() == [97, 98, 99]
    assert bytes_of(kind(b""), "test").shape == (0,)


@given(hnp.arrays(np.float32, st.integers(0, 20)))
def test_a_table_is_read_back_as_it_was_written(values: np.ndarray) -> None:
    message = SimpleNamespace(header=None)
    columns = {"a": values, "id": np.arange(len(values), dtype=np.uint32)}
    fill_table(message, SimpleNamespace, columns)
    found = view_fields(message, ("id", "a"), "test", 100)
    np.testing.assert_array_equal(found["a"], values)
    np.testing.assert_array_equal(found["id"], columns["id"])
    assert message.is_dense == bool(np.isfinite(values).all())


def test_sensor_msgs_py_reads_the_same() -> None:
    oracle = pytest.importorskip(
        "sensor_msgs_py.point_cloud2", reason="sensor_msgs_py is not installed"
    )
    messages = pytest.importorskip("sensor_msgs.msg")
    # it knows no row_step, so no padding of rows here
    made = cloud(XYZ, {"y": "<f8", "rcs": "<i2"}, rows=2, point_padding=3)
    message = messages.PointCloud2()
    for name in ("height", "width", "point_step", "row_step", "is_bigendian", "data"):
        setattr(message, name, getattr(made, name))
    message.fields = [messages.PointField(**vars(item)) for item in made.fields]
    expected = oracle.read_points(message, field_names=["x", "y", "rcs"])
    found = view_fields(message, ("x", "y", "rcs"), "test", 100)
    for name in ("x", "y", "rcs"):
        np.testing.assert_array_equal(found[name], expected[name])
