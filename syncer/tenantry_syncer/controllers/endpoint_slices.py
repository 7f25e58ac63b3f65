"""Endpoint slices of services without a selector: where a tenant sends such a service by hand.

The host's nodes, load balancers and ingress controllers send packets there on the tenant's behalf, past the network
policies that hold for its pods. So an address must be a pod of this virtual cluster, or outside of the host's networks.
"""

from __future__ import annotations

from tenantry_syncer import naming
from tenantry_syncer.controllers.events import Events
from tenantry_syncer.controllers.services import PLATFORMS, is_copied
from tenantry_syncer.kube.client import ApiError
from tenantry_syncer.kube.resources import POD, SERVICE, SLICE
from tenantry_syncer.kube.work_queue import Again
from tenantry_syncer.sync_context import SERVICE_NAME, Sides

SAME = ("addressType", "ports")
# Where an endpoint is, the host's proxies use to send packets to near ones: nodes have the same names on both sides.
ENDPOINT = ("addresses", "conditions", "hints", "nodeName", "zone")
# For the DNS inside and whoever reads it there.
INSIDE = ("hostname", "targetRef", "deprecatedTopology")
# What can change of a copy; the rest of it is of the slice inside as it was made.
_CHANGING = ("endpoints", "ports")


def service_of(found: dict) -> str | None:
    """The name of the service that a slice is of."""
    return (found["metadata"].get("labels") or {}).get(SERVICE_NAME)


def addresses_of_pod(pod: dict | None) -> set[str]:
    """Those that are its own: not a node's, and not what it had until it ended."""
    if pod is None or pod["spec"].get("hostNetwork"):
        return set()
    status = pod.get("status") or {}
    if status.get("phase") in ("Succeeded", "Failed"):
        return set()
    return {one["ip"] for one in status.get("podIPs") or []}


class Slices:
    def __init__(self, sides: Sides, events: Events) -> None:
        self._sides = sides
        self._events = events

    async def reconcile(self, namespace: str, name: str) -> None:
        found = self._sides.inside.get(SLICE, namespace, name)
        copy = self._sides.copy_of(SLICE, namespace, name)
        wanted, refused = self._wanted(found) if found else (None, [])
        if copy and (wanted is None or not self._sides.is_copy(copy, found) or service_of(copy) != service_of(wanted)):
            await self._sides.host.delete(SLICE, copy)  # its deletion leads back here
        elif found and wanted:
            await self._write(found, wanted, copy)
        if found and refused:
            await self._tell(found, refused)

    async def _write(self, found: dict, wanted: dict, copy: dict | None) -> None:
        changed = {field: wanted.get(field) for field in _CHANGING}
        try:
            if copy is None:
                await self._sides.host.create(SLICE, wanted)
            elif any(copy.get(field) != value for field, value in changed.items()):
                await self._sides.host.merge(SLICE, copy, changed)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                raise Again from None
            await self._events.host_refused(SLICE, found, wanted, error)

    async def _tell(self, found: dict, refused: list[str]) -> None:
        """On the slice, and on the service by which it is looked for: most slices are made of Endpoints."""
        message = (
            f"endpoints: {', '.join(sorted(refused)[:5])}: not passed on; an address must be of a pod of this cluster, "
            "or outside of the networks of the host (its pods, services, nodes, API server, metadata)"
        )
        await self._events.refuse(SLICE, found, "Refused", message)
        owner = service_of(found)
        service = self._sides.inside.get(SERVICE, found["metadata"]["namespace"], owner) if owner else None
        if service:
            await self._events.refuse(SERVICE, service, "Refused", message)

    def _wanted(self, found: dict) -> tuple[dict | None, list[str]]:
        """The copy, and the addresses that it must not have."""
        metadata, owner = found["metadata"], service_of(found)
        service = self._sides.inside.get(SERVICE, metadata["namespace"], owner) if owner else None
        if owner is None or service is None or service["spec"].get("selector") or not is_copied(service):
            return None, []
        if (metadata["namespace"], owner) in PLATFORMS:
            return None, []
        refused = self._refused(found)
        made = self._sides.copy(SLICE, found, **{field: found[field] for field in SAME if field in found})
        made["metadata"]["labels"] |= {
            SERVICE_NAME: naming.host_name(metadata["namespace"], owner),
            "endpointslice.kubernetes.io/managed-by": naming.SYNCER,
        }
        made["endpoints"] = [
            {field: one[field] for field in ENDPOINT if field in one}
            for one in found.get("endpoints") or []
            if refused.isdisjoint(one["addresses"])
        ]
        return made, list(refused)

    def _refused(self, found: dict) -> set[str]:
        named = {address for one in found.get("endpoints") or [] for address in one["addresses"]}
        own = {address for pod in self._sides.host.all(POD) for address in addresses_of_pod(pod)}
        return {address for address in named - own if not self._sides.networks.are_outside(address)}
