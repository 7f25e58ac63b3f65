"""A misbehaving API server: a proxy in front of a real one that spoils the answers it is told to."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import urllib3

from .tls import self_signed

HANG = 30  # seconds a hanging request is held at most, should the client not give up


MEBI = 1024 * 1024


def _bomb() -> bytes:
    """An empty list with 256 MiB of spaces around it, in a thousandth of that."""
    packer = zlib.compressobj(wbits=31)
    packed = [packer.compress(b" " * MEBI) for _number in range(256)]
    return b"".join(
        [*packed, packer.compress(b'{"apiVersion":"v1","kind":"ConfigMapList","items":[]}'), packer.flush()]
    )


class Faults:
    """What the proxy does to the next requests, and what it has seen."""

    def __init__(self) -> None:
        self.fault: str | None = None
        self.left = 0
        self.seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.released = threading.Event()

    def spoil(self, fault: str, times: int) -> None:
        """
        The next `times` requests meet the fault: a status code, `reset`, `cut`, `hang`, `drip` (byte by byte, without
        an end), `flood` (as fast as it goes, without an end), `bomb` (compressed, though nobody asked for that),
        `nonsense` (which is no object of Kubernetes), or `lost` (after commit).
        """
        with self._lock:
            self.fault, self.left = fault, times
            self.seen.clear()
            self.released.clear()

    def next(self, method: str) -> str | None:
        with self._lock:
            self.seen[method] += 1
            if self.left <= 0:
                return None
            self.left -= 1
            return self.fault


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faults: Faults
    backend: urllib3.PoolManager
    server_url: str

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.faults.next(self.command)
        if fault == "hang":
            self.faults.released.wait(HANG)
        if fault in ("reset", "hang"):
            self._reset()
        elif fault == "drip":
            self._drip()
        elif fault == "flood":
            self._flood()
        elif fault == "bomb":
            self._answer(200, _bomb(), encoding="gzip")
        elif fault == "nonsense":
            self._answer(
                200, b'{"apiVersion":"v1","kind":"List","metadata":7,"items":[{"metadata":{"labels":3}},null,"x"]}'
            )
        elif fault and fault.isdigit():
            self._answer(int(fault), b'{"kind":"Status","message":"spoilt"}')
        else:
            self._forward(body, fault)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _handle

    def _forward(self, body: bytes, fault: str | None) -> None:
        headers = {name: self.headers[name] for name in ("Authorization", "Content-Type") if name in self.headers}
        answer = self.backend.request(
            self.command,
            self.server_url + self.path,
            body=body or None,
            headers=headers,
            retries=False,
            preload_content="watch=" not in self.path,
        )
        if "watch=" in self.path:
            self._stream(answer, fault)
        elif fault == "lost":
            self._reset()
        elif fault == "cut":
            self._answer(answer.status, answer.data[: len(answer.data) // 2], length=len(answer.data))
            self.close_connection = True
        else:
            self._answer(answer.status, answer.data)

    def _answer(self, status: int, body: bytes, length: int | None = None, encoding: str = "") -> None:
        self.send_response(status)
        if encoding:
            self.send_header("Content-Encoding", encoding)
        if status in (429, 503):
            self.send_header("Retry-After", "0" if status == 503 else "1")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _drip(self) -> None:
        """So that no time-out between two bytes is ever reached."""
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.close_connection = True
        with suppress(OSError):
            while not self.faults.released.wait(0.3):
                self.wfile.write(b" ")

    def _flood(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        piece = b"%x\r\n%s\r\n" % (MEBI, b" " * MEBI)
        with suppress(OSError):
            while not self.faults.released.is_set():
                self.wfile.write(piece)

    def _stream(self, answer: Any, fault: str | None) -> None:
        """A watch: every event as it comes; a cut one ends in the middle of its first."""
        self.send_response(answer.status)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        with answer, suppress(OSError):
            for chunk in answer.stream():
                sent = chunk[: len(chunk) // 2] if fault == "cut" else chunk
                self.wfile.write(b"%x\r\n%s\r\n" % (len(sent), sent))
                if fault == "cut":
                    return
            self.wfile.write(b"0\r\n\r\n")

    def _reset(self) -> None:
        """Close with an RST, as a crashed host or a firewall does."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with suppress(OSError):
            self.connection.close()

    def log_message(self, *_args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_args: Any) -> None:
        """Connections that the client gave up, or that were reset on purpose."""


@contextmanager
def proxy(directory: Path, server_url: str, ca_data: str) -> Iterator[tuple[str, Path, Faults]]:
    """The proxy's address, the certificate it is to be trusted by, and its controls."""
    faults = Faults()
    backend = urllib3.PoolManager(maxsize=16, ssl_context=ssl.create_default_context(cadata=ca_data or None))
    backend.connection_pool_kw["ssl_context"].verify_flags &= ~ssl.VERIFY_X509_STRICT
    handler = type("Handler", (_Handler,), {"faults": faults, "backend": backend, "server_url": server_url})
    certificate, key = self_signed(directory)
    server = _Server(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}", certificate, faults
    finally:
        faults.released.set()
        server.shutdown()
        server.server_close()
