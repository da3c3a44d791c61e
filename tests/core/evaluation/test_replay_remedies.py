# SPDX-License-Identifier: Apache-2.0
"""Every reason for which a frame lacks a sensor has words for what to do."""

import pytest

from imkd_core.evaluation.replay_remedies import DROP_REMEDIES, DROPPED, REMEDIES, remedy_of
from imkd_core.health import degradation
from imkd_core.runtime import slots
from imkd_ros.bridge.parameter_table import SPECS


def words(module, beginning: str) -> set[str]:
    return {value for name, value in vars(module).items() if name.startswith(beginning)}


def test_every_reason_of_the_synchroniser_and_of_the_policy_has_a_remedy():
    reasons = words(slots, "MISSING_") | words(degradation, "MISSING_")
    assert len(reasons) > 8
    assert reasons - set(REMEDIES) == {slots.MISSING_NOT_DUE}, "which is no trouble"


def test_every_reason_for_which_readings_are_dropped_has_a_remedy():
    assert set(DROP_REMEDIES) == words(slots, "DROP_")
    assert all(remedy_of(f"{DROPPED}{reason}") for reason in words(slots, "DROP_"))


@pytest.mark.parametrize("reason", ["left out: frozen", "dropped: of late", "not due", ""])
def test_other_reasons_have_none(reason):
    assert remedy_of(reason) == ""


def test_parameters_that_remedies_name_are_there():
    named = {
        word.strip(",;")
        for text in (*REMEDIES.values(), *DROP_REMEDIES.values())
        for word in text.split()
        if word.startswith("sync.")
    }
    assert named
    assert named <= set(SPECS)
