# SPDX-License-Identifier: Apache-2.0
"""`imkd replay --report`: recordings become figures, whoever replays them and however often."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from imkd_core.__main__ import main
from imkd_core.cli.replaying import fleet
from imkd_core.cli.replaying.fleet import threads_of
from imkd_core.cli.replaying.plan import ReplayPlan
from imkd_core.data.bags.bag_writer import BagWriter
from imkd_core.data.bags.nuscenes_to_bag import SceneOptions, write_scene
from imkd_core.data.bags.recording import open_bag
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.errors import ImkdError
from imkd_core.evaluation.drive_figures import figures_path, read_drive_figures
from imkd_ros.bridge.parameter_file import read_settings
from tests.core.data.made_up import write_dataroot
from tests.ros.tiny_bundle import write_tiny_bundle

FRAMES = 3


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a tiny bundle, a data set, and two bags of it; one lost truth and radars."""
    folder = tmp_path_factory.mktemp("report")
    write_tiny_bundle(folder / "bundle")
    drive = write_dataroot(folder / "root", frames=FRAMES, lidar_points=10)
    nuscenes = NuScenes(drive.root)
    about = {"source": f"nuScenes layout, {nuscenes.scenes[0]}", "description": "rain at night"}
    with BagWriter(folder / "one", custom_data=about) as bag:
        write_scene(nuscenes, nuscenes.scenes[0], bag, SceneOptions())
    copy(folder / "one", folder / "two", without=("ground_truth", "radar"))
    return folder


def copy(source: Path, target: Path, without=(), cut=None) -> Path:
    """Copy a bag without topics that hold a word; cut one message's bytes off."""
    with open_bag(source) as bag, BagWriter(target, custom_data=dict(bag.custom_data)) as out:
        for message in bag.messages():
            if not any(word in message.topic for word in without):
                out.write(message.topic, message.type_name, message.stamp_ns, message.cdr[:cut])
    return target


def replay(place: Path, out: Path, *bags: str | Path, more=()) -> int:
    paths = [place / bag for bag in bags]
    given = (*paths, "--report", out, "--model", place / "bundle", *more)
    return main(["replay", *map(str, given)])


def results(out: Path, without=("run.json", "timings.jsonl", "report.html")) -> dict[str, bytes]:
    """Return the bytes of all that must not differ run by run; keys do where code was edited."""
    return {
        str(path.relative_to(out)): re.sub(rb'"(boxes_)?key": "\w+"', b"", path.read_bytes())
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in without and path.suffix not in (".html", ".npz")
    }


@pytest.fixture(scope="module")
def done(place: Path) -> Path:
    """The report of both bags."""
    assert replay(place, place / "done", "one", "two", more=("--pictures-every", 2)) == 0
    return place / "done"


def test_every_frame_is_told_with_its_level_and_what_is_missing(done):
    lines = [json.loads(line) for line in (done / "one/frames.jsonl").read_text().splitlines()]
    assert len(lines) == FRAMES
    assert {line["status"]["level"] for line in lines} == {"full"}
    lines = [json.loads(line) for line in (done / "two/frames.jsonl").read_text().splitlines()]
    assert {line["status"]["level"] for line in lines} == {"camera_only"}
    assert {len(line["status"]["missing"]) for line in lines} == {5}
    assert {len(line["status"]["age_ms"]) for line in lines} == {6}
    assert all(len(line["odom_from_ego"]) == 16 for line in lines)


def test_a_summary_says_what_happened(done):
    one, two = (json.loads((done / name / "summary.json").read_text()) for name in ("one", "two"))
    assert one["truth"]["moments"] == FRAMES
    assert one["description"] == "rain at night"
    assert set(one["figures"]) >= {"nds", "map", "flicker"}
    assert two["truth"] == {
        "source": "nothing on /ground_truth/boxes",
        "moments": 0,
        "boxes": 0,
        "without_answer": 0,
    }
    assert "nds" not in two["figures"]
    assert two["levels"] == {"camera_only": FRAMES}
    assert set(two["missing"]) == set(two["radars"])
    assert (one["frames"], one["outcomes"]) == (FRAMES, {"answered": FRAMES})


def test_the_figures_of_all_are_those_of_the_truth_and_of_steadiness(done):
    told = json.loads((done / "figures.json").read_text())
    assert told["with_truth"] == ["one"]
    assert told["truth"]["metrics"]["samples"] == FRAMES
    assert [part["name"] for part in told["truth"]["by_weather"]] == ["rain"]
    assert [part["name"] for part in told["truth"]["by_level"]] == ["full"]
    assert told["all"]["boxes_per_frame"] == 2
    assert told["drives"]["two"]["frames"] == FRAMES
    assert "degradation" in (done / "tables.txt").read_text()
    assert not (done / ".partial").exists()


