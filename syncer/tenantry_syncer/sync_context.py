"""The two sides of a virtual cluster: its own API server (inside), and its namespace on the host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tenantry_syncer import naming
from tenantry_syncer.config import Config
from tenantry_syncer.host_networks import Networks
from tenantry_syncer.host_storage_classes import Offered
from tenantry_syncer.kube import reduced
from tenantry_syncer.kube.client import BULK, LARGEST, Api
from tenantry_syncer.kube.informer import Budget, Cache, Mark
from tenantry_syncer.kube.resources import (
    CLAIM,
    CONFIG_MAP,
    INGRESS,
    NAMESPACE,
    NODE,
    POD,
    QUOTA,
    SECRET,
    SERVICE,
    SLICE,
    STORAGE_CLASS,
    TOKEN,
    Kind,
)
from tenantry_syncer.kube.work_queue import Again
from tenantry_syncer.translate import messages

# Selects what the syncer has made on the host.
OURS = f"{naming.MANAGED_BY}={naming.SYNCER}"
# Of those inside the most are used by no pod, and all of them may be large: they are read when a pod uses them.
READ_WHEN_USED = (CONFIG_MAP, SECRET)
COPIED = (POD, SERVICE, CLAIM, SLICE, INGRESS)
SERVICE_NAME = "kubernetes.io/service-name"


class Side:
    """One API server with what is known of it."""

    def __init__(self, api: Api, namespace: str | None = None, budget: Budget | None = None) -> None:
        self.api = api
        self.namespace = namespace
        self._budget = budget or Budget()
        self._caches: dict[Kind, Cache] = {}

    def follow(self, kind: Kind, selector: str = "", *, partial: bool = False) -> None:
        # The host counts what there may be of each kind, and what is there must be found to be deleted.
        self._caches[kind] = Cache(
            self.api,
            kind,
            self.namespace,
            selector,
            partial=partial,
            needed=self.namespace is not None,
            budget=self._budget,
            mark=_MARKS.get(kind, _none),
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

    def marked(self, kind: Kind, mark: str) -> list[tuple[str, str]]:
        """Namespaces and names of the pods of a node, copies and tokens of a pod, or slices of a service."""
        return self._caches[kind].marked(mark)

    async def create(self, kind: Kind, obj: dict) -> dict:
        path = kind.path(obj["metadata"].get("namespace") or self.namespace)
        return self._seen(kind, await self.api.create(path, obj, partial=kind in READ_WHEN_USED))

    async def merge(self, kind: Kind, obj: dict, body: dict, *subresource: str) -> dict:
        """A merge patch for this very object, not for a later one of its name."""
        body = {**body, "metadata": {**body.get("metadata", {}), "uid": obj["metadata"]["uid"]}}
        partial = kind in READ_WHEN_USED
        return self._seen(kind, await self.api.merge(self.path(kind, obj, *subresource), body, partial=partial))

    async def strategic(self, kind: Kind, obj: dict, body: dict, *subresource: str) -> dict:
        """A patch by which lists of named things are merged by name; for this very object too."""
        body = {**body, "metadata": {**body.get("metadata", {}), "uid": obj["metadata"]["uid"]}}
        return self._seen(kind, await self.api.strategic(self.path(kind, obj, *subresource), body))

    async def replace(self, kind: Kind, obj: dict, wanted: dict) -> dict:
        """All of this very object as it was seen, unless somebody has changed it since."""
        metadata = {**wanted["metadata"], "resourceVersion": obj["metadata"]["resourceVersion"]}
        body, partial = {**wanted, "metadata": metadata}, kind in READ_WHEN_USED
        return self._seen(kind, await self.api.replace(self.path(kind, obj), body, partial=partial))

    async def delete(self, kind: Kind, obj: dict, *, grace: int | None = None) -> bool:
        return await self.api.delete(self.path(kind, obj), uid=obj["metadata"]["uid"], grace=grace)

    def path(self, kind: Kind, obj: dict, *subresource: str) -> str:
        metadata = obj["metadata"]
        return kind.path(metadata.get("namespace"), metadata["name"], *subresource)

    def _seen(self, kind: Kind, obj: dict) -> dict:
        if reduced.is_reduced(obj):
            raise Again  # it was small when this began
        if kind in self._caches and obj.get("kind") in (kind.name, "PartialObjectMetadata"):
            self._caches[kind].put(obj)
        return obj


def _none(_obj: dict) -> tuple[str, ...]:
    return ()


def _marks_of_pod(pod: dict) -> tuple[str, ...]:
    """Its node and, on the host, the pod inside that it stands for. A node's name has no slash."""
    key, node = naming.virtual_key(pod), pod["spec"].get("nodeName")
    return (*([node] if node else []), *(["/".join(key)] if key else []))


def _marks_of_secret(secret: dict) -> tuple[str, ...]:
    """On the host, the pod inside whose tokens it holds."""
    key = naming.virtual_key(secret)
    return ("/".join(key),) if key and secret["metadata"]["labels"].get(naming.COMPONENT) == TOKEN else ()


