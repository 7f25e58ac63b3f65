# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Render a tenant's objects on the hub: the namespace, the record, the quota for requests. Pure."""

from __future__ import annotations

import json

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._platform.crds import GROUP, PLURAL, USER_PLURAL

RECORD = "tenant"
# Virtual clusters have namespaces of their own: nothing runs, listens or stores in the tenant namespace.
NOTHING = {
    "persistentvolumeclaims": "0",
    "pods": "0",
    "services.loadbalancers": "0",
    "services.nodeports": "0",
}
# Requests beyond the number of virtual clusters in the quota, which are pending or denied.
SPARE_REQUESTS = 20
# A request for a user stays as long as the user.
USER_REQUESTS = 200


# In the record, only if it is not so.
PAUSED_FREES_QUOTA = "paused_frees_quota"

# Limits what may be in the tenant namespace: requests, and no workloads.
QUOTA = "tenant"


def tenant_objects(
    tenant: str, quota: dict[str, str], display_name: str, *, paused_frees_quota: bool = True
) -> list[dict]:
    """Render the objects of a tenant. `quota` has quantities and counts as text."""
    data = {"quota": json.dumps(quota, sort_keys=True), "display_name": display_name}
    if not paused_frees_quota:
        data[PAUSED_FREES_QUOTA] = "false"
    labels = naming.labels("tenant", tenant=tenant)
    home = {"namespace": naming.tenant_namespace(tenant), "labels": labels}
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": naming.tenant_namespace(tenant),
                "labels": {**labels, "pod-security.kubernetes.io/enforce": "restricted"},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": RECORD, **home},
            "data": data,
        },
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": QUOTA, **home},
            "spec": {"hard": {**NOTHING, **_requests(quota)}},
        },
    ]


def _requests(quota: dict[str, str]) -> dict[str, str]:
    """Limit the number of requests: each run reads all of them."""
    return {
        f"count/{PLURAL}.{GROUP}": str(int(quota["vclusters"]) + SPARE_REQUESTS),
        f"count/{USER_PLURAL}.{GROUP}": str(USER_REQUESTS),
    }


def quota_of(record: dict) -> dict[str, str]:
    """Return the quota in a tenant's record. Its key was `budget` before the first release."""
    data = record["data"]
    return json.loads(data.get("quota") or data["budget"])


def paused_frees_quota(record: dict | None) -> bool:
    """Return whether a tenant's paused virtual clusters return the resources of their pods to its quota."""
    return record is not None and record["data"].get(PAUSED_FREES_QUOTA) != "false"
