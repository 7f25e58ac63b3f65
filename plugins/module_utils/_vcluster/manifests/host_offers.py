# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a virtual cluster of mode shared may use of its host, as annotations of its namespace. Pure."""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._platform.host_offers import (
    EXTENDED,
    INGRESS_CLASSES,
    INGRESS_HOSTS,
    STORAGE_CLASSES,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import VClusterSpec


def namespace_annotations(spec: VClusterSpec) -> dict[str, str]:
    """Return the offers as annotations.

    A missing one means no restriction or nothing, as the admission policy defines.
    """
    if not spec.shared:
        return {}
    lists = {
        INGRESS_CLASSES: spec.shared.ingress_classes or None,
        INGRESS_HOSTS: spec.shared.ingress_hosts or None,
        STORAGE_CLASSES: spec.shared.storage_classes,
        EXTENDED: sorted(spec.resources.extended) or None,
    }
    return {key: ",".join(names) for key, names in lists.items() if names is not None}
