# SPDX-License-Identifier: Apache-2.0
"""Every decoder on a few broken inputs; the suite's scenario `fuzz` tries a million."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imkd_core.errors import ImkdError
from tests.faults.fuzz import Outcome, figures, fuzz
from tests.faults.fuzz_child import import_atheris, read_state
from tests.faults.fuzz_mutation import Tape, broken_bytes, broken_json, tapes
from tests.faults.fuzz_target import Target, beyond, not_finite
from tests.faults.fuzz_targets import TARGETS, cases_of, is_here

#: What is opened quickly enough for a test.
QUICK = tuple(t for t in TARGETS if not t.needs and t.share >= 4)


@pytest.fixture(scope="module")
def attempts(tmp_path_factory):
    return {t.name: (t.open(tmp_path_factory.mktemp("fuzz")), t.seeds()) for t in QUICK}


def judged(attempt, data):
    """What is wrong with what a decoder gave; None where it refused."""
    try:
        return attempt(data)
    except ImkdError as error:
        return None if str(error) else "a refusal without a word"


@pytest.mark.parametrize("target", QUICK, ids=lambda target: target.name)
def test_what_a_decoder_begins_with_is_sound_or_refused(target, attempts):
    attempt, seeds = attempts[target.name]
    found = [judged(attempt, data) for data in seeds]
    assert set(found) <= {"", None}
    assert "" in found, "else nothing but refusals would be tested"


@pytest.mark.parametrize("target", QUICK, ids=lambda target: target.name)
@settings(max_examples=25)
@given(chance=st.integers(0, 1 << 32))
def test_whatever_is_broken_is_taken_soundly_or_refused(target, attempts, chance):
    attempt, seeds = attempts[target.name]
    rng = Random(chance)
    assert not judged(attempt, target.mutate(rng.choice(seeds), rng))


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_bytes_of_pure_chance_are_taken_soundly_or_refused(attempts, data):
    for name in ("image", "compressed image", "camera info", "radar points", "CDR of bags"):
        assert not judged(attempts[name][0], data)


@given(st.integers(0, 1 << 32), st.binary(max_size=300))
def test_the_same_chance_breaks_the_same_way(chance, data):
    assert broken_bytes(data, Random(chance)) == broken_bytes(data, Random(chance))
    text = b'{"a": [1, 2.5, {"b": "c"}], "d": null}'
    assert broken_json(text, Random(chance)) == broken_json(text, Random(chance))


def test_a_tape_that_has_run_out_gives_what_is_usual():
    tape = Tape(b"")
    assert (tape.whole(7), tape.real(0.5), tape.text("a"), tape.pick(1, (2,))) == (7, 0.5, "a", 1)
    assert tape.raw(3) == bytes(3)


@given(st.binary(min_size=1, max_size=60), st.sampled_from([8, 16, 32]))
def test_whole_numbers_of_a_tape_fit_their_fields(data, bits):
    assert 0 <= Tape(data).whole(3, bits) < 1 << bits
    assert -(1 << bits - 1) <= Tape(data).whole(3, bits, signed=True) < 1 << bits - 1


def test_wrong_values_are_told():
    assert not_finite("x", [1.0, float("nan")]).startswith("NaN: x")
    assert not_finite("x", [1.0], None) == ""
    assert beyond("x", [-3.0], 2.0).startswith("range: x is 3.0")


def test_cases_are_shared_out_and_reach_the_whole():
    cases = cases_of(1_000_000)
    assert sum(cases.values()) >= 1_000_000
    assert set(cases) == {target.name for target in TARGETS if is_here(target)}


def test_a_run_counts_its_cases_and_a_process_that_dies(tmp_path):
    target = next(one for one in TARGETS if one.name == "radar .pcd")
    outcome = fuzz(target, 300, tmp_path / "pcd", ["own"], 3)
    assert outcome.crashes == 0
    assert outcome.counts["cases"] == 300
    assert outcome.counts["refused"] + outcome.counts["taken"] == 300
    nobody = Target(name="nobody", share=1, open=target.open, seeds=tapes)
    lost = fuzz(nobody, 10, tmp_path / "lost", ["own"], 3)
    assert lost.crashes > 0, "a process that ends before its cases were tried has crashed"


@pytest.mark.skipif(import_atheris() is None, reason="atheris is not installed")
def test_libfuzzer_takes_half_of_the_cases_and_its_own_memory_does_not_count(tmp_path):
    target = next(one for one in TARGETS if one.name == "radar .pcd")
    outcome = fuzz(target, 400, tmp_path / "pcd", ["own", "atheris"], 3)
    assert (outcome.crashes, outcome.counts["cases"]) == (0, 400)
    parts = {name: read_state(tmp_path / "pcd" / name)[0] for name in ("own-0", "atheris-0")}
    assert {name: counts["cases"] for name, counts in parts.items()} == {
        "own-0": 200,
        "atheris-0": 200,
    }
    leaky = Outcome(target)
    leaky.add({**parts["atheris-0"], "rss_begin_kb": 1, "rss_peak_kb": 1 << 20}, "atheris")
    assert (leaky.growth_mb, leaky.counts["cases"]) == (0.0, 200)
    leaky.add({**parts["own-0"], "rss_begin_kb": 1, "rss_peak_kb": 1025, "rss_end_kb": 0}, "own")
    assert leaky.growth_mb == 1.0


def test_figures_say_where_and_keep_the_middleware_apart():
    ours, theirs = (
        next(t for t in TARGETS if t.is_foreign is foreign) for foreign in (False, True)
    )
    counts = {"cases": 600, "foreign": 2, "unsound": 1, "growth_kb": 2048}
    outcomes = [Outcome(ours, counts), Outcome(theirs, {"cases": 400}, crashes=3)]
    found = {one.name: one for one in figures(outcomes, ["own"], 1000, 5.0)}
    assert (found["fuzz cases"].value, found["fuzz cases"].met) == (1000, True)
    assert (found["fuzz crashes"].value, found["fuzz crashes"].met) == (0, True)
    assert (found["fuzz exceptions"].value, found["fuzz exceptions"].met) == (2, False)
    assert ours.name in found["fuzz exceptions"].note
    assert found["fuzz RSS growth"].value == 2.0
    assert found["fuzz crashes of the middleware's deserialiser"].value == 3
