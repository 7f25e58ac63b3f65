"""Services: made on the host under the address they have inside, so that both sides mean the same by it."""

from __future__ import annotations

import json
from copy import deepcopy

from tenantry_syncer import naming
from tenantry_syncer.controllers.events import Events
from tenantry_syncer.kube.client import ApiError
from tenantry_syncer.kube.resources import SERVICE
from tenantry_syncer.kube.work_queue import RequeueAfter
from tenantry_syncer.sync_context import SyncContext

API = ("default", "kubernetes")
DNS = ("kube-system", "kube-dns")
# Made by the platform before the virtual cluster: their addresses are in its configuration.
PLATFORM_SERVICES = (API, DNS)

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
_EXPOSURE = (
    "externalTrafficPolicy",
    "loadBalancerSourceRanges",
    "allocateLoadBalancerNodePorts",
    "healthCheckNodePort",
)
PASSED_THROUGH = (
    "type",
    *(field for fields in _PARTS.values() for field in fields if field not in ("selector", "ports")),
)
_PORT = ("name", "protocol", "port", "targetPort", "appProtocol")
_PORT_WITH_NODE_PORT = (*_PORT, "nodePort")
# How an API server says that a number is somebody else's.
_ALREADY_ALLOCATED = "already allocated"
# What the API server inside decides by itself, and has the same meaning on both sides.
_SET_BY_API_SERVER = (
    "clusterIP",
    "clusterIPs",
    "ipFamilies",
    "externalName",
    "externalTrafficPolicy",
    "sessionAffinityConfig",
)
# On the copy, while the service inside is made anew: what it was, so that it comes back whatever happens in between.
_RECREATE_ANNOTATION = "tenantry.dev/renewal"


def is_synced(service: dict) -> bool:
    """Headless ones and other names for what is elsewhere are answered by the DNS inside alone."""
    spec = service["spec"]
    return spec.get("type") != "ExternalName" and spec.get("clusterIP") not in (None, "", "None")


def host_spec(service: dict, kind: str | None = None) -> dict:
    """Without an address, which is not changed. Never external addresses. `kind` is in place of the service's type."""
    spec = {**service["spec"], "type": kind} if kind else service["spec"]
    exposed = spec.get("type", "ClusterIP") != "ClusterIP"
    fields = (*PASSED_THROUGH, *_EXPOSURE) if exposed else PASSED_THROUGH
    created = {field: deepcopy(spec[field]) for field in fields if field in spec}
    created["ports"] = _ports(spec, _PORT_WITH_NODE_PORT if exposed else _PORT)
    if spec.get("selector"):
        created["selector"] = naming.pod_labels(service["metadata"]["namespace"], spec["selector"])
    return created


def left_out(service: dict) -> list[str]:
    """The fields that a tenant has set and that do not reach the host."""
    spec = service["spec"]
    passed = ("selector", "ports", *PASSED_THROUGH, *_EXPOSURE, *_SET_BY_API_SERVER)
    found = [field for field, value in spec.items() if value and field not in passed]
    return sorted(field for field in found if (field, spec[field]) != ("ipFamilyPolicy", "SingleStack"))


