"""Storage classes in the virtual cluster: those that the platform offers. The host's class decides about claims.

The syncer reads nothing outside its namespace. So the platform lists the host's classes in a file and keeps it current,
as it does with the host's networks.
"""

from __future__ import annotations

from tenantry_syncer import naming
from tenantry_syncer.kube.client import ApiError
from tenantry_syncer.kube.resources import STORAGE_CLASS
from tenantry_syncer.kube.work_queue import RequeueAfter
from tenantry_syncer.sync_context import SyncContext

# No provisioner in the virtual cluster serves it.
PROVISIONER = "tenantry.dev/host"
_DEFAULT = "storageclass.kubernetes.io/is-default-class"
_CHANGING = ("allowVolumeExpansion",)
_FIXED = ("reclaimPolicy", "volumeBindingMode")


class StorageClasses:
    """Keeps the offered storage classes in the virtual cluster."""

    def __init__(self, context: SyncContext) -> None:
        self._context = context

    async def reconcile(self, name: str) -> None:
        """Create, restore or delete an offered class; classes of other names belong to the tenant."""
        found = self._context.virtual.get(STORAGE_CLASS, "", name)
        offered = self._context.classes.get(name)
        if offered is None:
            if found and _is_ours(found):
                await self._context.virtual.delete(STORAGE_CLASS, found)
            return
        desired = _desired(offered)
        if found is None:
            await self._create(desired)
        elif any(found.get(field) != desired[field] for field in ("provisioner", *_FIXED)) or found.get("parameters"):
            await self._context.virtual.delete(STORAGE_CLASS, found)  # the deletion queues this key again
        elif change := _change(found, desired):
            await self._context.virtual.merge(STORAGE_CLASS, found, change)

    async def _create(self, desired: dict) -> None:
        try:
            await self._context.virtual.create(STORAGE_CLASS, desired)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                raise RequeueAfter from None  # the watch has not caught up
            raise


def _is_ours(found: dict) -> bool:
    return (found["metadata"].get("labels") or {}).get(naming.MANAGED_BY) == naming.SYNCER


def _desired(offered: dict) -> dict:
    notes = {_DEFAULT: "true"} if offered["default"] else {}
    metadata = {"name": offered["name"], "labels": {naming.MANAGED_BY: naming.SYNCER}, "annotations": notes}
    fields = {field: offered[field] for field in (*_CHANGING, *_FIXED)}
    return {
        "apiVersion": STORAGE_CLASS.api_version,
        "kind": STORAGE_CLASS.name,
        "metadata": metadata,
        "provisioner": PROVISIONER,
        **fields,
    }


def _change(found: dict, desired: dict) -> dict:
    """Return the merge patch to the desired class; other labels and annotations stay."""
    change: dict = {field: desired[field] for field in _CHANGING if bool(found.get(field)) != desired[field]}
    metadata = {}
    if not _is_ours(found):
        metadata["labels"] = desired["metadata"]["labels"]
    default = desired["metadata"]["annotations"].get(_DEFAULT)
    if (found["metadata"].get("annotations") or {}).get(_DEFAULT) != default:
        metadata["annotations"] = {_DEFAULT: default}
    return {**change, **({"metadata": metadata} if metadata else {})}
