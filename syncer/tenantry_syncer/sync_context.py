"""The virtual cluster's own API server and its namespace on the host, with caches of both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from tenantry_syncer import naming
from tenantry_syncer.config import Config
from tenantry_syncer.host_networks import HostNetworks
from tenantry_syncer.host_storage_classes import OfferedClasses
from tenantry_syncer.kube import reduced
from tenantry_syncer.kube.client import BULK, LARGEST, Api, ApiError
from tenantry_syncer.kube.informer import Budget, Cache, Indexer
from tenantry_syncer.kube.resources import (
    CONFIG_MAP,
    ENDPOINT_SLICE,
    INGRESS,
    NAMESPACE,
    NODE,
    POD,
    PVC,
    QUOTA,
    SECRET,
    SERVICE,
    STORAGE_CLASS,
    TOKEN,
    Kind,
)
from tenantry_syncer.kube.work_queue import RequeueAfter
from tenantry_syncer.translate import messages

# Selects the objects that the syncer manages on the host.
SYNCER_SELECTOR = f"{naming.MANAGED_BY}={naming.SYNCER}"
# Not cached from the virtual cluster: most are used by no pod and they may be large. Read when a pod uses them.
READ_WHEN_USED = (CONFIG_MAP, SECRET)
SYNCED = (POD, SERVICE, PVC, ENDPOINT_SLICE, INGRESS)
# Until a write to an object that is another one by now is retried: the watch is about to say so.
STALE_RETRY_SECONDS = 1.0
SERVICE_NAME = "kubernetes.io/service-name"


class ClusterView:
    """One API server with its caches."""

    def __init__(self, api: Api, namespace: str | None = None, budget: Budget | None = None) -> None:
        self.api = api
        self.namespace = namespace
        self._budget = budget or Budget()
        self._caches: dict[Kind, Cache] = {}

    def follow(self, kind: Kind, selector: str = "", *, partial: bool = False) -> None:
        """Add a cache for a kind. With `partial`, large objects are reduced to their lookup fields."""
        # Host objects are always cached: the quota limits their number, and the syncer must find them to delete them.
        self._caches[kind] = Cache(
            self.api,
            kind,
            self.namespace,
            selector,
            partial=partial,
            needed=self.namespace is not None,
            budget=self._budget,
            indexer=_INDEXERS.get(kind, _no_index),
        )

    @property
    def caches(self) -> list[Cache]:
        return list(self._caches.values())

    def get(self, kind: Kind, namespace: str, name: str) -> dict | None:
        return self._caches[kind].get(self.namespace or namespace, name)

    def all(self, kind: Kind, namespace: str | None = None) -> Iterator[dict]:
        return self._caches[kind].all(namespace)

    def cache(self, kind: Kind) -> Cache:
        return self._caches[kind]

    def by_index(self, kind: Kind, index_key: str) -> list[tuple[str, str]]:
        """Return the keys of the pods of a node, the host objects and tokens of a pod, or a service's slices."""
        return self._caches[kind].by_index(index_key)

    async def create(self, kind: Kind, obj: dict) -> dict:
        path = kind.path(obj["metadata"].get("namespace") or self.namespace)
        return self._seen(kind, await self.api.create(path, obj, partial=kind in READ_WHEN_USED))

    async def merge(self, kind: Kind, obj: dict, body: dict, *subresource: str) -> dict:
        """Apply a merge patch to the object with this UID; a later object of the same name is not changed."""
        return await self._merge(kind, obj, body, ("uid",), *subresource)

    async def merge_unchanged(self, kind: Kind, obj: dict, body: dict, *subresource: str) -> dict:
        """Apply a merge patch that derives from `obj`; the API server answers 409 if it has changed since."""
        return await self._merge(kind, obj, body, ("uid", "resourceVersion"), *subresource)

    async def _merge(self, kind: Kind, obj: dict, body: dict, same: tuple[str, ...], *subresource: str) -> dict:
        metadata = {**body.get("metadata", {}), **{field: obj["metadata"][field] for field in same}}
        path, partial = self.path(kind, obj, *subresource), kind in READ_WHEN_USED
        with _stale_later():
            return self._seen(kind, await self.api.merge(path, {**body, "metadata": metadata}, partial=partial))

    async def strategic(self, kind: Kind, obj: dict, body: dict, *subresource: str) -> dict:
        """Apply a strategic merge patch to the object with this UID."""
        body = {**body, "metadata": {**body.get("metadata", {}), "uid": obj["metadata"]["uid"]}}
        with _stale_later():
            return self._seen(kind, await self.api.strategic(self.path(kind, obj, *subresource), body))

    async def replace(self, kind: Kind, obj: dict, desired: dict) -> dict:
        """Replace the object; the API server answers 409 if it has changed since `obj` was read."""
        metadata = {**desired["metadata"], "resourceVersion": obj["metadata"]["resourceVersion"]}
        body, partial = {**desired, "metadata": metadata}, kind in READ_WHEN_USED
        return self._seen(kind, await self.api.replace(self.path(kind, obj), body, partial=partial))

    async def delete(self, kind: Kind, obj: dict, *, grace: int | None = None) -> bool:
        return await self.api.delete(self.path(kind, obj), uid=obj["metadata"]["uid"], grace=grace)

    def path(self, kind: Kind, obj: dict, *subresource: str) -> str:
        metadata = obj["metadata"]
        return kind.path(metadata.get("namespace"), metadata["name"], *subresource)

    def _seen(self, kind: Kind, obj: dict) -> dict:
        if reduced.is_reduced(obj):
            raise RequeueAfter  # it has grown too large since it was read
        if kind in self._caches and obj.get("kind") in (kind.name, "PartialObjectMetadata"):
            self._caches[kind].put(obj)
        return obj


