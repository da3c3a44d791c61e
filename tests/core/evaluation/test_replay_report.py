# SPDX-License-Identifier: Apache-2.0
import base64
import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.errors import DataError
from imkd_core.evaluation.replay_report import INDEX, render_bag, render_fleet, write_replay_report
from imkd_core.evaluation.replay_report_files import (
    ClassCurve,
    FaultSeen,
    ReplayedBag,
    ReplayedFrame,
    read_bag,
)
from imkd_core.evaluation.replay_report_page import (
    PAGE,
    bag_page,
    latencies,
    precision_chart,
    script_data,
    ticks,
    worst_first,
)
from tests.core.evaluation.made_up_replay import FRAMES, RADARS, stamp_ns, write_replay
from tests.core.evaluation.test_report import Page

EVIL = "</script><script>alert(1)</script>\"'&"


class Whole(Page):
    """As in the other reports' tests; the script is no text."""

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.words.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay")
    write_replay(folder / "calm", faulty=False, figures={"nds": 0.5})
    write_replay(folder / "faulty")
    return folder


def test_a_folder_of_replays_gets_a_page_each_and_one_of_all(folder):
    index = write_replay_report(folder)
    assert index == folder / INDEX
    text = Whole(index.read_text()).text
    assert text.index("faulty") < text.index("calm")
    for words in ("120", "all 2 radars silent", "frozen", "camera only"):
        assert words in text
    for name in ("calm", "faulty"):
        assert (folder / name / PAGE).is_file()
        assert f'href="{name}/{PAGE}"' in index.read_text()


def test_the_page_says_what_broke_when_and_what_to_do(folder):
    text = Whole(render_bag(bag_page(read_bag(folder / "faulty")))).text
    for words in (
        "3 things went wrong",
        "1.0 s 1.0 s CAM_FRONT_LEFT, CAM_FRONT, CAM_FRONT_RIGHT",
        "missing: silent",
        "3.0 s 0.6 s CAM_BACK missing: frozen degraded 6.0 → 3.0 start its driver again",
        "4.5 s 1.0 s all 2 radars",
        "its messages ceased",
        "preprocess 4.0 ms 4.0 ms",
        "flicker 0.125",
        "yaw flips \N{EN DASH}",
        "There was no truth",
        "CAM_BACK late 7",
        "/camera could not be decoded 2",
        "a <model>",
        "No licence was given",
    ):
        assert words in text, words


def test_pages_load_nothing_from_elsewhere_and_run_only_their_own_script(folder):
    html = render_bag(bag_page(read_bag(folder / "faulty")))
    for page in (html, render_fleet([bag_page(read_bag(folder / "calm"))])):
        assert not re.search(r"https?:|//[a-z]|url\(", page)
        assert "default-src 'none'" in page
    (allowed,) = re.findall(r"script-src 'sha256-([^']+)'", html)
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() == allowed
    assert all(
        image["src"].startswith("pictures/") and "/" not in image["src"].removeprefix("pictures/")
        for image in Whole(html).images
    )


def test_markup_in_any_text_is_shown_and_not_obeyed(folder):
    frame = ReplayedFrame(
        stamp_ns=stamp_ns(0),
        level=EVIL,
        outcome=EVIL,
        classes=(EVIL,),
        missing={EVIL: EVIL},
        faults=(FaultSeen(sensor=EVIL + "2", fault=EVIL, remedy=EVIL),),
        stage_ms={EVIL: 1.0},
    )
    summary = {
        "mode": EVIL,
        "cameras": [EVIL],
        "figures": {"flicker": 1.0},
        "dropped": {EVIL: {EVIL: 1}},
        "unreadable": {EVIL: 1},
        "about": {EVIL: EVIL},
        "data_notice": EVIL,
    }
    curve = ClassCurve(class_name=EVIL, ap=0.5, truth=1, at_m={0.5: (1.0, 0.5)})
    bag = ReplayedBag(
        folder=folder / "x", name=EVIL, frames=(frame,), summary=summary, curves=(curve,)
    )
    page = bag_page(bag)
    for html, scripts in ((render_bag(page), 2), (render_fleet([page]), 0)):
        shown = Whole(html)
        assert shown.tags.count("script") == scripts
        assert "<script>alert(1)</script>" in shown.text
    (data,) = re.findall(r'id="data">(.*?)</script>', render_bag(page), re.DOTALL)
    assert EVIL in json.loads(data)["texts"]


