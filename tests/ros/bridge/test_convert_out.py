# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.errors import SensorError
from imkd_core.types import Detections
from imkd_ros.bridge.convert_out import (
    COVARIANCE_DIAGONAL,
    OBJECT_FIELDS,
    UNKNOWN_VARIANCE,
    from_detection3d_array,
    from_objects_cloud,
    ros_messages,
    to_detection3d_array,
    to_label_info,
    to_objects_cloud,
)
from tests.ros.made_up_messages import STAND_INS, cloud, header

CLASSES = ("car", "pedestrian", "traffic_cone")
STAMP_NS = 1_600_000_000_123_456_789


def boxes(count: int = 7, seed: int = 0, has_velocity: bool = True) -> Detections:
    rng = np.random.default_rng(seed)
    velocity_mps = rng.normal(0, 5, (count, 2))
    return Detections(
        stamp_ns=STAMP_NS,
        class_names=CLASSES,
        center_m=rng.uniform(-50, 50, (count, 3)).astype(np.float32),
        size_m=rng.uniform(0.2, 12, (count, 3)).astype(np.float32),
        yaw_rad=rng.uniform(-np.pi, np.pi, count).astype(np.float32),
        velocity_mps=(velocity_mps if has_velocity else velocity_mps * np.nan).astype(np.float32),
        scores=rng.uniform(0, 1, count).astype(np.float32),
        labels=rng.integers(0, len(CLASSES), count),
    )


def assert_same(found: Detections, expected: Detections, atol: float = 0.0) -> None:
    for name in ("center_m", "size_m", "yaw_rad", "velocity_mps", "scores", "labels"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), atol=atol, rtol=0, err_msg=name
        )
    assert (found.stamp_ns, found.class_names) == (expected.stamp_ns, expected.class_names)


@pytest.fixture(params=["stand-ins", pytest.param("ros", marks=pytest.mark.ros)])
def messages(request: pytest.FixtureRequest) -> Any:
    return STAND_INS if request.param == "stand-ins" else ros_messages()


@pytest.mark.parametrize("count", [0, 1, 7])
def test_boxes_survive_the_way_out_and_back(messages: Any, count: int) -> None:
    expected = boxes(count, has_velocity=False)
    found = from_detection3d_array(to_detection3d_array(expected, "base_link", messages), CLASSES)
    assert_same(found, expected, atol=1e-6)


@given(st.integers(0, 30), st.integers(0, 9), st.booleans())
def test_the_objects_table_survives_bit_by_bit(count: int, seed: int, has_velocity: bool) -> None:
    expected = boxes(count, seed, has_velocity)
    message = to_objects_cloud(expected, "base_link", STAND_INS)
    assert_same(from_objects_cloud(message, CLASSES), expected)


def test_ros_takes_the_objects_table(messages: Any) -> None:
    message = to_objects_cloud(boxes(), "base_link", messages)
    assert [item.name for item in message.fields] == list(OBJECT_FIELDS)
    assert (message.point_step, message.height, message.width) == (44, 1, 7)
    assert message.header.frame_id == "base_link"
    assert_same(from_objects_cloud(message, CLASSES), boxes())


@pytest.mark.ros
def test_what_goes_over_the_wire_comes_back() -> None:
    from rclpy.serialization import deserialize_message, serialize_message

    for write, read in (
        (to_detection3d_array, from_detection3d_array),
        (to_objects_cloud, from_objects_cloud),
    ):
        message = write(boxes(), "base_link")
        wired = deserialize_message(serialize_message(message), type(message))
        found = read(wired, CLASSES)
        expected = boxes(has_velocity=write is to_objects_cloud)
        assert_same(found, expected, atol=1e-6)


def test_every_box_says_when_and_where_and_claims_no_identity(messages: Any) -> None:
    message = to_detection3d_array(boxes(), "base_link", messages)
    for item in (message, *message.detections):
        assert item.header.frame_id == "base_link"
        assert (item.header.stamp.sec, item.header.stamp.nanosec) == (1_600_000_000, 123_456_789)
    first, expected = message.detections[0], boxes()
    assert first.id == ""
    assert len(first.results) == 1
    assert first.results[0].hypothesis.class_id == CLASSES[expected.labels[0]]
    size = first.bbox.size
    np.testing.assert_array_equal([size.x, size.y, size.z], expected.size_m[0])


