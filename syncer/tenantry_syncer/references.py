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

    async def reconcile(self, kind: Kind, namespace: str, name: str) -> None:
        sides = self._sides
        obj = sides.inside.get(kind, namespace, name)
        copy = sides.copy_of(kind, namespace, name)
        if obj is None or not self._index.is_used((kind, namespace, name)):
            if copy:
                await sides.host.delete(kind, copy)
            return
        wanted = self._copy(kind, obj)
        if copy is None:
            await sides.host.create(kind, wanted)
        elif not sides.is_copy(copy, obj) or copy.get("type") != wanted.get("type"):
            await sides.host.delete(kind, copy)  # its deletion leads back here
        elif any(copy.get(field) != wanted.get(field) for field in ("data", "binaryData")):
            wanted["metadata"]["resourceVersion"] = copy["metadata"]["resourceVersion"]
            sides.host.cache(kind).put(await sides.host.api.replace(sides.host.path(kind, copy), wanted))

    def _copy(self, kind: Kind, obj: dict) -> dict:
        made = {"apiVersion": "v1", "kind": kind.name, "metadata": self._sides.metadata(kind, obj)}
        made |= {field: obj[field] for field in ("data", "binaryData") if obj.get(field)}
        if kind is SECRET:
            made["type"] = obj["type"] if obj.get("type") in _TYPES else "Opaque"
        return made
