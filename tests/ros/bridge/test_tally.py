# SPDX-License-Identifier: Apache-2.0
"""Counts are exact, also when several threads refuse images at once."""

import sys
import threading

from imkd_ros.bridge.tally import Tally


def test_no_drop_of_any_thread_is_lost():
    tally, switch_s = Tally(), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def refuse(sensor):
        for _ in range(500):
            tally.drop(sensor, "bad image", "corrupt")
            tally.count("all", "bad image", 1)

    try:
        threads = [threading.Thread(target=refuse, args=(name,)) for name in "ABCA"]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            dict(tally.drops)
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch_s)
    found = {name: counts["bad image"] for name, counts in tally.drops.items()}
    assert found == {"A": 1000, "B": 500, "C": 500, "all": 2000}


def test_problems_are_told_once_for_each_sensor_and_reason():
    tally = Tally()
    for text in ("first", "second"):
        tally.drop("A", "bad image", text)
    tally.drop("B", "bad image", "other")
    assert [problem.text for problem in tally.take_problems()] == ["second", "other"]
    assert tally.take_problems() == []
    assert tally.drops["A"] == {"bad image": 2}
