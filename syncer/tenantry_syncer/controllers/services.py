"""Services: created on the host with the same cluster IP as in the virtual cluster."""

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
# The platform creates them before the virtual cluster: their addresses are in its configuration.
PLATFORM_SERVICES = (API, DNS)

# Each part is applied separately; the fields of a part are applied together.
_PARTS: dict[str, tuple[str, ...]] = {
    "selector": ("selector",),
    "ports": ("ports",),
    "sessionAffinity": ("sessionAffinity", "sessionAffinityConfig"),
    "internalTrafficPolicy": ("internalTrafficPolicy",),
    "publishNotReadyAddresses": ("publishNotReadyAddresses",),
    "trafficDistribution": ("trafficDistribution",),
}
# Fields of external access, which the API server rejects for type ClusterIP. Values that the virtual API server
# allocated are requested from the host.
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
# Set by the virtual API server, with the same meaning on both sides.
_SET_BY_API_SERVER = (
    "clusterIP",
    "clusterIPs",
    "ipFamilies",
    "externalName",
    "externalTrafficPolicy",
    "sessionAffinityConfig",
)
# Annotation of the host object while the virtual service is recreated: its manifest, which survives a restart.
_RECREATE_ANNOTATION = "tenantry.dev/renewal"


def is_synced(service: dict) -> bool:
    """Return whether a service exists on the host: headless and ExternalName services need only the virtual DNS."""
    spec = service["spec"]
    return spec.get("type") != "ExternalName" and spec.get("clusterIP") not in (None, "", "None")


def host_spec(service: dict, kind: str | None = None) -> dict:
    """Return the host's spec without the immutable clusterIP and without externalIPs; `kind` overrides the type.

    A load balancer of a class is not the host's: its default implementation might be open to everybody.
    """
    if _kind(service) == "LoadBalancer" and service["spec"].get("loadBalancerClass"):
        kind = "ClusterIP"
    spec = {**service["spec"], "type": kind} if kind else service["spec"]
    exposed = spec.get("type", "ClusterIP") != "ClusterIP"
    fields = (*PASSED_THROUGH, *_EXPOSURE) if exposed else PASSED_THROUGH
    result = {field: deepcopy(spec[field]) for field in fields if field in spec}
    result["ports"] = _ports(spec, _PORT_WITH_NODE_PORT if exposed else _PORT)
    if spec.get("selector"):
        result["selector"] = naming.pod_labels(service["metadata"]["namespace"], spec["selector"])
    return result


def left_out(service: dict) -> list[str]:
    """Return the fields that a tenant has set and that are not passed on."""
    spec = service["spec"]
    passed = ("selector", "ports", *PASSED_THROUGH, *_EXPOSURE, *_SET_BY_API_SERVER)
    found = [field for field, value in spec.items() if value and field not in passed]
    return sorted(field for field in found if (field, spec[field]) != ("ipFamilyPolicy", "SingleStack"))


