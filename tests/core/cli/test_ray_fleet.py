# SPDX-License-Identifier: Apache-2.0
"""Recordings on a real local Ray; without Ray the words say what to do."""

import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.cli.replay_report import open_offline
from imkd_core.cli.replaying import ray_fleet
from imkd_core.cli.replaying.fleet import OneAfterTheOther, Task, Workers, replay_fleet
from imkd_core.cli.replaying.plan import Keys, ReplayPlan
from imkd_core.cli.replaying.ray_fleet import RayWorkers, actors_of
from imkd_core.errors import ConfigError, DataError
from imkd_ros.bridge.parameter_file import read_settings
from tests.ros.bag_tools import write_drive
from tests.ros.tiny_bundle import write_tiny_bundle

needs_ray = pytest.mark.skipif(
    find_spec("ray") is None, reason="Ray is not installed (the extra 'fleet')"
)
#: Files of a replay that differ run by run.
TIMES = ("run.json", "timings.jsonl")


def plan(folder) -> ReplayPlan:
    return ReplayPlan(output=folder, values=dict(read_settings(None).values))


def tasks_in(folder: Path, *names: str) -> list[Task]:
    """Recordings that are not there."""
    keys = Keys(boxes="", results="")
    return [Task(name=name, path=folder / name, keys=keys) for name in names]


def test_without_ray_it_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setattr(ray_fleet, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'imkd_ros\[fleet\]'.*--workers N"):
        RayWorkers("", None)


def test_nothing_to_do_starts_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_fleet, "find_spec", lambda _: object())
    assert list(RayWorkers("", 2).run(plan(tmp_path), ())) == []


@given(st.none() | st.integers(1, 99), st.floats(0, 99), st.integers(1, 99))
def test_there_are_no_more_actors_than_cores_and_recordings(wanted, cores, tasks):
    count = actors_of(wanted, cores, tasks)
    assert 1 <= count <= min(max(1, cores), tasks, wanted or tasks)
    assert actors_of(None, 8.0, 20) == 8
    assert actors_of(64, 8.0, 20) == 8


class FakeRay:
    """An actor's number is its time; those in `starts` start, the others never do."""

    exceptions = SimpleNamespace(RayTaskError=KeyError, RayActorError=OSError)

    def __init__(self, starts: tuple[int, ...]) -> None:
        self._starts = starts
        self.given: list[tuple[int, str]] = []

    def actor(self, number: int) -> SimpleNamespace:
        def run(task: Task) -> tuple[str, int, str]:
            self.given.append((number, task.name))
            return ("run", number, task.name)

        start: Callable[[], tuple[str, int, str]] = lambda: ("start", number, "")  # noqa: E731
        return SimpleNamespace(run=SimpleNamespace(remote=run), start=SimpleNamespace(remote=start))

    def wait(self, references, *, num_returns, timeout):
        assert num_returns == 1
        there = [one for one in references if one[1] in self._starts]
        assert there or timeout is not None, "it would wait for ever"
        return there[:1], references

    def get(self, reference) -> str:
        return f"failed {reference[2]}" if reference[0] == "run" else ""


def test_an_actor_that_never_starts_is_given_no_recording(tmp_path):
    ray, tasks = FakeRay(starts=(1,)), tasks_in(tmp_path, "one", "two", "three")
    found = list(ray_fleet._hand_out(ray, [ray.actor(number) for number in (0, 1, 2)], tasks))
    assert ray.given == [(1, "one"), (1, "two"), (1, "three")]
    assert found == [(task, f"failed {task.name}") for task in tasks]


def test_a_cluster_whose_cores_others_keep_is_told(tmp_path):
    ray = FakeRay(starts=())
    with pytest.raises(DataError, match=r"no core .* within 600 s; see 'ray status'"):
        list(ray_fleet._hand_out(ray, [ray.actor(0)], tasks_in(tmp_path, "one")))


@needs_ray
@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Ray's own
def test_a_real_ray_tells_each_recording_that_fails(tmp_path):
    tasks = tasks_in(tmp_path, "one", "two", "three")
    found = list(RayWorkers("", 2).run(plan(tmp_path / "out"), tasks))
    assert {task.name for task, _ in found} == {"one", "two", "three"}
    assert all("there is no bag" in failure for _, failure in found)


@needs_ray
@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Ray's own
def test_a_real_cluster_with_a_core_in_other_hands_replays_all_the_same(tmp_path, monkeypatch):
    class Other:
        def has_started(self) -> bool:
            return True

    kept = []

    def connect(ray, _address: str, _count: int | None) -> None:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        kept.append(ray.remote(num_cpus=1)(Other).remote())
        assert ray.get(kept[0].has_started.remote()), "it has its core now, and keeps it"

    monkeypatch.setattr(ray_fleet, "_connect", connect)
    tasks = tasks_in(tmp_path, "one", "two", "three")
    found = list(RayWorkers("a cluster", 9).run(plan(tmp_path / "out"), tasks))
    assert {task.name for task, _ in found} == {"one", "two", "three"}


@needs_ray
@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Ray's own
def test_a_real_ray_writes_the_bytes_that_one_after_the_other_does(tmp_path):
    write_tiny_bundle(tmp_path / "bundle")
    bag = write_drive(tmp_path, 2)
    settings = read_settings(None, {"model.bundle": str(tmp_path / "bundle")})
    workers: dict[str, Workers] = {
        "ray": RayWorkers("", 1),
        "here": OneAfterTheOther(open_offline),
    }
    for name, one in workers.items():
        asked = ReplayPlan(output=tmp_path / name, values=dict(settings.values), pictures_every=1)
        result = replay_fleet(asked, {"drive": bag}, one)
        assert (result.replayed, dict(result.failed)) == (("drive",), {})
    assert bytes_of(tmp_path / "ray") == bytes_of(tmp_path / "here")
    assert {"drive/frames.jsonl", "drive/summary.json"} <= set(bytes_of(tmp_path / "ray"))


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Return file -> bytes; keys are left out, for code may be edited between two runs."""
    return {
        str(path.relative_to(folder)): re.sub(rb'"(boxes_)?key": "\w+"', b"", path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in TIMES
    }


@needs_ray
@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_told(tmp_path):
    with pytest.raises(DataError, match="there is no Ray cluster at"):
        list(RayWorkers("127.0.0.1:1", 1).run(plan(tmp_path / "out"), tasks_in(tmp_path, "one")))
