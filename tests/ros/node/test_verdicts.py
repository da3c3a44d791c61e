# SPDX-License-Identifier: Apache-2.0
"""One status of several reasons."""

from imkd_ros.node.verdicts import ERROR, OK, WARN, Reason, joined


def test_the_worst_level_and_every_text_once_are_told():
    late = Reason(kind="late", text="it is late")
    gone = Reason(kind="gone", text="it is gone", level=ERROR)
    found = joined("CAM", [late, gone, late], "ok", {"rate Hz": "5"})
    assert (found.level, found.message) == (ERROR, "it is late; it is gone")
    assert (found.kind, found.values) == ("gone, late", {"rate Hz": "5"})


def test_without_a_reason_all_is_well():
    found = joined("CAM", [], "ok", {})
    assert (found.level, found.message, found.kind) == (OK, "ok", "")


def test_a_reason_warns_unless_it_says_otherwise():
    assert Reason(kind="late", text="it is late").level == WARN


def test_the_same_reasons_in_another_order_are_of_one_kind():
    late, gone = (Reason(kind=kind, text=f"it is {kind}") for kind in ("late", "gone"))
    assert joined("CAM", [late, gone], "", {}).kind == joined("CAM", [gone, late], "", {}).kind
