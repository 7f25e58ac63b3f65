"""The mirror's process: started in the lab's network namespace, found again by its pid file."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from . import network
from .config import MIRROR_PORT, Lab
from .process import wait_for


def start(lab: Lab) -> None:
    if is_running(lab):
        return
    words = network.inside(
        lab, network.ROUTER, sys.executable, "-m", f"{__package__}.mirror",
        str(lab.dir), str(lab.mirror_address), str(MIRROR_PORT),
    )  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    with (lab.dir / "mirror.log").open("ab") as log:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )
    _pid_file(lab).write_text(str(process.pid))
    wait_for(lambda: _listens(lab), f"mirror at {lab.mirror_url} answers (log: {lab.dir / 'mirror.log'})", 20)


def stop(lab: Lab) -> None:
    if is_running(lab):
        pid = int(_pid_file(lab).read_text())
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not is_running(lab), "mirror stops", 10)
    _pid_file(lab).unlink(missing_ok=True)


def is_running(lab: Lab) -> bool:
    """Whether the process of the pid file is there and is the mirror, not another that got its number."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        pid = int(_pid_file(lab).read_text())
        return f"{__package__}.mirror" in Path(f"/proc/{pid}/cmdline").read_text()
    return False


def _pid_file(lab: Lab) -> Path:
    return lab.run / "mirror.pid"


def _listens(lab: Lab) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection((str(lab.mirror_address), MIRROR_PORT), timeout=1).close()
        return True
    return False
