"""PersistentVolumeClaims: created and bound on the host; their status is copied back."""

from __future__ import annotations

from tenantry_syncer.controllers.events import Events
from tenantry_syncer.kube import reduced
from tenantry_syncer.kube.client import ApiError
from tenantry_syncer.kube.resources import POD, PVC
from tenantry_syncer.sync_context import SyncContext

PASSED_THROUGH = ("accessModes", "resources", "volumeMode", "storageClassName")
# They refer to volumes of the host, which do not belong to the tenant.
REJECTED = ("dataSource", "dataSourceRef", "selector", "volumeAttributesClassName")
STATUS = ("phase", "accessModes", "capacity", "conditions", "allocatedResources", "allocatedResourceStatuses")

# A condition that controllers set on both sides from Kubernetes 1.37 on, each by the pods that it knows. The virtual
# cluster knows pods that are not on the host, such as gated ones.
_SET_INSIDE = "Unused"


class PersistentVolumeClaims:
    """Creates claims on the host, grows them, and copies their status back."""

    def __init__(self, context: SyncContext, events: Events) -> None:
        self._context = context
        self._events = events

    async def reconcile(self, namespace: str, name: str) -> None:
        """Create, grow or delete the host object of a claim, and copy its status back."""
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
        if (claim.get("status") or {}).get("phase") == "Bound":
            message = "The host no longer has the volume of this claim. The claim gets a new, empty one."
            await self._events.reject(PVC, claim, "NewVolume", message)
        # _sync_status sets volumeName to the name of the host's claim.
        if (volume := claim["spec"].get("volumeName")) and volume != created["metadata"]["name"]:
            message = f"spec.volumeName: {volume} is not passed on. The claim gets a new volume."
            await self._events.reject(PVC, claim, "NotPassedOn", message)

    def _problem(self, spec: dict, desired: str | None) -> str | None:
        for field in REJECTED:
            if spec.get(field) not in (None, ""):  # an empty selector selects too
                return f"spec.{field}: not supported. Omit it."
        allowed = self._context.config.storage_classes
        if desired == "":
            return "spec.storageClassName: '' selects a pre-provisioned volume of the host. Omit the field."
        if allowed == ():
            return "spec: this virtual cluster offers no storage classes. Use emptyDir."
        if allowed is not None and desired and desired not in allowed:
            return f"spec.storageClassName: {desired} is not offered. Use {' or '.join(allowed)}."
        return None

    async def _grow(self, claim: dict, host_object: dict) -> None:
        """Resize the host's claim; the host's class decides whether that is allowed."""
        desired = claim["spec"]["resources"]
        if desired == host_object["spec"]["resources"]:
            return
        try:
            await self._context.host.merge(PVC, host_object, {"spec": {"resources": desired}})
        except ApiError as error:
            await self._events.host_rejected(PVC, claim, host_object, error)

    async def _sync_status(self, claim: dict, host_object: dict) -> None:
        current = claim.get("status") or {}
        status = {**(host_object.get("status") or {}), "conditions": _conditions(current, host_object)}
        changed = {field: status.get(field) for field in STATUS if status.get(field) != current.get(field)}
        known = {}
        if status.get("phase") == "Bound" and not claim["spec"].get("volumeName"):
            # A bound claim needs a volumeName; that of the host's volume would mean nothing in the virtual cluster.
            known["volumeName"] = host_object["metadata"]["name"]
        if _class_of(claim) is None and host_object["spec"].get("storageClassName"):
            known["storageClassName"] = host_object["spec"]["storageClassName"]  # the host's default
        if known:
            claim = await self._context.virtual.merge(PVC, claim, {"spec": known})
        if changed:
            await self._context.virtual.merge_unchanged(PVC, claim, {"status": changed}, "status")


def ephemeral_claim_problem(context: SyncContext, pod: dict, name: str) -> str | None:
    """Return why the pod's ephemeral volume cannot have the claim of this name yet; None if it can.

    A claim of an earlier pod of the same name is about to be deleted, inside and on the host. Empty: only wait.
    """
    namespace, owner = pod["metadata"]["namespace"], pod["metadata"]["uid"]
    claim = context.virtual.get(PVC, namespace, name)
    host_object = context.host_object_for(PVC, namespace, name)
    if claim is None or reduced.is_reduced(claim):
        return None if claim or host_object is None else ""
    owners = claim["metadata"].get("ownerReferences") or []
    if any(one["uid"] == owner for one in owners):
        return "" if host_object and not context.is_host_object_of(host_object, claim) else None
    if claim["metadata"].get("deletionTimestamp") or any(one["kind"] == POD.name for one in owners):
        return ""
    return f"the claim {name} exists and was not created for this pod. Rename the volume or the claim."


def _conditions(current: dict, host_object: dict) -> list[dict] | None:
    """Return the host's conditions with the one that is set inside; None if there are none."""
    reported = (host_object.get("status") or {}).get("conditions") or []
    own = [one for one in current.get("conditions") or [] if one["type"] == _SET_INSIDE]
    return [*(one for one in reported if one["type"] != _SET_INSIDE), *own] or None


def _class_of(claim: dict) -> str | None:
    """Return the storage class of a claim, from its field or the legacy annotation; None for the default."""
    notes = claim["metadata"].get("annotations") or {}
    return notes.get("volume.beta.kubernetes.io/storage-class", claim["spec"].get("storageClassName"))