def test_pictures_are_drawn_now_and_then(done):
    stamps = {path.name.split("_")[0] for path in (done / "one/pictures").glob("*.jpg")}
    assert len(stamps) == 2
    assert (done / "one/curves.json").is_file()
    assert not (done / "two/curves.json").exists()


def test_the_same_recordings_give_the_same_bytes_with_any_number_of_workers(place, done, tmp_path):
    more = ("--pictures-every", 2, "--workers", 2)
    assert replay(place, tmp_path / "out", "one", "two", more=more) == 0
    again, expected = results(tmp_path / "out"), results(done)
    assert list(again) == list(expected)
    for name, data in expected.items():
        assert again[name] == data, name
    one, two = (read_drive_figures(figures_path(out)) for out in (done, tmp_path / "out"))
    np.testing.assert_array_equal(one.steady, two.steady)
    assert one.digests == two.digests


def test_a_folder_of_bags_is_all_of_them_named_by_their_folders(place, done, tmp_path):
    week = tmp_path / "week"
    for name in ("two", "one"):
        (week / name).parent.mkdir(exist_ok=True)
        (week / name).symlink_to(place / name, target_is_directory=True)
    assert replay(place, tmp_path / "out", week, more=("--pictures-every", 2)) == 0
    again, expected = results(tmp_path / "out"), results(done)
    assert again.keys() == expected.keys()
    assert again["one/frames.jsonl"] == expected["one/frames.jsonl"]
    assert again["figures.json"] == expected["figures.json"]


