# SPDX-License-Identifier: Apache-2.0
"""What diagnostics say of the memory."""

import pytest

from imkd_core.runtime.memory import RESET_GAP, RESET_NO_POSE, RESET_OFF, MemoryFacts
from imkd_ros.node.memory_status import memory_status
from imkd_ros.node.verdicts import OK, WARN


def facts(**changes):
    values = {"kind": "window", "maps": 2, "capacity": 3, "newest_age_s": 0.25}
    return MemoryFacts(**{**values, "resets": {}, "last_reset": "", **changes})


def test_a_model_without_memory_has_no_status():
    assert memory_status(facts(kind="none", maps=0, capacity=0, newest_age_s=None)) == []


def test_a_memory_tells_its_maps_their_age_and_why_it_forgot():
    (status,) = memory_status(facts(resets={RESET_GAP: 2}, last_reset=RESET_GAP))
    assert (status.name, status.level, status.message) == ("memory", OK, "2 of 3 maps")
    assert status.values["maps"] == "2/3"
    assert status.values["last reset"] == RESET_GAP
    assert status.values[f"resets: {RESET_GAP}"] == "2"
    assert "0.25" in status.values.values()


@pytest.mark.parametrize(
    ("why", "level", "words"),
    [
        (RESET_NO_POSE, WARN, "start the odometry"),
        (RESET_GAP, OK, RESET_GAP),
        (RESET_OFF, OK, RESET_OFF),
        ("", OK, "0 of 3"),
    ],
)
def test_an_empty_memory_is_a_warning_only_where_something_is_to_be_done(why, level, words):
    (status,) = memory_status(facts(maps=0, newest_age_s=None, last_reset=why))
    assert status.level == level
    assert words in status.message
    assert status.values["newest map, age at the last frame, s"] == ""
