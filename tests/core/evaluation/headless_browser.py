# SPDX-License-Identifier: Apache-2.0
"""A real browser without a screen, driven over a pipe by the DevTools protocol."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

#: Names under which Chromium and its kin are installed.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

_OPTIONS = (
    "--headless",
    "--disable-gpu",
    "--no-sandbox",  # a container's root has none; the pages are our own
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-extensions",
    "--remote-debugging-pipe",
)
_PATIENCE_S = 60.0
_KEYS = {"ArrowRight": 39, "ArrowLeft": 37, " ": 32}


def browser_path() -> str | None:
    """Return the browser of this machine; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page of a browser; a context manager.

    Attributes:
        complaints: what the console, the page's scripts and its policy complained of.
        requests: addresses that pages asked for.
    """

    def __init__(self, width_px: int = 1366, height_px: int = 900) -> None:
        self.complaints, self.requests, self._answers = [], [], {}
        self._size, self._number, self._loads, self._session = (width_px, height_px), 0, 0, None
        self._profile = tempfile.mkdtemp(prefix="browser-")
        self._process = self._file = None

    def __enter__(self) -> "Browser":
        to_browser, from_browser = os.pipe(), os.pipe()
        # Out of the way of 3 and 4, which the browser reads from and writes to.
        reads, writes = (
            fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (to_browser[0], from_browser[1])
        )
        command = [browser_path(), *_OPTIONS, f"--user-data-dir={self._profile}"]
        command.append(f"--window-size={self._size[0]},{self._size[1]}")
        self._process = subprocess.Popen(
            [*command, "about:blank"],
            close_fds=False,
            preexec_fn=lambda: (os.dup2(reads, 3), os.dup2(writes, 4)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for fd in (reads, writes, to_browser[0], from_browser[1]):
            os.close(fd)
        self._write, self._read, self._rest = to_browser[1], from_browser[0], b""
        os.set_blocking(self._read, False)
        try:
            targets = self.call("Target.getTargets")["targetInfos"]
            page = next(one["targetId"] for one in targets if one["type"] == "page")
            attached = self.call("Target.attachToTarget", targetId=page, flatten=True)
            self._session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._write)  # the browser ends when its pipe does
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, path: Path, fragment: str = "") -> None:
        """Load a file and wait until its pictures are there."""
        loads = self._loads
        answer = self.call("Page.navigate", url=path.resolve().as_uri() + fragment)
        if "loaderId" in answer:  # else the page is there already, and only the fragment is new
            self._until(lambda: self._loads > loads)

    def value(self, expression: str) -> object:
        """Return what a script's expression gives."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until an expression is true."""
        self._until(lambda: self.value(expression))

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press and release a key."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                windowsVirtualKeyCode=_KEYS[key],
                modifiers=8 if shift else 0,
            )

    def click(self, selector: str, part: float = 0.5) -> None:
        """Click on an element, at a part of its width."""
        box = self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const b = e.getClientRects()[0];"
            "return [b.left, b.top, b.width, b.height]; })()"
        )
        x, y = box[0] + part * box[2], box[1] + box[3] / 2
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def style(self, *, dark: bool = False, media: str = "") -> None:
        """Show pages as with a dark setting, or as on paper (media "print")."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def picture(self, path: Path) -> None:
        """Write the whole page as PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def call(self, method: str, **parameters: object) -> dict:
        """Call a method of the protocol; return its result."""
        self._number += 1
        number = self._number
        request = {"id": number, "method": method, "params": parameters}
        if self._session:
            request["sessionId"] = self._session
        data = json.dumps(request).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        self._until(lambda: number in self._answers, idle_s=0.002)
        answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _until(self, is_done, idle_s: float = 0.02) -> None:
        end_s = time.monotonic() + _PATIENCE_S
        while not is_done():
            assert time.monotonic() < end_s, "the browser took too long"
            assert self._process.poll() is None, "the browser ended by itself"
            self._receive()
            time.sleep(idle_s)

    def _receive(self) -> None:
        """Keep the answers and note the events that the browser sent since."""
        while True:
            try:
                part = os.read(self._read, 1 << 20)
            except BlockingIOError:
                break
            if not part:
                break
            self._rest += part
        *whole, self._rest = self._rest.split(b"\0")
        for message in map(json.loads, whole):
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self._note(message["method"], message["params"])

    def _note(self, method: str, event: dict) -> None:
        if method == "Page.loadEventFired":
            self._loads += 1
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(event["exceptionDetails"]["text"])
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning"):
            self.complaints.append(str(event["args"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] in ("error", "warning"):
            self.complaints.append(event["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])
