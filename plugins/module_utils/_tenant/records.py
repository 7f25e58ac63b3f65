# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The records of tenants on the hub: quota, display name and promises."""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import CONFIG_MAP
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import RECORD


def read(hub: Cluster, tenant: str | None = None) -> dict[str, dict]:
    """Return the ConfigMaps with the records of all tenants, or of one, by the name of the tenant."""
    found = hub.list(CONFIG_MAP, selector=naming.selector("tenant", tenant=tenant))
    return {one["metadata"]["labels"][naming.LABEL_TENANT]: one for one in found if one["metadata"]["name"] == RECORD}
