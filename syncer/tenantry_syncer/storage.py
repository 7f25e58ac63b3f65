"""Volumes: claims are made on the host, where they are bound; what came of them is told inside."""

from __future__ import annotations

from tenantry_syncer.api import ApiError
from tenantry_syncer.events import Events
from tenantry_syncer.kinds import CLAIM
from tenantry_syncer.sides import Sides

_SAME = ("accessModes", "resources", "volumeMode", "storageClassName")
# They name volumes of the host, which are not the tenant's.
_FOREIGN = ("dataSource", "dataSourceRef", "selector", "volumeAttributesClassName")
_STATUS = ("phase", "accessModes", "capacity", "conditions", "allocatedResources", "allocatedResourceStatuses")


class Claims:
    def __init__(self, sides: Sides, events: Events) -> None:
        self._sides = sides
        self._events = events

    async def reconcile(self, namespace: str, name: str) -> None:
        claim = self._sides.inside.get(CLAIM, namespace, name)
        copy = self._sides.copy_of(CLAIM, namespace, name)
        if copy and not self._sides.is_copy(copy, claim):
            if not copy["metadata"].get("deletionTimestamp"):
                await self._sides.host.delete(CLAIM, copy)
        elif claim is None or (copy is None and claim["metadata"].get("deletionTimestamp")):
            return
        elif copy is None:
            await self._create(claim)
        else:
            await self._grow(claim, copy)
            await self._tell(claim, copy)

    async def _create(self, claim: dict) -> None:
        if problem := self._problem(claim["spec"]):
            await self._events.refuse(CLAIM, claim, "Refused", problem)
            return
        spec = {field: claim["spec"][field] for field in _SAME if field in claim["spec"]}
        if self._sides.config.storage_classes:
            spec.setdefault("storageClassName", self._sides.config.storage_classes[0])
        wanted = self._sides.copy(CLAIM, claim, spec=spec)
        try:
            await self._sides.host.create(CLAIM, wanted)
        except ApiError as error:
            await self._events.host_refused(CLAIM, claim, wanted, error)

    def _problem(self, spec: dict) -> str | None:
        for field in _FOREIGN:
            if spec.get(field):
                return f"spec.{field}: is not offered; leave it out"
        allowed = self._sides.config.storage_classes
        wanted = spec.get("storageClassName")
        if wanted == "":
            return "spec.storageClassName: '' takes a volume that lies ready on the host; leave the field out"
        if allowed == ():
            return "volumes are not offered in this virtual cluster"
        if allowed is not None and wanted and wanted not in allowed:
            return f"spec.storageClassName: {wanted} is not offered; use {' or '.join(allowed)}"
        return None

    async def _grow(self, claim: dict, copy: dict) -> None:
        wanted = claim["spec"]["resources"]
        if wanted == copy["spec"]["resources"]:
            return
        try:
            await self._sides.host.merge(CLAIM, copy, {"spec": {"resources": wanted}})
        except ApiError as error:
            await self._events.host_refused(CLAIM, claim, copy, error)

    async def _tell(self, claim: dict, copy: dict) -> None:
        status = copy.get("status") or {}
        current = claim.get("status") or {}
        changed = {field: status.get(field) for field in _STATUS if status.get(field) != current.get(field)}
        if status.get("phase") == "Bound" and not claim["spec"].get("volumeName"):
            # The name of the volume on the host says nothing inside; that there is one does.
            claim = await self._sides.inside.merge(CLAIM, claim, {"spec": {"volumeName": copy["metadata"]["name"]}})
        if changed:
            await self._sides.inside.merge(CLAIM, claim, {"status": changed}, "status")
