# SPDX-License-Identifier: Apache-2.0
"""Faults that sensors show now and then: which of them last, and the line of each. Pure."""

from collections.abc import Iterable

from imkd_core.health.check import AMBER, RED, Check
from imkd_core.health.faults import REMEDIES, SWAPPED, Finding

#: A fault of a picture that shows in a smaller share of the looks is not told.
_LEAST_SHARE = 0.1


class FindingLog:
    """Gathers what each look found.

    Attributes:
        looks: so far.
    """

    def __init__(self) -> None:
        self.looks = 0
        self._seen: dict[tuple[str, str], list[Finding]] = {}

    def add(self, findings: Iterable[Finding]) -> None:
        """Take in the findings of one look."""
        self.looks += 1
        for finding in findings:
            self._seen.setdefault((finding.sensor, finding.fault), []).append(finding)

    def lasting(self) -> tuple[Finding, ...]:
        """Return what showed in a tenth of the looks, the newest of each."""
        least = _LEAST_SHARE * self.looks
        return tuple(found[-1] for found in self._seen.values() if len(found) >= least)


def told_of(finding: Finding) -> Check:
    """Return the line of a fault of what a sensor sends, or of its calibration."""
    what, _, remedy = REMEDIES[finding.fault].partition("; ")
    return Check(
        name=finding.sensor,
        level=RED if finding.is_certain or finding.fault == SWAPPED else AMBER,
        found=f"{finding.fault}: {finding.detail or what}",
        remedy=f"{what}; {remedy}" if finding.detail else remedy,
    )
