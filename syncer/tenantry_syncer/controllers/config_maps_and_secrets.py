"""Config maps and Secrets: only those that pods or ingresses reference are synced to the host."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator

import aiohttp

from tenantry_syncer.controllers.events import Events
from tenantry_syncer.controllers.service_links import ServiceLinks
from tenantry_syncer.kube import reduced
from tenantry_syncer.kube.client import ApiError, Gone
from tenantry_syncer.kube.informer import Key, key_of
from tenantry_syncer.kube.resources import CONFIG_MAP, LINKS, SECRET, Kind
from tenantry_syncer.sync_context import SyncContext
from tenantry_syncer.translate import pod as pod_spec
from tenantry_syncer.translate import service_variables

Reference = tuple[Kind, str, str]

# Controllers of the host act on Secrets of other types.
_TYPES = ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg", "kubernetes.io/tls")
# References of one pod or ingress, and of all together: the host's quota allows no more objects.
MAX_PER_OBJECT, MAX_TOTAL = 250, 20_000

_log = logging.getLogger(__name__)


def of_pod(pod: dict) -> set[Reference]:
    """Return what a pod references, whether it exists or not, and its service environment variables."""
    namespace = pod["metadata"]["namespace"]
    named = {(kind, namespace, name) for kind, name in _named(pod) if name}
    return named | {(LINKS, namespace, service_variables.which(pod))}


def of_ingress(ingress: dict) -> set[Reference]:
    """Return the Secrets that an ingress references."""
    tls = ingress["spec"].get("tls") or []
    return {(SECRET, ingress["metadata"]["namespace"], one["secretName"]) for one in tls if one.get("secretName")}


def _named(pod: dict) -> Iterator[tuple[Kind, str]]:
    spec = pod["spec"]
    for one in spec.get("imagePullSecrets") or []:
        yield SECRET, one.get("name", "")
    for container in pod_spec.named(pod):
        for env in container.get("env") or []:
            source = env.get("valueFrom") or {}
            yield from _refs(source, "configMapKeyRef", "secretKeyRef")
        for source in container.get("envFrom") or []:
            yield from _refs(source, "configMapRef", "secretRef")
    for volume in spec.get("volumes") or []:
        for source in [volume, *((volume.get("projected") or {}).get("sources") or [])]:
            yield from _refs(source, "configMap", "secret")


def _refs(source: dict, config_map: str, secret: str) -> Iterator[tuple[Kind, str]]:
    if config_map in source:
        yield CONFIG_MAP, source[config_map].get("name", "")
    if secret in source:
        yield SECRET, source[secret].get("secretName") or source[secret].get("name", "")


class ReferenceIndex:
    """The references of pods and ingresses, by user and by object."""

    def __init__(self) -> None:
        self._uses: dict[tuple[Kind, Key], set[Reference]] = {}
        self._users: dict[Reference, set[tuple[Kind, Key]]] = defaultdict(set)
        self._count = 0

    def update(self, kind: Kind, key: Key, references: set[Reference]) -> set[Reference]:
        """Set the references of a user; return those whose users changed. Beyond the limit, none count: see `has`."""
        user = (kind, key)
        before = self._uses.pop(user, set())
        self._count -= len(before)
        if len(references) > MAX_PER_OBJECT or self._count + len(references) > MAX_TOTAL:
            references = set()
        if references:
            self._uses[user] = references
            self._count += len(references)
        for one in before - references:
            self._users[one].discard(user)
            if not self._users[one]:
                del self._users[one]
        for one in references - before:
            self._users[one].add(user)
        return before ^ references

    def has(self, kind: Kind, key: Key) -> bool:
        """Return whether this object references anything."""
        return (kind, key) in self._uses

    def is_used(self, reference: Reference) -> bool:
        """Return whether any object has this reference."""
        return reference in self._users

    def of_kind(self, kind: Kind) -> list[Reference]:
        return [one for one in self._users if one[0] is kind]


class References:
    """Syncs referenced config maps and Secrets. They are not cached but read after the watch reports a change."""

    def __init__(self, context: SyncContext, index: ReferenceIndex, events: Events) -> None:
        self.index = index
        self.links = ServiceLinks(context, index)
        self._context = context
        self._events = events
        # Resource versions of both sides when they were last equal, and the latest virtual one that the watch reported.
        self._synced: dict[Reference, tuple[str, str]] = {}
        self._seen: dict[Reference, int] = {}

    async def follow(self, kind: Kind, changed: Callable[[Reference], None]) -> None:
        """Watch a kind until cancelled and call `changed` with each reference that may have changed."""
        api, path = self._context.virtual.api, kind.path()
        version = ""
        while True:
            try:
                if not version:
                    version = await api.version(path)
                    for used in self.index.of_kind(kind):
                        self._synced.pop(used, None)
                        changed(used)
                async for change, obj in api.watch(path, version, partial=True, heads=True):
                    version = obj["metadata"]["resourceVersion"]
                    one = (kind, *key_of(obj)) if change != "BOOKMARK" else None
                    if one and self.index.is_used(one):
                        self._seen[one] = int(version)
                        changed(one)
            except Gone:
                version = ""
            except (ApiError, aiohttp.ClientError, TimeoutError, ValueError) as error:
                _log.warning("could not watch %s: %s", kind.plural, error)
                await asyncio.sleep(1)

    async def reconcile(self, kind: Kind, namespace: str, name: str) -> None:
        """Create, update or delete the host object of a referenced config map or Secret."""
        if kind is LINKS:
            await self.links.reconcile(namespace, name)
            return
        context, reference = self._context, (kind, namespace, name)
        host_object = context.host_object_for(kind, namespace, name)
        if not self.index.is_used(reference):
            self._synced.pop(reference, None)
            self._seen.pop(reference, None)
            if host_object:
                await context.host.delete(kind, host_object)
            return
        if self._in_sync(reference, host_object):
            return
        # One at a time: both objects are in memory as a whole.
        async with context.reference_lock:
            host_object = context.host_object_for(kind, namespace, name)
            if not self._in_sync(reference, host_object):
                await self._sync(reference, host_object)

    def _in_sync(self, reference: Reference, host_object: dict | None) -> bool:
        virtual_version, host_version = self._synced.get(reference, ("0", ""))
        known = host_object is not None and host_object["metadata"]["resourceVersion"] == host_version
        return known and int(virtual_version) >= self._seen.get(reference, 0)

    async def _sync(self, reference: Reference, host_object: dict | None) -> None:
        """Read the virtual object and create, update or delete the host object."""
        context, (kind, namespace, name) = self._context, reference
        obj = await context.virtual.api.read(kind.path(namespace, name))
        if obj is None:
            self._synced.pop(reference, None)
            if host_object:
                await context.host.delete(kind, host_object)
            return
        if reduced.is_reduced(obj):
            message = "Too many keys or fields for a pod to use it. Split it into several objects."
            await self._events.reject(kind, obj, "TooLarge", message)
            return
        desired = self._host_object(kind, obj)
        if host_object and not context.is_host_object_of(host_object, obj):
            await context.host.delete(kind, host_object)  # the deletion queues this key again
            return
        current = await context.host.api.read(context.host.path(kind, host_object)) if host_object else None
        if host_object and current and current.get("type") != desired.get("type"):
            await context.host.delete(kind, host_object)
            return
        if current is None:
            host_object = await context.host.create(kind, desired)
        elif any(current.get(field) != desired.get(field) for field in ("data", "binaryData")):
            host_object = await context.host.replace(kind, current, desired)
        else:
            host_object = current
        self._synced[reference] = (obj["metadata"]["resourceVersion"], host_object["metadata"]["resourceVersion"])

    def _host_object(self, kind: Kind, obj: dict) -> dict:
        data = {field: obj[field] for field in ("data", "binaryData") if obj.get(field)}
        desired = self._context.host_object(kind, obj, **data)
        if kind is SECRET:
            desired["type"] = obj["type"] if obj.get("type") in _TYPES else "Opaque"
        return desired
