# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The admission policy that confines the platform's own account to its namespaces. Pure.

RBAC has no patterns for names of namespaces. Without the policy, an attacker with the platform's credential could bind
vcluster-manager in kube-system and read the host's own Secrets.
"""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._platform import manifests, rbac

ACCOUNT = f"system:serviceaccount:{naming.PLATFORM_NAMESPACE}:{rbac.PLATFORM_ACCOUNT}"
NAME = "tenantry-platform"


def policy(component: str, *, tenants: bool = False) -> list[dict]:
    """Render the policy. With `tenants`, the account may also bind roles in the namespaces of tenants."""
    named = "request.namespace.contains('--')"
    if tenants:
        named = f"({named} || request.namespace.startsWith('{naming.TENANT_PREFIX}'))"
    return manifests.admission_policy(
        NAME,
        component,
        rules=[manifests.on("", "namespaces"), manifests.on(rbac.RBAC_GROUP, "rolebindings")],
        when=f"request.userInfo.username == '{ACCOUNT}'",
        validations=[
            {
                "expression": (
                    "request.resource.resource != 'namespaces' || "
                    f"(request.name.contains('--') && (oldObject == null || {_ours('oldObject')}))"
                ),
                "message": "the platform may change the namespaces of virtual clusters only",
            },
            {
                "expression": (
                    f"request.resource.resource != 'rolebindings' || ({named} && {_ours('namespaceObject')})"
                ),
                "message": f"the platform may bind roles in the namespaces of {_places(tenants)} only",
            },
        ],
    )


def _places(tenants: bool) -> str:
    return "virtual clusters and tenants" if tenants else "virtual clusters"


def _ours(item: str) -> str:
    return f"{item}.metadata.?labels[?'{naming.LABEL_MANAGED_BY}'].orValue('') == '{naming.MANAGED_BY}'"
