"""What tenant_usage_info returns for virtual clusters whose record this release cannot read."""

from __future__ import annotations

from types import SimpleNamespace

from ansible_collections.tenantry.kube.plugins.module_utils._tenant import usage
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import tenant_objects
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.promises import Promise

from .._vcluster.fake_host import QUOTA, FakeHost
from .fleet import LIMITS, add_silent_member, add_vcluster

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


def test_virtual_cluster_on_a_silent_member_counts_by_its_promise() -> None:
    hub = FakeHost.hub()
    add_vcluster(hub, "payments", "web", {"resources": RESOURCES, "format": 1}, LIMITS)
    far = Promise.of("edge", RESOURCES, in_use={**RESOURCES, "cpu": "3"})
    context = SimpleNamespace(hub=hub, cluster=add_silent_member(hub, "edge", {"payments--far": far}))
    result = usage.run(context, "payments")
    (row,) = result["tenants"]
    assert result["unreachable_members"] == {"edge": "edge is down"}
    assert (row["allocated"]["cpu"], row["allocated"]["vclusters"], row["counted"]["cpu"]) == ("4", "2", "6")
    far_row, web_row = row["vclusters"]
    assert (far_row["name"], far_row["host"], far_row["status"]) == ("far", "edge", "Unknown")
    assert far_row["resources"]["cpu"] == {"used": None, "hard": "2"}
    assert (web_row["status"], row["used"]["vclusters"]) == (None, "1")


def test_each_resource_that_the_quota_names_is_shown() -> None:
    """QUO-8."""
    hub = FakeHost.hub()
    for obj in tenant_objects("payments", {**QUOTA, "nvidia.com/gpu": "4", "example.com/fpga": "1"}, "payments"):
        hub.apply(obj)
    has = {**RESOURCES, "nvidia.com/gpu": "3", "ephemeral_storage": "10Gi"}
    limits = {**LIMITS, "requests.nvidia.com/gpu": "3", "limits.ephemeral-storage": "10Gi", "services.nodeports": "0"}
    add_vcluster(hub, "payments", "dev", {"resources": has, "format": 1}, limits)
    used = {"status": {"used": {"requests.nvidia.com/gpu": "2"}}}
    hub.merge("v1/ResourceQuota", "vcluster", "payments--dev", used)
    (row,) = usage.run(SimpleNamespace(hub=hub, cluster=None), "payments")["tenants"]
    assert (row["counted"]["nvidia.com/gpu"], row["used"]["nvidia.com/gpu"]) == ("3", "2")
    assert row["counted"]["ephemeral_storage"] == "10Gi"
    assert {key: row["available"][key] for key in ("nvidia.com/gpu", "example.com/fpga")} == {
        "nvidia.com/gpu": "1",
        "example.com/fpga": "1",
    }
    (dev,) = row["vclusters"]
    assert dev["resources"]["nvidia.com/gpu"] == {"used": "2", "hard": "3"}
    assert "node_ports" not in dev["resources"]
