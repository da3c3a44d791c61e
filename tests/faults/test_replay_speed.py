# SPDX-License-Identifier: Apache-2.0
"""What the scenario `replay_speed` computes; the suite itself measures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.data.bags.bag_writer import BagWriter
from imkd_core.data.bags.messages import make
from imkd_core.data.bags.recording import open_bag
from tests.faults.replay_speed import Speed, thinned

IMAGES, TEXTS = "/cam/image/compressed", "/text"


def speed(**values) -> Speed:
    known = {"drive_s": 20.0, "frames": 240, "wall_s": 10.0, "cpu_s": 15.0, "inference_ms": 1.0}
    return Speed(**{**known, **values})


def test_a_network_of_70_ms_allows_two_cores_two_and_a_half_times_real_time_at_12_hz():
    assert speed().allowed(70.0, 2) == pytest.approx(2 / (12 * 0.07))
    assert speed(frames=40).allowed(70.0, 2) == pytest.approx(2 / (2 * 0.07))


def test_a_note_says_how_many_cores_were_busy():
    assert speed().words == "24.0 frames/s, 240 frames, 1.50 cores"


@given(st.floats(1, 500), st.integers(1, 8), st.integers(1, 1000))
def test_a_replay_that_only_infers_is_as_fast_as_the_network_allows(inference_ms, cores, frames):
    wall_s = frames * inference_ms * 1e-3 / cores
    one = speed(frames=frames, wall_s=wall_s)
    assert one.real_time == pytest.approx(one.allowed(inference_ms, cores))


def test_a_thinned_bag_keeps_every_so_many_th_image_and_all_else(tmp_path):
    with BagWriter(tmp_path / "whole") as bag:
        for i in range(12):
            for topic in (IMAGES, TEXTS):
                text = make("std_msgs/msg/String", data=str(i))
                bag.write(topic, "std_msgs/msg/String", i, text)
    assert thinned(tmp_path / "whole", tmp_path / "thin", 1) == tmp_path / "whole"
    with open_bag(thinned(tmp_path / "whole", tmp_path / "thin", 6)) as bag:
        kept = [(message.topic, message.stamp_ns) for message in bag.messages()]
    assert [stamp for topic, stamp in kept if topic == IMAGES] == [0, 6]
    assert [stamp for topic, stamp in kept if topic == TEXTS] == list(range(12))
