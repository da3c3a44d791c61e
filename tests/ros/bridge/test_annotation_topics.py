# SPDX-License-Identifier: Apache-2.0
"""Every camera has a topic of its own, and none that ROS would refuse."""

import re

import pytest
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


@pytest.mark.parametrize("names", [["camera_2", "_x"], ["_x", "camera_1", "camera_1b"]])
def test_a_camera_that_is_called_like_the_number_of_another_keeps_its_topic(names):
    topics = annotation_topics(names)
    assert [topics[name] for name in names if name != "_x"] == [
        f"debug/annotations/{name}" for name in names if name != "_x"
    ]
    assert len(set(topics.values())) == len(names)


@given(
    st.lists(
        st.text(alphabet="aZ_9é", min_size=1) | st.from_regex(r"camera_[1-6]b?", fullmatch=True),
        unique=True,
        max_size=6,
    )
)
def test_topics_are_valid_and_different(names):
    topics = list(annotation_topics(names).values())
    assert len(set(topics)) == len(names)
    for topic in topics:
        assert re.fullmatch(r"[a-z]+/[a-z]+/[A-Za-z][A-Za-z0-9_]*", topic)
        assert "__" not in topic
