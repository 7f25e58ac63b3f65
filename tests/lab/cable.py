"""A TCP connection to an API server that a test can cut and mend, as if a network failed."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import yaml


class Cable:
    """Listens on a port of its own. While it is cut, connections are refused, and open ones end."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listening: socket.socket | None = None
        self.port = 0
        self.mend()

    @property
    def is_cut(self) -> bool:
        return self._listening is None

    def mend(self) -> None:
        if self._listening is None:
            self._listening = socket.create_server(("127.0.0.1", self.port))
            self.port = self._listening.getsockname()[1]
            threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def cut(self) -> None:
        listening, self._listening = self._listening, None
        with self._lock:
            ended, self._open = self._open, set()
        for one in filter(None, (listening, *ended)):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the listening socket is closed
            while True:
                near, _address = listening.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                with self._lock:
                    self._open |= {near, far}
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=(one, other), daemon=True).start()

    def _copy(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._open -= {one, other}
        one.close()


@contextlib.contextmanager
def cable(to: int) -> Iterator[Cable]:
    """A cable that is cut in the end."""
    made = Cable(to)
    try:
        yield made
    finally:
        made.cut()


@contextlib.contextmanager
def cabled(kubeconfig: Path, directory: Path) -> Iterator[tuple[Cable, Path]]:
    """A cable to an API server, and a kubeconfig that goes through it."""
    config = yaml.safe_load(kubeconfig.read_text())
    entry = config["clusters"][0]["cluster"]
    with cable(urlsplit(entry["server"]).port or 443) as made:
        entry["server"] = f"https://127.0.0.1:{made.port}"
        through = directory / "member.yaml"
        through.write_text(yaml.safe_dump(config))
        yield made, through