def test_the_covariance_is_honest(messages: Any) -> None:
    message = to_detection3d_array(boxes(), "base_link", messages)
    covariance = np.asarray(message.detections[0].results[0].pose.covariance).reshape(6, 6)
    np.testing.assert_array_equal(covariance, np.diag(COVARIANCE_DIAGONAL))
    assert covariance.diagonal().min() > 0
    assert covariance[3, 3] == covariance[4, 4] == UNKNOWN_VARIANCE


def test_classes_are_published_with_their_numbers(messages: Any) -> None:
    info = to_label_info(CLASSES, 0.25, messages)
    assert [(entry.class_id, entry.class_name) for entry in info.class_map] == list(
        enumerate(CLASSES)
    )
    assert info.threshold == 0.25


def _array(**changes: Any) -> Any:
    """One box at the origin, as an array."""
    values: dict[str, Any] = {
        "class_id": "car",
        "score": 0.5,
        "x": 0.0,
        "orientation": (0.0, 0.0, 0.0, 1.0),
        "size": (4.0, 2.0, 1.5),
        **changes,
    }
    hypothesis = SimpleNamespace(class_id=values["class_id"], score=values["score"])
    turn = SimpleNamespace(**dict(zip("xyzw", values["orientation"], strict=True)))
    size = SimpleNamespace(**dict(zip("xyz", values["size"], strict=True)))
    position = SimpleNamespace(x=values["x"], y=0.0, z=0.0)
    box = SimpleNamespace(
        results=[SimpleNamespace(hypothesis=hypothesis)] * values.get("hypotheses", 1),
        bbox=SimpleNamespace(
            center=SimpleNamespace(position=position, orientation=turn), size=size
        ),
    )
    return SimpleNamespace(header=header(STAMP_NS), detections=[box])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"class_id": "dragon"}, "unknown class 'dragon'"),
        ({"hypotheses": 0}, "no hypothesis"),
        ({"orientation": (0.0, 0.3, 0.0, 0.95)}, "upright"),
        ({"orientation": (0.0, 0.0, 0.0, 0.0)}, "orientation"),
        ({"orientation": (0.0, 0.0, float("nan"), 1.0)}, "orientation"),
        ({"size": (4.0, 0.0, 1.5)}, "positive"),
        ({"score": 1.5}, r"0\.\.1"),
        ({"x": float("nan")}, "not finite"),
    ],
)
def test_a_box_that_cannot_be_is_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(SensorError, match=text):
        from_detection3d_array(_array(**changes), CLASSES)


def test_of_several_hypotheses_the_best_is_taken() -> None:
    message = _array()
    better = SimpleNamespace(hypothesis=SimpleNamespace(class_id="pedestrian", score=0.9))
    message.detections[0].results.append(better)
    found = from_detection3d_array(message, CLASSES)
    assert found.names == ["pedestrian"]
    np.testing.assert_array_equal(found.scores, np.float32([0.9]))


def test_an_objects_table_that_cannot_be_is_refused() -> None:
    columns = {name: [1.0] for name in OBJECT_FIELDS}
    kinds = {"class_id": "<u4"}
    assert from_objects_cloud(cloud(columns, kinds), CLASSES).names == ["pedestrian"]
    for name, value in (("class_id", 9.0), ("length", 0.0), ("x", np.nan), ("score", 2.0)):
        with pytest.raises(SensorError):
            from_objects_cloud(cloud({**columns, name: [value]}, kinds), CLASSES)
    doubles = {**kinds, "x": "<f8", "vx": "<f8", "class_id": "<f4"}
    for name, value in (("x", 1e300), ("vx", -1e300), ("class_id", np.nan), ("class_id", 1e30)):
        with pytest.raises(SensorError):
            from_objects_cloud(cloud({**columns, name: [value]}, doubles), CLASSES)
    signalling = cloud({**columns, "x": [0x7F80_0001]}, {**kinds, "x": "<u4"})
    next(field for field in signalling.fields if field.name == "x").datatype = 7  # FLOAT32
    with pytest.raises(SensorError):
        from_objects_cloud(signalling, CLASSES)
    del columns["yaw"]
    with pytest.raises(SensorError, match="'yaw' is not there"):
        from_objects_cloud(cloud(columns, kinds), CLASSES)
