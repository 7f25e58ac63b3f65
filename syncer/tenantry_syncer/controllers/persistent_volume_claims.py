"""Volumes: claims are made on the host, where they are bound; what came of them is told inside."""

from __future__ import annotations

from tenantry_syncer.controllers.events import Events
from tenantry_syncer.kube.client import ApiError
from tenantry_syncer.kube.resources import CLAIM
from tenantry_syncer.sync_context import Sides

SAME = ("accessModes", "resources", "volumeMode", "storageClassName")
# They name volumes of the host, which are not the tenant's.
FOREIGN = ("dataSource", "dataSourceRef", "selector", "volumeAttributesClassName")
NOT_PASSED_ON = ("volumeName",)
STATUS = ("phase", "accessModes", "capacity", "conditions", "allocatedResources", "allocatedResourceStatuses")
# Of volumeAttributesClassName, which is not offered.
NOT_SHOWN = ("currentVolumeAttributesClassName", "modifyVolumeStatus")


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
            await self._tell(claim, copy)
            await self._grow(claim, copy)

    async def _create(self, claim: dict) -> None:
        wanted_class = _class_of(claim)
        if problem := self._problem(claim["spec"], wanted_class):
            await self._events.refuse(CLAIM, claim, "Refused", problem)
            return
        spec = {field: claim["spec"][field] for field in SAME if field in claim["spec"]}
        if wanted_class is None and self._sides.config.storage_classes:
            wanted_class = self._sides.classes.default or self._sides.config.storage_classes[0]
        if wanted_class is not None:
            spec["storageClassName"] = wanted_class
        wanted = self._sides.copy(CLAIM, claim, spec=spec)
        try:
            made = await self._sides.host.create(CLAIM, wanted)
        except ApiError as error:
            await self._events.host_refused(CLAIM, claim, wanted, error)
        # The syncer itself names a volume after its claim, see _tell.
        if (volume := claim["spec"].get("volumeName")) and volume != made["metadata"]["name"]:
            message = f"spec.volumeName: {volume} is not passed on; the claim gets a new volume of the host"
            await self._events.refuse(CLAIM, claim, "NotPassedOn", message)

    def _problem(self, spec: dict, wanted: str | None) -> str | None:
        for field in FOREIGN:
            if spec.get(field) not in (None, ""):  # an empty selector selects too
                return f"spec.{field}: is not offered; leave it out"
        allowed = self._sides.config.storage_classes
        if wanted == "":
            return "spec.storageClassName: '' takes a volume that lies ready on the host; leave the field out"
        if allowed == ():
            return "spec: claims are not offered in this virtual cluster; use emptyDir"
        if allowed is not None and wanted and wanted not in allowed:
            return f"spec.storageClassName: {wanted} is not offered; use {' or '.join(allowed)}"
        return None

    async def _grow(self, claim: dict, copy: dict) -> None:
        """As far as the class on the host allows it, whatever the class inside says."""
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
        changed = {field: status.get(field) for field in STATUS if status.get(field) != current.get(field)}
        known = {}
        if status.get("phase") == "Bound" and not claim["spec"].get("volumeName"):
            # The name of the volume on the host says nothing inside; that there is one does.
            known["volumeName"] = copy["metadata"]["name"]
        if _class_of(claim) is None and copy["spec"].get("storageClassName"):
            known["storageClassName"] = copy["spec"]["storageClassName"]  # the default of the host
        if known:
            claim = await self._sides.inside.merge(CLAIM, claim, {"spec": known})
        if changed:
            await self._sides.inside.merge(CLAIM, claim, {"status": changed}, "status")


def _class_of(claim: dict) -> str | None:
    """By its field or, as Kubernetes still takes it, by the annotation of before."""
    notes = claim["metadata"].get("annotations") or {}
    return notes.get("volume.beta.kubernetes.io/storage-class", claim["spec"].get("storageClassName"))
