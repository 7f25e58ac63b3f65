# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run commands in a container of a host through its API server, with streamed input and output."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, TenantryError, one_line
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.port_forward import open_websocket

try:
    from websocket import WebSocketException
except ImportError:
    WebSocketException = OSError  # type: ignore[assignment,misc]  # reported once, by _module.main()

STDIN, STDOUT, STDERR, STATUS = range(4)
CHUNK = 128 * 1024
LONGEST_STDERR = 4096
SHORTEST = 1  # second, because a socket with a timeout of 0 does not wait at all
LAST_WORDS = 5  # seconds to wait for the reason of a command that no longer reads its input
LARGEST_OUTPUT = 1024 * 1024  # bytes of stdout in memory


@dataclass(frozen=True)
class Container:
    """The container that a script runs in."""

    host: Cluster
    namespace: str
    pod: str
    name: str

    def __str__(self) -> str:
        return f"container {self.name} of pod {self.namespace}/{self.pod} on {self.host.name}"


def run(
    container: Container,
    doing: str,
    script: str,
    *arguments: str,
    stdin: Iterable[bytes] | None = None,
    sink: Callable[[bytes], object] | None = None,
    seconds: float = 60,
) -> str:
    """Run a shell script; return its stdout, or an empty string if `sink` receives it. See run_command()."""
    return run_command(container, doing, ["/bin/sh", "-c", script, "sh", *arguments], stdin, sink, seconds)


def run_command(
    container: Container,
    doing: str,
    command: Sequence[str],
    stdin: Iterable[bytes] | None = None,
    sink: Callable[[bytes], object] | None = None,
    seconds: float = 60,
) -> str:
    """Run a command; return its stdout of up to 1 MiB, or an empty string if `sink` receives it.

    The command must know the length of its input, because the end of stdin cannot be signalled. Raise a TenantryError
    that begins with `doing` if it fails, or writes nothing for `seconds`. The arguments must not contain secrets.
    """
    output = Output(doing, LARGEST_OUTPUT)
    container.host.introduce()
    try:
        socket = open_websocket(container.host, _path(container, command, stdin is not None))
        try:
            socket.settimeout(max(seconds, SHORTEST))
            status, errors = _converse(socket, stdin or (), sink or output.add)
        finally:
            socket.close(timeout=1)
    except (WebSocketException, OSError) as error:
        refused = getattr(error, "status_code", None) == 401
        next_step = container.host.renewal if refused and container.host.renewal else "run again"
        raise ApiError(f"{doing}: {_refusal(error)} in {container}; {next_step}") from None
    if status.get("status") != "Success":
        reason = errors.decode(errors="replace").strip() or status.get("message") or "no reason was given"
        raise TenantryError(f"{doing}: {one_line(reason)} ({container})")
    return output.content.decode(errors="replace")


class Output:
    """The stdout of a command, up to a limit."""

    def __init__(self, doing: str, largest: int) -> None:
        self.content = bytearray()
        self._doing = doing
        self._largest = largest

    def add(self, piece: bytes) -> None:
        self.content += piece
        if len(self.content) > self._largest:
            raise TenantryError(f"{self._doing}: the command wrote more than {self._largest >> 20} MiB. Check its pod")


def _path(container: Container, command: Iterable[str], stdin: bool) -> str:
    query = [("container", container.name), ("stdout", "1"), ("stderr", "1"), *(("command", word) for word in command)]
    if stdin:
        query.append(("stdin", "1"))
    return f"/api/v1/namespaces/{container.namespace}/pods/{container.pod}/exec?{urlencode(query)}"


def _converse(socket: Any, stdin: Iterable[bytes], sink: Callable[[bytes], object]) -> tuple[dict, bytes]:
    """Send stdin; return the exit status, and the beginning of stderr.

    If the connection breaks meanwhile, the command may have failed before: then its reason counts, not the broken pipe.
    """
    for chunk in stdin:
        try:
            socket.send_binary(bytes([STDIN]) + chunk)
        except (WebSocketException, OSError):
            with suppress(WebSocketException, OSError):
                socket.settimeout(LAST_WORDS)
                status, errors = _listen(socket, sink)
                if status.get("status") != "Success":
                    return status, errors
            raise
    return _listen(socket, sink)


def _listen(socket: Any, sink: Callable[[bytes], object]) -> tuple[dict, bytes]:
    """Return the exit status, and the beginning of stderr."""
    errors = bytearray()
    while True:
        message = socket.recv()
        if not message:
            raise OSError("the connection ended before the script did")
        channel, content = message[0], message[1:]
        if channel == STDOUT and content:
            sink(content)
        elif channel == STDERR and len(errors) < LONGEST_STDERR:
            errors += content
        elif channel == STATUS:
            return json.loads(content), bytes(errors)


def _refusal(error: Exception) -> str:
    status = getattr(error, "status_code", None)
    known: dict[int | None, str] = {403: "403, the credential may not run commands", 404: "there is no such pod"}
    return known.get(status, one_line(error) if status is None else f"refused with {status}")