@contextmanager
def _stale_later() -> Iterator[None]:
    """Retry a write to an object that is another one by now later: the watch queues its key before."""
    try:
        yield
    except ApiError as error:
        if error.is_about("metadata.uid"):
            raise RequeueAfter(STALE_RETRY_SECONDS) from None
        raise


def _no_index(_obj: dict) -> tuple[str, ...]:
    return ()


def _index_pod(pod: dict) -> tuple[str, ...]:
    """Return the pod's node and, on the host, the key of its virtual pod. Node names contain no slash."""
    key, node = naming.virtual_key(pod), pod["spec"].get("nodeName")
    return (*([node] if node else []), *(["/".join(key)] if key else []))


def _index_secret(secret: dict) -> tuple[str, ...]:
    """Return, on the host, the key of the virtual pod whose tokens the Secret holds."""
    key = naming.virtual_key(secret)
    return ("/".join(key),) if key and secret["metadata"]["labels"].get(naming.COMPONENT) == TOKEN else ()


_INDEXERS: dict[Kind, Indexer] = {
    POD: _index_pod,
    SECRET: _index_secret,
    ENDPOINT_SLICE: lambda one: (slice_index_key(one["metadata"]),),
}


def slice_index_key(metadata: dict) -> str:
    """Return the index key of a slice: namespace and Service."""
    return f"{metadata.get('namespace', '')}/{(metadata.get('labels') or {}).get(SERVICE_NAME, '')}"


