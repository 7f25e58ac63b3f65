"""Services: made on the host under the address they have inside, so that both sides mean the same by it."""

from __future__ import annotations

import copy as copies
import json

from tenantry_syncer import names
from tenantry_syncer.api import ApiError
from tenantry_syncer.events import Events
from tenantry_syncer.kinds import SERVICE
from tenantry_syncer.queue import Again
from tenantry_syncer.sides import Sides

API = ("default", "kubernetes")
DNS = ("kube-system", "kube-dns")
# Made by the platform before the virtual cluster: their addresses are in its configuration.
PLATFORMS = (API, DNS)

_SAME = (
    "type",
    "sessionAffinity",
    "sessionAffinityConfig",
    "internalTrafficPolicy",
    "publishNotReadyAddresses",
    "trafficDistribution",
)
# Refused of services that only the cluster itself reaches.
_OUTSIDE = ("externalTrafficPolicy", "loadBalancerSourceRanges")
_PORT = ("name", "protocol", "port", "targetPort", "appProtocol")
# On the copy, while the service inside is made anew: what it was, so that it comes back whatever happens in between.
_RENEWAL = "tenantry.dev/renewal"


def is_copied(service: dict) -> bool:
    """Headless ones and other names for what is elsewhere are answered by the DNS inside alone."""
    spec = service["spec"]
    return spec.get("type") != "ExternalName" and spec.get("clusterIP") not in (None, "", "None")


def host_spec(service: dict) -> dict:
    """Without address and node ports, which are the host's to give. Never external addresses."""
    spec = service["spec"]
    fields = _SAME if spec.get("type", "ClusterIP") == "ClusterIP" else (*_SAME, *_OUTSIDE)
    made = {field: copies.deepcopy(spec[field]) for field in fields if field in spec}
    made["ports"] = _ports(spec)
    if spec.get("selector"):
        made["selector"] = names.pod_labels(service["metadata"]["namespace"], spec["selector"])
    return made


