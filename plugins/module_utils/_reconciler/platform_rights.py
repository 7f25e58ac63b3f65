# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rights of the platform's account on the hub, in namespaces that were created without them."""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import NAMESPACE, ROLE_BINDING
from ansible_collections.tenantry.kube.plugins.module_utils._platform import confinement
from ansible_collections.tenantry.kube.plugins.module_utils._platform.rbac import PLATFORM_ACCOUNT
from ansible_collections.tenantry.kube.plugins.module_utils._platform.reconciler import binding_in


def grant_missing(hub: Cluster) -> None:
    """Create the missing RoleBindings. Do nothing with an administrator's credential, which needs none.

    Raise a TenantryError in the end if some were refused.
    """
    if hub.whoami() != confinement.ACCOUNT:
        return
    spaces = hub.list(NAMESPACE, selector=naming.selecting({naming.LABEL_MANAGED_BY: naming.MANAGED_BY}))
    bindings = hub.list(ROLE_BINDING, selector=naming.selecting({naming.LABEL_MANAGED_BY: naming.MANAGED_BY}))
    bound = {one["metadata"]["namespace"] for one in bindings if one["metadata"]["name"] == PLATFORM_ACCOUNT}
    refused: list[str] = []
    for space in spaces:
        meta = space["metadata"]
        binding = None if meta["name"] in bound or "deletionTimestamp" in meta else binding_in(space)
        if binding:
            try:
                hub.create(binding)
            except ApiError as error:
                if error.status in (403, 404):  # such as a namespace that is deleted now
                    refused.append(str(error))
                elif error.status != 409:  # a run created it in between
                    raise
    if refused:
        raise TenantryError("; ".join(refused))
