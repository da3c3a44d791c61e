# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from imkd_core.evaluation.replay_report import write_replay_report
from tests.core.evaluation.headless_browser import NAMES, Browser, browser_path
from tests.core.evaluation.made_up_replay import FRAMES, stamp_ns, write_replay

pytestmark = pytest.mark.skipif(
    browser_path() is None, reason=f"no browser on this machine (looked for {', '.join(NAMES)})"
)

SHOWN = "Number(document.getElementById('slider').value)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay")
    write_replay(folder / "mon day #1")
    write_replay(folder / "tuesday", faulty=False, every=4)
    write_replay(folder / "seldom", every=4)
    write_replay_report(folder)
    return folder


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


@pytest.fixture
def page(browser, folder):
    """A page of the recording with faults; nothing may be complained of, nor fetched elsewhere."""
    browser.complaints.clear()
    browser.requests.clear()
    browser.open(folder / "mon day #1" / "report.html")
    yield browser
    assert browser.complaints == []
    assert all(address.startswith(folder.as_uri()) for address in browser.requests)


def shown_picture(browser, kind: str = "mosaic") -> str:
    image = f"document.getElementById('shot-{kind}')"
    browser.wait_for(f"{image}.complete && {image}.naturalWidth > 0")
    return browser.value(f"decodeURI({image}.src).split('/').pop()")


def test_the_slider_changes_frame_picture_and_words(page):
    assert shown_picture(page) == f"{stamp_ns(0)}_mosaic.jpg"
    page.value(
        "(() => { const s = document.getElementById('slider'); s.value = 15;"
        "s.dispatchEvent(new Event('input')); })()"
    )
    for kind in ("mosaic", "bev", "icam"):
        assert shown_picture(page, kind) == f"{stamp_ns(15)}_{kind}.jpg"
    said = page.value("document.getElementById('says').textContent")
    assert "level: degraded" in said
    assert "missing, silent: CAM_FRONT_LEFT, CAM_FRONT, CAM_FRONT_RIGHT" in said
    assert "3 boxes: 3 car" in said
    assert page.value("document.getElementById('clock').textContent") == "1.50 s"


def test_the_row_of_a_fault_jumps_to_its_first_frame(page):
    rows = page.value("[...document.querySelectorAll('tr[data-first]')].map(r => r.innerText)")
    assert len(rows) == 3
    assert "CAM_BACK" in rows[1]
    assert "frozen" in rows[1]
    assert "all 2 radars" in rows[2]
    for number, first in ((3, 45), (2, 30), (1, 10)):
        page.click(f"tr[data-first]:nth-child({number}) button")
        assert page.value(SHOWN) == first
        assert shown_picture(page) == f"{stamp_ns(first)}_mosaic.jpg"
        assert page.value("document.querySelector('tr.now').dataset.first") == str(first)


def test_a_click_on_the_timeline_goes_to_its_time(page):
    page.click("#lines .row:nth-child(5) .track", part=0.75)
    assert page.value(SHOWN) == pytest.approx(0.75 * FRAMES, abs=1)
    cursor = page.value("parseFloat(document.getElementById('cursor').style.left)")
    assert cursor == pytest.approx(75, abs=2)


def test_keys_go_one_frame_or_ten_and_stop_at_the_ends(page):
    page.press("ArrowRight")
    page.press("ArrowRight", shift=True)
    assert page.value(SHOWN) == 11
    page.press("ArrowLeft")
    assert page.value(SHOWN) == 10
    page.press("ArrowLeft", shift=True)
    page.press("ArrowLeft", shift=True)
    assert page.value(SHOWN) == 0


def test_play_goes_on_by_itself_until_it_is_stopped(page):
    page.press(" ")
    page.wait_for(f"{SHOWN} >= 3")
    assert page.value("document.getElementById('play').textContent") == "Pause"
    page.press(" ")
    stopped = page.value(SHOWN)
    page.value("new Promise(done => setTimeout(done, 300))")
    assert page.value(SHOWN) == stopped


def test_a_frame_without_a_picture_shows_the_one_before_and_says_so(page, folder):
    page.open(folder / "tuesday" / "report.html", "#frame=8")
    assert page.value(SHOWN) == 7
    assert shown_picture(page) == f"{stamp_ns(4)}_mosaic.jpg"
    assert "0.30 s earlier" in page.value("document.getElementById('when-mosaic').textContent")
    assert "nothing went wrong" in page.value("document.body.innerText")


def test_an_address_can_name_a_frame(page, folder):
    for number in (31, 999, 2):
        page.open(folder / "mon day #1" / "report.html", f"#frame={number}")
        page.wait_for(f"{SHOWN} === {min(number, FRAMES) - 1}")


def test_a_picture_from_before_a_loss_is_marked(page, folder):
    page.open(folder / "seldom" / "report.html", "#frame=11")
    assert shown_picture(page) == f"{stamp_ns(8)}_mosaic.jpg"
    assert "other sensors" in page.value("document.getElementById('when-mosaic').textContent")
    page.press("ArrowLeft")
    assert "other sensors" not in page.value("document.getElementById('when-mosaic').textContent")


def test_the_fleet_links_to_the_worst_recording_first(page, folder):
    page.open(folder / "index.html")
    names = page.value("[...document.querySelectorAll('tbody a')].map(a => a.textContent)")
    assert names == ["mon day #1", "seldom", "tuesday"]
    page.click("tbody a")
    page.wait_for("document.title.startsWith('mon day #1')")


@pytest.mark.parametrize("dark", [False, True])
def test_words_stand_out_from_their_ground(page, folder, dark):
    page.style(dark=dark)
    try:
        for name in ("index.html", "mon day #1/report.html"):
            page.open(folder / name)
            assert np.min(contrasts(page)) >= 4.5
    finally:
        page.style()


def contrasts(page) -> list[float]:
    """Return the ratio of luminances of every text and its ground."""
    return page.value("""(() => {
      const light = (c) => c.slice(0, 3).map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
      const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
      const ground = (e) => {
        for (; e; e = e.parentElement) {
          const c = parse(getComputedStyle(e).backgroundColor);
          if (c.length === 3 || c[3] > 0.99) { return c; }
        }
        return [255, 255, 255];
      };
      const texts = [...document.querySelectorAll('body *')].filter(e =>
        [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) &&
        e.getClientRects().length && !['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(e.tagName));
      return texts.map(e => {
        const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      });
    })()""")


def test_a_page_fits_a_laptop_and_a_phone(page, folder):
    for width in (1366, 400):
        page.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=768,
            deviceScaleFactor=1,
            mobile=False,
        )
        for name in ("index.html", "mon day #1/report.html"):
            page.open(folder / name)
            assert page.value("document.documentElement.scrollWidth") <= width
    page.call("Emulation.clearDeviceMetricsOverride")