class SyncContext:
    """The virtual cluster and the host, as every controller gets them."""

    def __init__(
        self,
        config: Config,
        host: Api,
        virtual: Api,
        networks: HostNetworks | None = None,
        classes: OfferedClasses | None = None,
    ) -> None:
        self.config = config
        self.networks = networks or HostNetworks()
        self.classes = classes or OfferedClasses()
        budget = Budget()
        self.host = ClusterView(host, config.namespace, budget)
        self.virtual = ClusterView(virtual, None, budget)
        # One large object and one synced reference are in memory at a time. Workers lock this one first.
        self._large_lock = asyncio.Lock()
        self.reference_lock = asyncio.Lock()
        for kind in SYNCED:
            self.host.follow(kind, SYNCER_SELECTOR)
            self.virtual.follow(kind)
        for kind in READ_WHEN_USED:
            self.host.follow(kind, SYNCER_SELECTOR, partial=True)
        self.host.follow(QUOTA)
        for kind in (NAMESPACE, NODE, STORAGE_CLASS):
            self.virtual.follow(kind)

    @property
    def caches(self) -> list[Cache]:
        return [*self.host.caches, *self.virtual.caches]

    @asynccontextmanager
    async def loaded(self, kind: Kind, namespace: str, name: str) -> AsyncIterator[bool]:
        """Hold an object and its host object in memory as a whole, however large, while the context lasts.

        Yields False if the object is too large for the host. Raises RequeueAfter if the watch lags behind.
        """
        views = [(self.virtual, (namespace, name))]
        if kind is POD:
            views += [(self.host, key) for key in self.host.by_index(POD, f"{namespace}/{name}")]
        elif kind in SYNCED:
            views.append((self.host, (self.config.namespace, naming.host_name(namespace, name))))
        async with AsyncExitStack() as stack:
            fits, holds_lock = True, False
            for view, key in views:
                cache = view.cache(kind)
                entry = cache.entry(key)
                if entry and entry.is_whole:
                    cache.hold_cached(key)
                    stack.callback(cache.release, key)
                if entry.is_whole if entry else not cache.has_left_out:
                    continue
                if not holds_lock and entry and entry.length > BULK:
                    await stack.enter_async_context(self._large_lock)
                    holds_lock = True
                obj = await view.api.read(kind.path(*key), limit=LARGEST if holds_lock else 4 * BULK)
                if obj is None and entry is None:
                    continue
                if obj is None or not (reduced.is_reduced(obj) or cache.hold(obj)):
                    raise RequeueAfter  # the watch has not caught up
                if not reduced.is_reduced(obj):
                    stack.callback(cache.release, key)
                if view is self.virtual and not fits_host(obj):
                    fits = False
            yield fits

    def host_object_for(self, kind: Kind, namespace: str, name: str) -> dict | None:
        """Return the host object of this name for a virtual object, or None. See is_host_object_of."""
        return self.host.get(kind, "", naming.host_name(namespace, name))

    def host_pods_for(self, namespace: str, name: str) -> list[dict]:
        """Return the host pod of a pod, and those of earlier pods of the same name that are still terminating."""
        found = (self.host.get(POD, "", key[1]) for key in self.host.by_index(POD, f"{namespace}/{name}"))
        return [one for one in found if one]

    def host_pod_name_for(self, pod: dict) -> str:
        """Return a pod's name on the host; its hash includes the UID while an earlier pod of that name terminates."""
        namespace, name, uid = (pod["metadata"][field] for field in ("namespace", "name", "uid"))
        known = [
            one["metadata"]["name"] for one in self.host_pods_for(namespace, name) if self.is_host_object_of(one, pod)
        ]
        usual = not known and not self.host_object_for(POD, namespace, name)
        return known[0] if known else naming.host_name(namespace, name, "" if usual else uid)

    def is_host_object_of(self, host_object: dict, of: dict | None) -> bool:
        """Return whether a host object belongs to this virtual object, not to an earlier one of the same name."""
        return of is not None and naming.virtual_uid(host_object) == of["metadata"]["uid"]

    def host_object(self, kind: Kind, obj: dict, **fields: Any) -> dict:
        """Return the manifest of the host object for a virtual object, with these fields besides metadata."""
        metadata = naming.metadata(self.config.labels, kind.component, obj)
        return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, **fields}

    def to_virtual_message(self, text: str, host: dict, obj: dict | None = None) -> str:
        """Translate a host message about `host` to the names of the virtual cluster; `obj` is its virtual object."""
        text = messages.to_virtual(text, host, obj, self.config.namespace)
        return messages.replace_hashed_names(text, self._virtual_name)

    def _virtual_name(self, host_name: str) -> str | None:
        """Return the virtual name of any object that the syncer manages; None if there is none."""
        for kind in SYNCED:
            if host_object := self.host.get(kind, "", host_name):
                return (naming.virtual_key(host_object) or (None, None))[1]
        return None


def fits_host(obj: dict) -> bool:
    """Return whether a virtual object is in memory as a whole and small enough for the host."""
    return not reduced.is_reduced(obj) and reduced.weight(reduced.dumped(obj)) <= reduced.HEAVIEST_PASSED_ON
