"""Endpoint slices of services without a selector, whose addresses a tenant sets.

The host's nodes, load balancers and ingress controllers connect to them on the tenant's behalf and bypass the network
policies of its pods. So an address must belong to a pod of this virtual cluster or lie outside the host's networks.
"""

from __future__ import annotations

from tenantry_syncer import naming
from tenantry_syncer.controllers.events import Events
from tenantry_syncer.controllers.services import PLATFORM_SERVICES, is_synced
from tenantry_syncer.kube.client import ApiError
from tenantry_syncer.kube.resources import ENDPOINT_SLICE, POD, SERVICE
from tenantry_syncer.kube.work_queue import RequeueAfter
from tenantry_syncer.sync_context import SERVICE_NAME, SyncContext

PASSED_THROUGH = ("addressType", "ports")
# Node and zone serve topology-aware routing on the host: nodes have the same names on both sides.
ENDPOINT = ("addresses", "conditions", "hints", "nodeName", "zone")
# Fields of the host object that can change; the rest never changes.
_CHANGING = ("endpoints", "ports")


def service_of(found: dict) -> str | None:
    """Return the name of the Service that a slice belongs to, or None."""
    return (found["metadata"].get("labels") or {}).get(SERVICE_NAME)


def addresses_of_pod(pod: dict | None) -> set[str]:
    """Return the addresses that belong to a pod: none if it uses the host network or has ended."""
    if pod is None or pod["spec"].get("hostNetwork"):
        return set()
    status = pod.get("status") or {}
    if status.get("phase") in ("Succeeded", "Failed"):
        return set()
    return {one["ip"] for one in status.get("podIPs") or []}


class EndpointSlices:
    """Syncs slices of Services without a selector, with the allowed addresses."""

    def __init__(self, context: SyncContext, events: Events) -> None:
        self._context = context
        self._events = events

    async def reconcile(self, namespace: str, name: str) -> None:
        """Create, update or delete the host object of a slice."""
        found = self._context.virtual.get(ENDPOINT_SLICE, namespace, name)
        host_object = self._context.host_object_for(ENDPOINT_SLICE, namespace, name)
        desired, rejected = self._desired(found) if found else (None, [])
        if host_object and (
            desired is None
            or not self._context.is_host_object_of(host_object, found)
            or service_of(host_object) != service_of(desired)
        ):
            await self._context.host.delete(ENDPOINT_SLICE, host_object)  # the deletion queues this key again
        elif found and desired:
            await self._write(found, desired, host_object)
        if found and rejected:
            await self._report_rejected(found, rejected)

    async def _write(self, found: dict, desired: dict, host_object: dict | None) -> None:
        changed = {field: desired.get(field) for field in _CHANGING}
        try:
            if host_object is None:
                await self._context.host.create(ENDPOINT_SLICE, desired)
            elif any(host_object.get(field) != value for field, value in changed.items()):
                await self._context.host.merge(ENDPOINT_SLICE, host_object, changed)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                raise RequeueAfter from None
            await self._events.host_rejected(ENDPOINT_SLICE, found, desired, error)

    async def _report_rejected(self, found: dict, rejected: list[str]) -> None:
        """Report rejected addresses on the slice and on its Service: users who create Endpoints look there."""
        message = (
            f"endpoints: {', '.join(sorted(rejected)[:5])}: not passed on. An address must belong to a pod of this "
            "virtual cluster or lie outside the host's networks (pods, services, nodes, API server, metadata)."
        )
        await self._events.reject(ENDPOINT_SLICE, found, "Refused", message)
        owner = service_of(found)
        service = self._context.virtual.get(SERVICE, found["metadata"]["namespace"], owner) if owner else None
        if service:
            await self._events.reject(SERVICE, service, "Refused", message)

    def _desired(self, found: dict) -> tuple[dict | None, list[str]]:
        """Return the host object, None if there must be none, and the rejected addresses."""
        metadata, owner = found["metadata"], service_of(found)
        service = self._context.virtual.get(SERVICE, metadata["namespace"], owner) if owner else None
        if owner is None or service is None or service["spec"].get("selector") or not is_synced(service):
            return None, []
        if (metadata["namespace"], owner) in PLATFORM_SERVICES:
            return None, []
        rejected = self._rejected_addresses(found)
        desired = self._context.host_object(
            ENDPOINT_SLICE, found, **{field: found[field] for field in PASSED_THROUGH if field in found}
        )
        desired["metadata"]["labels"] |= {
            SERVICE_NAME: naming.host_name(metadata["namespace"], owner),
            "endpointslice.kubernetes.io/managed-by": naming.SYNCER,
        }
        desired["endpoints"] = [
            {field: one[field] for field in ENDPOINT if field in one}
            for one in found.get("endpoints") or []
            if rejected.isdisjoint(one["addresses"])
        ]
        return desired, list(rejected)

    def _rejected_addresses(self, found: dict) -> set[str]:
        named = {address for one in found.get("endpoints") or [] for address in one["addresses"]}
        own = {address for pod in self._context.host.all(POD) for address in addresses_of_pod(pod)}
        return {address for address in named - own if not self._context.networks.allows(address)}
