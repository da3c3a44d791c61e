# SPDX-License-Identifier: Apache-2.0
import gc

import numpy as np

from imkd_core.ahead import Ahead
from imkd_core.types import CameraImage


def image():
    return CameraImage(sensor="front", stamp_ns=10**9, pixels=np.zeros((2, 3, 3), np.uint8))


def test_a_fact_is_of_one_image_and_not_of_one_that_looks_the_same():
    known, one, other = Ahead(), image(), image()
    known.note(one, "seen")
    assert known.find(one) == "seen"
    assert known.find(other) is None


def test_facts_go_with_their_images():
    known, kept = Ahead(), image()
    for number in range(100):
        known.note(image(), number)
    known.note(kept, "kept")
    gc.collect()
    assert len(known) == 1
    assert known.find(kept) == "kept"
