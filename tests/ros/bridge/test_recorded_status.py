# SPDX-License-Identifier: Apache-2.0
"""What the node says of a frame comes back from its message."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.errors import SensorError
from imkd_core.health.degradation import FrameStatus, Level
from imkd_ros.bridge.recorded_status import read_status, status_values

SENSORS = ("CAM_FRONT", "CAM_FRONT_LEFT", "RADAR_1")
REASONS = st.text("abc: ;CAM_FRONT", min_size=1).filter(
    lambda text: not any(f"; {name}: " in f"; {text}" for name in SENSORS)
)


def message(status: FrameStatus, names=("imkd_detector: status",), without=()):
    """The message as the node writes it."""
    values = status_values(status).items()
    pairs = [SimpleNamespace(key=key, value=value) for key, value in values if key not in without]
    sec, nanosec = divmod(status.stamp_ns, 1_000_000_000)
    return SimpleNamespace(
        header=SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=nanosec)),
        status=[SimpleNamespace(name=name, values=pairs) for name in names],
    )


@given(
    level=st.sampled_from(Level),
    stamp_ns=st.integers(0, 2**62),
    ages=st.dictionaries(st.sampled_from(SENSORS), st.integers(-999, 999)),
    missing=st.dictionaries(st.sampled_from(SENSORS), REASONS),
)
def test_a_status_comes_back_as_it_was(level, stamp_ns, ages, missing):
    status = FrameStatus(
        stamp_ns=stamp_ns,
        level=level,
        outcome="empty: policy blind",
        age_ms={name: age / 10 for name, age in ages.items()},
        missing=missing,
    )
    assert read_status(message(status), SENSORS) == status


def test_the_keys_are_those_that_the_guide_names():
    status = FrameStatus(
        stamp_ns=5, level=Level.FULL, outcome="answered", age_ms={"R": 2}, missing={"A": "late"}
    )
    assert status_values(status) == {
        "level": "full",
        "outcome": "answered",
        "used": "R",
        "missing": "A: late",
        "age_ms/R": "2.0",
    }


def test_it_is_what_the_node_writes():
    node_status = pytest.importorskip("imkd_ros.node.status", reason="needs rclpy")
    status = FrameStatus(
        stamp_ns=5,
        level=Level.DEGRADED,
        outcome="answered",
        age_ms={"RADAR_1": -3.25},
        missing={"CAM_FRONT": "left out: frozen, covered", "CAM_FRONT_LEFT": "silent"},
    )
    written = node_status.as_status(status, "imkd_detector").values
    assert {pair.key: pair.value for pair in message(status).status[0].values} == dict(written)


def test_what_is_no_status_is_refused():
    status = FrameStatus(stamp_ns=1, level=Level.FULL, outcome="answered")
    for names in ((), ("a: status", "b: status"), ("imkd_detector: frames",)):
        with pytest.raises(SensorError, match="statuses of a frame in one message, not 1"):
            read_status(message(status, names), SENSORS)
    for key in ("level", "outcome", "missing"):
        with pytest.raises(SensorError, match="not what this version writes"):
            read_status(message(status, without=(key,)), SENSORS)
