# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Render the platform's objects on a hub, and those that hubs and members share. Pure."""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._platform import rbac

COLLECTION_VERSION = "0.1.0"
HUB_ANNOTATION = "tenantry.dev/hub"

# Production pushes development off a full node; development waits for room.
TIERS = {"dev": (1_000, "Never"), "prod": (100_000, "PreemptLowerPriority")}
# Of pods without root.
USER_ID = 65532


def restricted() -> dict:
    """Return the security context of a pod without root."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER_ID,
        "runAsGroup": USER_ID,
        "fsGroup": USER_ID,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def platform_namespace(component: str, annotations: dict[str, str] | None = None) -> dict:
    """Render the namespace for identities and records. Its pods are those of the reconciler, so it is `restricted`."""
    metadata: dict = {
        "name": naming.PLATFORM_NAMESPACE,
        "labels": {**naming.labels(component), "pod-security.kubernetes.io/enforce": "restricted"},
    }
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def priority_classes(component: str) -> list[dict]:
    """Render the priority classes of both tiers: for tenants' pods, and one higher for servers and agents."""
    return [
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": f"tenantry-{tier}{part}", "labels": naming.labels(component)},
            "value": value + more,
            "preemptionPolicy": preemption,
            "globalDefault": False,
            "description": f"{what} of virtual clusters of tier {tier}.",
        }
        for tier, (value, preemption) in TIERS.items()
        for part, more, what in (("", 0, "Pods"), ("-server", 1, "Servers and agents"))
    ]


def on(
    group: str,
    resources: str,
    *,
    scope: str = "*",
    operations: tuple[str, ...] = ("CREATE", "UPDATE", "DELETE"),
) -> dict:
    """Render the resources and operations that an admission policy matches."""
    return {
        "apiGroups": [group],
        "apiVersions": ["*"],
        "operations": list(operations),
        "resources": [resources],
        "scope": scope,
    }


def admission_policy(
    name: str,
    component: str,
    *,
    rules: list[dict],
    validations: list[dict],
    when: str = "",
    action: str = "Deny",
    namespaces: tuple[str, ...] = (),
    matching: dict | None = None,
    variables: dict[str, str] | None = None,
) -> list[dict]:
    """Render a ValidatingAdmissionPolicy and its binding. RBAC has neither exceptions nor patterns of names.

    The API server limits the cost of each expression, and of each variable separately. `action` is Deny, or Warn: the
    request succeeds, and its client shows the message.
    """
    match: dict = {"resourceRules": rules, **(matching or {})}
    if namespaces:
        named = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": list(namespaces)}
        match["namespaceSelector"] = {"matchExpressions": [named]}
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": match,
        **({"matchConditions": [{"name": "requester", "expression": when}]} if when else {}),
        **({"variables": [{"name": name, "expression": cel} for name, cel in variables.items()]} if variables else {}),
        "validations": [{**validation, "reason": "Forbidden"} for validation in validations],
    }
    metadata = {"name": name, "labels": naming.labels(component)}
    api = "admissionregistration.k8s.io/v1"
    return [
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": metadata, "spec": spec},
        {
            "apiVersion": api,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": metadata,
            "spec": {"policyName": name, "validationActions": [action]},
        },
    ]


def may_manage(authorizer: str = "authorizer") -> str:
    """Render the check of a right on a resource that does not exist.

    Administrators have it by their wildcard, others if granted. `authorizer` is the requester's, or another account's.
    """
    group, resource, verb = rbac.MANAGE
    return f"{authorizer}.group('{group}').resource('{resource}').check('{verb}').allowed()"


def platform_objects(identity: str, annotations: dict[str, str] | None = None) -> list[dict]:
    """Render all objects of the platform on a hub. `identity` is the UID of its kube-system namespace."""
    return [
        platform_namespace("platform", annotations),
        *rbac.user_roles(rbac.HUB, "platform"),
        rbac.cluster_role(rbac.MANAGER_ROLE, rbac.VCLUSTER_MANAGER, "platform"),
        *priority_classes("platform"),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "fleet",
                "namespace": naming.PLATFORM_NAMESPACE,
                "labels": naming.labels("platform"),
            },
            "data": {"hub": identity, "version": COLLECTION_VERSION},
        },
    ]
