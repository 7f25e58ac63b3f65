"""Client of an API server in plain JSON. Without models, because objects may be of a newer version than the syncer."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import aiohttp

from tenantry_syncer.kube import reduced

TIMEOUT = aiohttp.ClientTimeout(total=30, connect=10)
# The server ends a watch after this time; a dead connection is detected soon after.
WATCH_SECONDS = 300
# TCP keep-alive, in seconds: the node of an API server may disappear without closing its connections.
KEEPALIVE = {socket.TCP_KEEPIDLE: 15, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3}
# Objects per page at most and in the first page, and the maximum size in bytes of a page of several objects.
PAGE, FIRST_PAGE, PAGE_BYTES = 500, 32, 512 * 1024
# Bytes. Responses and events longer than BULK are received one at a time. Only the beginning is kept of a response
# longer than LARGEST or an event longer than LONGEST_EVENT: no object of Kubernetes itself is that long.
BULK, LONGEST_EVENT, LARGEST = 256 * 1024, 4 * 1024 * 1024, 8 * 1024 * 1024
BULK_SECONDS = 30
JSON = "application/json"
# API servers derive the field manager from it.
AGENT = "tenantry-syncer"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
# How an API server reports that an address or a port belongs to another object.
_ALREADY_ALLOCATED = "already allocated"
# Requests metadata only; `List` in place of {} requests a list.
PARTIAL = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"


class ApiError(Exception):
    """An unsuccessful response; status 0 if there was no response.

    `causes` are those of the API server's Status: the fields of an object that were refused, and why.
    """

    def __init__(self, status: int, reason: str, message: str, causes: Sequence[Mapping] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self._causes = [one for one in causes if isinstance(one, Mapping)]

    def is_about(self, field: str) -> bool:
        """Whether a field was refused whose path begins so."""
        return any(str(one.get("field", "")).startswith(field) for one in self._causes)

    @property
    def is_taken(self) -> bool:
        """Whether an address or a port is another's already, which API servers say only in words."""
        return any(_ALREADY_ALLOCATED in str(one.get("message", "")) for one in self._causes)


class TooLarge(ApiError):
    """A response that exceeds the size limit of its request."""

    def __init__(self, path: str) -> None:
        super().__init__(0, "TooLarge", f"{path}: the response is too large")


class Gone(Exception):
    """The resource version of a watch has expired (410)."""


