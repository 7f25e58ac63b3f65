"""Config maps and secrets: those that pods or ingresses use are copied to the host, no others."""

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
from tenantry_syncer.sync_context import Sides
from tenantry_syncer.translate import pod as pod_spec
from tenantry_syncer.translate import service_variables

Reference = tuple[Kind, str, str]

# The host's controllers act on what other types hold.
_TYPES = ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg", "kubernetes.io/tls")
# Of one pod or ingress, and of all together: on the host there may be no more of them anyway.
MOST, MOST_OF_ALL = 250, 20_000

_log = logging.getLogger(__name__)


def of_pod(pod: dict) -> set[Reference]:
    """What a pod names, there or not yet there, and the variables of services."""
    namespace = pod["metadata"]["namespace"]
    named = {(kind, namespace, name) for kind, name in _named(pod) if name}
    return named | {(LINKS, namespace, service_variables.which(pod))}


def of_ingress(ingress: dict) -> set[Reference]:
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


class Index:
    """Who uses what."""

    def __init__(self) -> None:
        self._uses: dict[tuple[Kind, Key], set[Reference]] = {}
        self._users: dict[Reference, set[tuple[Kind, Key]]] = defaultdict(set)
        self._count = 0

    def update(self, kind: Kind, key: Key, references: set[Reference]) -> set[Reference]:
        """Those whose users have changed. One who uses too much uses nothing, see `knows`."""
        user = (kind, key)
        before = self._uses.pop(user, set())
        self._count -= len(before)
        if len(references) > MOST or self._count + len(references) > MOST_OF_ALL:
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

    def knows(self, kind: Kind, key: Key) -> bool:
        return (kind, key) in self._uses

    def is_used(self, reference: Reference) -> bool:
        return reference in self._users

    def of_kind(self, kind: Kind) -> list[Reference]:
        return [one for one in self._users if one[0] is kind]


class References:
    """None of those inside is followed: a watch tells which of those in use has changed, and that one is read."""

    def __init__(self, sides: Sides, index: Index, events: Events) -> None:
        self.index = index
        self.links = ServiceLinks(sides, index)
        self._sides = sides
        self._events = events
        # The versions of both that were found to agree, and the last one inside that was heard of.
        self._agreed: dict[Reference, tuple[str, str]] = {}
        self._heard: dict[Reference, int] = {}

    async def follow(self, kind: Kind, changed: Callable[[Reference], None]) -> None:
        """For ever: tell which of those in use may have changed."""
        api, path = self._sides.inside.api, kind.path()
        version = ""
        while True:
            try:
                if not version:
                    version = await api.version(path)
                    for used in self.index.of_kind(kind):
                        self._agreed.pop(used, None)
                        changed(used)
                async for change, obj in api.watch(path, version, partial=True, heads=True):
                    version = obj["metadata"]["resourceVersion"]
                    one = (kind, *key_of(obj)) if change != "BOOKMARK" else None
                    if one and self.index.is_used(one):
                        self._heard[one] = int(version)
                        changed(one)
            except Gone:
                version = ""
            except (ApiError, aiohttp.ClientError, TimeoutError, ValueError) as error:
                _log.warning("watching %s: %s", kind.plural, error)
                await asyncio.sleep(1)

    async def reconcile(self, kind: Kind, namespace: str, name: str) -> None:
        if kind is LINKS:
            await self.links.reconcile(namespace, name)
            return
        sides, reference = self._sides, (kind, namespace, name)
        copy = sides.copy_of(kind, namespace, name)
        if not self.index.is_used(reference):
            self._agreed.pop(reference, None)
            self._heard.pop(reference, None)
            if copy:
                await sides.host.delete(kind, copy)
            return
        if self._agree(reference, copy):
            return
        # Both sides of it are in memory at once.
        async with sides.copying:
            copy = sides.copy_of(kind, namespace, name)
            if not self._agree(reference, copy):
                await self._bring(reference, copy)

    def _agree(self, reference: Reference, copy: dict | None) -> bool:
        inside, on_host = self._agreed.get(reference, ("0", ""))
        known = copy is not None and copy["metadata"]["resourceVersion"] == on_host
        return known and int(inside) >= self._heard.get(reference, 0)

    async def _bring(self, reference: Reference, copy: dict | None) -> None:
        """Read what is inside and have the same on the host."""
        sides, (kind, namespace, name) = self._sides, reference
        obj = await sides.inside.api.read(kind.path(namespace, name))
        if obj is None:
            self._agreed.pop(reference, None)
            if copy:
                await sides.host.delete(kind, copy)
            return
        if reduced.is_reduced(obj):
            message = "it has too many keys or fields for a pod to use it. Split it into several"
            await self._events.refuse(kind, obj, "TooLarge", message)
            return
        wanted = self._copy(kind, obj)
        if copy and not sides.is_copy(copy, obj):
            await sides.host.delete(kind, copy)  # its deletion leads back here
            return
        there = await sides.host.api.read(sides.host.path(kind, copy)) if copy else None
        if copy and there and there.get("type") != wanted.get("type"):
            await sides.host.delete(kind, copy)
            return
        if there is None:
            copy = await sides.host.create(kind, wanted)
        elif any(there.get(field) != wanted.get(field) for field in ("data", "binaryData")):
            copy = await sides.host.replace(kind, there, wanted)
        else:
            copy = there
        self._agreed[reference] = (obj["metadata"]["resourceVersion"], copy["metadata"]["resourceVersion"])

    def _copy(self, kind: Kind, obj: dict) -> dict:
        data = {field: obj[field] for field in ("data", "binaryData") if obj.get(field)}
        made = self._sides.copy(kind, obj, **data)
        if kind is SECRET:
            made["type"] = obj["type"] if obj.get("type") in _TYPES else "Opaque"
        return made
