"""Proxy one request to the host's API: request, response, and copying of bytes.

Neither Go nor asyncio half-closes TLS connections: SPDY and WebSocket frames carry the ends of stdin and stdout, and a
closed connection ends both directions.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import h11

from tenantry_syncer.serving.http_server import CHUNK, Headers, flush, response_head, text_headers

CONNECT_TIMEOUT = 10.0
FLUSH_TIMEOUT = 10.0
HEAD_LIMIT = 64 * 1024
UPGRADE_HEADERS = (
    "upgrade",
    "x-stream-protocol-version",
    "sec-websocket-accept",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
)


class Host(Protocol):
    """The host's API: address, TLS context and credentials."""

    url: str
    ssl: ssl.SSLContext

    def token(self) -> str:
        """Return the current bearer token (the kubelet rotates it)."""


@dataclass
class Upstream:
    """A connection to the host's API after its response head was read."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    parser: h11.Connection
    status: int
    reason: str
    headers: Headers

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the decoded body; raises h11.RemoteProtocolError if it is incomplete."""
        while True:
            event = self.parser.next_event()
            if event is h11.NEED_DATA:
                self.parser.receive_data(await self.reader.read(CHUNK))
            elif isinstance(event, h11.Data):
                yield bytes(event.data)
            else:
                return


class HostError(Exception):
    """A request to the host's API failed; `status` is the HTTP status for the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@contextlib.contextmanager
def as_host_error(doing: str) -> Iterator[None]:
    """Convert connection errors into a HostError without addresses of the host."""
    try:
        yield
    except TimeoutError as error:
        raise HostError(504, f"{doing}: timed out") from error
    except (OSError, EOFError, h11.RemoteProtocolError) as error:
        raise HostError(502, f"{doing}: {type(error).__name__}") from error


@contextlib.asynccontextmanager
async def open_upstream(
    host: Host,
    method: str,
    target: str,
    headers: Headers,
    timeout: float | None,
) -> AsyncIterator[Upstream]:
    """Send a request on a new connection and yield its response; `timeout` is the seconds for the response head."""
    url = urlsplit(host.url)
    with as_host_error("connecting to the host's API"):
        async with asyncio.timeout(CONNECT_TIMEOUT):
            reader, writer = await asyncio.open_connection(
                url.hostname, url.port or 443, ssl=host.ssl, limit=CHUNK, ssl_shutdown_timeout=FLUSH_TIMEOUT
            )
    try:
        writer.transport.set_write_buffer_limits(high=CHUNK)
        own = [("host", url.netloc), ("authorization", f"Bearer {host.token()}"), ("user-agent", "tenantry-syncer")]
        if method == "POST":
            own.append(("content-length", "0"))
        with as_host_error("waiting for the host's API"):
            async with asyncio.timeout(timeout):
                upstream = await send_request(reader, writer, method, target, own + headers)
        yield upstream
    finally:
        writer.close()


async def send_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, method: str, target: str, headers: Headers
) -> Upstream:
    """Send a request without a body and read the head of the response."""
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)
    request = h11.Request(method=method, target=target, headers=headers)
    writer.write((parser.send(request) or b"") + (parser.send(h11.EndOfMessage()) or b""))
    await writer.drain()
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            parser.receive_data(await reader.read(CHUNK))
        elif isinstance(event, h11.Response) or (
            isinstance(event, h11.InformationalResponse) and event.status_code == 101
        ):
            reason = event.reason.decode("latin-1")
            return Upstream(reader, writer, parser, event.status_code, reason, text_headers(event.headers))
        elif not isinstance(event, h11.InformationalResponse):
            raise EOFError("closed before a response")


async def relay(upstream: Upstream, writer: asyncio.StreamWriter) -> None:
    """Pass on a response without upgrade, such as a log.

    The last chunk is a separate write, hence a TLS record: the API server's WebSocket reader drops bytes that it reads
    together with the end of the body.
    """
    kept = [(name, value) for name, value in upstream.headers if name == "content-type"]
    headers = [*kept, ("transfer-encoding", "chunked"), ("connection", "close")]
    writer.write(response_head(upstream.status, headers, upstream.reason))
    try:
        async for data in upstream.body():
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
            await writer.drain()
    except h11.RemoteProtocolError as error:
        raise ConnectionResetError("the host's API sent an incomplete response") from error
    writer.write(b"0\r\n\r\n")
    await flush(writer)


async def splice(upstream: Upstream, rest: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Switch protocols and copy in both directions until one side closes."""
    kept = [(name, value) for name, value in upstream.headers if name in UPGRADE_HEADERS]
    writer.write(response_head(101, [("connection", "Upgrade"), *kept], upstream.reason))
    early = bytes(upstream.parser.trailing_data[0])
    await first(
        copy(upstream.reader, writer, early),
        copy(reader, upstream.writer, rest, flush_timeout=FLUSH_TIMEOUT),
    )


async def copy(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    early: bytes = b"",
    *,
    flush_timeout: float | None = None,
) -> None:
    """Copy until the end of the reader and flush the writer, within `flush_timeout` seconds."""
    data = early or await reader.read(CHUNK)
    while data:
        writer.write(data)
        await writer.drain()
        data = await reader.read(CHUNK)
    async with asyncio.timeout(flush_timeout):
        await flush(writer)


async def first(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run coroutines until one ends and cancel the others; raise the exception of the one that ended."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _running = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    next(task for task in tasks if task in done).result()
