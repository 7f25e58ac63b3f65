"""Endpoint slices of services without a selector: where a tenant sends such a service by hand."""

from __future__ import annotations

import ipaddress

from tenantry_syncer import names
from tenantry_syncer.kinds import SERVICE, SLICE
from tenantry_syncer.services import PLATFORMS, is_copied
from tenantry_syncer.sides import Sides

SERVICE_NAME = "kubernetes.io/service-name"
_SAME = ("addressType", "ports")
_ENDPOINT = ("addresses", "conditions")


def is_allowed(address: str) -> bool:
    """Never where the host's nodes would reach themselves."""
    try:
        number = ipaddress.ip_address(address)
    except ValueError:
        return False
    number = getattr(number, "ipv4_mapped", None) or number
    return not (number.is_loopback or number.is_link_local or number.is_multicast or number.is_unspecified)


class Slices:
    def __init__(self, sides: Sides) -> None:
        self._sides = sides

    async def reconcile(self, namespace: str, name: str) -> None:
        found = self._sides.inside.get(SLICE, namespace, name)
        copy = self._sides.copy_of(SLICE, namespace, name)
        wanted = self._wanted(found) if found else None
        if copy and (wanted is None or not self._sides.is_copy(copy, found)):
            await self._sides.host.delete(SLICE, copy)
        elif wanted is None:
            return
        elif copy is None:
            await self._sides.host.create(SLICE, wanted)
        elif any(copy.get(field) != wanted.get(field) for field in ("endpoints", "ports")):
            changed = {field: wanted.get(field) for field in ("endpoints", "ports")}
            await self._sides.host.merge(SLICE, copy, changed)

    def _wanted(self, found: dict) -> dict | None:
        metadata = found["metadata"]
        owner = (metadata.get("labels") or {}).get(SERVICE_NAME)
        service = self._sides.inside.get(SERVICE, metadata["namespace"], owner) if owner else None
        if service is None or service["spec"].get("selector") or not is_copied(service):
            return None
        if (metadata["namespace"], owner) in PLATFORMS:
            return None
        made = self._sides.copy(SLICE, found, **{field: found[field] for field in _SAME if field in found})
        made["metadata"]["labels"] |= {
            SERVICE_NAME: names.host_name(metadata["namespace"], owner),
            "endpointslice.kubernetes.io/managed-by": names.SYNCER,
        }
        made["endpoints"] = [
            {field: one[field] for field in _ENDPOINT if field in one}
            for one in found.get("endpoints") or []
            if all(map(is_allowed, one["addresses"]))
        ]
        return made