def test_a_folder_without_bags_is_refused_before_anything_is_replayed(place, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert replay(place, tmp_path / "out", "one", tmp_path / "empty") == 2
    assert "there is no bag in" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_bags_needs_no_report(place, tmp_path, capsys):
    week = tmp_path / "week"
    for name in ("one", "two"):
        copy(place / name, week / name)
    command = ["replay", str(week), "--model", str(place / "bundle")]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert [f"{week / name}: {FRAMES} frames" in told for name in ("one", "two")] == [True, True]
    assert main([*command, "--jsonl", str(tmp_path / "boxes.jsonl")]) == 2
    assert "take the boxes of one bag" in capsys.readouterr().err


def test_what_is_finished_is_kept_until_something_changes(place, tmp_path, capsys):
    out = tmp_path / "out"
    assert replay(place, out, "one") == 0
    stamp = (out / "one/frames.jsonl").stat().st_mtime_ns
    assert replay(place, out, "one", "two") == 0
    assert "1 replayed, 1 kept, 0 failed" in capsys.readouterr().out
    assert (out / "one/frames.jsonl").stat().st_mtime_ns == stamp
    assert replay(place, out, "one", "two", more=("--score", 0.6)) == 0
    assert "2 replayed, 0 kept" in capsys.readouterr().out
    line = json.loads((out / "one/frames.jsonl").read_text().splitlines()[0])
    assert len(line["boxes"]) == 1, "the second box is scored 0.5"


def test_workers_end_when_their_parent_is_killed(place, tmp_path):
    command = [sys.executable, "-m", "imkd_core", "replay", place / "one", place / "two"]
    command += ["--report", tmp_path / "out", "--model", place / "bundle", "--workers", 2]
    with subprocess.Popen([str(word) for word in command], stderr=subprocess.DEVNULL) as parent:
        began = tmp_path / "out/.partial"
        waited(lambda: began.is_dir() and any(began.iterdir()))
        workers = [pid for pid in children(parent.pid) if b"spawn_main" in command_of(pid)]
        parent.kill()
    assert len(workers) == 2
    try:
        waited(lambda: not any(b"spawn_main" in command_of(pid) for pid in workers), 20)
    finally:
        for pid in (pid for pid in workers if b"spawn_main" in command_of(pid)):
            os.kill(pid, signal.SIGKILL)


def waited(is_so: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Wait until something is so; fail where it does not become so."""
    end_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < end_s, "it did not become so"
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for path in found for word in path.read_text().split()]


def command_of(pid: int) -> bytes:
    """Return the command line of a process; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_the_speed_is_told_by_the_clock_of_whoever_waits(place, tmp_path, capsys):
    out, seconds = tmp_path / "out", {}
    for name in ("one", "two"):
        with open_bag(place / name) as bag:
            seconds[name] = (bag.end_ns - bag.start_ns) * 1e-9
    begin_s = time.monotonic()
    assert replay(place, out, "one", "two", more=("--workers", 2)) == 0
    waited_s = time.monotonic() - begin_s
    drive_s, frames, wall_s, real_time, frames_s = told_speed(capsys.readouterr().out)
    assert (drive_s, frames) == (pytest.approx(sum(seconds.values()), abs=0.06), 2 * FRAMES)
    alone_s = [json.loads((out / name / "run.json").read_text())["wall_s"] for name in seconds]
    assert max(alone_s) - 0.06 <= wall_s <= waited_s + 0.06, "not the sum of both"
    assert real_time == pytest.approx(drive_s / wall_s, rel=0.1, abs=0.02)
    assert frames_s == pytest.approx(frames / wall_s, rel=0.1, abs=0.1)
    (out / "one/summary.json").unlink()
    assert replay(place, out, "one", "two") == 0
    assert told_speed(capsys.readouterr().out)[:2] == [
        pytest.approx(seconds["one"], abs=0.06),
        FRAMES,
    ], "what was kept took no time"
    assert replay(place, out, "one", "two") == 0
    assert "real time" not in capsys.readouterr().out


def told_speed(text: str) -> list[float]:
    """Return seconds of recordings, frames, seconds waited, times real time, frames a second."""
    (line,) = [line for line in text.splitlines() if "times real time" in line]
    return [float(number) for number in re.findall(r"[\d.]+\d|\d", line)]


def test_results_without_their_end_are_made_again(place, tmp_path, capsys):
    out = tmp_path / "out"
    assert replay(place, out, "two") == 0
    (out / "two/summary.json").unlink()
    (out / ".partial/two").mkdir(parents=True)
    (out / ".partial/two/frames.jsonl").write_text("half a li")
    assert replay(place, out, "two") == 0
    assert "1 replayed, 0 kept" in capsys.readouterr().out
    assert (out / "two/summary.json").is_file()
    assert not (out / ".partial").exists()


def test_an_interrupted_run_goes_on_where_it_stopped(place, tmp_path, monkeypatch, capsys):
    out, run_task = tmp_path / "out", fleet.run_task

    def interrupted(plan, runner, task):
        if task.name == "two":
            raise KeyboardInterrupt
        return run_task(plan, runner, task)

    monkeypatch.setattr(fleet, "run_task", interrupted)
    assert replay(place, out, "one", "two") == 130
    assert not (out / "two").exists()
    monkeypatch.undo()
    capsys.readouterr()
    assert replay(place, out, "one", "two") == 0
    assert "1 replayed, 1 kept, 0 failed" in capsys.readouterr().out


@pytest.mark.parametrize("workers", [1, 2])
def test_a_recording_that_cannot_be_read_does_not_stop_the_others(place, tmp_path, capsys, workers):
    broken = copy(place / "one", tmp_path / "broken")
    (data,) = broken.glob("*.mcap")
    data.write_bytes(data.read_bytes()[:2000])
    out, more = tmp_path / "out", ("--workers", workers)
    assert replay(place, out, broken, "two", tmp_path / "none", more=more) == 1
    told = capsys.readouterr()
    assert "1 replayed, 0 kept, 2 failed" in told.out
    assert "failed: broken: the bag" in told.err
    assert "failed: none: there is no bag" in told.err
    assert list(json.loads((out / "figures.json").read_text())["drives"]) == ["two"]
    assert set(json.loads((out / "failed.json").read_text())) == {"broken", "none"}
    assert not (out / "broken").exists()
    assert replay(place, out, "two") == 0
    assert not (out / "failed.json").exists()


def test_a_recording_that_fails_leaves_no_old_results(place, tmp_path, capsys):
    out, bag = tmp_path / "out", copy(place / "two", tmp_path / "bag")
    assert replay(place, out, bag) == 0
    (data,) = bag.glob("*.mcap")
    data.write_bytes(data.read_bytes()[:2000])
    assert replay(place, out, bag) == 1
    assert not (out / "bag").exists()


def test_results_of_other_recordings_are_not_mixed_in(place, tmp_path, capsys):
    assert replay(place, tmp_path, "one") == 0
    assert replay(place, tmp_path, "two") == 2
    assert "holds results of other recordings (one)" in capsys.readouterr().err
    assert replay(place, place, "one") == 2, "folders of something else are not touched"
    assert (place / "one/metadata.yaml").is_file()


def test_truth_beside_the_recordings_is_the_same_truth(place, done, tmp_path):
    expected = json.loads((done / "figures.json").read_text())["truth"]["metrics"]
    for beside in ("root", "one", "."):
        bags = tmp_path / beside.replace(".", "bags") / "one"
        copy(place / "one", bags, without=("ground_truth",))
        out = bags.parent / "out"
        assert replay(place, out, bags, more=("--truth", place / beside)) == 0
        metrics = json.loads((out / "figures.json").read_text())["truth"]["metrics"]
        assert metrics["samples"] == expected["samples"]
        assert metrics["found"] == expected["found"]
        if beside != "root":  # which knows returns of radars and attributes too
            assert metrics == expected


def test_truth_that_does_not_fit_is_an_error_of_the_recording(place, tmp_path, capsys):
    assert replay(place, tmp_path / "a", "one", more=("--truth", tmp_path)) == 1
    assert "is no nuScenes folder (v1.0-*), no bag, and holds no bag 'one'" in (
        capsys.readouterr().err
    )
    assert replay(place, tmp_path / "b", "one", more=("--truth", place / "two")) == 1
    assert "has no true boxes on /ground_truth/boxes" in capsys.readouterr().err


def test_a_loop_is_told_where_the_truth_is_looked_for_and_replayed_where_it_is_not(
    place, tmp_path, capsys
):
    with open_bag(place / "one") as bag, BagWriter(tmp_path / "loop") as out:
        messages = list(bag.messages())
        length_ns = messages[-1].stamp_ns - messages[0].stamp_ns + 100_000_000
        for repeat in range(2):
            for message in messages:
                log_ns = message.stamp_ns + repeat * length_ns
                out.write(message.topic, message.type_name, log_ns, message.cdr)
    assert replay(place, tmp_path / "a", tmp_path / "loop") == 1
    assert "time goes back in its poses" in capsys.readouterr().err
    more = ("--truth-topic", "")
    assert replay(place, tmp_path / "b", tmp_path / "loop", more=more) == 0
    assert "2 replayed" not in capsys.readouterr().out
    assert len((tmp_path / "b/loop/frames.jsonl").read_text().splitlines()) == 2 * FRAMES


def test_two_folders_are_compared_with_limits(place, done, tmp_path, capsys):
    out = tmp_path / "out"
    assert replay(place, out, "one", "two", more=("--score", 0.6)) == 0
    capsys.readouterr()
    base = ["compare", str(done), str(out), "--draws", "5"]
    assert main([*base, "--fail-if", "boxes_per_frame<-2"]) == 0
    assert "nds" in capsys.readouterr().out
    assert main([*base, "--fail-if", "boxes_per_frame<-0.5", "--fail-if", "nds>1"]) == 1
    assert "1 of 2 limits are broken" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (("--workers", 0), "--workers must be 1 or more"),
        (("--jsonl", "x"), "frames.jsonl has all"),
        (("--class", "van"), "--class takes NAME=CLASS"),
        (("--pictures-every", -1), "--pictures-every must be 0 or more"),
        (("--online", "--rate", 0), "--rate must be above 0"),
    ],
)
def test_options_that_mean_nothing_are_refused(place, tmp_path, capsys, more, what):
    assert replay(place, tmp_path / "out", "one", more=more) == 2
    assert what in capsys.readouterr().err