_MARKS: dict[Kind, Mark] = {
    POD: _marks_of_pod,
    SECRET: _marks_of_secret,
    SLICE: lambda one: (owner_of_slice(one["metadata"]),),
}


def owner_of_slice(metadata: dict) -> str:
    return f"{metadata.get('namespace', '')}/{(metadata.get('labels') or {}).get(SERVICE_NAME, '')}"


class Sides:
    """Both, as every part of the syncer gets them."""

    def __init__(
        self,
        config: Config,
        host: Api,
        inside: Api,
        networks: Networks | None = None,
        classes: Offered | None = None,
    ) -> None:
        self.config = config
        self.networks = networks or Networks()
        self.classes = classes or Offered()
        budget = Budget()
        self.host = Side(host, config.namespace, budget)
        self.inside = Side(inside, None, budget)
        # Whoever is at something large is alone in that; and so, while at it perhaps, who copies what pods name.
        self._large = asyncio.Lock()
        self.copying = asyncio.Lock()
        for kind in COPIED:
            self.host.follow(kind, OURS)
            self.inside.follow(kind)
        for kind in READ_WHEN_USED:
            self.host.follow(kind, OURS, partial=True)
        self.host.follow(QUOTA)
        for kind in (NAMESPACE, NODE, STORAGE_CLASS):
            self.inside.follow(kind)

    @property
    def caches(self) -> list[Cache]:
        return [*self.host.caches, *self.inside.caches]

    @asynccontextmanager
    async def at_hand(self, kind: Kind, namespace: str, name: str) -> AsyncIterator[bool]:
        """Have all of an object and of its copy, however large; False where the object is too large to be passed on.

        Of what was read and what is followed the later one holds.
        """
        places = [(self.inside, (namespace, name))]
        if kind is POD:
            places += [(self.host, key) for key in self.host.marked(POD, f"{namespace}/{name}")]
        elif kind in COPIED:
            places.append((self.host, (self.config.namespace, naming.host_name(namespace, name))))
        async with AsyncExitStack() as stack:
            fits, alone = True, False
            for side, key in places:
                cache = side.cache(kind)
                entry = cache.entry(key)
                if entry and entry.is_whole:
                    cache.hold_small(key)
                    stack.callback(cache.let_go, key)
                if entry.is_whole if entry else not cache.has_left_out:
                    continue
                if not alone and entry and entry.length > BULK:
                    await stack.enter_async_context(self._large)
                    alone = True
                obj = await side.api.read(kind.path(*key), limit=LARGEST if alone else 4 * BULK)
                if obj is None and entry is None:
                    continue
                if obj is None or not (reduced.is_reduced(obj) or cache.hold(obj)):
                    raise Again  # the watch has not told yet
                if not reduced.is_reduced(obj):
                    stack.callback(cache.let_go, key)
                if side is self.inside and not fits_host(obj):
                    fits = False
            yield fits

    def copy_of(self, kind: Kind, namespace: str, name: str) -> dict | None:
        """The object on the host that stands for one inside."""
        return self.host.get(kind, "", naming.host_name(namespace, name))

    def copies_of_pod(self, namespace: str, name: str) -> list[dict]:
        """That of the pod, and those of earlier pods of its name as long as they are ending."""
        found = (self.host.get(POD, "", key[1]) for key in self.host.marked(POD, f"{namespace}/{name}"))
        return [one for one in found if one]

    def name_of_pod(self, pod: dict) -> str:
        """On the host: as it is called there, or is to be, where an earlier pod of its name may still be ending."""
        namespace, name, uid = (pod["metadata"][field] for field in ("namespace", "name", "uid"))
        known = [one["metadata"]["name"] for one in self.copies_of_pod(namespace, name) if self.is_copy(one, pod)]
        usual = not known and not self.copy_of(POD, namespace, name)
        return known[0] if known else naming.host_name(namespace, name, "" if usual else uid)

    def is_copy(self, copy: dict, of: dict | None) -> bool:
        """Whether it stands for this very object, not for an earlier one of the same name."""
        return of is not None and naming.virtual_uid(copy) == of["metadata"]["uid"]

    def copy(self, kind: Kind, obj: dict, **fields: Any) -> dict:
        """What is made on the host of an object inside: under its name and labels there, with these fields."""
        metadata = naming.metadata(self.config.labels, kind.component, obj)
        return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, **fields}

    def told(self, text: str, host: dict, obj: dict | None = None) -> str:
        """A message of the host about `host` in the words of the virtual cluster, where `obj` is what it stands for."""
        text = messages.told_inside(text, host, obj, self.config.namespace)
        return messages.renamed_hashed(text, self._name_inside)

    def _name_inside(self, host_name: str) -> str | None:
        """Of any object that the syncer has made."""
        for kind in COPIED:
            if copy := self.host.get(kind, "", host_name):
                return (naming.virtual_key(copy) or (None, None))[1]
        return None


def fits_host(obj: dict) -> bool:
    """Whether an object inside is known whole, and not too large to be passed on."""
    return not reduced.is_reduced(obj) and reduced.weight(reduced.dumped(obj)) <= reduced.HEAVIEST_PASSED_ON
