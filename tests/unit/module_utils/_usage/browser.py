"""A headless Chromium, by its DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

BINARY = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WHY_NOT = "there is no Chromium on PATH: apt-get install chromium"


class Tab:
    """One page of the browser."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=60, suppress_origin=True)
        self._numbers = itertools.count(1)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def run(self, script: str) -> Any:
        """Evaluate an expression, or wait for the promise that it is."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def open(
        self, path: Path, width: int = 1440, height: int = 900, *, dark: bool = False, scripts: bool = True
    ) -> float:
        """Open a file, and return the seconds until it is painted."""
        phone = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        started = time.monotonic()
        self.call("Page.navigate", url=path.as_uri())
        while self.run("document.readyState") != "complete":
            time.sleep(0.01)
        if scripts:
            self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return time.monotonic() - started

    def picture(self, path: Path, *, whole: bool = False) -> None:
        found = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def browser(directory: Path) -> Iterator[Tab]:
    """Start a browser and open a tab."""
    assert BINARY, WHY_NOT
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-allow-origins=*"]
    where = ["--remote-debugging-port=0", f"--user-data-dir={directory}", "about:blank"]
    with subprocess.Popen([BINARY, *options, *where], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            port_file, end = directory / "DevToolsActivePort", time.monotonic() + 60
            while not port_file.exists() or not port_file.read_text().count("\n"):
                assert time.monotonic() < end, "the browser does not start"
                time.sleep(0.05)
            port = port_file.read_text().splitlines()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
                tabs = json.load(answer)
            yield Tab(*[one["webSocketDebuggerUrl"] for one in tabs if one["type"] == "page"][:1])
        finally:
            process.kill()
