# SPDX-License-Identifier: Apache-2.0
"""Recordings on a real local Ray; without Ray the words say what to do."""

from importlib.util import find_spec

import pytest

from imkd_core.cli.replaying import ray_fleet
from imkd_core.cli.replaying.fleet import Task
from imkd_core.cli.replaying.plan import Keys, ReplayPlan
from imkd_core.cli.replaying.ray_fleet import RayWorkers
from imkd_core.errors import ConfigError, DataError
from imkd_ros.bridge.parameter_file import read_settings


def plan(folder) -> ReplayPlan:
    return ReplayPlan(output=folder, values=dict(read_settings(None).values))


def test_without_ray_it_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setattr(ray_fleet, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'imkd_ros\[fleet\]'.*--workers N"):
        RayWorkers("", None)


def test_nothing_to_do_starts_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_fleet, "find_spec", lambda _: object())
    assert list(RayWorkers("", 2).run(plan(tmp_path), ())) == []


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (the extra 'fleet')")
@pytest.mark.filterwarnings("default")  # Ray's own
def test_a_real_ray_tells_each_recording_that_fails(tmp_path):
    keys = Keys(boxes="", results="")
    tasks = [Task(name=name, path=tmp_path / name, keys=keys) for name in ("one", "two", "three")]
    found = list(RayWorkers("", 2).run(plan(tmp_path / "out"), tasks))
    assert {task.name for task, _ in found} == {"one", "two", "three"}
    assert all("there is no bag" in failure for _, failure in found)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (the extra 'fleet')")
def test_a_cluster_that_is_not_there_is_told(tmp_path):
    task = Task(name="one", path=tmp_path, keys=Keys(boxes="", results=""))
    with pytest.raises(DataError, match="there is no Ray cluster at"):
        list(RayWorkers("127.0.0.1:1", 1).run(plan(tmp_path / "out"), [task]))
