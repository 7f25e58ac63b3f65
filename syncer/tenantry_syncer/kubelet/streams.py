"""The syncer as the kubelet of the virtual nodes. Streams are spliced to the host's API.

Only a whitelist of headers passes: what a caller says about its identity never reaches the host.
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
# A WebSocket client may put its bearer token here; see k8s.io/apiserver/pkg/authentication/request/websocket.
TOKEN_PROTOCOL = "base64url.bearer.authorization.k8s.io."  # noqa: S105 (a prefix, no secret)
Resolve = Callable[[str, str], str | None]


def request_headers(head: Head) -> Headers:
    """Those headers of the API server's request that the host's API gets."""
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
    """Answers as a kubelet does. `resolve(namespace, pod)` names the host's pod, `namespace` is the host's."""

    def __init__(self, resolve: Resolve, host: Host, namespace: str, limits: StreamLimits | None = None) -> None:
        self._resolve = resolve
        self._host = host
        self._namespace = namespace
        self._limits = limits or StreamLimits()

    async def handle(self, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of the API server, until its stream has ended."""
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
        """Ask the host and pass on what it answers until either side has closed."""
        async with self._open(request, pod, head) as upstream:
            if upstream.status == 101:
                await splice(upstream, head.rest, reader, writer)
            elif 200 <= upstream.status < 300:
                await relay(upstream, writer)
            else:
                await self._pass_error(upstream, request, pod, writer)

    def _open(self, request: StreamRequest, pod: str, head: Head) -> AbstractAsyncContextManager[Upstream]:
        """The translated request, sent to the host's API."""
        target = request.host_target(self._namespace, pod)
        # The head of a followed log comes with the log's first byte, however late that is.
        timeout = None if request.is_log else UPGRADE_TIMEOUT
        return open_upstream(self._host, head.method, target, request_headers(head), timeout)

    async def _pass_error(
        self, upstream: Upstream, request: StreamRequest, pod: str, writer: asyncio.StreamWriter
    ) -> None:
        """Pass on an error with the tenant's names in place of the host's."""
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
    """Wait for the end of a client that has nothing more to say."""
    while await reader.read(CHUNK):
        pass


async def _write_error(
    writer: asyncio.StreamWriter, request: StreamRequest, code: int, text: str, headers: Headers | None = None
) -> None:
    """Answer with an error: logs, as by kubelets, in plain text that the API server puts into its own Status."""
    try:
        status = json.loads(text)
        is_status = isinstance(status, dict) and status.get("kind") == "Status"
    except ValueError:
        is_status = False
    if is_status and request.is_log:
        text = str(status.get("message", ""))
    content_type = "application/json" if is_status and not request.is_log else "text/plain"
    await answer(writer, code, text, content_type, headers or [])
