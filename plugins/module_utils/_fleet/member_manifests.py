# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Render the objects of a member: on the member itself, and its entry in the hub's registry. Pure."""

from __future__ import annotations

import json

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.host_labels import HostLabels
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import bound_tokens
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.secret_data import encoded
from ansible_collections.tenantry.kube.plugins.module_utils._platform import (
    admission_policies,
    confinement,
    manifests,
    rbac,
)

ACCOUNT = rbac.PLATFORM_ACCOUNT
CREDENTIAL = "tenantry-platform-credential"
REVOKE_ROLE = "tenantry-platform-revoke"
PROBE_ROLE = "tenantry-platform-probe"


def _role_here(name: str, rule: dict) -> list[dict]:
    """Render a right of the platform in its own namespace."""
    metadata = {"name": name, "namespace": naming.PLATFORM_NAMESPACE, "labels": naming.labels("member")}
    rules = [{"apiGroups": [""], **rule}]
    return [
        {"apiVersion": f"{rbac.RBAC_GROUP}/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        rbac.platform_binding("RoleBinding", metadata, name, "Role"),
    ]


def member_namespace(hub_identity: str, annotations: dict[str, str] | None = None) -> dict:
    """Render the platform's namespace on a member, which records the hub it belongs to."""
    annotations = {**(annotations or {}), manifests.HUB_ANNOTATION: hub_identity}
    return manifests.platform_namespace("member", annotations)


def member_objects(hub_identity: str, annotations: dict[str, str] | None = None) -> list[dict]:
    """Render all objects of a member except its credential. `hub_identity` is the UID of the hub's kube-system."""
    space = {"namespace": naming.PLATFORM_NAMESPACE, "labels": naming.labels("member")}
    return [
        member_namespace(hub_identity, annotations),
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": ACCOUNT, **space},
            "automountServiceAccountToken": False,
        },
        rbac.cluster_role(rbac.PLATFORM_ROLE, rbac.PLATFORM, "member"),
        rbac.cluster_role(rbac.MANAGER_ROLE, rbac.VCLUSTER_MANAGER, "member"),
        rbac.platform_binding(
            "ClusterRoleBinding", {"name": rbac.PLATFORM_ROLE, "labels": naming.labels("member")}, rbac.PLATFORM_ROLE
        ),
        # The right to delete itself, so that a forced removal of the member can revoke the credential.
        *_role_here(REVOKE_ROLE, {"resources": ["serviceaccounts"], "resourceNames": [ACCOUNT], "verbs": ["delete"]}),
        # Before Kubernetes 1.33, only the rejection of a Service reveals the service network.
        *_role_here(PROBE_ROLE, {"resources": ["services"], "verbs": ["create"]}),
        *manifests.priority_classes("member"),
        *confinement.policy("member"),
        *admission_policies.host_policies("member"),
    ]


def member_secret(
    name: str,
    kubeconfig: dict,
    *,
    identity: str,
    server: str,
    version: str,
    expires: str,
    labels: HostLabels = HostLabels(),  # noqa: B008 - frozen
) -> dict:
    """Render the member's entry in the hub's registry."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"member-{name}",
            "namespace": naming.PLATFORM_NAMESPACE,
            "labels": naming.labels("member", member=name),
            "annotations": {
                registry.IDENTITY_ANNOTATION: identity,
                registry.SERVER_ANNOTATION: server,
                registry.VERSION_ANNOTATION: version,
                bound_tokens.EXPIRES_ANNOTATION: expires,
                **labels.annotations(),
            },
        },
        "type": registry.MEMBER_SECRET_TYPE,
        "data": {"kubeconfig": encoded(json.dumps(kubeconfig))},
    }
