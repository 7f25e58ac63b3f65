"""What an API server has of one kind, kept up by a watch."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator

import aiohttp

from tenantry_syncer.api import Api, ApiError, Gone
from tenantry_syncer.kinds import Kind

Key = tuple[str, str]
# Called with what was (None: new) and what is (None: gone).
Listener = Callable[[dict | None, dict | None], None]

_log = logging.getLogger(__name__)
_LONGEST_PAUSE = 10.0


def key_of(obj: dict) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


class Cache:
    """All of each object, or if `partial` its metadata alone."""

    def __init__(
        self, api: Api, kind: Kind, namespace: str | None = None, selector: str = "", *, partial: bool = False
    ) -> None:
        self.kind = kind
        self._partial = partial
        self.ready = asyncio.Event()
        self._api = api
        self._path = kind.path(namespace)
        self._query = {"labelSelector": selector} if selector else {}
        self._objects: dict[Key, dict] = {}
        self._seen = 0  # the version up to which this is all there is
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def get(self, namespace: str, name: str) -> dict | None:
        return self._objects.get((namespace, name))

    def all(self, namespace: str | None = None) -> Iterator[dict]:
        return (obj for (space, _name), obj in self._objects.items() if namespace in (None, space))

    def put(self, obj: dict) -> None:
        """What a write has answered, so that the next step need not wait for the watch."""
        key = key_of(obj)
        known = self._objects.get(key)
        # What is not here although the watch is past it was deleted in the meantime, and nobody would say so again.
        if _version(obj) > (self._seen if known is None else _version(known)):
            self._store(key, obj)

    async def run(self) -> None:
        """For ever: list, then watch; from the last version on as long as the server knows it."""
        pause = 0.0
        version = ""
        while True:
            try:
                if not version:
                    version = await self._list()
                version = await self._watch(version)
                pause = 0.0
            except Gone:
                version = ""
                await asyncio.sleep(0.1)
            except (ApiError, aiohttp.ClientError, TimeoutError, ValueError) as error:
                if not self.ready.is_set() or pause > 1:
                    _log.warning("watching %s: %s", self.kind.plural, error)
                pause = min(pause * 2 or 0.1, _LONGEST_PAUSE)
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311

    async def _list(self) -> str:
        items, version = await self._api.list(self._path, partial=self._partial, **self._query)
        fresh = {key_of(item): item for item in items}
        for key in [key for key in self._objects if key not in fresh]:
            self._store(key, None)
        for key, item in fresh.items():
            self._store(key, self._complete(item))
        self._seen = int(version)
        self.ready.set()
        return version

    async def _watch(self, version: str) -> str:
        try:
            async for change, obj in self._api.watch(self._path, version, partial=self._partial, **self._query):
                version = obj["metadata"]["resourceVersion"]
                if change != "BOOKMARK":
                    self._changed(change, self._complete(obj))
                self._seen = int(version)
        except (aiohttp.ClientError, TimeoutError):
            _log.debug("watch of %s broke off", self.kind.plural)
            await asyncio.sleep(0.2)
        return version

    def _changed(self, change: str, obj: dict) -> None:
        key = key_of(obj)
        if change == "DELETED":
            self._store(key, None, last=obj)
        elif (known := self._objects.get(key)) is None or _version(known) < _version(obj):
            self._store(key, obj)

    def _store(self, key: Key, obj: dict | None, last: dict | None = None) -> None:
        before = self._objects.pop(key, None)
        if obj is not None:
            self._objects[key] = obj
        for listener in self._listeners:
            listener(last or before, obj)

    def _complete(self, obj: dict) -> dict:
        """Lists leave out what all their objects have in common; nobody here reads who manages which field."""
        obj["metadata"].pop("managedFields", None)
        return {**obj, "apiVersion": self.kind.api_version, "kind": self.kind.name}


def _version(obj: dict) -> int:
    """Both kinds of datastore count, and Kubernetes 1.35 says that versions may be compared."""
    return int(obj["metadata"]["resourceVersion"])
