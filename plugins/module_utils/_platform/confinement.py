# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The admission policy that confines the platform's own account to its namespaces. Pure.

RBAC has no patterns for names of namespaces. Without the policy, an attacker with the platform's credential could bind
vcluster-manager in kube-system and read the host's own Secrets, or take the token of a platform operator.
"""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._platform import manifests, rbac

ACCOUNT = f"system:serviceaccount:{naming.PLATFORM_NAMESPACE}:{rbac.PLATFORM_ACCOUNT}"
NAME = "tenantry-platform"
POD_SECURITY = "pod-security.kubernetes.io/enforce"


def policy(component: str, *, tenants: bool = False, dedicated: bool = False) -> list[dict]:
    """Render the policy.

    With `tenants`, the account also manages users in the namespaces of tenants. Then it creates no virtual clusters of
    mode dedicated, unless `dedicated`.
    """
    named = "request.namespace.contains('--')"
    if tenants:
        named = f"({named} || request.namespace.startsWith('{naming.TENANT_PREFIX}'))"
    rules = [manifests.on("", "namespaces"), manifests.on(rbac.RBAC_GROUP, "rolebindings")]
    validations = [
        {
            "expression": (
                "request.resource.resource != 'namespaces' || "
                f"(request.name.contains('--') && (oldObject == null || {_ours('oldObject')}))"
            ),
            "message": "the platform may change the namespaces of virtual clusters only",
        },
        {
            "expression": f"request.resource.resource != 'rolebindings' || ({named} && {_ours('namespaceObject')})",
            "message": f"the platform may bind roles in the namespaces of {_places(tenants)} only",
        },
    ]
    if tenants:
        rules += [
            manifests.on("", "serviceaccounts/token", operations=("CREATE",)),
            manifests.on("", "secrets", operations=("CREATE", "UPDATE")),
        ]
        validations += [*_beside_users(), *([] if dedicated else [_restricts_pods()])]
    return manifests.admission_policy(
        NAME,
        component,
        rules=rules,
        when=f"request.userInfo.username == '{ACCOUNT}'",
        validations=validations,
    )


def _beside_users() -> list[dict]:
    """Platform operators have accounts in the namespaces of tenants: deny the ways to act as one of them."""
    whose = "authorizer.serviceAccount(request.namespace, request.name)"
    return [
        {
            "expression": f"request.resource.resource != 'serviceaccounts' || !{manifests.may_manage(whose)}",
            "message": "the platform may not request tokens of accounts with 'manage' on platform.tenantry.dev",
        },
        {
            "expression": (
                "request.resource.resource != 'secrets' || object.type != 'kubernetes.io/service-account-token'"
            ),
            "message": "the platform may not write Secrets that Kubernetes fills with a token",
        },
        {
            # It includes the right to create pods, and a pod can use every account of its namespace.
            "expression": (
                "request.resource.resource != 'rolebindings' || request.namespace.contains('--') || "
                f"object == null || object.roleRef.name != '{rbac.MANAGER_ROLE}'"
            ),
            "message": f"the platform may bind {rbac.MANAGER_ROLE} in the namespaces of virtual clusters only",
        },
    ]


def _restricts_pods() -> dict:
    """Agents of mode dedicated run in privileged pods, which are root on a node."""
    new, old = (f"{item}.metadata.?labels[?'{POD_SECURITY}'].orValue('')" for item in ("object", "oldObject"))
    return {
        "expression": (
            f"request.resource.resource != 'namespaces' || object == null || {new} in ['baseline', 'restricted'] || "
            f"(oldObject != null && {new} == {old})"
        ),
        "message": (
            f"the platform may open no namespace for privileged pods: {POD_SECURITY} must be baseline or restricted. "
            "For virtual clusters of mode dedicated, set dedicated in the option reconciler of tenantry.kube.platform"
        ),
    }


def _places(tenants: bool) -> str:
    return "virtual clusters and tenants" if tenants else "virtual clusters"


def _ours(item: str) -> str:
    return f"{item}.metadata.?labels[?'{naming.LABEL_MANAGED_BY}'].orValue('') == '{naming.MANAGED_BY}'"
