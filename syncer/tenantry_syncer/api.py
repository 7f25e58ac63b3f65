"""An API server as plain JSON over HTTP. No models: what this program copies may be newer than it is."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp

TIMEOUT = aiohttp.ClientTimeout(total=30, connect=10)
# The server ends a watch after this; a connection that died silently is found out soon after.
WATCH_SECONDS = 300
PAGE = 500
JSON = "application/json"
# Of each object no more than its metadata; a list of such is asked for by its own name.
PARTIAL = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"


class ApiError(Exception):
    """An answer other than success; status 0 where there was none."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message


class Gone(Exception):
    """A watch cannot go on from where it was."""


class Api:
    """One API server. `url` without a slash at the end; `token` is asked for each request, because it is rotated."""

    def __init__(self, url: str, context: ssl.SSLContext, token: Callable[[], str]) -> None:
        self.url = url
        self.ssl = context
        self.token = token
        # Watches hold a connection each; the rest is for the workers.
        self._session = aiohttp.ClientSession(
            timeout=TIMEOUT, connector=aiohttp.TCPConnector(limit=64, keepalive_timeout=60)
        )

    async def close(self) -> None:
        await self._session.close()

    async def get(self, path: str, **query: str) -> dict | None:
        """The object, or None if there is none."""
        try:
            return await self._request("GET", path, query=query)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def create(self, path: str, body: dict) -> dict:
        return await self._request("POST", path, body)

    async def replace(self, path: str, body: dict) -> dict:
        return await self._request("PUT", path, body)

    async def merge(self, path: str, body: dict) -> dict:
        """A JSON merge patch: None removes, lists are replaced whole."""
        return await self._request("PATCH", path, body, content_type="application/merge-patch+json")

    async def strategic(self, path: str, body: dict) -> dict:
        """A strategic merge patch: lists of named things are merged by name."""
        return await self._request("PATCH", path, body, content_type="application/strategic-merge-patch+json")

    async def delete(self, path: str, *, uid: str | None = None, grace: int | None = None) -> bool:
        """Whether there was something to delete: of this uid, if one is given."""
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        try:
            await self._request("DELETE", path, options)
        except ApiError as error:
            if error.status == 404 or (uid and error.status == 409):
                return False
            raise
        return True

    async def list(self, path: str, *, partial: bool = False, **query: str) -> tuple[list[dict], str]:
        """All objects, or their metadata, and the version they are of."""
        items: list[dict] = []
        accept = PARTIAL.format("List") if partial else JSON
        query = {**query, "limit": str(PAGE)}
        while True:
            answer = await self._request("GET", path, query=query, accept=accept)
            items += answer["items"] or []  # an empty list of metadata is null
            query["continue"] = answer["metadata"].get("continue", "")
            if not query["continue"]:
                return items, answer["metadata"]["resourceVersion"]

    async def watch(
        self, path: str, version: str, *, partial: bool = False, **query: str
    ) -> AsyncIterator[tuple[str, dict]]:
        """Changes after `version`, until the server ends it. Raises Gone where it cannot begin there."""
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
            # A line may be longer than any limit of a line reader.
            rest = b""
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise Gone(event["object"].get("message", ""))
                    yield event["type"], event["object"]

    async def text(self, path: str) -> str:
        """What is not an object, such as /readyz."""
        try:
            async with self._open("GET", path) as answer:
                await _raise_for(answer)
                return await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(0, "Unreachable", f"{self.url}: {error}") from None

    async def _request(
        self,
        method: str,
        path: str,
        body: dict | None = None,
        *,
        query: dict[str, str] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> dict:
        data = None if body is None else json.dumps(body).encode()
        kinds = {"content_type": content_type, "accept": accept}
        try:
            async with self._open(method, path, query=query, data=data, **kinds) as answer:
                await _raise_for(answer)
                return await answer.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(0, "Unreachable", f"{method} {path}: {error or type(error).__name__}") from None

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
        headers = {"Authorization": f"Bearer {self.token()}", "Accept": accept}
        if data is not None:
            headers["Content-Type"] = content_type
        # A tenant may serve parts of the API inside himself: what he answers sends nobody elsewhere.
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


async def _raise_for(answer: aiohttp.ClientResponse) -> None:
    if answer.status < 300:
        return
    text = (await answer.text()).strip()
    try:
        status = json.loads(text)
    except ValueError:
        status = {}
    if answer.status == 410:
        raise Gone(status.get("message", text))
    raise ApiError(answer.status, status.get("reason", ""), status.get("message", text[:500]))


async def until_ready(api: Api, path: str = "/readyz") -> None:
    """Wait until the API server answers."""
    while True:
        try:
            await api.text(path)
        except ApiError:
            await asyncio.sleep(0.1)
        else:
            return
