"""The API servers of the scenarios that need no nodes: `python -m tests.molecule.servers start|stop DIRECTORY`."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from ..lab.harness import ApiServer

NAMES = ("hub", "member")


def start(directory: Path) -> None:
    """Start them and leave them running, each with its id in a file."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: _start(directory / name), NAMES))


def _start(directory: Path) -> None:
    directory.mkdir(parents=True)
    server = ApiServer(directory)
    server.start()
    assert server.process
    (directory / "pid").write_text(str(server.process.pid))


def stop(directory: Path) -> None:
    """End them and remove the directory."""
    for file in directory.glob("*/pid"):
        process = int(file.read_text())
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)
            while Path(f"/proc/{process}/exe").exists():  # of no child of this process: there is nothing to wait for
                time.sleep(0.1)
    shutil.rmtree(directory)


if __name__ == "__main__":
    {"start": start, "stop": stop}[sys.argv[1]](Path(sys.argv[2]))
