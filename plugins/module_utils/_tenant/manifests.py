# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a tenant consists of on the hub: a home namespace with its record. Pure."""

from __future__ import annotations

import json

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming as _names

RECORD = "tenant"
# Virtual clusters have namespaces of their own: nothing runs, listens or stores in the home namespace.
NOTHING = {
    "persistentvolumeclaims": "0",
    "pods": "0",
    "services.loadbalancers": "0",
    "services.nodeports": "0",
}


def tenant_objects(tenant: str, budget: dict[str, str], display_name: str) -> list[dict]:
    labels = _names.labels("tenant", tenant=tenant)
    home = {"namespace": _names.tenant_namespace(tenant), "labels": labels}
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": _names.tenant_namespace(tenant),
                "labels": {**labels, "pod-security.kubernetes.io/enforce": "restricted"},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": RECORD, **home},
            "data": {"budget": json.dumps(budget, sort_keys=True), "display_name": display_name},
        },
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "home", **home},
            "spec": {"hard": dict(NOTHING)},
        },
    ]


def budget_of(record: dict) -> dict[str, str]:
    """The budget in a tenant's record."""
    return json.loads(record["data"]["budget"])
