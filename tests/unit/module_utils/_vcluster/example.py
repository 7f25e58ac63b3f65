"""A virtual cluster as the module's argument spec hands it over, and its rendering."""

from __future__ import annotations

import copy
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import common
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec import cluster

ITEM: dict[str, Any] = {
    "tenant": "payments",
    "name": "dev",
    "host": None,
    "state": "present",
    "mode": "dedicated",
    "version": "v1.34.4+k3s1",
    "servers": 1,
    "agents": 1,
    "server": {"cpu": "1", "memory": "1Gi"},
    "agent": {"cpu": "1", "memory": "2Gi"},
    "persistence": {"type": "pvc", "size": "5Gi", "storage_class": None},
    "datastore": None,
    "etcd": None,
    "resources": None,
    "tier": "dev",
    "durability": None,
    "expose": {"type": "NodePort", "port": None, "address": "192.0.2.10"},
    "image": "rancher/k3s",
    "client_certificates": False,
    "registries": None,
    "cluster_cidr": None,
    "service_cidr": None,
    "network": None,
    "pod_security": None,
    "container_defaults": None,
    "storage_classes": None,
    "ingress_classes": None,
    "ingress_hosts": None,
    "syncer_image": "registry.example.com/tenantry/syncer:0.1.0",
}
# What mode shared must be given.
SHARED: dict[str, Any] = {
    "mode": "shared",
    "agents": 0,
    "resources": {"cpu": "4", "memory": "4Gi", "storage": None, "pods": 20},
}
KEYS = common.Keys(
    "server-token",
    "agent-token",
    "node-password",
    "platform-token",
    "syncer-token",
    client_ca={"ca.crt": "client-ca", "ca.key": "key-of-client-ca"},
)


def make_item(**changes: Any) -> dict[str, Any]:
    """The example with changes; a dictionary changes the suboptions it names."""
    item = copy.deepcopy(ITEM)
    for option, value in changes.items():
        if isinstance(value, dict) and isinstance(item.get(option), dict):
            item[option].update(value)
        else:
            item[option] = value
    return item


def render(host: dict[str, Any] | None = None, **changes: Any) -> common.RenderContext:
    """The rendering of the example with changes of the item; `host` says what the host told."""
    spec = cluster.parse(make_item(**changes))
    return common.RenderContext(spec, KEYS, **{"address": "192.0.2.10", **(host or {})})
