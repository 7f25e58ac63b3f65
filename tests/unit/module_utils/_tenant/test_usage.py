"""What tenant_usage_info returns for virtual clusters whose record this release cannot read."""

from __future__ import annotations

from types import SimpleNamespace

from ansible_collections.tenantry.kube.plugins.module_utils._tenant import usage
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import tenant_objects

from .._vcluster.fake_host import QUOTA, FakeHost
from .fleet import LIMITS, add_vcluster

RESOURCES = {"cpu": "2", "memory": "1Gi", "storage": "5Gi", "pods": "4"}
SUM = {"cpu": "5", "memory": "3Gi", "storage": "10Gi", "pods": "14", "vclusters": "2"}


def test_unreadable_record_counts_by_its_resource_quota() -> None:
    hub = FakeHost.hub()
    for obj in tenant_objects("research", QUOTA, "research"):
        hub.apply(obj)
    add_vcluster(hub, "payments", "dev", {"format": 2}, LIMITS)
    add_vcluster(hub, "payments", "web", {"resources": RESOURCES, "format": 1}, None)
    add_vcluster(hub, "research", "lab", {"resources": RESOURCES, "format": 1}, None)
    context = SimpleNamespace(hub=hub, cluster=None)
    payments, research = usage.run(context, None)["tenants"]
    assert list(payments["unreadable"]) == ["dev"]
    assert "namespace payments--dev: has format 2" in payments["unreadable"]["dev"]
    assert (payments["allocated"], payments["counted"]) == (SUM, SUM)
    assert (research["unreadable"], research["allocated"]["cpu"]) == ({}, "2")
