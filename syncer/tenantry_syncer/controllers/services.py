"""Services: made on the host under the address they have inside, so that both sides mean the same by it."""

from __future__ import annotations

import copy as copies
import json

from tenantry_syncer import naming
from tenantry_syncer.controllers.events import Events
from tenantry_syncer.kube.client import ApiError
from tenantry_syncer.kube.resources import SERVICE
from tenantry_syncer.kube.work_queue import Again
from tenantry_syncer.sync_context import Sides

API = ("default", "kubernetes")
DNS = ("kube-system", "kube-dns")
# Made by the platform before the virtual cluster: their addresses are in its configuration.
PLATFORMS = (API, DNS)

# Each of these is applied by itself; the fields of one go together.
_PARTS: dict[str, tuple[str, ...]] = {
    "selector": ("selector",),
    "ports": ("ports",),
    "sessionAffinity": ("sessionAffinity", "sessionAffinityConfig"),
    "internalTrafficPolicy": ("internalTrafficPolicy",),
    "publishNotReadyAddresses": ("publishNotReadyAddresses",),
    "trafficDistribution": ("trafficDistribution",),
}
# How a service is reached from outside; refused of those that only the cluster itself reaches. What is allocated on
# the host is asked for as it is inside.
_OUTSIDE = (
    "externalTrafficPolicy",
    "loadBalancerSourceRanges",
    "allocateLoadBalancerNodePorts",
    "healthCheckNodePort",
)
_SAME = ("type", *(field for fields in _PARTS.values() for field in fields if field not in ("selector", "ports")))
_PORT = ("name", "protocol", "port", "targetPort", "appProtocol")
_NUMBERED = (*_PORT, "nodePort")
# What the API server inside decides by itself, and has the same meaning on both sides.
_DECIDED = ("clusterIP", "clusterIPs", "ipFamilies", "externalName", "externalTrafficPolicy", "sessionAffinityConfig")
# On the copy, while the service inside is made anew: what it was, so that it comes back whatever happens in between.
_RENEWAL = "tenantry.dev/renewal"


def is_copied(service: dict) -> bool:
    """Headless ones and other names for what is elsewhere are answered by the DNS inside alone."""
    spec = service["spec"]
    return spec.get("type") != "ExternalName" and spec.get("clusterIP") not in (None, "", "None")


def host_spec(service: dict, kind: str | None = None) -> dict:
    """Without an address, which is not changed. Never external addresses. `kind` is in place of the service's type."""
    spec = {**service["spec"], "type": kind} if kind else service["spec"]
    outside = spec.get("type", "ClusterIP") != "ClusterIP"
    fields = (*_SAME, *_OUTSIDE) if outside else _SAME
    made = {field: copies.deepcopy(spec[field]) for field in fields if field in spec}
    made["ports"] = _ports(spec, _NUMBERED if outside else _PORT)
    if spec.get("selector"):
        made["selector"] = naming.pod_labels(service["metadata"]["namespace"], spec["selector"])
    return made


