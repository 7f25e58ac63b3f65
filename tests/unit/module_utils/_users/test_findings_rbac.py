"""What gives a user more than is on record."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._platform import identities
from ansible_collections.tenantry.kube.plugins.module_utils._users import findings, findings_rbac

from .test_findings import BOB, NOW, Api, _binding, _role, _rule

EVE: dict[str, Any] = {"kind": "User", "name": "eve"}
PERSON = {"kind": "User", "name": "oidc:bob"}


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
        default = findings_rbac._REACHING_BY_DEFAULT.get(name, ())
        for resource in findings_rbac._REACHING | findings_rbac._ENTRANCES:
            for verb in ("create", "patch", "update"):
                is_default = resource in default
                if resource == "secrets":
                    is_default = verb in findings_rbac._TO_SECRETS.get(name, ())
                found = findings_rbac.role(_role(name, _rule(verb, resource)))
                assert (found is None) == is_default, (name, verb, resource)
                if "/" in resource and not is_default:
                    of_all = f"*/{resource.partition('/')[2]}"
                    assert findings_rbac.role(_role(name, _rule(verb, of_all))), (name, verb, of_all)


@pytest.mark.parametrize("name", sorted(findings_rbac._WIDE))
def test_who_has_much_has_no_more_than_by_default(name: str) -> None:
    for verb in ("get", "list", "watch", "delete"):
        is_default = verb in findings_rbac._TO_SECRETS.get(name, ())
        assert (findings_rbac.role(_role(name, _rule(verb, "secrets"))) is None) == is_default, verb
        is_default = verb in findings_rbac._TO_ALL.get(name, ())
        assert (findings_rbac.role(_role(name, _rule(verb, "*"))) is None) == is_default, verb
    escalating = findings_rbac.role(_role(name, _rule("escalate", "clusterroles", "rbac.authorization.k8s.io")))
    assert (escalating is None) == name.endswith("clusterrole-aggregation-controller")
    assert findings_rbac.role(_role(name, _rule("get", "*", "custom.metrics.k8s.io"))) is None


def test_rules_about_what_others_serve_are_ones() -> None:
    """An operator can be led to do anything by its own resources."""
    for name in (*findings_rbac._OF_COMPONENTS, *findings_rbac._WIDE):
        for group in ("kustomize.toolkit.fluxcd.io", "argoproj.io", "example.com", "k8s.io.example.com", "x-k8s.io"):
            assert findings_rbac.role(_role(name, _rule("update", "things", group))), (name, group)


def test_a_controller_that_kubernetes_does_not_know_is_one() -> None:
    for name, kind, namespace, is_one in (
        ("job-controller", "ClusterRole", None, False),
        ("eve", "ClusterRole", None, True),
        ("token-cleaner", "Role", "kube-system", False),
        ("eve", "Role", "kube-system", True),
        ("job-controller", "Role", "kube-system", True),
    ):
        account = {"kind": "ServiceAccount", "namespace": "kube-system", "name": name}
        made = _binding(account, role=f"system:controller:{name}", kind=kind, namespace=namespace)
        assert (findings_rbac.binding(made, {}) is not None) == is_one, (name, kind)


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


@pytest.mark.parametrize("namespace", [None, "kube-system", "default"])
@pytest.mark.parametrize("role", ["viewer", "developer", "admin"])
@pytest.mark.parametrize("other", [EVE, {**EVE, "kind": "Group"}, PERSON, {**EVE, "kind": "ServiceAccount"}])
def test_our_labels_and_names_hide_nobody_else(role: str, other: dict[str, Any], namespace: str | None) -> None:
    """An administrator makes a binding look like that of another user: bob's, who comes by no issuer."""
    account, made = identities.inside_user("payments", "bob", role)
    assert findings_rbac.binding(made, BOB) is None
    made["subjects"] = [{**other, "namespace": "tenantry-system"} if other["kind"] == "ServiceAccount" else other]
    if namespace:
        made["metadata"]["namespace"] = namespace
    is_harmless = namespace == "default" and other["kind"] == "ServiceAccount"
    assert (findings_rbac.binding(made, BOB) is None) == is_harmless
    assert account["kind"] == "ServiceAccount"


def test_a_user_of_an_issuer_is_known_by_the_name_there_and_has_no_account() -> None:
    subjects = {"bob": {("User", "oidc:bob")}}
    account, of_account = identities.inside_user("payments", "bob", "admin")
    (made, _flow) = identities.inside_user("payments", "bob", "admin", PERSON)
    assert findings_rbac.binding(made, BOB, subjects) is None
    assert findings_rbac.binding(of_account, BOB, subjects)
    for other in (EVE, {**PERSON, "kind": "Group"}, {**PERSON, "name": "oidc:ob"}):
        assert findings_rbac.binding({**made, "subjects": [other]}, BOB, subjects), other
        assert findings_rbac.binding({**made, "subjects": [PERSON, other]}, BOB, subjects), other
    api = Api({"v1/ServiceAccount tenantry-system": [account]})
    assert findings.look(api, BOB, NOW) == ([], 0)
    (found,), _more = findings.look(api, BOB, NOW, subjects=subjects)
    assert (found["kind"], found["name"]) == ("ServiceAccount", "bob")


def test_who_may_act_as_another_in_whatever_way_is_one() -> None:
    """Kubernetes 1.36 has a verb for each sort of account, and for each verb of what is done in its name."""
    modes = ("user-info", "serviceaccount", "arbitrary-node", "associated-node")
    verbs = [
        "impersonate",
        *(f"impersonate:{mode}" for mode in modes),
        *(f"impersonate-on:{mode}:get" for mode in modes),
    ]
    for name in (*findings_rbac._OF_COMPONENTS, *findings_rbac._FOR_EVERYBODY, *findings_rbac._WIDE):
        for verb in verbs:
            for resource in ("users", "serviceaccounts", "nodes", "configmaps"):
                assert findings_rbac.role(_role(name, _rule(verb, resource))), (name, verb, resource)
