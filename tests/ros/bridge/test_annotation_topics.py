# SPDX-License-Identifier: Apache-2.0
"""Every camera has a topic of its own, and none that ROS would refuse."""

import re

from hypothesis import given
from hypothesis import strategies as st

from imkd_ros.bridge.annotation_topics import annotation_topics


def test_a_topic_ends_with_the_cameras_name():
    assert annotation_topics(["CAM_FRONT", "left"]) == {
        "CAM_FRONT": "debug/annotations/CAM_FRONT",
        "left": "debug/annotations/left",
    }


def test_names_that_ros_allows_in_no_topic_become_numbers():
    assert list(annotation_topics(["ok", "4th", "a__b", "_x", "größe"]).values())[1:] == [
        f"debug/annotations/camera_{number}" for number in (2, 3, 4, 5)
    ]


@given(st.lists(st.text(alphabet="aZ_9é", min_size=1), unique=True, max_size=6))
def test_topics_are_valid_and_different(names):
    topics = list(annotation_topics(names).values())
    assert len(set(topics)) == len(names)
    for topic in topics:
        assert re.fullmatch(r"[a-z]+/[a-z]+/[A-Za-z][A-Za-z0-9_]*", topic)
        assert "__" not in topic
