"""Config maps and secrets: those that pods or ingresses use are copied to the host, no others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tenantry_syncer import pod_spec
from tenantry_syncer.cache import Key
from tenantry_syncer.kinds import CONFIG_MAP, SECRET, Kind
from tenantry_syncer.sides import Sides

Reference = tuple[Kind, str, str]

# The host's controllers act on what other types hold.
_TYPES = ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg", "kubernetes.io/tls")


def of_pod(pod: dict) -> set[Reference]:
    """What a pod names, there or not yet there."""
    namespace = pod["metadata"]["namespace"]
    return {(kind, namespace, name) for kind, name in _named(pod) if name}


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

    def update(self, kind: Kind, key: Key, references: set[Reference]) -> set[Reference]:
        """Those whose users have changed."""
        user = (kind, key)
        before = self._uses.pop(user, set())
        if references:
            self._uses[user] = references
        for one in before - references:
            self._users[one].discard(user)
            if not self._users[one]:
                del self._users[one]
        for one in references - before:
            self._users[one].add(user)
        return before ^ references

    def is_used(self, reference: Reference) -> bool:
        return reference in self._users


class References:
    def __init__(self, sides: Sides, index: Index) -> None:
        self._sides = sides
        self._index = index
        # The versions of both that were found to agree.
        self._agreed: dict[Reference, tuple[str, str]] = {}

    async def reconcile(self, kind: Kind, namespace: str, name: str) -> None:
        sides, reference = self._sides, (kind, namespace, name)
        known = sides.inside.get(kind, namespace, name)
        copy = sides.copy_of(kind, namespace, name)
        if known is None or not self._index.is_used(reference):
            self._agreed.pop(reference, None)
            if copy:
                await sides.host.delete(kind, copy)
            return
        if copy and self._agreed.get(reference) == _versions(known, copy):
            return
        obj = await sides.inside.api.get(sides.inside.path(kind, known))
        if obj is None:
            return  # the watch will say so, too
        wanted = self._copy(kind, obj)
        if copy is None:
            copy = await sides.host.create(kind, wanted)
        elif not sides.is_copy(copy, obj) or copy.get("type") != wanted.get("type"):
            await sides.host.delete(kind, copy)  # its deletion leads back here
            return
        elif any(copy.get(field) != wanted.get(field) for field in ("data", "binaryData")):
            copy = await sides.host.replace(kind, copy, wanted)
        self._agreed[reference] = _versions(obj, copy)

    def _copy(self, kind: Kind, obj: dict) -> dict:
        data = {field: obj[field] for field in ("data", "binaryData") if obj.get(field)}
        made = self._sides.copy(kind, obj, **data)
        if kind is SECRET:
            made["type"] = obj["type"] if obj.get("type") in _TYPES else "Opaque"
        return made


def _versions(obj: dict, copy: dict) -> tuple[str, str]:
    return obj["metadata"]["resourceVersion"], copy["metadata"]["resourceVersion"]