@pytest.mark.parametrize("more", [("--workers", "2"), ("--truth", "x"), ("--online",)])
def test_options_of_reports_need_one(place, capsys, more):
    assert main(["replay", str(place / "one"), *more]) == 2
    assert f"{more[0]} needs --report FOLDER" in capsys.readouterr().err


def test_a_recording_cannot_have_a_name_that_the_report_needs(place, tmp_path, capsys):
    bag = copy(place / "two", tmp_path / "online")
    assert replay(place, tmp_path / "out", bag) == 2
    assert "cannot be called 'online'" in capsys.readouterr().err


def test_one_replay_at_a_time_writes_into_a_folder(place, tmp_path, capsys):
    with fleet._folder_in_hand(tmp_path):
        assert replay(place, tmp_path, "one") == 2
    assert "another replay writes into" in capsys.readouterr().err


def test_threads_are_shared_out_among_workers(place, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4), raising=False)
    values = dict(read_settings(None, {"model.threads": 3}).values)
    plan = ReplayPlan(output=tmp_path, values=values)
    assert [threads_of(plan, workers) for workers in (1, 2, 4, 9)] == [3, 2, 1, 1]


def test_a_model_that_cannot_be_opened_ends_the_run_in_words(place, tmp_path, monkeypatch, capsys):
    def refused(*_):
        raise ImkdError("no such provider")

    monkeypatch.setattr("imkd_core.cli.replaying.offline.Replay", refused)
    assert replay(place, tmp_path / "out", "one") == 2
    assert "no such provider" in capsys.readouterr().err
