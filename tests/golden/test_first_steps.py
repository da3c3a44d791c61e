# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from tests.golden.first_steps import FILE, STEPS, first_steps


def test_twenty_seeded_steps_give_the_losses_they_always_gave():
    golden, found = json.loads(FILE.read_text(encoding="utf-8")), first_steps()
    assert len(golden) == len(found) == STEPS
    for step, (expected, row) in enumerate(zip(golden, found, strict=True)):
        assert row.keys() == expected.keys()
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, rel=1e-3, abs=1e-6), (
                f"step {step}, {name}: if this change is meant to alter numbers, run "
                "'python -m tests.golden.first_steps' and say so in the commit's message"
            )