class Services:
    """Creates Services on the host with the same cluster IP, and keeps both in step."""

    def __init__(self, context: SyncContext, events: Events) -> None:
        self._context = context
        self._events = events

    async def reconcile(self, namespace: str, name: str) -> None:
        """Create, update or delete the host object of a Service, and copy its status back."""
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
            await self._context.host.delete(SERVICE, host_object)  # it lost its address for a moment and got another
        elif bool(host_object["spec"].get("selector")) != bool(service["spec"].get("selector")):
            # The host would keep the old endpoints without updating them, even when another tenant's pods get their
            # addresses.
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
                if error.status == 422 and error.is_about("spec.clusterIP"):
                    # The address is taken on the host: the service gets one that is free on both sides.
                    return await self._allocate_on_host(service, {**desired, "spec": spec})
                if kind or _kind(service) == "ClusterIP":
                    await self._events.host_rejected(SERVICE, service, desired, error)
                continue  # retry as ClusterIP: the service then works within the cluster
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
        """Recreate the virtual service with the cluster IP of its host object."""
        address, notes = host_object["spec"]["clusterIP"], host_object["metadata"]["annotations"]
        if service is None or service["spec"].get("clusterIP") != address:
            service = await self._recreate_with_address(service, json.loads(notes[_RECREATE_ANNOTATION]), address)
        notes = {naming.UID: service["metadata"]["uid"], _RECREATE_ANNOTATION: None}
        await self._context.host.merge(SERVICE, host_object, {"metadata": {"annotations": notes}})

    async def _recreate_with_address(self, service: dict | None, manifest: dict, address: str) -> dict:
        """Delete and create the virtual service with another cluster IP, which is immutable."""
        if service is not None:
            await self._context.virtual.delete(SERVICE, service)
        return await self._context.virtual.create(
            SERVICE, {**manifest, "spec": {**manifest["spec"], "clusterIP": address}}
        )

    async def _update(self, service: dict, host_object: dict) -> None:
        """Update the host object at once or, if the host rejects that, part by part."""
        if fields := left_out(service):
            listed = ", ".join(f"spec.{field}" for field in fields)
            await self._events.reject(SERVICE, service, "Refused", f"{listed}: not passed on to the host. Omit it.")
        service = await self._forget_address(service, host_object)
        rejected: dict[str, str] = {}
        exposure_rejected: list[str] = []
        try:
            host_object = await self._merge(host_object, _changes(host_spec(service), host_object))
        except ApiError as error:
            if not Events.is_rejection(error):
                raise
            host_object, rejected = await self._update_parts(service, host_object)
            host_object, exposure_rejected = await self._update_exposure(
                service, host_object, ports="ports" not in rejected
            )
        await self._sync_status(service, host_object, ports=not exposure_rejected)
        if messages := [*rejected.values(), *exposure_rejected]:
            await self._events.reject_parts(SERVICE, service, messages)

    async def _update_parts(self, service: dict, host_object: dict) -> tuple[dict, dict[str, str]]:
        """Update each part with the current type; return the host object and the messages by rejected part."""
        desired = host_spec(service, host_object["spec"]["type"])
        desired["ports"] = _with_node_ports(_ports(service["spec"], _PORT), host_object)
        changes, rejected = _changes(desired, host_object), {}
        for part, fields in _PARTS.items():
            change = {field: changes[field] for field in fields if field in changes}
            host_object, error = await self._try_merge(host_object, change)
            if error:
                rejected[part] = self._message(part, error, host_object)
        return host_object, rejected

    async def _update_exposure(self, service: dict, host_object: dict, *, ports: bool) -> tuple[dict, list[str]]:
        """Update type, node ports and the fields that depend on them; return the host object and messages."""
        fields = ("type", *_EXPOSURE, *(["ports"] if ports else []))
        desired = host_spec(service)

        async def attempt() -> tuple[dict, ApiError | None]:
            changes = _changes(desired, host_object)
            return await self._try_merge(host_object, {field: changes[field] for field in fields if field in changes})

        result, error = await attempt()
        if error and error.is_taken and await self._drop_allocated_node_ports(service, desired):
            result, error = await attempt()
        return result, [self._message("type", error, result)] if error else []

    async def _drop_allocated_node_ports(self, service: dict, desired: dict) -> bool:
        """Drop node ports that the virtual API server allocated, not a user; return whether there were any."""
        # The caches have no managedFields.
        known = await self._context.virtual.api.text(self._context.virtual.path(SERVICE, service))
        requested = _requested_node_ports(json.loads(known))
        allocated = [port for port in desired["ports"] if "nodePort" in port and port["nodePort"] not in requested]
        for port in allocated:
            del port["nodePort"]
        return bool(allocated)

    async def _try_merge(self, host_object: dict, change: dict) -> tuple[dict, ApiError | None]:
        """The host object afterwards, and the error if the host rejected the change."""
        try:
            return await self._merge(host_object, change), None
        except ApiError as error:
            if not Events.is_rejection(error):
                raise
            return host_object, error

    def _message(self, part: str, error: ApiError, host_object: dict) -> str:
        return f"spec.{part}: {self._context.to_virtual_message(error.message, host_object)}"

    async def _merge(self, host_object: dict, change: dict) -> dict:
        return await self._context.host.merge(SERVICE, host_object, {"spec": change}) if change else host_object

    async def _forget_address(self, service: dict, host_object: dict) -> dict:
        """Remove the address that a host before this release gave to a class that is not its own: others may get it."""
        if _kind(host_object) != "LoadBalancer" or not service["spec"].get("loadBalancerClass"):
            return service
        return await self._context.virtual.merge(
            SERVICE, service, {"status": {"loadBalancer": {"ingress": None}}}, "status"
        )

    async def _sync_status(self, service: dict, host_object: dict, *, ports: bool) -> None:
        """Copy node ports, load balancer addresses and conditions from the host to the virtual service."""
        ports_now = _with_node_ports(service["spec"].get("ports") or [], host_object)
        if ports and ports_now != service["spec"].get("ports"):
            service = await self._context.virtual.merge_unchanged(SERVICE, service, {"spec": {"ports": ports_now}})
        if service["spec"].get("loadBalancerClass"):
            return  # its status is that of a controller in the virtual cluster
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
    """Return the manifest to recreate a service from."""
    kept = ("name", "namespace", "labels", "annotations", "ownerReferences")
    metadata = {key: service["metadata"][key] for key in kept if key in service["metadata"]}
    given = ("clusterIP", "clusterIPs", "healthCheckNodePort")
    spec = {key: value for key, value in service["spec"].items() if key not in given}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _changes(desired: dict, host_object: dict) -> dict:
    """Return the merge patch from the host object to the desired spec; it removes undesired fields."""
    spec = host_object["spec"]
    current = {field: spec[field] for field in (*PASSED_THROUGH, *_EXPOSURE, "selector") if field in spec}
    current["ports"] = _ports(spec, _PORT_WITH_NODE_PORT)
    changed = {
        field: desired.get(field) for field in {**desired, **current} if desired.get(field) != current.get(field)
    }
    if "healthCheckNodePort" in current:
        changed.pop("healthCheckNodePort", None)  # immutable; the API server removes it
    if changed.get("selector") and "selector" in current:
        changed["selector"] = _replace_map(current["selector"], desired["selector"])
    return changed


def _requested_node_ports(service: dict) -> set[int]:
    """Return the node ports that a user has set: allocated ones have no field manager."""
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
    """Return a merge patch that replaces a map: a key is removed only if the patch sets it to null."""
    return {**dict.fromkeys(old), **new}


def _with_node_ports(ports: list[dict], host_object: dict) -> list[dict]:
    given = {
        (one.get("name"), one["port"], one.get("protocol")): one.get("nodePort") for one in host_object["spec"]["ports"]
    }
    numbers = [given.get((port.get("name"), port["port"], port.get("protocol"))) for port in ports]
    return [{**port, "nodePort": number} if number else port for port, number in zip(ports, numbers, strict=True)]