class Api:
    """One API server. `url` has no trailing slash; `token` is called for each request, because tokens rotate."""

    def __init__(self, url: str, context: ssl.SSLContext, token: Callable[[], str]) -> None:
        self.url = url
        self.ssl = context
        self.token = token
        # Set when the server's certificate does not verify against the trusted CA.
        self.verification_failed = asyncio.Event()
        trace = aiohttp.TraceConfig()
        trace.on_request_exception.append(self._failed)
        # One connection per watch; the rest is for the workers.
        connector = aiohttp.TCPConnector(limit=64, keepalive_timeout=60, socket_factory=_socket)
        self._session = aiohttp.ClientSession(timeout=TIMEOUT, connector=connector, trace_configs=[trace])
        self._bulk = asyncio.Lock()

    async def close(self) -> None:
        await self._session.close()

    async def get(self, path: str, **query: str) -> dict | None:
        """Return the object, or None if it does not exist. Raises TooLarge."""
        obj = await self._read(path, query, LARGEST)
        if obj is not None and reduced.is_reduced(obj):
            raise TooLarge(path)
        return obj

    async def read(self, path: str, *, limit: int = LARGEST, **query: str) -> dict | None:
        """Return the object, only its head if it is too large or exceeds `limit` bytes; None if it does not exist."""
        return await self._read(path, query, limit)

    async def _read(self, path: str, query: dict[str, str], limit: int) -> dict | None:
        try:
            return await self._request("GET", path, query=query, limit=limit)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def create(self, path: str, body: dict, *, partial: bool = False) -> dict:
        """Create an object and return it. With `partial`, here and below, the response has only its metadata."""
        return await self._request("POST", path, body, partial=partial)

    async def replace(self, path: str, body: dict, *, partial: bool = False) -> dict:
        """Replace an object (PUT)."""
        return await self._request("PUT", path, body, partial=partial)

    async def merge(self, path: str, body: dict, *, partial: bool = False) -> dict:
        """Apply a JSON merge patch: None removes a field, lists are replaced as a whole."""
        return await self._request("PATCH", path, body, content_type=MERGE, partial=partial)

    async def strategic(self, path: str, body: dict) -> dict:
        """Apply a strategic merge patch: lists with a merge key are merged by that key."""
        return await self._request("PATCH", path, body, content_type=STRATEGIC)

    async def delete(self, path: str, *, uid: str | None = None, grace: int | None = None) -> bool:
        """Delete an object and return whether it existed, with this UID if one is given. `grace` is in seconds."""
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        try:
            await self._request("DELETE", path, options, partial=True)
        except ApiError as error:
            if error.status == 404 or (uid and error.status == 409):
                return False
            raise
        return True

    async def pages(self, path: str, *, partial: bool = False, **query: str) -> AsyncIterator[tuple[list[dict], str]]:
        """Yield pages of objects, or of their metadata, with the resource version; fewer per page if they are large."""
        count = FIRST_PAGE
        accept = PARTIAL.format("List") if partial else JSON
        while True:
            try:
                limit = PAGE_BYTES if count > 1 else LARGEST
                asked = {**query, "limit": str(count)}
                raw = await self._body("GET", path, query=asked, accept=accept, limit=limit, cut=count == 1)
            except TooLarge:
                count = max(1, count // 4)
                continue
            items, metadata = reduced.page(raw)
            yield items, metadata["resourceVersion"]
            query["continue"] = metadata.get("continue", "")
            if not query["continue"]:
                return
            if len(raw) < PAGE_BYTES // 4:
                count = min(count * 2, PAGE)

    async def version(self, path: str) -> str:
        """Return the current resource version, from which a watch gets all later changes."""
        async for _nothing, version in self.pages(path, partial=True, fieldSelector="metadata.name=-"):
            return version
        raise ApiError(0, "Unreachable", f"{path}: no response")

    async def watch(
        self, path: str, version: str, *, partial: bool = False, heads: bool = False, **query: str
    ) -> AsyncIterator[tuple[str, dict]]:
        """Yield changes after `version` until the server ends the watch. Raises Gone if the version has expired.

        With `heads`, each object has only its head (reduced.head).
        """
        query = {
            **query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        timeout = aiohttp.ClientTimeout(total=None, connect=10, sock_read=WATCH_SECONDS + 30)
        accept = PARTIAL.format("") if partial else JSON
        async with self._open("GET", path, query=query, timeout=timeout, accept=accept) as answer:
            await _raise_for(answer)
            async for line, whole in self._lines(answer.content):
                change, obj = reduced.event(line, heads=heads or not whole)
                if change == "ERROR":
                    raise Gone(obj.get("message", ""))
                yield change, obj

    async def _lines(self, content: aiohttp.StreamReader) -> AsyncIterator[tuple[bytes, bool]]:
        """Yield each line, of any length, and whether it is complete."""
        held, chunk = bytearray(), await content.readany()
        while chunk:
            *ends, rest = chunk.split(b"\n")
            for end in ends:
                line = bytes(held) + end
                held.clear()
                yield line, True
            held += rest
            chunk = b""
            if len(held) > BULK:
                whole, chunk = await self._rest_of_line(content, held)
                line, held = bytes(held), bytearray()
                yield line, whole
                del line
            chunk = chunk or await content.readany()

    async def _rest_of_line(self, content: aiohttp.StreamReader, line: bytearray) -> tuple[bool, bytes]:
        """Complete a long line in place; return whether it is complete, and the bytes after it."""
        whole = True
        async with self._bulk, asyncio.timeout(BULK_SECONDS):
            while chunk := await content.readany():
                end, newline, behind = chunk.partition(b"\n")
                line += end
                if len(line) > LONGEST_EVENT:
                    whole = False
                    del line[2 * reduced.HEAD_BYTES :]
                if newline:
                    return whole, behind
        raise aiohttp.ClientPayloadError("watch closed within an event")

    async def text(self, path: str) -> str:
        """Return a response that is not an object, such as that of /readyz."""
        try:
            async with self._open("GET", path) as answer:
                await _raise_for(answer)
                return (await self._received(answer, BULK, path, cut=True)).decode()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(0, "Unreachable", f"{self.url}: {error}") from None

    def websocket(self, path: str, protocol: str) -> Any:
        """Return aiohttp's context manager of a WebSocket connection."""
        headers = {"Authorization": f"Bearer {self.token()}"}
        return self._session.ws_connect(self.url + path, protocols=(protocol,), headers=headers, ssl=self.ssl)

    async def _failed(self, _session: object, _context: object, request: aiohttp.TraceRequestExceptionParams) -> None:
        if isinstance(request.exception, aiohttp.ClientSSLError):
            self.verification_failed.set()

    async def _request(
        self, method: str, path: str, body: dict | None = None, *, limit: int = LARGEST, **options: Any
    ) -> dict:
        if options.pop("partial", False):
            options["accept"] = f"{PARTIAL.format('')},{JSON}"
        data = None if body is None else json.dumps(body).encode()
        raw = await self._body(method, path, data=data, limit=limit, cut=True, **options)
        try:
            return reduced.parsed(raw) if len(raw) <= limit else reduced.head(raw)
        except ValueError as error:
            raise ApiError(0, "Unreadable", f"{method} {path}: {error}") from None

    async def _body(
        self, method: str, path: str, *, limit: int = LARGEST, cut: bool = False, **options: Any
    ) -> bytearray:
        """Return the response body. Beyond `limit` bytes, return its beginning with `cut`, otherwise raise TooLarge."""
        try:
            async with self._open(method, path, **options) as answer:
                await _raise_for(answer)
                return await self._received(answer, limit, path, cut=cut)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(0, "Unreachable", f"{method} {path}: {error or type(error).__name__}") from None

    async def _received(self, answer: aiohttp.ClientResponse, limit: int, path: str, *, cut: bool) -> bytearray:
        body = bytearray()
        async with AsyncExitStack() as stack:
            while chunk := await answer.content.readany():
                body += chunk
                if len(body) > limit:
                    if cut:
                        break
                    raise TooLarge(path)
                if len(body) > BULK >= len(body) - len(chunk):
                    await stack.enter_async_context(self._bulk)
        return body

    def _open(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        data: bytes | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        timeout: aiohttp.ClientTimeout = TIMEOUT,
    ) -> Any:
        headers = {
            "Authorization": f"Bearer {self.token()}",
            "Accept": accept,
            # The size of a compressed response does not limit what it expands to.
            "Accept-Encoding": "identity",
            "User-Agent": AGENT,
        }
        if data is not None:
            headers["Content-Type"] = content_type
        # A tenant may serve aggregated APIs of the virtual cluster: their redirects must not lead the syncer elsewhere.
        return self._session.request(
            method,
            self.url + path,
            params=query,
            data=data,
            headers=headers,
            ssl=self.ssl,
            timeout=timeout,
            allow_redirects=False,
        )


def _socket(address: Any) -> socket.socket:
    family, kind, protocol, *_rest = address
    found = socket.socket(family, kind, protocol)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE.items():
        found.setsockopt(socket.IPPROTO_TCP, option, value)
    return found


async def _raise_for(answer: aiohttp.ClientResponse) -> None:
    if answer.status < 300:
        return
    body = bytearray()
    while len(body) < BULK and (chunk := await answer.content.readany()):
        body += chunk
    text = body.decode(errors="replace").strip()
    try:
        status = json.loads(text)
    except ValueError:
        status = {}
    if answer.status == 410:
        raise Gone(status.get("message", text))
    causes = (status.get("details") or {}).get("causes") or []
    raise ApiError(answer.status, status.get("reason", ""), status.get("message", text[:500]), causes)


async def until_ready(api: Api, path: str = "/readyz") -> None:
    """Wait until the API server answers successfully."""
    while True:
        try:
            await api.text(path)
        except ApiError:
            await asyncio.sleep(0.1)
        else:
            return
