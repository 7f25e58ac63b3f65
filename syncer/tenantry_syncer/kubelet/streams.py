"""Serve the kubelet API of the virtual nodes by proxying streams to the host's API.

Only listed headers are passed on: credentials and identities of clients never reach the host.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import h11

from tenantry_syncer import naming
from tenantry_syncer.kubelet.paths import RejectedRequest, StreamRequest, parse
from tenantry_syncer.kubelet.stream_limits import StreamLimits, TooManyStreams
from tenantry_syncer.serving.host_proxy import Host, HostError, Upstream, first, open_upstream, relay, splice
from tenantry_syncer.serving.http_server import CHUNK, Head, Headers, answer
from tenantry_syncer.serving.mtls_server import status_json

UPGRADE_TIMEOUT = 60.0
ERROR_TIMEOUT = 10.0
ERROR_LIMIT = 64 * 1024

REQUEST_HEADERS = (
    "upgrade",
    "x-stream-protocol-version",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
)
# A WebSocket client may send its bearer token here; see k8s.io/apiserver/pkg/authentication/request/websocket.
TOKEN_PROTOCOL = "base64url.bearer.authorization.k8s.io."  # noqa: S105 (a prefix, no secret)
Resolve = Callable[[str, str], str | None]


def request_headers(head: Head) -> Headers:
    """Return the headers of the API server's request that are passed on to the host's API."""
    kept = [("connection", "Upgrade" if head.get("upgrade") else "close")]
    for name, value in head.headers:
        allowed = _without_token(value) if name == "sec-websocket-protocol" else value
        if name in REQUEST_HEADERS and allowed:
            kept.append((name, allowed))
    return kept


def _without_token(protocols: str) -> str:
    names = (name.strip() for name in protocols.split(","))
    return ", ".join(name for name in names if name and not name.lower().startswith(TOKEN_PROTOCOL))


class Streams:
    """Responds as a kubelet. `resolve(namespace, pod)` returns the name of the host pod in the host's `namespace`."""

    def __init__(self, resolve: Resolve, host: Host, namespace: str, limits: StreamLimits | None = None) -> None:
        self._resolve = resolve
        self._host = host
        self._namespace = namespace
        self._limits = limits or StreamLimits()

    async def handle(self, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one request of the API server until its stream ends."""
        try:
            request = parse(head.method, head.target)
        except RejectedRequest as error:
            return await answer(writer, error.status, status_json(error.status, str(error)), "application/json")
        pod = self._resolve(request.namespace, request.pod)
        if pod is None:
            message = f'pod "{request.pod}" in namespace "{request.namespace}" does not exist on this node'
            return await self._fail(writer, request, 404, message)
        try:
            with self._limits.acquire(request):
                return await self._stream(request, pod, head, reader, writer)
        except TooManyStreams as busy:
            text = status_json(429, str(busy), request.pod, retry_seconds=busy.seconds)
            return await _write_error(writer, request, 429, text, [("Retry-After", str(busy.seconds))])

    async def _stream(
        self,
        request: StreamRequest,
        pod: str,
        head: Head,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        exchange = self._exchange(request, pod, head, reader, writer)
        try:
            if request.is_log:
                await first(exchange, _wait_for_disconnect(reader))
            else:
                await exchange
        except HostError as error:
            await self._fail(writer, request, error.status, str(error))

    async def _exchange(
        self,
        request: StreamRequest,
        pod: str,
        head: Head,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Send the request to the host and pass on the response until either side closes."""
        async with self._open(request, pod, head) as upstream:
            if upstream.status == 101:
                await splice(upstream, head.rest, reader, writer)
            elif 200 <= upstream.status < 300:
                await relay(upstream, writer)
            else:
                await self._pass_error(upstream, request, pod, writer)

    def _open(self, request: StreamRequest, pod: str, head: Head) -> AbstractAsyncContextManager[Upstream]:
        """Send the translated request to the host's API."""
        target = request.host_target(self._namespace, pod)
        # The response head of a followed log may arrive only with the first line of the log.
        timeout = None if request.is_log else UPGRADE_TIMEOUT
        return open_upstream(self._host, head.method, target, request_headers(head), timeout)

    async def _pass_error(
        self, upstream: Upstream, request: StreamRequest, pod: str, writer: asyncio.StreamWriter
    ) -> None:
        """Pass on an error of the host with the names of the virtual cluster."""
        if upstream.status == 401:
            raise HostError(502, "the host's API does not accept the syncer's token")
        body = b""
        with contextlib.suppress(TimeoutError, OSError, h11.RemoteProtocolError):
            async with asyncio.timeout(ERROR_TIMEOUT):
                async for data in upstream.body():
                    body += data
                    if len(body) >= ERROR_LIMIT:
                        break
        called = {pod: request.pod, self._namespace: request.namespace}
        text = naming.replace_names(body[:ERROR_LIMIT].decode(errors="replace"), called)
        await _write_error(writer, request, upstream.status, text)

    async def _fail(self, writer: asyncio.StreamWriter, request: StreamRequest, code: int, message: str) -> None:
        await _write_error(writer, request, code, status_json(code, message, request.pod))


async def _wait_for_disconnect(reader: asyncio.StreamReader) -> None:
    """Wait until the client closes the connection."""
    while await reader.read(CHUNK):
        pass


async def _write_error(
    writer: asyncio.StreamWriter, request: StreamRequest, code: int, text: str, headers: Headers | None = None
) -> None:
    """Respond with an error; for logs in plain text, as kubelets do, which the API server puts into its own Status."""
    try:
        status = json.loads(text)
        is_status = isinstance(status, dict) and status.get("kind") == "Status"
    except ValueError:
        is_status = False
    if is_status and request.is_log:
        text = str(status.get("message", ""))
    content_type = "application/json" if is_status and not request.is_log else "text/plain"
    await answer(writer, code, text, content_type, headers or [])
