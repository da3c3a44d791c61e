# SPDX-License-Identifier: Apache-2.0
"""What driving tells of the calibration of one sensor."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was found.

    Attributes:
        fault: one of `faults.CALIBRATION_FAULTS`, or "" while all is well.
        detail: in words.
        is_certain: whether its measurements had better not be used.
        has_to_last: whether one stretch of driving may look so for another reason (a lorry beside).
    """

    fault: str = ""
    detail: str = ""
    is_certain: bool = False
    has_to_last: bool = False
