# SPDX-License-Identifier: Apache-2.0
"""The calibration is watched frame by frame, from anew when it changes, and only where wanted."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from imkd_core.geometry import rigid_transform
from imkd_core.health.calibration import CalibrationMonitor
from imkd_core.health.faults import WRONG_AXES
from imkd_ros.bridge.calibration_watch import SETTINGS, CalibrationWatch
from tests.core.rigs import frame_of, rig_of


def broken(rig):
    """The rig with the frame of its first camera that of the housing."""
    name, camera = next(iter(rig.cameras.items()))
    pose = rigid_transform(np.eye(3), camera.ego_from_cam[:3, 3])
    return name, replace(rig, cameras={**rig.cameras, name: replace(camera, ego_from_cam=pose)})


@pytest.fixture
def rig():
    return rig_of()


def test_what_cannot_be_is_told_with_the_first_frame_and_gone_with_another_calibration(rig):
    name, wrong = broken(rig)
    watch = CalibrationWatch(is_wanted=True)
    assert watch.findings == ()
    found = watch.look(frame_of(wrong), wrong)
    assert [(one.sensor, one.fault) for one in found] == [(name, WRONG_AXES)]
    assert watch.findings == found
    assert name not in {one.sensor for one in watch.look(frame_of(rig), rig)}


def test_a_watch_that_is_not_wanted_looks_at_nothing_and_forgets(rig, monkeypatch):
    _, wrong = broken(rig)
    watch = CalibrationWatch(is_wanted=True)
    watch.look(frame_of(wrong), wrong)
    monkeypatch.setattr(CalibrationMonitor, "add", None)
    watch.is_wanted = False
    assert watch.look(frame_of(wrong), wrong) == ()
    assert watch.findings == ()


def test_the_same_calibration_goes_on_and_another_begins_anew(rig, monkeypatch):
    made = []
    whole = CalibrationMonitor.__init__

    def counted(self, *arguments):
        made.append(arguments[0])
        whole(self, *arguments)

    monkeypatch.setattr(CalibrationMonitor, "__init__", counted)
    watch = CalibrationWatch(is_wanted=True)
    for _ in range(3):
        watch.look(frame_of(rig), rig)
    assert len(made) == 1
    watch.look(frame_of(rig), replace(rig))
    assert len(made) == 2
    watch.reset()
    watch.look(frame_of(rig), made[-1])
    assert len(made) == 3


def test_what_was_found_of_frames_before_a_reset_is_not_told_after_it(rig, monkeypatch):
    _, wrong = broken(rig)
    watch = CalibrationWatch(is_wanted=True)
    begun, free = threading.Event(), threading.Event()
    whole = CalibrationMonitor.add

    def held_up(self, frame):
        begun.set()
        assert free.wait(5)
        return whole(self, frame)

    monkeypatch.setattr(CalibrationMonitor, "add", held_up)
    thread = threading.Thread(target=watch.look, args=(frame_of(wrong), wrong))
    thread.start()
    assert begun.wait(5)
    watch.reset()  # does not wait for the look
    free.set()
    thread.join()
    assert watch.findings == ()


def test_on_a_vehicle_pictures_are_followed_in_turn_and_seldom():
    assert (SETTINGS.cameras_at_once, SETTINGS.rest_frames) == (1, 1)
