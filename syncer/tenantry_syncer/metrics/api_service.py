"""Register the syncer as the server of metrics.k8s.io in the virtual cluster while the host has metrics."""

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

# The API server verifies the name NAME.NAMESPACE.svc in the serving certificate.
NAMESPACE, NAME = "kube-system", "tenantry-metrics"
CHECK_SECONDS = 300.0
RETRY_SECONDS = 15.0

_log = logging.getLogger(__name__)
_LABELS = {naming.MANAGED_BY: naming.SYNCER}


class ApiService:
    """Manages the APIService, unless the tenant has created one.

    Once registered, the syncer keeps serving it even without metrics on the host: an unavailable API would block the
    deletion of namespaces.
    """

    def __init__(self, context: SyncContext, metrics: Metrics, ca: str) -> None:
        self._context = context
        self._metrics = metrics
        self._ca = base64.b64encode(ca.encode()).decode()

    async def wait_for_metrics(self) -> None:
        """Wait until the host has metrics."""
        await _until(self._metrics.are_available)

    async def run(self) -> None:
        """Reconcile from time to time until cancelled."""
        await _until(self.reconcile)

    async def reconcile(self) -> None:
        """Create, update or delete the Service and the APIService."""
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
        """Return an ExternalName Service for the syncer's address on the host, which no virtual Service can have."""
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
    """Call a step from time to time until it returns True; retry errors of the API server."""
    while True:
        pause = CHECK_SECONDS
        try:
            if await step():
                return
        except (ApiError, Gone) as error:
            _log.warning("could not register metrics.k8s.io: %s; retrying in %d s", error, RETRY_SECONDS)
            pause = RETRY_SECONDS
        await asyncio.sleep(pause * random.uniform(0.9, 1.1))  # noqa: S311
