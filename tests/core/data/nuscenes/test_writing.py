# SPDX-License-Identifier: Apache-2.0
"""Pieces of tables are the same at all times, and fit together."""

import json
from itertools import pairwise

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.data.nuscenes.writing import (
    constant_tables,
    linked,
    pose_fields,
    table_text,
    token_of,
    write_map,
)
from imkd_core.geometry import rigid_transform, transform_from_quaternion


def test_tokens_are_those_of_yesterday_and_differ_by_every_name():
    assert token_of("sample", "drive", 3) == "566d1beef78abf23fde9cfef5a34df95"
    assert token_of("sample", "drive", 3) == token_of("sample", "drive", "3")
    assert len({token_of("a", i) for i in range(100)}) == 100
    assert len(token_of("a")) == 32


@given(st.lists(st.text(min_size=1, max_size=3), unique=True, max_size=6))
def test_a_chain_can_be_walked_both_ways(tokens):
    links = dict(zip(tokens, linked(tokens), strict=True))
    for here, there in pairwise(tokens):
        assert links[here]["next"] == there
        assert links[there]["prev"] == here
    if tokens:
        assert links[tokens[0]]["prev"] == links[tokens[-1]]["next"] == ""


def test_a_pose_survives_its_fields():
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    pose = rigid_transform(turn, (1.0, -2.0, 3.0))
    fields = pose_fields(pose)
    back = transform_from_quaternion(fields["translation"], fields["rotation"])
    np.testing.assert_allclose(back, pose, atol=1e-12)


def test_a_table_is_json_with_a_record_a_line():
    rows = [{"token": "a", "size": [1.0, 2.0]}, {"token": "b", "size": []}]
    text = table_text(rows)
    assert json.loads(text) == rows
    assert len(text.splitlines()) == 4
    assert json.loads(table_text([])) == []


def test_the_map_that_the_log_is_on_lies_where_its_table_says(tmp_path):
    tables = constant_tables(["vehicle.car", "animal"], "recorded", "somewhere")
    write_map(tmp_path)
    (row,) = tables["map"]
    assert cv2.imread(str(tmp_path / row["filename"])).shape == (1, 1, 3)
    assert row["log_tokens"] == [tables["log"][0]["token"]]
    assert [item["name"] for item in tables["category"]] == ["animal", "vehicle.car"]
