# SPDX-License-Identifier: Apache-2.0
"""All decoders that are fuzzed."""

import importlib.util

from tests.faults.fuzz_cdr import CDR
from tests.faults.fuzz_files import FILES
from tests.faults.fuzz_messages import MESSAGES
from tests.faults.fuzz_settings import SETTINGS
from tests.faults.fuzz_target import Target

TARGETS: tuple[Target, ...] = (*MESSAGES, *CDR, *FILES, *SETTINGS)


def is_here(target: Target) -> bool:
    """Whether all packages that a target needs are installed."""
    return all(importlib.util.find_spec(name) is not None for name in target.needs)


def cases_of(total: int) -> dict[str, int]:
    """Return name -> cases of the targets that can be run here, by their shares of a total."""
    here = [target for target in TARGETS if is_here(target)]
    whole = sum(target.share for target in here)
    return {target.name: -(-round(total * target.share) // round(whole)) for target in here}