def left_out(service: dict) -> list[str]:
    """The fields that a tenant has set and that do not reach the host."""
    spec = service["spec"]
    passed = ("selector", "ports", *_SAME, *_OUTSIDE, *_DECIDED)
    found = [field for field, value in spec.items() if value and field not in passed]
    return sorted(field for field in found if (field, spec[field]) != ("ipFamilyPolicy", "SingleStack"))


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
        elif bool(copy["spec"].get("selector")) != bool(service["spec"].get("selector")):
            # The host would leave the endpoints of before in place, and nobody would keep them current: the addresses
            # would stay when they have become another tenant's.
            await self._sides.host.delete(SERVICE, copy)
        else:
            await self._update(service, copy)

    async def _platforms(self, service: dict | None, namespace: str, name: str) -> None:
        config = self._sides.config
        address = config.api_address if (namespace, name) == API else config.dns_address
        if service is not None and service["spec"].get("clusterIP") != address:
            await self._readdress(service, _anew(service), address)

    async def _create(self, service: dict) -> None:
        for kind in (None, "ClusterIP"):
            spec = host_spec(service, kind)
            wanted = self._sides.copy(SERVICE, service, spec={**spec, "clusterIP": service["spec"]["clusterIP"]})
            try:
                made = await self._sides.host.create(SERVICE, wanted)
            except ApiError as error:
                if error.reason == "AlreadyExists":
                    raise Again from None
                if error.status == 422 and error.is_about("spec.clusterIP"):
                    # Somebody else on the host has this address: the service takes one that is free on both sides.
                    return await self._another_address(service, {**wanted, "spec": spec})
                if kind or _kind(service) == "ClusterIP":
                    await self._events.host_refused(SERVICE, service, wanted, error)
                continue  # without the way from outside: the cluster itself reaches it all the same
            return await self._update(service, made)
        return None

    async def _another_address(self, service: dict, wanted: dict) -> None:
        wanted["metadata"]["annotations"][_RENEWAL] = json.dumps(_anew(service))
        try:
            made = await self._sides.host.create(SERVICE, wanted)
        except ApiError as error:
            await self._events.host_refused(SERVICE, service, wanted, error)
        await self._renew(service, made)

    async def _renew(self, service: dict | None, copy: dict) -> None:
        """Give the service inside the address of its copy."""
        address, notes = copy["spec"]["clusterIP"], copy["metadata"]["annotations"]
        if service is None or service["spec"].get("clusterIP") != address:
            service = await self._readdress(service, json.loads(notes[_RENEWAL]), address)
        notes = {naming.UID: service["metadata"]["uid"], _RENEWAL: None}
        await self._sides.host.merge(SERVICE, copy, {"metadata": {"annotations": notes}})

    async def _readdress(self, service: dict | None, anew: dict, address: str) -> dict:
        """An address cannot be changed: the same service again, with another one."""
        if service is not None:
            await self._sides.inside.delete(SERVICE, service)
        return await self._sides.inside.create(SERVICE, {**anew, "spec": {**anew["spec"], "clusterIP": address}})

    async def _update(self, service: dict, copy: dict) -> None:
        """Bring the copy up to date: all at once, or where that is refused each part of it by itself."""
        if fields := left_out(service):
            listed = ", ".join(f"spec.{field}" for field in fields)
            await self._events.refuse(SERVICE, service, "Refused", f"{listed}: not passed on to the host; leave it out")
        refused: dict[str, str] = {}
        outside: list[str] = []
        try:
            copy = await self._merge(copy, _changes(host_spec(service), copy))
        except ApiError as error:
            if not Events.is_refusal(error):
                raise
            copy, refused = await self._update_parts(service, copy)
            copy, outside = await self._open(service, copy, ports="ports" not in refused)
        await self._tell(service, copy, ports=not outside)
        if messages := [*refused.values(), *outside]:
            await self._events.refuse_parts(SERVICE, service, messages)

    async def _update_parts(self, service: dict, copy: dict) -> tuple[dict, dict[str, str]]:
        """As it is reached now. The copy then, and what the host said to the parts that it refused, by part."""
        wanted = host_spec(service, copy["spec"]["type"])
        wanted["ports"] = _with_node_ports(_ports(service["spec"], _PORT), copy)
        changes, refused = _changes(wanted, copy), {}
        for part, fields in _PARTS.items():
            change = {field: changes[field] for field in fields if field in changes}
            copy, error = await self._try(copy, change)
            if error:
                refused[part] = self._said(part, error, copy)
        return copy, refused

    async def _open(self, service: dict, copy: dict, *, ports: bool) -> tuple[dict, list[str]]:
        """The same for its type, its node ports, and what goes with them."""
        fields = ("type", *_OUTSIDE, *(["ports"] if ports else []))
        wanted = host_spec(service)

        async def tried() -> tuple[dict, ApiError | None]:
            changes = _changes(wanted, copy)
            return await self._try(copy, {field: changes[field] for field in fields if field in changes})

        result, error = await tried()
        if error and error.is_taken and await self._leave_to_host(service, wanted):
            result, error = await tried()
        return result, [self._said("type", error, result)] if error else []

    async def _leave_to_host(self, service: dict, wanted: dict) -> bool:
        """Take away the numbers that nobody asked for: the API server inside has chosen them. Whether there are any."""
        # Who manages which field is in no cache.
        known = await self._sides.inside.api.text(self._sides.inside.path(SERVICE, service))
        asked = _asked_for(json.loads(known))
        chosen = [port for port in wanted["ports"] if "nodePort" in port and port["nodePort"] not in asked]
        for port in chosen:
            del port["nodePort"]
        return bool(chosen)

    async def _try(self, copy: dict, change: dict) -> tuple[dict, ApiError | None]:
        """The copy then, and the host's refusal."""
        try:
            return await self._merge(copy, change), None
        except ApiError as error:
            if not Events.is_refusal(error):
                raise
            return copy, error

    def _said(self, part: str, error: ApiError, copy: dict) -> str:
        return f"spec.{part}: {self._sides.told(error.message, copy)}"

    async def _merge(self, copy: dict, change: dict) -> dict:
        return await self._sides.host.merge(SERVICE, copy, {"spec": change}) if change else copy

    async def _tell(self, service: dict, copy: dict, *, ports: bool) -> None:
        """The host decides on node ports that nobody asked for, and on the load balancer, and says how that is."""
        told = _with_node_ports(service["spec"].get("ports") or [], copy)
        if ports and told != service["spec"].get("ports"):
            service = await self._sides.inside.merge(SERVICE, service, {"spec": {"ports": told}})
        status: dict = {}
        if (addresses := _balancer(copy)) != _balancer(service):
            status["loadBalancer"] = {"ingress": addresses or None}
        if (conditions := self._conditions(service, copy)) != ((service.get("status") or {}).get("conditions") or []):
            status["conditions"] = conditions or None
        if status:
            await self._sides.inside.merge(SERVICE, service, {"status": status}, "status")

    def _conditions(self, service: dict, copy: dict) -> list[dict]:
        given = (copy.get("status") or {}).get("conditions") or []
        found = [{key: value for key, value in one.items() if key != "observedGeneration"} for one in given]
        return [{**one, "message": self._sides.told(one.get("message", ""), copy, service)} for one in found]


