"""A new identity must not inherit what others bound to the last one of its name."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import labels
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Action
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import ROLE_BINDING
from ansible_collections.tenantry.kube.plugins.module_utils._users import bindings

BOB = {"kind": "ServiceAccount", "namespace": "tenantry-system", "name": "bob"}
BOB_AS_USER = {"kind": "User", "name": "system:serviceaccount:tenantry-system:bob"}
OTHERS = [
    {"kind": "ServiceAccount", "namespace": "other", "name": "bob"},
    {"kind": "User", "name": "bob"},
    {"kind": "Group", "name": "system:serviceaccounts:tenantry-system"},
]


class Bindings:
    """A cluster that has one binding."""

    def __init__(self, subjects: list[dict], user: str | None = None) -> None:
        metadata: dict[str, Any] = {"name": "b", "namespace": "n"}
        if user:
            metadata["labels"] = labels("user", tenant="payments", user=user)
        self.binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"kind": "Role", "name": "r"},
            "subjects": subjects,
        }

    def pages(self, kind: str) -> list[list[dict]]:
        return [[self.binding]] if kind == ROLE_BINDING else [[]]

    def map(self, function: Any, items: Any) -> list:
        return [function(item) for item in items]


@pytest.mark.parametrize("subject", [BOB, BOB_AS_USER])
def test_a_binding_of_nobody_else_goes(subject: dict) -> None:
    (action,) = bindings.inherited(Bindings([subject]), {("tenantry-system", "bob")})
    assert (action.action, action.name, action.namespace) == ("delete", "b", "n")


def test_a_binding_of_others_too_keeps_them() -> None:
    (action,) = bindings.inherited(Bindings([BOB, *OTHERS]), {("tenantry-system", "bob")})
    assert (action.action, action.after["subjects"]) == ("update", OTHERS)


def test_bindings_of_others_are_left_alone() -> None:
    assert bindings.inherited(Bindings(OTHERS), {("tenantry-system", "bob")}) == []
    assert bindings.inherited(Bindings([BOB]), set()) == []


def test_our_own_binding_stays() -> None:
    assert bindings.inherited(Bindings([BOB], user="bob"), {("tenantry-system", "bob")}) == []
    assert bindings.inherited(Bindings([BOB], user="carol"), {("tenantry-system", "bob")}) != []


def test_a_user_of_an_issuer_who_has_no_binding_of_ours_any_more() -> None:
    def ours(role: str, *subjects: dict) -> dict:
        metadata = {"name": f"tenantry:bob:{role}", "labels": labels("user", tenant="payments", user="bob")}
        return {"metadata": metadata, "subjects": list(subjects)}

    kind, erin = bindings.KINDS[0], {"kind": "User", "name": "oidc:erin"}
    gone = Action(kind, None, "x", "delete", before=ours("viewer", erin))
    assert bindings.ended([gone]) == {("", "oidc:erin"): "bob"}
    demoted = Action(kind, None, "y", "create", after=ours("developer", erin))
    assert bindings.ended([gone, demoted]) == {}
    (action,) = bindings.inherited(Bindings([erin, *OTHERS]), {("", "oidc:erin")})
    assert (action.action, action.after["subjects"]) == ("update", OTHERS)
    assert bindings.inherited(Bindings([erin], user="bob"), {("", "oidc:erin")}) == []
