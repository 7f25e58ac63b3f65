"""An API server in the test's process that has only pods: it opens websockets. And a proxy before it."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.tests.lab.tls import self_signed

NAME = "api.example.com"  # the only name in the server's certificate
STDOUT, STDERR, STATUS = 1, 2, 3
SUCCESS = {"status": "Success"}
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # of RFC 6455


class Pod:
    """The side of the pod of a websocket."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream

    def send(self, channel: int, content: bytes) -> None:
        """Send a message of up to 64 KiB."""
        message = bytes([channel]) + content
        self.stream.sendall(b"\x82\x7e" + len(message).to_bytes(2) + message)

    def end(self, **status: Any) -> None:
        """Send the exit status of the command."""
        self.send(STATUS, json.dumps(status or SUCCESS).encode())


def _headers(stream: socket.socket) -> list[str]:
    found = b""
    while not found.endswith(b"\r\n\r\n"):
        if not (piece := stream.recv(1)):
            raise OSError("the connection ended")
        found += piece
    return found.decode().split("\r\n")


@contextmanager
def _each_connection(do: Callable[[socket.socket], None]) -> Iterator[str]:
    """Yield an address whose connections are passed to `do`, each in its own thread."""
    listener = socket.create_server(("127.0.0.1", 0))

    def one(stream: socket.socket) -> None:
        with suppress(OSError), stream:
            do(stream)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)  # which ends accept(), unlike close()
        listener.close()


@contextmanager
def pod_server(directory: Path, serve: Callable[[Pod], None]) -> Iterator[dict[str, Any]]:
    """Yield the cluster entry of a kubeconfig. `serve` gets the other side of each websocket."""
    certificate, key = self_signed(directory, "192.0.2.1", NAME)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    def connected(raw: socket.socket) -> None:
        with context.wrap_socket(raw, server_side=True) as stream:
            fields = dict(line.split(": ", 1) for line in _headers(stream) if ": " in line)
            accept = base64.b64encode(hashlib.sha1((fields["Sec-WebSocket-Key"] + _GUID).encode()).digest()).decode()
            answer = {
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Accept": accept,
                "Sec-WebSocket-Protocol": fields["Sec-WebSocket-Protocol"],
            }
            lines = ["HTTP/1.1 101 Switching Protocols", *(f"{name}: {value}" for name, value in answer.items())]
            stream.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode())
            serve(Pod(stream))

    with _each_connection(connected) as address:
        yield {
            "server": f"https://{address}",
            "certificate-authority-data": base64.b64encode(certificate.read_bytes()).decode(),
            "tls-server-name": NAME,
        }


@contextmanager
def proxy(tls: tuple[Path, Path] | None = None) -> Iterator[tuple[str, list[list[str]]]]:
    """Yield the address of an HTTP proxy, and the header lines of each CONNECT. `tls` has its certificate and key."""
    seen: list[list[str]] = []

    def connected(stream: socket.socket) -> None:
        if tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*tls)
            stream = context.wrap_socket(stream, server_side=True)
        lines = _headers(stream)
        seen.append(lines)
        host, port = lines[0].split()[1].rsplit(":", 1)
        with socket.create_connection((host, int(port))) as server:
            stream.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_copy, args=(server, stream), daemon=True)
            back.start()
            _copy(stream, server)
            back.join()

    with _each_connection(connected) as address:
        yield address, seen


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


def cluster_of(entry: dict[str, Any]) -> Cluster:
    """Return a client of this cluster entry."""
    return Cluster({"clusters": [{"cluster": entry}], "users": [{"user": {}}]}, name="edge", timeout=10)
