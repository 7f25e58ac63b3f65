"""Ingresses: of the classes the platform offers, for the virtual cluster's own services."""

from __future__ import annotations

import copy as copies
from collections.abc import Iterator

from tenantry_syncer import names
from tenantry_syncer.api import ApiError
from tenantry_syncer.events import Events
from tenantry_syncer.kinds import INGRESS, SERVICE
from tenantry_syncer.sides import Sides


class Ingresses:
    def __init__(self, sides: Sides, events: Events) -> None:
        self._sides = sides
        self._events = events

    async def reconcile(self, namespace: str, name: str) -> None:
        ingress = self._sides.inside.get(INGRESS, namespace, name)
        copy = self._sides.copy_of(INGRESS, namespace, name)
        problem = self._problem(ingress) if ingress else None
        if problem:
            await self._events.refuse(INGRESS, ingress, "Refused", problem)
        if copy and (ingress is None or problem or not self._sides.is_copy(copy, ingress)):
            await self._sides.host.delete(INGRESS, copy)
        elif ingress is None or problem or ingress["metadata"].get("deletionTimestamp"):
            return
        else:
            await self._write(ingress, copy)

    def _problem(self, ingress: dict) -> str | None:
        return self._class_problem(ingress) or self._host_problem(ingress) or self._reach_problem(ingress)

    def _host_problem(self, ingress: dict) -> str | None:
        """The proxy is everybody's: nobody takes what no rule names, or names that are not his."""
        spec = ingress["spec"]
        if spec.get("defaultBackend"):
            return "spec.defaultBackend: is not offered; give a rule with a host"
        named = [rule.get("host", "") for rule in spec.get("rules") or []]
        if any(not host or host.startswith("*") for host in named):
            return "spec.rules: each needs a host, without a wildcard"
        offered = self._sides.config.ingress_hosts
        # Controllers give the certificate of a name to whoever says it here.
        for host in named + [host for one in spec.get("tls") or [] for host in one.get("hosts") or []]:
            if not any(_covers(pattern, host) for pattern in offered):
                return f"host {host}: is not offered; use {' or '.join(offered)}"
        return None

    def _reach_problem(self, ingress: dict) -> str | None:
        """Nobody sends requests past others' network policies."""
        spec, namespace = ingress["spec"], ingress["metadata"]["namespace"]
        for backend in _backends(spec):
            name = backend.get("service", {}).get("name", "")
            service = self._sides.inside.get(SERVICE, namespace, name)
            if service and not service["spec"].get("selector"):
                return f"service {name}: has no selector; an ingress leads to pods of this cluster only"
        return None

    def _class_problem(self, ingress: dict) -> str | None:
        wanted = ingress["spec"].get("ingressClassName")
        allowed = self._sides.config.ingress_classes
        if wanted not in allowed:
            return f"spec.ingressClassName: {wanted} is not offered; use {' or '.join(allowed) or 'another way in'}"
        return None

    async def _write(self, ingress: dict, copy: dict | None) -> None:
        spec = host_spec(ingress)
        wanted = self._sides.copy(INGRESS, ingress, spec=spec)
        try:
            if copy is None:
                copy = await self._sides.host.create(INGRESS, wanted)
            elif copy["spec"] != spec:
                copy = await self._sides.host.replace(INGRESS, copy, wanted)
        except ApiError as error:
            await self._events.host_refused(INGRESS, ingress, wanted, error)
        status = copy.get("status") or {}
        if status.get("loadBalancer", {}) != (ingress.get("status") or {}).get("loadBalancer", {}):
            await self._sides.inside.merge(INGRESS, ingress, {"status": status}, "status")


def host_spec(ingress: dict) -> dict:
    """Annotations stay inside: to many ingress controllers they are configuration of the whole proxy."""
    namespace = ingress["metadata"]["namespace"]
    spec = copies.deepcopy(ingress["spec"])
    for backend in _backends(spec):
        if "service" in backend:
            backend["service"]["name"] = names.host_name(namespace, backend["service"]["name"])
        backend.pop("resource", None)
    for one in spec.get("tls") or []:
        if one.get("secretName"):
            one["secretName"] = names.host_name(namespace, one["secretName"])
    return spec


def _covers(pattern: str, host: str) -> bool:
    return pattern in ("*", host) or (pattern.startswith("*.") and host.endswith(pattern[1:]))


def _backends(spec: dict) -> Iterator[dict]:
    if spec.get("defaultBackend"):
        yield spec["defaultBackend"]
    for rule in spec.get("rules") or []:
        for path in (rule.get("http") or {}).get("paths") or []:
            yield path["backend"]
