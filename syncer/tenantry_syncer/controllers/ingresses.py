"""Ingresses: of the classes the platform offers, for the virtual cluster's own services."""

from __future__ import annotations

from tenantry_syncer.controllers.events import Events
from tenantry_syncer.controllers.services import is_copied
from tenantry_syncer.kube.client import ApiError
from tenantry_syncer.kube.resources import INGRESS, SERVICE
from tenantry_syncer.kube.work_queue import Again
from tenantry_syncer.sync_context import Sides
from tenantry_syncer.translate.ingress import Judged, Offers, judge, kept

# Of one look at an ingress that are told; a tenant can make any number.
_TOLD = 10


class Ingresses:
    def __init__(self, sides: Sides, events: Events) -> None:
        self._sides = sides
        self._events = events
        given = sides.config
        specific = given.ingress_implementation_specific_paths
        self._offers = Offers(given.ingress_classes, given.ingress_hosts, specific)

    async def reconcile(self, namespace: str, name: str) -> None:
        ingress = self._sides.inside.get(INGRESS, namespace, name)
        copy = self._sides.copy_of(INGRESS, namespace, name)
        judged = self._judged(ingress) if ingress else Judged()
        if ingress:
            for problem in judged.problems[:_TOLD]:
                await self._events.refuse(INGRESS, ingress, "Refused", problem)
        if copy and (judged.spec is None or not self._sides.is_copy(copy, ingress)):
            if ingress and not judged.offered:
                await self._tell(ingress, None)  # first: the copy is what says that the address came from the host
            await self._sides.host.delete(INGRESS, copy)
            copy = None
        elif ingress and judged.spec and (copy or not ingress["metadata"].get("deletionTimestamp")):
            copy = await self._write(ingress, judged.spec, copy)
        if ingress and judged.offered:
            await self._tell(ingress, copy)

    def _judged(self, ingress: dict) -> Judged:
        return judge(ingress, self._offers, lambda name: self._reach_problem(ingress["metadata"]["namespace"], name))

    def _reach_problem(self, namespace: str, name: str) -> str | None:
        """Looked at again with every change of the service (syncer.py)."""
        service = self._sides.inside.get(SERVICE, namespace, name)
        if service is None:
            return f"{name}: there is no such service. Create it; the path then takes effect"
        if not is_copied(service):
            return f"{name}: is headless or of type ExternalName; use a service of type ClusterIP"
        if not service["spec"].get("selector"):
            return f"{name}: has no selector; use a service that selects pods of this cluster"
        return None

    async def _write(self, ingress: dict, spec: dict, copy: dict | None) -> dict | None:
        """The copy, after all that the host would take. What is refused now does not keep what is refused elsewhere."""
        wanted = self._sides.copy(INGRESS, ingress, spec=spec)
        if copy is not None and copy["spec"] == spec:
            return copy
        try:
            if copy is None:
                return await self._sides.host.create(INGRESS, wanted)
            return await self._sides.host.replace(INGRESS, copy, wanted)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                raise Again from None
            if copy and Events.is_refusal(error):
                await self._keep(copy, wanted)
            return await self._events.host_refused(INGRESS, ingress, wanted, error)

    async def _keep(self, copy: dict, wanted: dict) -> None:
        """Of what is on the host, no more than may still be there."""
        rest = kept(copy["spec"], wanted["spec"])
        if rest == copy["spec"]:
            return
        try:
            if rest:
                await self._sides.host.replace(INGRESS, copy, {**wanted, "spec": rest})
        except ApiError as error:
            if not Events.is_refusal(error):
                raise
            rest = None
        if not rest:
            await self._sides.host.delete(INGRESS, copy)

    async def _tell(self, ingress: dict, copy: dict | None) -> None:
        """Its address, which is taken back when there is none."""
        addresses = _addresses(copy) if copy else []
        if addresses != _addresses(ingress):
            status = {"loadBalancer": {"ingress": addresses or None}}
            await self._sides.inside.merge(INGRESS, ingress, {"status": status}, "status")


def _addresses(ingress: dict) -> list[dict]:
    return ((ingress.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
