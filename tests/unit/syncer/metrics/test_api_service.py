"""When metrics.k8s.io is registered, and where its requests go."""

from __future__ import annotations

import asyncio
import base64

import pytest
from tenantry_syncer import naming
from tenantry_syncer.config import METRICS_PORT
from tenantry_syncer.metrics import api_service
from tenantry_syncer.metrics.api_service import ApiService
from tenantry_syncer.metrics.pod_metrics import Metrics
from tenantry_syncer.serving import certificates
from tenantry_syncer.sync_context import SyncContext

from ..object_store import with_store
from ..objects import CONFIG

API_SERVICE = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io"
SERVICE = "/api/v1/namespaces/kube-system/services/tenantry-metrics"
HOST = f"/apis/metrics.k8s.io/v1beta1/namespaces/{CONFIG.namespace}/pods"


def offering(scenario) -> None:
    """Run scenario(store, reconcile) with metrics on the host; each `reconcile` is that of a new syncer."""

    async def main(store, api):
        store.objects[HOST] = {"items": []}

        async def reconcile() -> None:
            context = SyncContext(CONFIG, api, api)
            await ApiService(context, Metrics(context), "the authority").reconcile()

        await scenario(store, reconcile)

    with_store(main)


def test_reconcile_creates_service_and_api_service():
    async def scenario(store, reconcile):
        await reconcile()
        service, offered = store.objects[SERVICE], store.objects[API_SERVICE]
        assert service["spec"] == {"type": "ExternalName", "externalName": CONFIG.address}
        to = offered["spec"]["service"]
        assert f"{to['name']}.{to['namespace']}.svc" in certificates.DNS_NAMES
        assert to["port"] == METRICS_PORT
        assert base64.b64decode(offered["spec"]["caBundle"]) == b"the authority"
        assert "insecureSkipTLSVerify" not in offered["spec"]

    offering(scenario)


def test_reconcile_reverts_changes():
    async def scenario(store, reconcile):
        await reconcile()
        del store.writes[:]
        await reconcile()
        assert store.writes == []
        store.objects[API_SERVICE]["spec"]["caBundle"] = "b2xk"
        store.objects[SERVICE]["spec"]["externalName"] = "elsewhere.example.com"
        await reconcile()
        assert store.writes == [f"PATCH {SERVICE}", f"PATCH {API_SERVICE}"]
        assert store.objects[SERVICE]["spec"]["externalName"] == CONFIG.address

    offering(scenario)


def test_reconcile_keeps_tenants_own_api_service():
    async def scenario(store, reconcile):
        theirs = {"metadata": {"name": "v1beta1.metrics.k8s.io", "uid": "u"}, "spec": {"service": {"name": "mine"}}}
        store.objects[API_SERVICE] = theirs
        await reconcile()
        del store.objects[HOST]
        await reconcile()
        assert store.writes == []

    offering(scenario)


@pytest.mark.parametrize("lost", ["gone", "forbidden"])
def test_reconcile_follows_metrics_of_host(lost):
    async def scenario(store, reconcile):
        await reconcile()
        del store.writes[:]
        if lost == "gone":
            del store.objects[HOST]
        else:
            store.rejected[HOST] = 403
        await reconcile()
        await reconcile()
        assert store.writes == [f"DELETE {API_SERVICE}"]
        assert naming.SYNCER not in str(store.objects.get(API_SERVICE))

    offering(scenario)


def test_wait_for_metrics_retries_errors(monkeypatch, caplog):
    monkeypatch.setattr(api_service, "RETRY_SECONDS", 0.01)

    async def main(store, api):
        store.rejected[HOST] = 503
        context = SyncContext(CONFIG, api, api)
        waiting = asyncio.create_task(ApiService(context, Metrics(context), "ca").wait_for_metrics())
        while "refused" not in caplog.text:
            await asyncio.sleep(0.01)
        assert not waiting.done()
        del store.rejected[HOST]
        store.objects[HOST] = {"items": []}
        await waiting
        assert store.writes == []

    with_store(main)
