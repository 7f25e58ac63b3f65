"""Which ConfigMaps are the records of tenants."""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import records
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import RECORD, tenant_objects

from .._vcluster.fake_host import QUOTA, FakeHost


def test_read_finds_records_by_tenant_and_nothing_else() -> None:
    other = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "other",
            "namespace": "tenant-payments",
            "labels": naming.labels("tenant", tenant="payments"),
        },
    }
    hub = FakeHost("hub", *tenant_objects("payments", QUOTA, ""), *tenant_objects("research", QUOTA, ""), other)
    found = records.read(hub)  # type: ignore[arg-type]  # as much of it as is used
    assert {name: one["metadata"]["name"] for name, one in found.items()} == {"payments": RECORD, "research": RECORD}
    assert [*records.read(hub, "research")] == ["research"]  # type: ignore[arg-type]  # as above
