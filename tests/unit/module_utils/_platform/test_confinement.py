"""The policy that confines the platform's account. What an API server denies by it is in tests/lab/test_reconciler.py
and tests/lab/test_fleet_member.py.
"""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import bound_tokens
from ansible_collections.tenantry.kube.plugins.module_utils._platform import confinement
from ansible_collections.tenantry.kube.plugins.module_utils._users.kubeconfig_stores import SECRET_TYPE

MEMBER, HUB = (
    confinement.policy(component, tenants=tenants)[0]["spec"]
    for component, tenants in (("member", False), ("platform", True))
)


def matched(spec: dict) -> dict[str, list[str]]:
    rules = spec["matchConstraints"]["resourceRules"]
    return {resource: rule["operations"] for rule in rules for resource in rule["resources"]}


def expressions(spec: dict, resource: str) -> list[str]:
    found = [one["expression"] for one in spec["validations"]]
    return [one for one in found if one.startswith(f"request.resource.resource != '{resource}' || ")]


def test_namespaces_of_tenants_are_open_on_a_hub_only() -> None:
    assert "startsWith('tenant-')" in str(HUB)
    assert "startsWith('tenant-')" not in str(MEMBER)
    assert "system:serviceaccount:tenantry-system:tenantry-platform" in str(MEMBER)


def test_on_a_hub_it_gets_no_token_of_who_may_manage_the_platform() -> None:
    """The accounts of platform operators are in namespaces of tenants, where it requests tokens and writes Secrets."""
    writes = ["CREATE", "UPDATE", "DELETE"]
    assert matched(MEMBER) == {"namespaces": writes, "rolebindings": writes}
    assert matched(HUB) == matched(MEMBER) | {"serviceaccounts/token": ["CREATE"], "secrets": ["CREATE", "UPDATE"]}
    (token,) = expressions(HUB, "serviceaccounts")
    assert "!authorizer.serviceAccount(request.namespace, request.name).group('tenantry.dev')" in token
    assert token.endswith(".resource('platform').check('manage').allowed()")
    (secret,) = expressions(HUB, "secrets")
    assert secret.endswith("object.type != 'kubernetes.io/service-account-token'")
    assert "kubernetes.io/service-account-token" not in (bound_tokens.TYPE, SECRET_TYPE)


def test_on_a_hub_it_opens_no_namespace_for_privileged_pods() -> None:
    """They are root on a node. It still changes other fields of namespaces that are open already."""
    enforced = "?labels[?'pod-security.kubernetes.io/enforce'].orValue('')"
    (_places, level) = expressions(HUB, "namespaces")
    assert f"object.metadata.{enforced} in ['baseline', 'restricted']" in level
    assert f"object.metadata.{enforced} == oldObject.metadata.{enforced}" in level
    assert "object == null" in level
    dedicated = confinement.policy("platform", tenants=True, dedicated=True)[0]["spec"]
    assert "pod-security" not in str(dedicated)
    assert "pod-security" not in str(MEMBER)


def test_it_gets_no_right_to_pods_beside_the_accounts_of_users() -> None:
    """A pod can use every account of its namespace."""
    (_places, pods) = expressions(HUB, "rolebindings")
    assert "object.roleRef.name != 'tenantry:vcluster-manager'" in pods
    assert "request.namespace.contains('--')" in pods
