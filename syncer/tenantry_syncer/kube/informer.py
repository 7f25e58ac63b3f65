"""A cache of the objects of one kind, kept current by a watch."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

import aiohttp

from tenantry_syncer.kube import reduced
from tenantry_syncer.kube.client import Api, ApiError, Gone
from tenantry_syncer.kube.resources import Kind

Key = tuple[str, str]
# Called with the old object (None: created; possibly only its lookup fields) and the new one (None: deleted).
Listener = Callable[[dict | None, dict | None], None]
# Returns the index keys of an object, for Cache.by_index.
Indexer = Callable[[dict], tuple[str, ...]]

_log = logging.getLogger(__name__)
_LONGEST_PAUSE = 10.0
_OVERHEAD = 400  # bytes per object besides its text: key, entry and tables


def key_of(obj: dict) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def newest(old: dict | None, new: dict | None) -> dict:
    """Return the new object of a change, or the old one after a deletion."""
    obj = new or old
    if obj is None:
        raise TypeError("neither an old nor a new object")
    return obj


class Budget:
    """The memory limit of all caches together, in bytes: a tenant decides how many objects there are."""

    def __init__(self, whole: int = 10 * 1024 * 1024, total: int = 20 * 1024 * 1024) -> None:
        self._held = whole
        self._total = total
        self.used = 0

    def allows(self, size: int, *, whole: bool) -> bool:
        """Return whether an entry of `size` bytes fits, as whole objects and reduced ones have different limits."""
        return self.used + size <= (self._held if whole else self._total)

    @property
    def has_room(self) -> bool:
        """Whether less than three quarters are used."""
        return self.used < self._total * 3 // 4


class Entry(NamedTuple):
    """A cached object, as JSON."""

    version: int
    text: bytes  # JSON: the whole object, or its lookup fields
    is_whole: bool
    length: int  # of the whole object, in bytes
    index_keys: tuple[str, ...]

    @property
    def size(self) -> int:
        """Approximate memory in bytes."""
        return len(self.text) + _OVERHEAD


class Cache:
    """Caches small objects whole and only the lookup fields of others; with `partial`, only metadata.

    Objects beyond the budget are left out until there is room, unless `needed`.
    """

    def __init__(
        self,
        api: Api,
        kind: Kind,
        namespace: str | None = None,
        selector: str = "",
        *,
        partial: bool = False,
        needed: bool = False,
        budget: Budget | None = None,
        indexer: Indexer = lambda _obj: (),
    ) -> None:
        self.kind = kind
        self._partial = partial
        self._needed = needed
        self._budget = budget or Budget()
        self._indexer = indexer
        self.ready = asyncio.Event()
        self._api = api
        self._path = kind.path(namespace)
        self._query = {"labelSelector": selector} if selector else {}
        self._objects: dict[Key, Entry] = {}
        self._index: dict[str, set[Key]] = {}
        # Objects held as a whole, and by how many holders.
        self._held: dict[Key, dict] = {}
        self._holders: dict[Key, int] = {}
        self._left_out = 0
        self._is_listing = False
        self._seen = 0  # the resource version that the cache is complete up to
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def get(self, namespace: str, name: str) -> dict | None:
        """Return a copy of the object, only its lookup fields if it is large and not held; None if not cached."""
        key = (namespace, name)
        if key in self._held:
            return self._held[key]
        entry = self._objects.get(key)
        return self._complete(json.loads(entry.text)) if entry else None

    def replay(self) -> None:
        """Report every object to the listeners as if it had just been created."""
        for obj in self.all():
            for listener in self._listeners:
                listener(None, obj)

    @property
    def has_left_out(self) -> bool:
        """Whether objects may be missing from the cache: left out for lack of room, or a list is in progress."""
        return self._left_out > 0 or self._is_listing

    def entry(self, key: Key) -> Entry | None:
        return self._objects.get(key)

    def all(self, namespace: str | None = None) -> Iterator[dict]:
        keys = [key for key in self._objects if namespace in (None, key[0])]
        return (obj for key in keys if (obj := self.get(*key)))

    def by_index(self, index_key: str) -> list[Key]:
        return list(self._index.get(index_key, ()))

    def put(self, obj: dict) -> None:
        """Store the response to a write, so that the next step need not wait for the watch."""
        key = key_of(obj)
        known = self._objects.get(key)
        # An object that is not cached although the watch is past its version was deleted: no event will follow.
        if _version(obj) > (self._seen if known is None else known.version):
            self._store(key, self._complete(obj))

    def hold(self, obj: dict) -> bool:
        """Hold a whole object that was just read until release(); return False if it has changed since."""
        key = key_of(obj)
        self.put(obj)
        known = self._objects.get(key)
        if known and known.version > _version(obj):
            return False
        self._hold(key, self._complete(obj))
        return True

    def hold_cached(self, key: Key) -> None:
        """Hold an object that is cached whole: it may outgrow the cache meanwhile. Raises KeyError."""
        obj = self.get(*key)
        if obj is None:
            raise KeyError(key)
        self._hold(key, obj)

    def release(self, key: Key) -> None:
        """End a hold on an object. After the last one, it is reduced again."""
        self._holders[key] -= 1
        if not self._holders[key]:
            del self._holders[key]
            self._held.pop(key, None)

    def _hold(self, key: Key, obj: dict) -> None:
        self._held[key] = obj
        self._holders[key] = self._holders.get(key, 0) + 1

    async def run(self) -> None:
        """List, then watch until cancelled; list again when the resource version has expired."""
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
                    _log.warning("could not watch %s: %s", self.kind.plural, error)
                pause = min(pause * 2 or 0.1, _LONGEST_PAUSE)
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311

    async def _list(self) -> str:
        """Store each page as it arrives, delete what no page contained, and return the resource version."""
        gone, version = set(self._objects), "0"
        self._left_out, self._is_listing = 0, True
        async for items, of_page in self._api.pages(self._path, partial=self._partial, **self._query):
            version = of_page
            for item in items:
                gone.discard(key_of(item))
                self._store(key_of(item), self._complete(item))
        for key in gone:
            self._store(key, None)
        self._is_listing = False
        if self._left_out:
            _log.warning("%s: %d objects not cached: the cache is full", self.kind.plural, self._left_out)
        self._seen = int(version)
        self.ready.set()
        self._relist_if_room()
        return version

    def _relist_if_room(self) -> None:
        if self._left_out and self._budget.has_room:
            raise Gone("the cache has room again")

    async def _watch(self, version: str) -> str:
        try:
            async for change, obj in self._api.watch(
                self._path, version, partial=self._partial, heads=False, **self._query
            ):
                version = obj["metadata"]["resourceVersion"]
                if change != "BOOKMARK":
                    self._changed(change, self._complete(obj))
                self._seen = int(version)
                self._relist_if_room()
        except (aiohttp.ClientError, TimeoutError):
            _log.debug("watch of %s closed", self.kind.plural)
            await asyncio.sleep(0.2)
        return version

    def _changed(self, change: str, obj: dict) -> None:
        key = key_of(obj)
        if change == "DELETED":
            self._store(key, None, last=obj)
        elif (known := self._objects.get(key)) is None or known.version < _version(obj):
            self._store(key, obj)

    def _store(self, key: Key, obj: dict | None, last: dict | None = None) -> None:
        before = self.get(*key)
        known = self._objects.pop(key, None)
        if known:
            self._budget.used -= known.size
            self._unindex(key, known.index_keys)
        if obj is None:
            self._held.pop(key, None)
        elif not self._keep(key, obj, always=self._needed or known is not None):
            return
        for listener in self._listeners:
            listener(last or before, obj)

    def _keep(self, key: Key, obj: dict, *, always: bool) -> bool:
        entry = self._entry(obj)
        if not always and not self._budget.allows(entry.size, whole=False):
            self._left_out += 1
            return False
        self._objects[key] = entry
        self._budget.used += entry.size
        for index_key in entry.index_keys:
            self._index.setdefault(index_key, set()).add(key)
        if key in self._held and not reduced.is_reduced(obj):
            self._held[key] = obj
        return True

    def _entry(self, obj: dict) -> Entry:
        version, index_keys = _version(obj), self._indexer(obj)
        length = reduced.HEAVIEST
        if not self._partial and not reduced.is_reduced(obj):
            text = reduced.dumped(obj)
            length = len(text)
            if length <= reduced.SMALL and self._budget.allows(length, whole=True):
                return Entry(version, text, True, length, index_keys)
        return Entry(version, reduced.dumped(reduced.lookup_fields(obj)), self._partial, length, index_keys)

    def _unindex(self, key: Key, index_keys: tuple[str, ...]) -> None:
        for index_key in index_keys:
            self._index[index_key].discard(key)
            if not self._index[index_key]:
                del self._index[index_key]

    def _complete(self, obj: dict) -> dict:
        """Return the object with apiVersion and kind, which lists omit, and without managedFields."""
        obj["metadata"].pop("managedFields", None)
        return {**obj, "apiVersion": self.kind.api_version, "kind": self.kind.name}


def _version(obj: dict) -> int:
    """Return the resource version as a number: both datastores count, and Kubernetes 1.35 documents the order."""
    return int(obj["metadata"]["resourceVersion"])