class Services:
    def __init__(self, context: SyncContext, events: Events) -> None:
        self._context = context
        self._events = events

    async def reconcile(self, namespace: str, name: str) -> None:
        service = self._context.virtual.get(SERVICE, namespace, name)
        host_object = self._context.host_object_for(SERVICE, namespace, name)
        if (namespace, name) in PLATFORM_SERVICES:
            await self._reconcile_platform_service(service, namespace, name)
        elif host_object and _RECREATE_ANNOTATION in host_object["metadata"]["annotations"]:
            await self._adopt_host_address(service, host_object)
        elif host_object and (
            service is None or not is_synced(service) or not self._context.is_host_object_of(host_object, service)
        ):
            await self._context.host.delete(SERVICE, host_object)
        elif service is None or service["metadata"].get("deletionTimestamp") or not is_synced(service):
            return
        elif host_object is None:
            await self._create(service)
        elif host_object["spec"].get("clusterIP") != service["spec"]["clusterIP"]:
            await self._context.host.delete(SERVICE, host_object)  # it was without one for a moment, and got another
        elif bool(host_object["spec"].get("selector")) != bool(service["spec"].get("selector")):
            # The host would leave the endpoints of before in place, and nobody would keep them current: the addresses
            # would stay when they have become another tenant's.
            await self._context.host.delete(SERVICE, host_object)
        else:
            await self._update(service, host_object)

    async def _reconcile_platform_service(self, service: dict | None, namespace: str, name: str) -> None:
        config = self._context.config
        address = config.api_address if (namespace, name) == API else config.dns_address
        if service is not None and service["spec"].get("clusterIP") != address:
            await self._recreate_with_address(service, _manifest_to_recreate(service), address)

    async def _create(self, service: dict) -> None:
        for kind in (None, "ClusterIP"):
            spec = host_spec(service, kind)
            desired = self._context.host_object(
                SERVICE, service, spec={**spec, "clusterIP": service["spec"]["clusterIP"]}
            )
            try:
                created = await self._context.host.create(SERVICE, desired)
            except ApiError as error:
                if error.reason == "AlreadyExists":
                    raise RequeueAfter from None
                if error.status == 422 and "clusterIP" in error.message:
                    # Somebody else on the host has this address: the service takes one that is free on both sides.
                    return await self._allocate_on_host(service, {**desired, "spec": spec})
                if kind or _kind(service) == "ClusterIP":
                    await self._events.host_rejected(SERVICE, service, desired, error)
                continue  # without the way from outside: the cluster itself reaches it all the same
            return await self._update(service, created)
        return None

    async def _allocate_on_host(self, service: dict, desired: dict) -> None:
        desired["metadata"]["annotations"][_RECREATE_ANNOTATION] = json.dumps(_manifest_to_recreate(service))
        try:
            created = await self._context.host.create(SERVICE, desired)
        except ApiError as error:
            await self._events.host_rejected(SERVICE, service, desired, error)
        await self._adopt_host_address(service, created)

    async def _adopt_host_address(self, service: dict | None, host_object: dict) -> None:
        """Give the service inside the address of its copy."""
        address, notes = host_object["spec"]["clusterIP"], host_object["metadata"]["annotations"]
        if service is None or service["spec"].get("clusterIP") != address:
            service = await self._recreate_with_address(service, json.loads(notes[_RECREATE_ANNOTATION]), address)
        notes = {naming.UID: service["metadata"]["uid"], _RECREATE_ANNOTATION: None}
        await self._context.host.merge(SERVICE, host_object, {"metadata": {"annotations": notes}})

    async def _recreate_with_address(self, service: dict | None, manifest: dict, address: str) -> dict:
        """An address cannot be changed: the same service again, with another one."""
        if service is not None:
            await self._context.virtual.delete(SERVICE, service)
        return await self._context.virtual.create(
            SERVICE, {**manifest, "spec": {**manifest["spec"], "clusterIP": address}}
        )

    async def _update(self, service: dict, host_object: dict) -> None:
        """Bring the copy up to date: all at once, or where that is refused each part of it by itself."""
        if fields := left_out(service):
            listed = ", ".join(f"spec.{field}" for field in fields)
            await self._events.reject(SERVICE, service, "Refused", f"{listed}: not passed on to the host; leave it out")
        rejected: list[str] = []
        exposed: list[str] = []
        try:
            host_object = await self._merge(host_object, _changes(host_spec(service), host_object))
        except ApiError as error:
            if not Events.is_rejection(error):
                raise
            host_object, rejected = await self._update_parts(service, host_object)
            host_object, exposed = await self._update_exposure(
                service, host_object, ports=not any(one.startswith("spec.ports:") for one in rejected)
            )
        await self._sync_status(service, host_object, ports=not exposed)
        if rejected + exposed:
            await self._events.reject_parts(SERVICE, service, rejected + exposed)

    async def _update_parts(self, service: dict, host_object: dict) -> tuple[dict, list[str]]:
        """As it is reached now. The copy then, and what the host said to the parts that it refused."""
        desired = host_spec(service, host_object["spec"]["type"])
        desired["ports"] = _with_node_ports(_ports(service["spec"], _PORT), host_object)
        changes, rejected = _changes(desired, host_object), []
        for part, fields in _PARTS.items():
            change = {field: changes[field] for field in fields if field in changes}
            host_object, problem = await self._try_merge(host_object, part, change)
            rejected += problem
        return host_object, rejected

    async def _update_exposure(self, service: dict, host_object: dict, *, ports: bool) -> tuple[dict, list[str]]:
        """The same for its type, its node ports, and what goes with them."""
        fields = ("type", *_EXPOSURE, *(["ports"] if ports else []))
        desired = host_spec(service)

        async def tried() -> tuple[dict, list[str]]:
            changes = _changes(desired, host_object)
            return await self._try_merge(
                host_object, "type", {field: changes[field] for field in fields if field in changes}
            )

        result, problem = await tried()
        if problem and _ALREADY_ALLOCATED in problem[0] and await self._drop_allocated_node_ports(service, desired):
            return await tried()
        return result, problem

    async def _drop_allocated_node_ports(self, service: dict, desired: dict) -> bool:
        """Take away the numbers that nobody asked for: the API server inside has chosen them. Whether there are any."""
        # Who manages which field is in no cache.
        known = await self._context.virtual.api.text(self._context.virtual.path(SERVICE, service))
        asked = _requested_node_ports(json.loads(known))
        chosen = [port for port in desired["ports"] if "nodePort" in port and port["nodePort"] not in asked]
        for port in chosen:
            del port["nodePort"]
        return bool(chosen)

    async def _try_merge(self, host_object: dict, part: str, change: dict) -> tuple[dict, list[str]]:
        try:
            return await self._merge(host_object, change), []
        except ApiError as error:
            if not Events.is_rejection(error):
                raise
            return host_object, [f"spec.{part}: {self._context.to_virtual_message(error.message, host_object)}"]

    async def _merge(self, host_object: dict, change: dict) -> dict:
        return await self._context.host.merge(SERVICE, host_object, {"spec": change}) if change else host_object

    async def _sync_status(self, service: dict, host_object: dict, *, ports: bool) -> None:
        """The host decides on node ports that nobody asked for, and on the load balancer, and says how that is."""
        ports_now = _with_node_ports(service["spec"].get("ports") or [], host_object)
        if ports and ports_now != service["spec"].get("ports"):
            service = await self._context.virtual.merge(SERVICE, service, {"spec": {"ports": ports_now}})
        status: dict = {}
        if (addresses := _load_balancer_addresses(host_object)) != _load_balancer_addresses(service):
            status["loadBalancer"] = {"ingress": addresses or None}
        if (conditions := self._conditions(service, host_object)) != (
            (service.get("status") or {}).get("conditions") or []
        ):
            status["conditions"] = conditions or None
        if status:
            await self._context.virtual.merge(SERVICE, service, {"status": status}, "status")

    def _conditions(self, service: dict, host_object: dict) -> list[dict]:
        given = (host_object.get("status") or {}).get("conditions") or []
        found = [{key: value for key, value in one.items() if key != "observedGeneration"} for one in given]
        return [
            {**one, "message": self._context.to_virtual_message(one.get("message", ""), host_object, service)}
            for one in found
        ]


