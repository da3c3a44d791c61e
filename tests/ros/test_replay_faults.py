# SPDX-License-Identifier: Apache-2.0
"""`imkd replay --report` on a made-up drive with faults: a stranger finds what broke, and when."""

import html
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from imkd_core.__main__ import main
from imkd_core.data.bags.bag_writer import BagWriter
from imkd_core.data.bags.nuscenes_to_bag import SceneOptions, write_scene
from imkd_core.data.bags.recording import open_bag
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.evaluation.replay_report_files import read_bag
from imkd_core.evaluation.replay_report_timeline import Event, timeline
from imkd_core.health.faults import COVERED, FROZEN, REMEDIES
from imkd_core.simulation.simulate import SimulationOptions, simulate
from imkd_core.simulation.tables import VERSION
from tests.core.evaluation.headless_browser import Browser, browser_path
from tests.faults.injection import Fault, Injector
from tests.ros.tiny_bundle import write_tiny_bundle

pytestmark = pytest.mark.slow

#: How far an event may begin or end from its fault, seconds.
WITHIN_S = 0.5

#: A cover is told when it has stayed for so long, seconds.
COVER_PATIENCE_S = 1.5


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A fault that is put in, and how the report calls it."""

    fault: Fault
    state: str
    reason: str
    remedy: str
    patience_s: float = 0.0

    @property
    def sensor(self) -> str:
        return self.fault.sensors[0]


LOST = Broken(
    fault=Fault(kind="lost", sensors=("CAM_BACK",), begin_s=1.0, end_s=2.5),
    state="missing",
    reason="silent",
    remedy="look at its driver, its power and its link",
)
LATE = Broken(
    fault=Fault(kind="late", sensors=("RADAR_FRONT",), begin_s=2.0, end_s=4.0, amount=250.0),
    state="missing",
    reason="outside tolerance",
    remedy="what delays its messages",
)
STUCK = Broken(
    fault=Fault(kind="frozen", sensors=("CAM_FRONT_LEFT",), begin_s=3.0, end_s=4.5),
    state="missing",
    reason="left out: frozen",
    remedy=REMEDIES[FROZEN],
)
HIDDEN = Broken(
    fault=Fault(kind="covered", sensors=("CAM_BACK_LEFT",), begin_s=2.5, end_s=5.0, amount=100.0),
    state="suspect",
    reason="covered",
    remedy=REMEDIES[COVERED],
    patience_s=COVER_PATIENCE_S,
)
ALL = (LOST, LATE, STUCK, HIDDEN)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a tiny bundle and six seconds of a made-up drive with all the faults."""
    folder = tmp_path_factory.mktemp("faults")
    write_tiny_bundle(folder / "bundle")
    options = SimulationOptions(
        seed=9500,
        size_px=(176, 64),
        with_camera_sweeps=True,
        conditions=("clear",),
        duration_s=6.0,
    )
    (scene,) = simulate(folder / "root", 1, options)
    with BagWriter(folder / "sound") as bag:
        write_scene(NuScenes(folder / "root", VERSION), scene, bag, SceneOptions(with_sweeps=True))
    with open_bag(folder / "sound") as bag, BagWriter(folder / "drive") as out:
        injector = Injector([one.fault for one in ALL], bag.start_ns)
        for message in injector.sent(bag.messages()):
            out.write(message.topic, message.type_name, message.stamp_ns, message.cdr)
    return folder


def replay(place: Path, out: Path, *more: str) -> Path:
    """Replay the drive with faults; return the folder of its results."""
    given = ("--report", out, "--model", place / "bundle", "--truth-topic", "", *more)
    assert main(["replay", *map(str, (place / "drive", *given))]) == 0
    return out / ("online/drive" if "--online" in more else "drive")


@pytest.fixture(scope="module")
def report(place: Path) -> Path:
    return replay(place, place / "out")


def event_of(folder: Path, broken: Broken) -> Event:
    """Return the event of a sensor; there must be one."""
    (event,) = [one for one in timeline(read_bag(folder)).events if broken.sensor in one.who]
    return event


@pytest.mark.parametrize("broken", ALL, ids=lambda one: one.fault.kind)
def test_an_event_names_the_sensor_what_broke_when_and_what_to_do(report, broken):
    event = event_of(report, broken)
    assert event.who == (broken.sensor,)
    assert event.span.state == broken.state
    assert broken.reason in event.span.reason
    assert broken.remedy in event.span.remedy
    begin_s = broken.fault.begin_s + broken.patience_s
    assert event.span.start_s == pytest.approx(begin_s, abs=WITHIN_S)
    assert event.span.end_s == pytest.approx(broken.fault.end_s, abs=WITHIN_S)


def test_nothing_else_is_said_to_be_broken(report):
    assert [one.who for one in timeline(read_bag(report)).events] == [
        (broken.sensor,) for broken in (LOST, LATE, STUCK, HIDDEN)
    ]


@pytest.mark.skipif(find_spec("jinja2") is None, reason="jinja2 is not installed")
def test_the_page_says_it_in_words(report):
    page = (report / "report.html").read_text()
    text = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())
    for broken in ALL:
        assert_told(text, event_of(report, broken), broken)


@pytest.mark.skipif(browser_path() is None, reason="no browser on this machine")
def test_a_browser_shows_it_in_words(report):
    with Browser() as browser:
        browser.open(report / "report.html")
        text = browser.value("document.querySelector('table.events').innerText")
        assert browser.complaints == []
    assert isinstance(text, str)
    for broken in ALL:
        assert_told(" ".join(text.split()), event_of(report, broken), broken)


def assert_told(text: str, event: Event, broken: Broken) -> None:
    """Check that a text names an event: from when, for how long, who, how, what to do."""
    span = event.span
    times = rf"{span.start_s:.1f} s {span.end_s - span.start_s:.1f} s"
    words = (broken.sensor, span.reason, span.remedy)
    assert re.search(".*?".join([re.escape(times), *map(re.escape, words)]), text)


@pytest.mark.ros
@pytest.mark.usefixtures("ros_environment")
@pytest.mark.skipif(find_spec("rclpy") is None, reason="ROS is not installed")
def test_a_live_graph_gives_the_same_faults_with_what_to_do(place, tmp_path):
    online = replay(place, tmp_path / "out", "--online")
    for broken in (STUCK, HIDDEN):
        event = event_of(online, broken)
        assert broken.reason in event.span.reason
        assert event.span.remedy == broken.remedy
        begin_s = broken.fault.begin_s + broken.patience_s
        assert event.span.start_s == pytest.approx(begin_s, abs=2 * WITHIN_S)
        assert event.span.end_s == pytest.approx(broken.fault.end_s, abs=2 * WITHIN_S)
