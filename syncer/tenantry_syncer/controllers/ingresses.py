"""Ingresses of the classes that the platform offers, for services of the virtual cluster."""

from __future__ import annotations

from tenantry_syncer.controllers.events import Events
from tenantry_syncer.controllers.services import is_synced
from tenantry_syncer.kube.client import ApiError
from tenantry_syncer.kube.resources import INGRESS, SERVICE
from tenantry_syncer.kube.work_queue import RequeueAfter
from tenantry_syncer.sync_context import SyncContext
from tenantry_syncer.translate.ingress import CheckedIngress, Offers, check, kept

# Problems of an ingress that are reported each time; a tenant can create any number.
_MAX_REPORTED = 10


class Ingresses:
    """Syncs the allowed parts of ingresses, and copies their status back."""

    def __init__(self, context: SyncContext, events: Events) -> None:
        self._context = context
        self._events = events
        given = context.config
        specific = given.ingress_implementation_specific_paths
        self._offers = Offers(given.ingress_classes, given.ingress_hosts, specific)

    async def reconcile(self, namespace: str, name: str) -> None:
        """Create, update or delete the host object of an ingress, and copy its status back."""
        ingress = self._context.virtual.get(INGRESS, namespace, name)
        host_object = self._context.host_object_for(INGRESS, namespace, name)
        checked = self._check(ingress) if ingress else CheckedIngress()
        if ingress:
            for problem in checked.problems[:_MAX_REPORTED]:
                await self._events.reject(INGRESS, ingress, "Refused", problem)
        if host_object and (checked.spec is None or not self._context.is_host_object_of(host_object, ingress)):
            if ingress and not checked.offered:
                # Before the deletion: only the host object shows that the address came from the host.
                await self._sync_status(ingress, None)
            await self._context.host.delete(INGRESS, host_object)
            host_object = None
        elif ingress and checked.spec and (host_object or not ingress["metadata"].get("deletionTimestamp")):
            host_object = await self._write(ingress, checked.spec, host_object)
        if ingress and checked.offered:
            await self._sync_status(ingress, host_object)

    def _check(self, ingress: dict) -> CheckedIngress:
        return check(ingress, self._offers, lambda name: self._backend_problem(ingress["metadata"]["namespace"], name))

    def _backend_problem(self, namespace: str, name: str) -> str | None:
        """Return why an ingress cannot use a service; None if it can. Rechecked with each change of the service."""
        service = self._context.virtual.get(SERVICE, namespace, name)
        if service is None:
            return f"{name} does not exist. Create the Service; the path then takes effect."
        if not is_synced(service):
            return f"{name} is headless or of type ExternalName. Use a Service of type ClusterIP."
        if not service["spec"].get("selector"):
            return f"{name} has no selector. Use a Service that selects pods of this virtual cluster."
        return None

    async def _write(self, ingress: dict, spec: dict, host_object: dict | None) -> dict | None:
        """Apply the spec on the host and return the host object; after a rejection, remove what is not desired."""
        desired = self._context.host_object(INGRESS, ingress, spec=spec)
        if host_object is not None and host_object["spec"] == spec:
            return host_object
        try:
            if host_object is None:
                return await self._context.host.create(INGRESS, desired)
            return await self._context.host.replace(INGRESS, host_object, desired)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                raise RequeueAfter from None
            if host_object and Events.is_rejection(error):
                await self._keep(host_object, desired)
            return await self._events.host_rejected(INGRESS, ingress, desired, error)

    async def _keep(self, host_object: dict, desired: dict) -> None:
        """Reduce the host object to what is still desired, or delete it."""
        rest = kept(host_object["spec"], desired["spec"])
        if rest == host_object["spec"]:
            return
        try:
            if rest:
                await self._context.host.replace(INGRESS, host_object, {**desired, "spec": rest})
        except ApiError as error:
            if not Events.is_rejection(error):
                raise
            rest = None
        if not rest:
            await self._context.host.delete(INGRESS, host_object)

    async def _sync_status(self, ingress: dict, host_object: dict | None) -> None:
        """Copy the address to the virtual ingress, or remove it if the host has none."""
        addresses = _addresses(host_object) if host_object else []
        if addresses != _addresses(ingress):
            status = {"loadBalancer": {"ingress": addresses or None}}
            await self._context.virtual.merge(INGRESS, ingress, {"status": status}, "status")


def _addresses(ingress: dict) -> list[dict]:
    return ((ingress.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
