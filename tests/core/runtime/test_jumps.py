# SPDX-License-Identifier: Apache-2.0
"""Whether time went back, or some sensors' stamps alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.runtime.jumps import JumpVote
from imkd_core.runtime.slots import Entry

NAMES = "ABCDEFG"


def entry(at_ns=1000):
    return Entry(5, at_ns, None)


def vote_of(back, on=""):
    vote = JumpVote(capacity=3, patience_ns=100)
    for name in back:
        vote.doubt(name, entry())
    for name in on:
        vote.trust(name)
    return vote


@pytest.mark.parametrize(
    ("back", "on", "alive", "has_jumped", "is_refuted"),
    [
        ("A", "", "A", True, False),
        ("A", "", "AB", False, False),
        ("A", "B", "AB", False, True),
        ("AB", "", "AB", True, False),
        ("AB", "C", "ABC", True, False),
        ("AB", "CDE", "ABCDEFG", False, False),
        ("AB", "CDEF", "ABCDEFG", False, True),
        ("ABCD", "EFG", "ABCDEFG", True, False),
    ],
)
def test_more_than_half_of_the_sensors_that_send_decide(back, on, alive, has_jumped, is_refuted):
    vote = vote_of(back, on)
    assert vote.has_jumped(alive) == has_jumped
    assert vote.is_refuted(alive, 1000) == is_refuted


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.booleans())), st.sets(st.sampled_from(NAMES)))
def test_it_is_never_both_and_whoever_is_asked_decides(votes, alive):
    vote, last = JumpVote(capacity=3, patience_ns=100), {}
    for name, is_back in votes:
        if is_back:
            vote.doubt(name, entry())
        else:
            vote.trust(name)
        if len(vote):
            last[name] = is_back
    has_jumped, is_refuted = vote.has_jumped(alive), vote.is_refuted(alive, 1000)
    assert not (has_jumped and is_refuted)
    if len(vote) and set(last) >= alive:
        assert has_jumped or is_refuted


def test_a_sensor_that_goes_on_again_votes_anew():
    vote = vote_of("AB")
    vote.trust("A")
    assert not vote.has_jumped("AB")
    vote.doubt("A", entry())
    assert vote.has_jumped("AB")


def test_a_vote_that_nobody_decides_ends():
    vote = vote_of("A")
    assert not vote.is_refuted("ABC", 1100)
    assert vote.is_refuted("ABC", 1101)
    assert not JumpVote(3, 100).is_refuted("ABC", 9999)


def test_what_is_held_is_fresh_for_so_long_as_the_vote_is_patient():
    vote = vote_of("AB")
    vote.doubt("A", entry(1050))
    assert vote.is_fresh(1150)
    assert not vote.is_fresh(1151)
    vote.take()
    assert not vote.is_fresh(1050)


def test_so_many_readings_of_a_sensor_are_held_and_the_oldest_given_back():
    vote = JumpVote(capacity=2, patience_ns=100)
    entries = [entry(at_ns) for at_ns in (1, 2, 3)]
    assert vote.doubt("A", entries[0]) == []
    vote.doubt("B", entry())
    assert vote.doubt("A", entries[1]) == []
    assert [held.entry for held in vote.doubt("A", entries[2])] == [entries[0]]
    assert [held.sensor for held in vote.take()] == ["B", "A", "A"]
    assert len(vote) == 0
    assert not vote.has_jumped("")
