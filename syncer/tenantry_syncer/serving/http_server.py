"""A small HTTP/1.1 server: one request per connection. h11 parses the head, a handler does the rest.

The health port uses it in plain text, mtls_server.py with TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus

import h11

LOG = logging.getLogger(__name__)
CHUNK = 16 * 1024
# Seconds that a client may take to read the last bytes, for example of a log in a paused pager.
SHUTDOWN_TIMEOUT = 3600.0
LINGER = 10.0
QUIET = 0.5

Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Head:
    """The head of a request. `headers` have lower-case names; `rest` holds bytes received after the request."""

    method: str
    target: str
    headers: Headers
    rest: bytes = b""

    def get(self, name: str) -> str | None:
        """Return the first value of a header; None if it is missing."""
        return next((value for key, value in self.headers if key == name), None)


Handler = Callable[[Head, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class BadRequest(Exception):
    """An invalid request, answered with a status before any handler is called."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def text_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Decode h11's headers."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def response_head(status: int, headers: Iterable[tuple[str, str]], reason: str = "") -> bytes:
    """Return the bytes of a response head."""
    with contextlib.suppress(ValueError):
        reason = reason or HTTPStatus(status).phrase
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


async def answer(
    writer: asyncio.StreamWriter, status: int, body: str, content_type: str = "text/plain", more: Iterable = ()
) -> None:
    """Write a whole response; `more` are additional headers."""
    payload = body.encode()
    headers = [("Content-Type", content_type), ("Content-Length", str(len(payload))), ("Connection", "close")]
    writer.write(response_head(status, [*headers, *more]) + payload)
    await writer.drain()


async def flush(writer: asyncio.StreamWriter) -> None:
    """Wait until the transport's own buffer is empty."""
    writer.transport.set_write_buffer_limits(high=1, low=0)  # TLS transports pause forever with high=0
    await writer.drain()


def health(ready: Callable[[], bool], live: Callable[[], bool] = lambda: True) -> Handler:
    """Return a handler for /readyz and /livez: 200 while the callable returns True, 503 otherwise."""
    checks = {"/readyz": ready, "/livez": live}

    async def handle(head: Head, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        check = checks.get(head.target.partition("?")[0])
        if check is None:
            await answer(writer, 404, "not found\n")
        elif head.method != "GET":
            await answer(writer, 405, "only GET is allowed\n")
        else:
            await (answer(writer, 200, "ok\n") if check() else answer(writer, 503, "not ok\n"))

    return handle


async def read_head(reader: asyncio.StreamReader, limit: int) -> Head:
    """Read one request. Raises BadRequest if it has a body: no handler takes one."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=limit)
    request: h11.Request | None = None
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            parser.receive_data(await reader.read(CHUNK))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.EndOfMessage) and request:
            method, target = request.method.decode("ascii"), request.target.decode("latin-1")
            return Head(method, target, text_headers(request.headers), bytes(parser.trailing_data[0]))
        elif isinstance(event, h11.ConnectionClosed):
            raise ConnectionResetError("closed before a request")
        else:
            raise BadRequest(413, "request bodies are not accepted")


class Server:
    """Reads a request head within limits of size and time, calls the handler and closes the connection."""

    def __init__(
        self, handler: Handler, *, head_limit: int = 16 * 1024, head_timeout: float = 10.0, max_connections: int = 64
    ) -> None:
        self._handler = handler
        self._head_limit = head_limit
        self._head_timeout = head_timeout
        self._max_connections = max_connections
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._server: asyncio.Server | None = None

    async def start(self, host: str | None, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Listen on a host (None: all addresses) and port (0: any free one, see `port`)."""
        timeouts = {"ssl_handshake_timeout": self._head_timeout, "ssl_shutdown_timeout": SHUTDOWN_TIMEOUT}
        extra = timeouts if tls else {}
        self._server = await asyncio.start_server(self._connected, host, port, ssl=tls, limit=CHUNK, **extra)

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        if not self._server:
            raise RuntimeError("the server is not started: call start() first")
        return self._server.sockets[0].getsockname()[1]

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    async def close(self) -> None:
        """Stop listening and abort all connections."""
        if self._server:
            self._server.close()
        for task, writer in list(self._connections.items()):
            task.cancel()
            writer.transport.abort()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=CHUNK)
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections[task] = writer
        task.add_done_callback(lambda done: self._connections.pop(done, None))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
            await _finish(reader, writer)
        except (OSError, EOFError):  # ssl.SSLError and TimeoutError are OSErrors
            writer.transport.abort()
        except Exception:
            LOG.exception("request failed")
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._head_timeout):
                head = await read_head(reader, self._head_limit)
        except TimeoutError:
            return await answer(writer, 408, "timed out waiting for the request\n")
        except BadRequest as error:
            return await answer(writer, error.status, f"{error}\n")
        except h11.RemoteProtocolError as error:
            return await answer(writer, error.error_status_hint, f"{error}\n")
        if len(self._connections) > self._max_connections:
            return await answer(writer, 503, f"more than {self._max_connections} open connections. Retry later.\n")
        return await self._handler(head, reader, writer)


async def _finish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close after the client has received everything: closing with unread bytes would reset the connection."""
    await flush(writer)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            while await asyncio.wait_for(reader.read(CHUNK), QUIET):
                pass
    writer.close()
    await writer.wait_closed()
