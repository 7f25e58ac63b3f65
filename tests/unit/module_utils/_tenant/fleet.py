"""Virtual clusters on a host in memory, as tenants' quotas count them."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import SPEC_ANNOTATION

from .._vcluster.fake_host import FakeHost

LIMITS = {"limits.cpu": "3", "limits.memory": "2Gi", "requests.storage": "5Gi", "pods": "10"}


def add_vcluster(host: FakeHost, tenant: str, name: str, record: dict[str, Any], limits: dict | None) -> None:
    """Add the Namespace of a virtual cluster, and its ResourceQuota if it has limits."""
    labels = {
        naming.LABEL_MANAGED_BY: naming.MANAGED_BY,
        naming.LABEL_COMPONENT: "vcluster",
        naming.LABEL_TENANT: tenant,
        naming.LABEL_VCLUSTER: name,
    }
    namespace = naming.joined(tenant, name)
    annotations = {SPEC_ANNOTATION: json.dumps(record)}
    meta = {"name": namespace, "labels": labels, "annotations": annotations}
    host.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    if limits:
        meta = {"name": "vcluster", "namespace": namespace, "labels": labels}
        host.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": limits}})
