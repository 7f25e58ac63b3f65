"""What a run of tenant_quota changes in a tenant namespace that an earlier version created."""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import existing
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import RESOURCE_QUOTA
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import manifests, quota

from .._vcluster.fake_host import QUOTA, FakeHost

SPACE = "tenant-payments"
WANTED = quota.DesiredTenant("payments", True, QUOTA, "payments")


def _quotas(hub: FakeHost) -> list[str]:
    return [one["metadata"]["name"] for one in hub.list(RESOURCE_QUOTA, SPACE)]


def _run(hub: FakeHost) -> list[tuple[str, str, str]]:
    found = existing(hub, quota.KINDS, naming.selector("tenant"))
    plan = quota._plan(hub, WANTED, found)
    plan.execute()
    return [(row["action"], row["kind"], row["name"]) for row in plan.rows()]


def test_quota_of_an_earlier_version_is_replaced() -> None:
    hub = FakeHost.hub()
    former = hub.get(RESOURCE_QUOTA, manifests.QUOTA, SPACE)
    hub.delete(RESOURCE_QUOTA, manifests.QUOTA, SPACE)
    former["metadata"]["name"] = "home"
    hub.apply(former)
    assert _run(hub) == [("create", "ResourceQuota", "tenant"), ("delete", "ResourceQuota", "home")]
    assert _quotas(hub) == ["tenant"]
    assert hub.writes[-2:] == [("apply", "ResourceQuota", "tenant"), ("delete", "v1/ResourceQuota", "home")]
    assert _run(hub) == []


def test_quota_of_somebody_else_stays() -> None:
    """An administrator of the hub may limit the namespace further."""
    hub = FakeHost.hub()
    hub.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "home", "namespace": SPACE}})
    assert _run(hub) == []
    assert sorted(_quotas(hub)) == ["home", "tenant"]
