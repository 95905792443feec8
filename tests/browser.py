"""A page in a real browser (Chromium), driven over its DevTools protocol: asked with JavaScript, and worked with keys."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

BROWSER: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: Keys by name: the code that browsers know them by, and the text that they write.
_KEYS: Final = {"Tab": (9, ""), "Enter": (13, "\r"), " ": (32, " "), "ArrowRight": (39, "")}


class Page:
    """An open page."""

    def __init__(self, asks: int, answers: int) -> None:
        self._asks, self._answers = os.fdopen(asks, "wb"), os.fdopen(answers, "rb")
        self._rest, self._number, self._session = b"", 0, {}

    def open(self, address: str, before: str) -> None:
        """Open an address; the script `before` runs before all others."""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        self._ask("Page.enable")
        self._ask("Page.addScriptToEvaluateOnNewDocument", source=before)
        self._ask("Page.navigate", url=address)
        while self._next().get("method") != "Page.loadEventFired":
            pass

    def value(self, script: str) -> Any:
        """What an expression comes to."""
        found = self._ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key: str, times: int = 1) -> None:
        """Press a key as a user would: the browser does what it does for users."""
        code, text = _KEYS[key]
        for kind in ("keyDown", "keyUp") * times:
            self._ask("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, text=text)

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        asked = {"id": self._number, "method": method, "params": params, **self._session}
        self._asks.write(json.dumps(asked).encode() + b"\0")
        self._asks.flush()
        while (answer := self._next()).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        """The next answer or event."""
        while b"\0" not in self._rest:
            read = self._answers.read1(1 << 16)
            assert read, "the browser has ended"
            self._rest += read
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


@contextmanager
def opened(file: Path, *, before: str = "") -> Iterator[Page]:
    """A file in a browser of its own."""
    asks, my_asks = os.pipe()
    my_answers, answers = os.pipe()
    command = (
        f'exec "$0" --headless --no-sandbox --disable-gpu --remote-debugging-pipe --user-data-dir="$1" 3<&{asks} 4>&{answers}'
    )
    place = str(file.parent / "profile")
    browser = subprocess.Popen(
        ["bash", "-c", command, str(BROWSER), place],
        pass_fds=(asks, answers),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(asks)
    os.close(answers)
    page = Page(my_asks, my_answers)
    try:
        page.open(file.as_uri(), before)
        yield page
    finally:
        browser.terminate()
        browser.wait()
