"""Virtual clusters on a host in memory, as tenants' quotas count them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import Obstacle
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import SPEC_ANNOTATION
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.registry import MEMBER_SECRET_TYPE
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import CONFIG_MAP
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import promises
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import RECORD
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.promises import Promise

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


def add_silent_member(hub: FakeHost, name: str, promised: dict[str, Promise]) -> Callable[..., Any]:
    """Add a member, and what the tenant payments has there. Return the context's `cluster`, which cannot connect."""
    labels = naming.labels("member", member=name)
    meta = {"name": f"member-{name}", "namespace": naming.PLATFORM_NAMESPACE, "labels": labels}
    data = {"kubeconfig": base64.b64encode(b"{}").decode()}
    hub.apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": MEMBER_SECRET_TYPE, "data": data})
    promises.begin(hub, "payments")
    record = hub.get(CONFIG_MAP, RECORD, "tenant-payments")
    assert record
    promises.update(hub, record, lambda before: {**before, **promised})

    def cluster(*_given: Any) -> None:
        raise Obstacle(f"{name} is down")

    return cluster
