"""What gives a user more than is on record."""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._platform import identities
from ansible_collections.tenantry.kube.plugins.module_utils._users import findings_rbac

from .test_findings import _role, _rule


def test_a_user_with_more_than_on_record_is_one() -> None:
    _account, made = identities.inside_user("payments", "carol", "developer")
    for role, is_one in (
        (None, True),
        ("viewer", True),
        ("platform_operator", True),
        ("developer", False),
        ("admin", False),
    ):
        assert (findings_rbac.binding(made, {"carol": {role}}) is not None) == is_one
    assert findings_rbac.binding(made, {"carol": {"viewer", "developer"}}) is None, (
        "in a check, who gets less still has more"
    )


def test_each_way_from_some_right_to_another_account_is_one() -> None:
    names = [*findings_rbac._OF_COMPONENTS, *findings_rbac._REACHING_BY_DEFAULT, *findings_rbac._WIDE]
    for name in names:
        for resource in findings_rbac._REACHING | findings_rbac._ENTRANCES:
            for verb in ("create", "patch", "update"):
                is_default = resource in findings_rbac._REACHING_BY_DEFAULT.get(name, ())
                found = findings_rbac.role(_role(name, _rule(verb, resource)))
                assert (found is None) == is_default, (name, verb, resource)


def test_rules_of_roles_in_system_namespaces() -> None:
    for name, rule, is_one in (
        ("extension-apiserver-authentication-reader", _rule("get list watch", "configmaps"), False),
        ("extension-apiserver-authentication-reader", _rule("get", "secrets"), True),
        ("system::leader-locking-kube-scheduler", _rule("create update", "leases", "coordination.k8s.io"), False),
        ("system::leader-locking-kube-scheduler", _rule("create", "serviceaccounts/token"), True),
        ("system:controller:token-cleaner", _rule("get list watch delete", "secrets"), False),
        ("system:controller:token-cleaner", _rule("create", "secrets"), True),
        ("eve", _rule("*", "*", "*"), False),
    ):
        role = _role(name, rule)
        role["metadata"]["namespace"] = "kube-system"
        found = findings_rbac.role(role)
        assert (found is not None) == is_one, (name, rule)
        assert not found or found["end"].endswith(f"kubectl edit role -n kube-system {name}")