def _kind(service: dict) -> str:
    return service["spec"].get("type", "ClusterIP")


def _anew(service: dict) -> dict:
    """What a service has to be made of again."""
    kept = ("name", "namespace", "labels", "annotations", "ownerReferences")
    metadata = {key: service["metadata"][key] for key in kept if key in service["metadata"]}
    given = ("clusterIP", "clusterIPs", "healthCheckNodePort")
    spec = {key: value for key, value in service["spec"].items() if key not in given}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _changes(wanted: dict, copy: dict) -> dict:
    """The merge patch that makes a copy what it should be; what is not wanted is taken away."""
    spec = copy["spec"]
    there = {field: spec[field] for field in (*_SAME, *_OUTSIDE, "selector") if field in spec}
    there["ports"] = _ports(spec, _NUMBERED)
    changed = {field: wanted.get(field) for field in {**wanted, **there} if wanted.get(field) != there.get(field)}
    if "healthCheckNodePort" in there:
        changed.pop("healthCheckNodePort", None)  # never changes, and goes by itself
    if changed.get("selector") and "selector" in there:
        changed["selector"] = _replacing(there["selector"], wanted["selector"])
    return changed


def _asked_for(service: dict) -> set[int]:
    """The node ports that somebody has set: those that an API server allocates are managed by nobody."""
    numbers = set()
    for entry in service["metadata"].get("managedFields") or []:
        if entry.get("manager") == naming.SYNCER:
            continue
        ports = entry.get("fieldsV1", {}).get("f:spec", {}).get("f:ports", {})
        for port in service["spec"].get("ports") or []:
            key = json.dumps({"port": port["port"], "protocol": port["protocol"]}, separators=(",", ":"))
            if "f:nodePort" in ports.get(f"k:{key}", {}):
                numbers.add(port["nodePort"])
    return numbers


def _balancer(service: dict) -> list[dict]:
    return ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []


def _ports(spec: dict, fields: tuple[str, ...]) -> list[dict]:
    return [{key: port[key] for key in fields if port.get(key)} for port in spec.get("ports") or []]


def _replacing(old: dict, new: dict) -> dict:
    """In a merge patch a key goes only if it is named."""
    return {**dict.fromkeys(old), **new}


def _with_node_ports(ports: list[dict], copy: dict) -> list[dict]:
    given = {(one.get("name"), one["port"], one.get("protocol")): one.get("nodePort") for one in copy["spec"]["ports"]}
    numbers = [given.get((port.get("name"), port["port"], port.get("protocol"))) for port in ports]
    return [{**port, "nodePort": number} if number else port for port, number in zip(ports, numbers, strict=True)]
