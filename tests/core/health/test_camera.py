# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from benchmarks.sensor_faults import faulty_picture
from imkd_core.health.camera import (
    CameraSettings,
    CameraState,
    Change,
    advance,
    change,
    peer_change,
)
from imkd_core.health.faults import BLACK, BLURRED, CAMERA_FAULTS, COVERED, FROZEN, OVEREXPOSED
from imkd_core.health.picture import picture_facts

SETTINGS = CameraSettings()
PERIOD_NS = 100_000_000
NO_CHANGE = Change()


def street(rng, contrast=1.0):
    """A picture with edges everywhere, as a street has them, and noise."""
    tiles = rng.integers(20, 200, (16, 44, 3))
    picture = 110 + contrast * (np.kron(tiles, np.ones((8, 8, 1))) - 110)
    return np.clip(picture + rng.normal(0, 2, (128, 352, 3)), 0, 255).astype(np.uint8)


def watch(pictures, peers=NO_CHANGE, state=None, start_ns=10**9):
    """Faults after each picture, and the last state."""
    state, told = state or CameraState(), []
    for number, picture in enumerate(pictures):
        facts = picture_facts(picture)
        own = change(state, facts, SETTINGS)
        state = advance(state, start_ns + number * PERIOD_NS, facts, own, peers, SETTINGS)
        told.append(set(state.faults))
    return told, state


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def drive(rng, count, contrast=1.0):
    return [street(rng, contrast) for _ in range(count)]


@pytest.mark.parametrize("contrast", [1.0, 0.3], ids=["clear", "fog"])
def test_a_good_camera_has_no_fault(rng, contrast):
    told, _ = watch(drive(rng, 40, contrast))

    assert not set().union(*told)


@pytest.mark.parametrize("fault", CAMERA_FAULTS)
def test_each_fault_is_told_by_its_own_name_alone_and_ends_with_its_cause(rng, fault):
    good = drive(rng, 20)
    repeated = good[-1]
    bad = [faulty_picture(fault, picture, repeated, 3, rng) for picture in drive(rng, 20)]

    told, _ = watch([*good, *bad, *drive(rng, 2)])

    assert not set().union(*told[:20])
    assert told[39] == {fault}
    assert told[41] == set()


@pytest.mark.parametrize("fault", [BLACK, OVEREXPOSED, FROZEN])
def test_what_needs_no_past_is_told_from_the_start(rng, fault):
    first = street(rng)

    told, _ = watch([faulty_picture(fault, street(rng), first, 3, rng) for _ in range(10)])

    assert told[-1] == {fault}


def test_a_fault_of_one_picture_is_not_told(rng):
    pictures = drive(rng, 12)
    pictures[8] = np.zeros_like(pictures[8])

    assert not set().union(*watch(pictures)[0])


def test_what_all_cameras_go_through_is_neither_blur_nor_cover(rng):
    good = drive(rng, 20)
    blurred = [faulty_picture(BLURRED, p, p, 3, rng) for p in drive(rng, 20)]
    flat = [faulty_picture(COVERED, p, p, 3, rng) for p in drive(rng, 20)]

    for pictures, peers in (
        (blurred, Change(sharpness=0.3, lost_share=0.0)),
        (flat, Change(sharpness=1.0, lost_share=0.8)),
    ):
        _, state = watch(good)
        told, _ = watch(pictures, peers, state, 10**9 + 20 * PERIOD_NS)
        assert not set().union(*told) & {BLURRED, COVERED}


def test_a_picture_is_repeated_only_when_every_pixel_is_the_same(rng):
    picture = street(rng)
    other = picture.copy()
    other[64:66, 100:102] ^= 64

    assert picture_facts(picture).digest == picture_facts(picture.copy()).digest
    assert picture_facts(picture).digest != picture_facts(other).digest


def test_contrast_changes_no_sharpness(rng):
    clear = np.kron(rng.integers(20, 220, (16, 44, 1)), np.ones((8, 8, 3))).astype(np.uint8)
    fog = (110 + 0.5 * (clear.astype(float) - 110)).astype(np.uint8)

    assert picture_facts(fog).sharpness == pytest.approx(picture_facts(clear).sharpness, rel=0.05)


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 7, 3), (225, 400, 3), (900, 1600, 3)])
def test_pictures_of_any_size_have_finite_facts(rng, shape):
    facts = picture_facts(rng.integers(0, 256, shape, dtype=np.uint8))

    assert facts.detail.shape == (8, 22)
    assert np.isfinite(facts.detail).all()
    assert np.isfinite(facts.sharpness)
    assert 0 <= facts.limit_share <= 1


@pytest.mark.parametrize(("peers", "ends"), [(None, True), (NO_CHANGE, False)])
def test_a_camera_without_others_takes_what_stays_for_a_minute_as_usual(rng, peers, ends):
    _, state = watch(drive(rng, 20))
    blurred = [faulty_picture(BLURRED, p, p, 3, rng) for p in drive(rng, 8)]
    told = []
    for number in range(70):
        facts = picture_facts(blurred[number % 8])
        own = change(state, facts, SETTINGS)
        state = advance(state, (10 + number) * 10**9, facts, own, peers, SETTINGS)
        told.append(set(state.faults))
    assert told[5] == told[59] == {BLURRED}
    assert told[69] == (set() if ends else {BLURRED})


def test_the_change_of_the_others_is_their_median():
    assert peer_change([]) is None
    assert peer_change([Change(sharpness=s) for s in (0.2, 0.9, 1.1)]).sharpness == 0.9
