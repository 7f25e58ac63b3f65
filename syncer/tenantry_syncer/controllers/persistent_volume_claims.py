"""Volumes: claims are made on the host, where they are bound; what came of them is told inside."""

from __future__ import annotations

from tenantry_syncer.controllers.events import Events
from tenantry_syncer.kube.client import ApiError
from tenantry_syncer.kube.resources import PVC
from tenantry_syncer.sync_context import SyncContext

PASSED_THROUGH = ("accessModes", "resources", "volumeMode", "storageClassName")
# They name volumes of the host, which are not the tenant's.
REJECTED = ("dataSource", "dataSourceRef", "selector", "volumeAttributesClassName")
IGNORED = ("volumeName",)
STATUS = ("phase", "accessModes", "capacity", "conditions", "allocatedResources", "allocatedResourceStatuses")
# Of volumeAttributesClassName, which is not offered.
NOT_REPORTED = ("currentVolumeAttributesClassName", "modifyVolumeStatus")


class PersistentVolumeClaims:
    def __init__(self, context: SyncContext, events: Events) -> None:
        self._context = context
        self._events = events

    async def reconcile(self, namespace: str, name: str) -> None:
        claim = self._context.virtual.get(PVC, namespace, name)
        host_object = self._context.host_object_for(PVC, namespace, name)
        if host_object and not self._context.is_host_object_of(host_object, claim):
            if not host_object["metadata"].get("deletionTimestamp"):
                await self._context.host.delete(PVC, host_object)
        elif claim is None or (host_object is None and claim["metadata"].get("deletionTimestamp")):
            return
        elif host_object is None:
            await self._create(claim)
        else:
            await self._sync_status(claim, host_object)
            await self._grow(claim, host_object)

    async def _create(self, claim: dict) -> None:
        wanted_class = _class_of(claim)
        if problem := self._problem(claim["spec"], wanted_class):
            await self._events.reject(PVC, claim, "Refused", problem)
            return
        spec = {field: claim["spec"][field] for field in PASSED_THROUGH if field in claim["spec"]}
        if wanted_class is None and self._context.config.storage_classes:
            wanted_class = self._context.classes.default or self._context.config.storage_classes[0]
        if wanted_class is not None:
            spec["storageClassName"] = wanted_class
        desired = self._context.host_object(PVC, claim, spec=spec)
        try:
            created = await self._context.host.create(PVC, desired)
        except ApiError as error:
            await self._events.host_rejected(PVC, claim, desired, error)
        # The syncer itself names a volume after its claim, see _tell.
        if (volume := claim["spec"].get("volumeName")) and volume != created["metadata"]["name"]:
            message = f"spec.volumeName: {volume} is not passed on; the claim gets a new volume of the host"
            await self._events.reject(PVC, claim, "NotPassedOn", message)

    def _problem(self, spec: dict, desired: str | None) -> str | None:
        for field in REJECTED:
            if spec.get(field) not in (None, ""):  # an empty selector selects too
                return f"spec.{field}: is not offered; leave it out"
        allowed = self._context.config.storage_classes
        if desired == "":
            return "spec.storageClassName: '' takes a volume that lies ready on the host; leave the field out"
        if allowed == ():
            return "spec: claims are not offered in this virtual cluster; use emptyDir"
        if allowed is not None and desired and desired not in allowed:
            return f"spec.storageClassName: {desired} is not offered; use {' or '.join(allowed)}"
        return None

    async def _grow(self, claim: dict, host_object: dict) -> None:
        """As far as the class on the host allows it, whatever the class inside says."""
        desired = claim["spec"]["resources"]
        if desired == host_object["spec"]["resources"]:
            return
        try:
            await self._context.host.merge(PVC, host_object, {"spec": {"resources": desired}})
        except ApiError as error:
            await self._events.host_rejected(PVC, claim, host_object, error)

    async def _sync_status(self, claim: dict, host_object: dict) -> None:
        status = host_object.get("status") or {}
        current = claim.get("status") or {}
        changed = {field: status.get(field) for field in STATUS if status.get(field) != current.get(field)}
        known = {}
        if status.get("phase") == "Bound" and not claim["spec"].get("volumeName"):
            # The name of the volume on the host says nothing inside; that there is one does.
            known["volumeName"] = host_object["metadata"]["name"]
        if _class_of(claim) is None and host_object["spec"].get("storageClassName"):
            known["storageClassName"] = host_object["spec"]["storageClassName"]  # the default of the host
        if known:
            claim = await self._context.virtual.merge(PVC, claim, {"spec": known})
        if changed:
            await self._context.virtual.merge(PVC, claim, {"status": changed}, "status")


def _class_of(claim: dict) -> str | None:
    """By its field or, as Kubernetes still takes it, by the annotation of before."""
    notes = claim["metadata"].get("annotations") or {}
    return notes.get("volume.beta.kubernetes.io/storage-class", claim["spec"].get("storageClassName"))