def test_a_recording_without_frames_files_or_figures_has_a_page(tmp_path):
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / "frames.jsonl").write_text("")
    write_replay_report(tmp_path)
    text = Whole((tmp_path / "nothing" / PAGE).read_text()).text
    for words in (
        "There are no frames",
        "Every sensor was used",
        "Latency was not measured",
        "How steady the boxes are was not measured",
        "Nothing was told of",
    ):
        assert words in text, words
    with pytest.raises(DataError, match="holds no replayed recording"):
        write_replay_report(tmp_path / "nothing")


def test_recordings_that_failed_are_told_before_the_others(tmp_path):
    write_replay(tmp_path / "monday", faulty=False)
    write_replay_report(tmp_path)
    assert "Without a result" not in (tmp_path / INDEX).read_text()
    (tmp_path / "failed.json").write_text('{"tuesday": "the bag is <damaged>"}')
    text = Whole(write_replay_report(tmp_path).read_text()).text
    assert text.index("tuesday the bag is <damaged>") < text.index("monday")
    (tmp_path / "failed.json").write_text("[]")
    with pytest.raises(DataError, match="no mapping"):
        write_replay_report(tmp_path)


def test_curves_are_drawn_where_there_was_truth(folder):
    curve = ClassCurve(
        class_name="traffic_cone", ap=0.25, truth=7, at_m={0.5: (1.0, 0.0), 4.0: (1.0, 1.0)}
    )
    chart = precision_chart(curve)
    assert (chart.title, chart.note) == ("traffic cone", "AP 0.250, 7 true boxes")
    assert [one.name for one in chart.lines] == ["0.5 m", "4 m"]
    bag = replace(read_bag(folder / "calm"), curves=(curve,))
    text = Whole(render_bag(bag_page(bag))).text
    assert "AP 0.250, 7 true boxes" in text
    assert "NDS 0.500 As in the nuScenes detection task" in text


def test_the_script_knows_every_frame_and_says_each_text_once(folder):
    page = bag_page(read_bag(folder / "faulty"))
    data = script_data(page)
    assert len(data["texts"]) == len(set(data["texts"]))
    assert [frame[0] for frame in data["frames"]] == [str(stamp_ns(i)) for i in range(FRAMES)]
    _, time_s, level, outcome, classes, missing, faults, kinds, spent_ms = data["frames"][50]
    texts = data["texts"]
    assert (texts[level], texts[outcome], time_s) == ("camera_only", "answered", 5.0)
    assert [(texts[name], n) for name, n in classes] == [("car", 3)]
    assert [texts[name] for name, _ in missing] == list(RADARS)
    assert faults == []
    assert [data["kinds"][kind] for kind in kinds] == ["bev", "icam", "mosaic"]
    assert spent_ms == pytest.approx(34 + 50 % 7)


def test_recordings_stand_worst_first(folder):
    calm, faulty = (bag_page(read_bag(folder / name)) for name in ("calm", "faulty"))
    frames = calm.bag.frames
    mute = bag_page(
        replace(calm.bag, frames=(*frames[:-1], replace(frames[-1], outcome="not answered: x")))
    )
    poor = replace(calm, bag=replace(calm.bag, summary={"figures": {"nds": 0.1}}))
    assert worst_first([calm, poor, faulty, mute]) == [mute, faulty, poor, calm]


def test_latency_is_told_stage_by_stage_and_of_the_whole():
    spent = [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 2.0}, {"a": 2.0}]
    assert [(one.stage, one.p50_ms) for one in latencies(spent)] == [
        ("a", 2.0),
        ("b", 2.0),
        ("total", 3.0),
    ]
    assert latencies([{"a": 1.0, "total": 9.0}])[-1].p50_ms == 9.0
    assert latencies([]) == ()


@given(st.floats(0.01, 1e6))
def test_ticks_are_some_ten_round_times_within_the_recording(duration_s):
    found = ticks(duration_s)
    assert 4 <= len(found) <= 12
    assert found[0] == 0.0
    assert found[-1] <= duration_s * (1 + 1e-6)
    assert np.allclose(np.diff(found), found[1])
