"""That the API server inside passes on requests for metrics to the syncer, for as long as the host has any."""

from __future__ import annotations

import asyncio
import base64
import logging
import random
from collections.abc import Awaitable, Callable

from tenantry_syncer import naming
from tenantry_syncer.config import METRICS_PORT
from tenantry_syncer.kube.client import ApiError, Gone
from tenantry_syncer.kube.resources import API_SERVICE, SERVICE, Kind
from tenantry_syncer.metrics.pod_metrics import GROUP, VERSION, Metrics
from tenantry_syncer.sync_context import SyncContext

# The name in the door's certificate that the API server looks for comes from these.
NAMESPACE, NAME = "kube-system", "tenantry-metrics"
CHECK_SECONDS = 300.0
RETRY_SECONDS = 15.0

_log = logging.getLogger(__name__)
_LABELS = {naming.MANAGED_BY: naming.SYNCER}


class ApiService:
    """Offered, it answers as long as the syncer runs, whatever becomes of the host's metrics: an API that does not
    answer would keep namespaces from being deleted. One that the tenant has made is left alone."""

    def __init__(self, context: SyncContext, metrics: Metrics, ca: str) -> None:
        self._context = context
        self._metrics = metrics
        self._ca = base64.b64encode(ca.encode()).decode()

    async def wait_for_metrics(self) -> None:
        """Return once the host has metrics."""
        await _until(self._metrics.are_available)

    async def run(self) -> None:
        """For ever."""
        await _until(self.reconcile)

    async def reconcile(self) -> None:
        """Have it as it should be."""
        current = await self._context.virtual.api.get(API_SERVICE.path(name=f"{VERSION}.{GROUP}"))
        if current and (current["metadata"].get("labels") or {}).get(naming.MANAGED_BY) != naming.SYNCER:
            return
        if await self._metrics.are_available():
            service = await self._context.virtual.api.get(SERVICE.path(NAMESPACE, NAME))
            await self._apply(SERVICE, service, self._service())
            await self._apply(API_SERVICE, current, self._api_service())
        elif current:
            await self._context.virtual.delete(API_SERVICE, current)

    async def _apply(self, kind: Kind, current: dict | None, desired: dict) -> None:
        if current is None:
            await self._context.virtual.create(kind, desired)
        elif any(current["spec"].get(field) != value for field, value in desired["spec"].items()):
            await self._context.virtual.merge(kind, current, {"spec": desired["spec"]})

    def _service(self) -> dict:
        """The name of the syncer's address on the host, which no Service inside could have."""
        metadata = {"namespace": NAMESPACE, "name": NAME, "labels": _LABELS}
        spec = {"type": "ExternalName", "externalName": self._context.config.address}
        return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}

    def _api_service(self) -> dict:
        spec = {
            "group": GROUP,
            "version": VERSION,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "caBundle": self._ca,
            "service": {"namespace": NAMESPACE, "name": NAME, "port": METRICS_PORT},
        }
        metadata = {"name": f"{VERSION}.{GROUP}", "labels": _LABELS}
        return {"apiVersion": API_SERVICE.api_version, "kind": API_SERVICE.name, "metadata": metadata, "spec": spec}


async def _until(step: Callable[[], Awaitable[bool | None]]) -> None:
    """Look from time to time until that gives True."""
    while True:
        pause = CHECK_SECONDS
        try:
            if await step():
                return
        except (ApiError, Gone) as error:
            _log.warning("offering metrics inside: %s; next try in %d s", error, RETRY_SECONDS)
            pause = RETRY_SECONDS
        await asyncio.sleep(pause * random.uniform(0.9, 1.1))  # noqa: S311
