# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a member of the fleet consists of: on the member itself, and its entry in the hub's registry. Pure."""

from __future__ import annotations

import base64
import json

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming as _names
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry as _fleet
from ansible_collections.tenantry.kube.plugins.module_utils._platform import admission_policies as _render_admission
from ansible_collections.tenantry.kube.plugins.module_utils._platform import manifests as _render_platform
from ansible_collections.tenantry.kube.plugins.module_utils._platform import rbac as _roles

ACCOUNT = "tenantry-platform"
CREDENTIAL = "tenantry-platform-credential"
RBAC = "rbac.authorization.k8s.io"
REVOKE_ROLE = "tenantry-platform-revoke"
PROBE_ROLE = "tenantry-platform-probe"


def _ours(item: str) -> str:
    return f"{item}.metadata.?labels[?'{_names.LABEL_MANAGED_BY}'].orValue('') == '{_names.MANAGED_BY}'"


# A namespace cannot be named by a pattern in RBAC, so namespaces and bindings are confined here. Without it, whoever
# stole the platform's credential could bind vcluster-manager in kube-system and read the member's own Secrets.
_CONFINEMENT = [
    {
        "expression": (
            "request.resource.resource != 'namespaces' || "
            f"(request.name.contains('--') && (oldObject == null || {_ours('oldObject')}))"
        ),
        "message": "the platform may change the namespaces of virtual clusters only",
    },
    {
        "expression": (
            "request.resource.resource != 'rolebindings' || "
            f"(request.namespace.contains('--') && {_ours('namespaceObject')})"
        ),
        "message": "the platform may bind roles in the namespaces of virtual clusters only",
    },
]


def _binding(kind: str, name: str, role_kind: str, role: str, namespace: str | None = None) -> dict:
    metadata = {"name": name, "labels": _names.labels("member")}
    if namespace:
        metadata["namespace"] = namespace
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": kind,
        "metadata": metadata,
        "roleRef": {"apiGroup": RBAC, "kind": role_kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": _names.PLATFORM_NAMESPACE}],
    }


def _role_here(name: str, rule: dict) -> list[dict]:
    """A right of the platform in its own namespace."""
    metadata = {"name": name, "namespace": _names.PLATFORM_NAMESPACE, "labels": _names.labels("member")}
    rules = [{"apiGroups": [""], **rule}]
    return [
        {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        _binding("RoleBinding", name, "Role", name, _names.PLATFORM_NAMESPACE),
    ]


def member_namespace(hub_identity: str, annotations: dict[str, str] | None = None) -> dict:
    annotations = {**(annotations or {}), _render_platform.HUB_ANNOTATION: hub_identity}
    return _render_platform.platform_namespace("member", annotations)


def member_objects(hub_identity: str, annotations: dict[str, str] | None = None) -> list[dict]:
    """Everything a member has for the hub whose kube-system UID is given, its credential apart."""
    space = {"namespace": _names.PLATFORM_NAMESPACE, "labels": _names.labels("member")}
    return [
        member_namespace(hub_identity, annotations),
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": ACCOUNT, **space},
            "automountServiceAccountToken": False,
        },
        _roles.cluster_role(_roles.PLATFORM_ROLE, _roles.PLATFORM, "member"),
        _roles.cluster_role(_roles.MANAGER_ROLE, _roles.VCLUSTER_MANAGER, "member"),
        _binding("ClusterRoleBinding", _roles.PLATFORM_ROLE, "ClusterRole", _roles.PLATFORM_ROLE),
        # So that a member that is forgotten by force can be left without a live credential.
        *_role_here(REVOKE_ROLE, {"resources": ["serviceaccounts"], "resourceNames": [ACCOUNT], "verbs": ["delete"]}),
        # Before Kubernetes 1.33, only the refusal of a Service tells the network of services.
        *_role_here(PROBE_ROLE, {"resources": ["services"], "verbs": ["create"]}),
        *_render_platform.priority_classes("member"),
        *_render_platform.admission_policy(
            "tenantry-platform",
            "member",
            rules=[
                _render_platform.on("", "namespaces"),
                _render_platform.on(RBAC, "rolebindings"),
            ],
            when=f"request.userInfo.username == 'system:serviceaccount:{_names.PLATFORM_NAMESPACE}:{ACCOUNT}'",
            validations=_CONFINEMENT,
        ),
        *_render_admission.host_policies("member"),
    ]


def member_secret(name: str, kubeconfig: dict, *, identity: str, server: str, version: str, expires: str) -> dict:
    """The member's entry in the registry on the hub."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"member-{name}",
            "namespace": _names.PLATFORM_NAMESPACE,
            "labels": _names.labels("member", member=name),
            "annotations": {
                _fleet.IDENTITY_ANNOTATION: identity,
                _fleet.SERVER_ANNOTATION: server,
                _fleet.VERSION_ANNOTATION: version,
                _fleet.EXPIRES_ANNOTATION: expires,
            },
        },
        "type": _fleet.MEMBER_SECRET_TYPE,
        "data": {"kubeconfig": base64.b64encode(json.dumps(kubeconfig).encode()).decode()},
    }