class Services:
    def __init__(self, sides: Sides, events: Events) -> None:
        self._sides = sides
        self._events = events

    async def reconcile(self, namespace: str, name: str) -> None:
        service = self._sides.inside.get(SERVICE, namespace, name)
        copy = self._sides.copy_of(SERVICE, namespace, name)
        if (namespace, name) in PLATFORMS:
            await self._platforms(service, namespace, name)
        elif copy and _RENEWAL in copy["metadata"]["annotations"]:
            await self._renew(service, copy)
        elif copy and (service is None or not is_copied(service) or not self._sides.is_copy(copy, service)):
            await self._sides.host.delete(SERVICE, copy)
        elif service is None or service["metadata"].get("deletionTimestamp") or not is_copied(service):
            return
        elif copy is None:
            await self._create(service)
        elif copy["spec"].get("clusterIP") != service["spec"]["clusterIP"]:
            await self._sides.host.delete(SERVICE, copy)  # it was without one for a moment, and got another
        else:
            await self._update(service, copy)
            await self._tell(service, copy)

    async def _platforms(self, service: dict | None, namespace: str, name: str) -> None:
        config = self._sides.config
        address = config.api_address if (namespace, name) == API else config.dns_address
        if service is not None and service["spec"].get("clusterIP") != address:
            await self._readdress(service, _anew(service), address)

    async def _create(self, service: dict) -> None:
        spec = host_spec(service)
        wanted = self._sides.copy(SERVICE, service, spec={**spec, "clusterIP": service["spec"]["clusterIP"]})
        try:
            made = await self._sides.host.create(SERVICE, wanted)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                raise Again from None
            if error.status != 422 or "clusterIP" not in error.message:
                await self._events.host_refused(SERVICE, service, wanted, error)
            # Somebody else on the host has this address: the service takes one that is free on both sides.
            made = await self._another_address(service, {**wanted, "spec": spec})
        await self._tell(service, made)

    async def _another_address(self, service: dict, wanted: dict) -> dict:
        wanted["metadata"]["annotations"][_RENEWAL] = json.dumps(_anew(service))
        try:
            made = await self._sides.host.create(SERVICE, wanted)
        except ApiError as error:
            await self._events.host_refused(SERVICE, service, wanted, error)
        return await self._renew(service, made)

    async def _renew(self, service: dict | None, copy: dict) -> dict:
        """Give the service inside the address of its copy."""
        address, notes = copy["spec"]["clusterIP"], copy["metadata"]["annotations"]
        if service is None or service["spec"].get("clusterIP") != address:
            service = await self._readdress(service, json.loads(notes[_RENEWAL]), address)
        notes = {names.UID: service["metadata"]["uid"], _RENEWAL: None}
        return await self._sides.host.merge(SERVICE, copy, {"metadata": {"annotations": notes}})

    async def _readdress(self, service: dict | None, anew: dict, address: str) -> dict:
        """An address cannot be changed: the same service again, with another one."""
        if service is not None:
            await self._sides.inside.delete(SERVICE, service)
        return await self._sides.inside.create(SERVICE, {**anew, "spec": {**anew["spec"], "clusterIP": address}})

    async def _update(self, service: dict, copy: dict) -> None:
        wanted = host_spec(service)
        there = host_spec_of_copy(copy)
        changed = {key: value for key, value in wanted.items() if there.get(key) != value}
        if "selector" in copy["spec"] and copy["spec"]["selector"] != wanted.get("selector"):
            changed["selector"] = (
                None if "selector" not in wanted else _replacing(copy["spec"]["selector"], wanted["selector"])
            )
        if "ports" in changed:
            changed["ports"] = _with_node_ports(changed["ports"], copy)
        if not changed:
            return
        try:
            await self._sides.host.merge(SERVICE, copy, {"spec": changed})
        except ApiError as error:
            await self._events.host_refused(SERVICE, service, copy, error)

    async def _tell(self, service: dict, copy: dict) -> None:
        """Node ports and the load balancer are the host's."""
        ports = _with_node_ports(service["spec"].get("ports") or [], copy)
        if ports != service["spec"].get("ports"):
            service = await self._sides.inside.merge(SERVICE, service, {"spec": {"ports": ports}})
        balancer = (copy.get("status") or {}).get("loadBalancer") or {}
        if balancer != ((service.get("status") or {}).get("loadBalancer") or {}):
            await self._sides.inside.merge(SERVICE, service, {"status": {"loadBalancer": balancer}}, "status")


def _anew(service: dict) -> dict:
    """What a service has to be made of again."""
    kept = ("name", "namespace", "labels", "annotations", "ownerReferences")
    metadata = {key: service["metadata"][key] for key in kept if key in service["metadata"]}
    given = ("clusterIP", "clusterIPs", "healthCheckNodePort")
    spec = {key: value for key, value in service["spec"].items() if key not in given}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def host_spec_of_copy(copy: dict) -> dict:
    """What of the copy is compared with what it should be."""
    spec = copy["spec"]
    made = {field: spec[field] for field in (*_SAME, *_OUTSIDE, "selector") if field in spec}
    made["ports"] = _ports(spec)
    return made


def _ports(spec: dict) -> list[dict]:
    return [{key: port[key] for key in _PORT if key in port} for port in spec.get("ports") or []]


def _replacing(old: dict, new: dict) -> dict:
    """In a merge patch a key goes only if it is named."""
    return {**dict.fromkeys(old), **new}


def _with_node_ports(ports: list[dict], copy: dict) -> list[dict]:
    given = {(one.get("name"), one["port"], one.get("protocol")): one.get("nodePort") for one in copy["spec"]["ports"]}
    made = []
    for port in ports:
        number = given.get((port.get("name"), port["port"], port.get("protocol")))
        rest = {key: value for key, value in port.items() if key != "nodePort"}
        made.append({**rest, "nodePort": number} if number else rest)
    return made