def _kind(service: dict) -> str:
    return service["spec"].get("type", "ClusterIP")


def _manifest_to_recreate(service: dict) -> dict:
    """What a service has to be made of again."""
    kept = ("name", "namespace", "labels", "annotations", "ownerReferences")
    metadata = {key: service["metadata"][key] for key in kept if key in service["metadata"]}
    given = ("clusterIP", "clusterIPs", "healthCheckNodePort")
    spec = {key: value for key, value in service["spec"].items() if key not in given}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _changes(desired: dict, host_object: dict) -> dict:
    """The merge patch that makes a copy what it should be; what is not wanted is taken away."""
    spec = host_object["spec"]
    current = {field: spec[field] for field in (*PASSED_THROUGH, *_EXPOSURE, "selector") if field in spec}
    current["ports"] = _ports(spec, _PORT_WITH_NODE_PORT)
    changed = {
        field: desired.get(field) for field in {**desired, **current} if desired.get(field) != current.get(field)
    }
    if "healthCheckNodePort" in current:
        changed.pop("healthCheckNodePort", None)  # never changes, and goes by itself
    if changed.get("selector") and "selector" in current:
        changed["selector"] = _replace_map(current["selector"], desired["selector"])
    return changed


def _requested_node_ports(service: dict) -> set[int]:
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


def _load_balancer_addresses(service: dict) -> list[dict]:
    return ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []


def _ports(spec: dict, fields: tuple[str, ...]) -> list[dict]:
    return [{key: port[key] for key in fields if port.get(key)} for port in spec.get("ports") or []]


def _replace_map(old: dict, new: dict) -> dict:
    """In a merge patch a key goes only if it is named."""
    return {**dict.fromkeys(old), **new}


def _with_node_ports(ports: list[dict], host_object: dict) -> list[dict]:
    given = {
        (one.get("name"), one["port"], one.get("protocol")): one.get("nodePort") for one in host_object["spec"]["ports"]
    }
    numbers = [given.get((port.get("name"), port["port"], port.get("protocol"))) for port in ports]
    return [{**port, "nodePort": number} if number else port for port, number in zip(ports, numbers, strict=True)]
