"""The two sides of a virtual cluster: its own API server (inside), and its namespace on the host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tenantry_syncer import names
from tenantry_syncer.api import Api
from tenantry_syncer.cache import Cache
from tenantry_syncer.config import Config
from tenantry_syncer.kinds import (
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
    Kind,
)

# Selects what the syncer has made on the host.
OURS = f"{names.MANAGED_BY}={names.SYNCER}"
# Of those inside the most are used by no pod: what is in them is read when a pod uses them.
READ_WHEN_USED = (CONFIG_MAP, SECRET)
COPIED = (POD, SERVICE, CONFIG_MAP, SECRET, CLAIM, SLICE, INGRESS)


class Side:
    """One API server with what is known of it."""

    def __init__(self, api: Api, namespace: str | None = None) -> None:
        self.api = api
        self.namespace = namespace
        self._caches: dict[Kind, Cache] = {}

    def follow(self, kind: Kind, selector: str = "", *, partial: bool = False) -> None:
        self._caches[kind] = Cache(self.api, kind, self.namespace, selector, partial=partial)

    @property
    def caches(self) -> list[Cache]:
        return list(self._caches.values())

    def get(self, kind: Kind, namespace: str, name: str) -> dict | None:
        return self._caches[kind].get(self.namespace or namespace, name)

    def all(self, kind: Kind, namespace: str | None = None) -> Iterator[dict]:
        return self._caches[kind].all(namespace)

    def cache(self, kind: Kind) -> Cache:
        return self._caches[kind]

    async def create(self, kind: Kind, obj: dict) -> dict:
        made = await self.api.create(kind.path(obj["metadata"].get("namespace") or self.namespace), obj)
        return self._seen(kind, made)

    async def merge(self, kind: Kind, obj: dict, body: dict, *subresource: str) -> dict:
        """A merge patch for this very object, not for a later one of its name."""
        body = {**body, "metadata": {**body.get("metadata", {}), "uid": obj["metadata"]["uid"]}}
        return self._seen(kind, await self.api.merge(self.path(kind, obj, *subresource), body))

    async def strategic(self, kind: Kind, obj: dict, body: dict, *subresource: str) -> dict:
        """A patch by which lists of named things are merged by name."""
        return self._seen(kind, await self.api.strategic(self.path(kind, obj, *subresource), body))

    async def replace(self, kind: Kind, obj: dict, wanted: dict) -> dict:
        """All of this very object as it was seen, unless somebody has changed it since."""
        metadata = {**wanted["metadata"], "resourceVersion": obj["metadata"]["resourceVersion"]}
        return self._seen(kind, await self.api.replace(self.path(kind, obj), {**wanted, "metadata": metadata}))

    async def delete(self, kind: Kind, obj: dict, *, grace: int | None = None) -> bool:
        return await self.api.delete(self.path(kind, obj), uid=obj["metadata"]["uid"], grace=grace)

    def path(self, kind: Kind, obj: dict, *subresource: str) -> str:
        metadata = obj["metadata"]
        return kind.path(metadata.get("namespace"), metadata["name"], *subresource)

    def _seen(self, kind: Kind, obj: dict) -> dict:
        if kind in self._caches and obj.get("kind") == kind.name:
            obj["metadata"].pop("managedFields", None)
            self._caches[kind].put(obj)
        return obj


class Sides:
    """Both, as every part of the syncer gets them."""

    def __init__(self, config: Config, host: Api, inside: Api) -> None:
        self.config = config
        self.host = Side(host, config.namespace)
        self.inside = Side(inside)
        for kind in COPIED:
            self.host.follow(kind, OURS)
            self.inside.follow(kind, partial=kind in READ_WHEN_USED)
        self.host.follow(QUOTA)
        for kind in (NAMESPACE, NODE):
            self.inside.follow(kind)

    @property
    def caches(self) -> list[Cache]:
        return [*self.host.caches, *self.inside.caches]

    def copy_of(self, kind: Kind, namespace: str, name: str) -> dict | None:
        """The object on the host that stands for one inside."""
        return self.host.get(kind, "", names.host_name(namespace, name))

    def is_copy(self, copy: dict, of: dict | None) -> bool:
        """Whether it stands for this very object, not for an earlier one of the same name."""
        return of is not None and names.virtual_uid(copy) == of["metadata"]["uid"]

    def copy(self, kind: Kind, obj: dict, **fields: Any) -> dict:
        """What is made on the host of an object inside: under its name and labels there, with these fields."""
        metadata = names.metadata(self.config.labels, kind.component, obj)
        return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, **fields}

    def told(self, text: str, host: dict) -> str:
        return names.told_inside(text, host, self.config.namespace)
