"""What an admin of a tenant may give to others, and for how long the first kubeconfig can be taken."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._self_service.requests import operator, requester_account
from ansible_collections.tenantry.kube.plugins.module_utils._self_service.user_requests import (
    UserRequest,
    initial_kubeconfig_of,
    refusal,
)
from ansible_collections.tenantry.kube.plugins.module_utils._self_service.users import UserReconciler
from ansible_collections.tenantry.kube.plugins.module_utils._users import reconcile

EARLY, ASKED, LATE = "2026-05-31T10:00:00Z", "2026-05-31T12:00:00Z", "2026-05-31T13:00:00Z"
NOW = datetime(2026, 5, 31, 14, tzinfo=UTC)


def request(answered: bool = False, **spec: Any) -> UserRequest:
    metadata = {"name": "bob", "namespace": "tenant-payments", "uid": "u1", "generation": 1, "creationTimestamp": ASKED}
    spec = {"requestedBy": "alice", "role": "developer", **spec}
    status = {"observedGeneration": 1} if answered else {}
    return UserRequest("payments", {"metadata": metadata, "spec": spec, "status": status})


def account(
    name: str,
    role: str,
    access: dict[str, str] | None = None,
    created: str = EARLY,
    tenant: str = "payments",
    **more: str,
) -> dict:
    annotations = {"tenantry.dev/role": role, "tenantry.dev/access": json.dumps(access), **more}
    labels = {"tenantry.dev/tenant": tenant, "tenantry.dev/user": name}
    metadata = {"name": name, "labels": labels, "annotations": annotations, "creationTimestamp": created}
    return {"metadata": metadata}


def bob(created: str = LATE) -> dict:
    return account("bob", "developer", created=created, **{"tenantry.dev/request": "u1"})


def access(**roles: str) -> list[dict[str, str]]:
    return [{"vcluster": name, "role": role} for name, role in roles.items()]


@pytest.mark.parametrize("role", ["viewer", "developer", "admin"])
def test_an_admin_gives_what_an_admin_has(role: str) -> None:
    assert refusal(request(role=role), None, account("alice", "admin")) == ""


LIMITED = account("alice", "admin", {"dev": "admin", "prod": "viewer"})


@pytest.mark.parametrize(
    ("asked", "requester", "named"),
    [
        (request(), account("alice", "developer"), "alice is developer"),
        (request(), account("alice", "viewer"), "alice is viewer"),
        (request(), None, "alice is neither a user of the tenant nor a platform_operator on record"),
        (request(requestedBy="oidc:zoe"), None, "oidc:zoe is neither a user of the tenant"),
        (request(), account("alice", "admin", created=LATE), "alice did not create this request"),
        (request(), account("alice", "admin", created=ASKED), "alice did not create this request"),
        (request(), LIMITED, "spec.access: missing"),
        (request(access=access(stage="viewer")), LIMITED, "alice may not enter vcluster stage"),
        (request(access=access(prod="developer")), LIMITED, "alice is viewer in vcluster prod"),
    ],
)
def test_nobody_gives_more_than_he_has(asked: UserRequest, requester: dict | None, named: str) -> None:
    assert named in refusal(asked, None, requester)


def test_what_a_limited_admin_may_give() -> None:
    assert refusal(request(access=access(dev="admin", prod="viewer")), None, LIMITED) == ""


def test_an_operator_gives_all_that_can_be_asked_for() -> None:
    assert refusal(request(role="admin"), None, account("alice", "platform_operator", {})) == ""
    outside = request(requestedBy="system:serviceaccount:tenant-operations:olga", role="admin")
    olga = account("olga", "platform_operator", tenant="operations")
    assert requester_account(outside, [olga]) is None, "no user of this tenant"
    assert operator(outside, [olga]) == olga
    assert refusal(outside, None, olga) == ""
    for nobody in (account("olga", "platform_operator"), account("olga", "admin", tenant="operations")):
        assert operator(outside, [nobody]) is None


def test_a_member_of_an_issuers_group_is_not_on_record() -> None:
    """The group may be limited to some virtual clusters, and who is in it is the issuer's knowledge."""
    staff = account("staff", "admin", {"dev": "viewer"}, **{"tenantry.dev/oidc": "group oidc:staff"})
    asked = request(requestedBy="oidc:staff")
    assert requester_account(asked, [staff]) is None


def test_users_of_the_administrators_are_left_alone() -> None:
    assert "a user of the inventory" in refusal(request(), account("bob", "viewer"), account("alice", "admin"))


def test_what_was_given_stays_when_its_giver_has_less() -> None:
    for requester in (None, account("alice", "viewer")):
        assert refusal(request(answered=True), bob(), requester) == ""
        assert refusal(request(), bob(), requester), "a change is judged anew"
        for more in ({"role": "admin"}, {"access": access(dev="admin")}):
            assert refusal(request(answered=True, **more), bob(), requester), "what was refused was answered too"


def test_nobody_gets_access_with_what_was_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request may ask for more by now than the user has."""
    monkeypatch.setattr(reconcile, "run", lambda context, items: items)
    people = UserReconciler(None, {}, {}, [request(role="admin", access=access(dev="admin"))], [bob()])
    (item,) = people.grant_access("payments")
    assert (item["role"], item["access"]) == ("developer", None)
    assert [one["name"] for one in item["kubeconfigs"]] == ["self-service", "initial"]


def test_platform_operators_get_nothing_by_self_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reconciler's account reads Secrets in namespaces of tenants, and could write such a record itself."""
    monkeypatch.setattr(reconcile, "run", lambda context, items: items)
    olga = account("olga", "platform_operator", **{"tenantry.dev/hub-access": "true"})
    people = UserReconciler(None, {}, {}, [], [olga, account("alice", "admin", **{"tenantry.dev/hub-access": "true"})])
    assert [item["name"] for item in people.grant_access("payments")] == ["alice"]
    assert people.secret_of(request()) == "kubeconfig-alice"
    assert people.secret_of(request(requestedBy="olga")) is None


def test_the_first_kubeconfig_is_for_who_asked_and_for_a_day() -> None:
    alice = account("alice", "admin")
    reader = {"kind": "ServiceAccount", "name": "alice", "namespace": "tenant-payments"}
    assert initial_kubeconfig_of(request(), None, alice, NOW) == reader
    assert initial_kubeconfig_of(request(), bob(), alice, NOW) == reader
    assert initial_kubeconfig_of(request(), bob(created="2026-05-30T14:00:00Z"), alice, NOW) is None
    assert initial_kubeconfig_of(request(), bob(), None, NOW) is None
    assert initial_kubeconfig_of(request(), bob(), account("alice", "admin", created=LATE), NOW) is None


def test_the_first_kubeconfig_is_for_users_of_an_issuer_by_their_name() -> None:
    asked = request(requestedBy="oidc:alice")
    known = account("alice", "admin", **{"tenantry.dev/oidc": "user oidc:alice"})
    expected = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "oidc:alice"}
    assert initial_kubeconfig_of(asked, None, requester_account(asked, [known]), NOW) == expected
