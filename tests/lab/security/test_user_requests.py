"""ISO-7 and PERM for users whom a tenant's admins ask for: nobody asks in another's name or for more than there is.

What an admin has himself, and so may give, is judged when it is done: test_user_requests.py of the lab.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster

from ..harness import call_module, kubectl, ran
from ..people import await_policy, until_counted
from .asking import Requests, dry_run, with_value
from .conftest import NAMES, Scene, _hub_token, connect

HOME = "tenant-payments"
PLURAL = "tenantuserrequests"
GOOD: dict[str, Any] = {
    "apiVersion": "tenantry.dev/v1alpha1",
    "kind": "TenantUserRequest",
    "metadata": {"name": "bob", "namespace": HOME},
    "spec": {"requestedBy": NAMES["admin"], "role": "viewer", "access": [{"vcluster": "dev", "role": "viewer"}]},
}
BAD: list[tuple[str, Any]] = [
    ("spec.requestedBy", None),
    ("spec.requestedBy", ""),
    ("spec.role", None),
    ("spec.role", "platform_operator"),
    ("spec.role", "cluster-admin"),
    ("spec.role", ["viewer"]),
    ("spec.access", [{"vcluster": "dev"}]),
    ("spec.access", [{"role": "viewer"}]),
    ("spec.access", [{"vcluster": "dev", "role": "platform_operator"}]),
    ("spec.access", [{"vcluster": "../dev", "role": "viewer"}]),
    ("spec.access", [{"vcluster": "dev", "role": "viewer"}, {"vcluster": "dev", "role": "admin"}]),
    ("spec.hub_access", True),
    ("spec.tenant", "research"),
    ("spec.kubeconfig_path", "/etc/cron.d/x"),
    ("spec.oidc", {"group": "everyone"}),
    ("spec.clusterRole", "cluster-admin"),
    ("metadata.name", "a--b"),
    ("metadata.name", "a.b"),
    ("metadata.finalizers", ["example.com/mine"]),
]
status = functools.partial(dry_run, plural=PLURAL)


@pytest.fixture(scope="module")
def requests(pytestconfig: pytest.Config) -> Iterator[Requests]:
    made = Requests()
    yield made
    made.tell("requests for users", pytestconfig)


@pytest.fixture(scope="module", autouse=True)
def counted(scene: Scene) -> None:
    until_counted(scene.hub, HOME)


@pytest.fixture(scope="module")
def alice(scene: Scene) -> Cluster:
    """An admin, for whom the policy is in force."""
    admin = scene.on_hub["admin"]
    await_policy(lambda: status(admin, with_value(GOOD, "spec.requestedBy", "dan")) == 403)
    return admin


@pytest.fixture(scope="module")
def other(scene: Scene) -> Iterator[Cluster]:
    """Another admin of the same tenant."""
    anna = {"kubeconfig": scene.hub, "tenant": "payments", "name": "anna"}
    assert not call_module("tenant_user", **anna, role="admin").failed
    yield connect(scene.hub, _hub_token(connect(scene.hub), "anna"))
    call_module("tenant_user", **anna, state="absent")


@pytest.fixture
def stored(scene: Scene, alice: Cluster) -> Iterator[dict[str, Any]]:
    """A request of alice's that is really there."""
    yield alice.create(GOOD)
    kubectl(scene.hub, "delete", f"{PLURAL}.tenantry.dev", "bob", "-n", HOME)


@pytest.mark.parametrize(
    ("role", "expected"), [("viewer", 403), ("developer", 403), ("admin", 200), ("platform_operator", 200)]
)
def test_who_may_ask(scene: Scene, alice: Cluster, requests: Requests, role: str, expected: int) -> None:
    """The positive control too."""
    requests.count("roles", 1)
    asked = with_value(GOOD, "spec.requestedBy", scene.on_hub[role].whoami())
    assert status(scene.on_hub[role], asked) == expected


@pytest.mark.parametrize(("path", "value"), BAD, ids=[f"{path}={value!r}"[:50] for path, value in BAD])
def test_what_nobody_can_ask_for(alice: Cluster, requests: Requests, path: str, value: Any) -> None:
    requests.count("bad values", 1)
    assert status(alice, with_value(GOOD, path, value)) in (400, 403, 422)


@pytest.mark.parametrize("name", ["dan", "oscar", "system:admin", "system:serviceaccount:tenant-research:alice"])
def test_in_the_name_of_somebody_else(alice: Cluster, requests: Requests, name: str) -> None:
    requests.count("names of others", 1)
    assert status(alice, with_value(GOOD, "spec.requestedBy", name)) == 403


@pytest.mark.parametrize("home", ["tenant-research", "payments--dev", "tenantry-system", "default"])
def test_elsewhere(alice: Cluster, requests: Requests, home: str) -> None:
    requests.count("other namespaces", 1)
    own = with_value(GOOD, "spec.requestedBy", alice.whoami())
    assert status(alice, with_value(own, "metadata.namespace", home)) == 403


def test_who_changes_and_deletes_one(
    scene: Scene, stored: dict[str, Any], alice: Cluster, other: Cluster, requests: Requests
) -> None:
    """What it gives is measured by what its requester has: so others may take it back, and not make it more."""
    users = {**scene.on_hub, "another admin": other}
    more = {**GOOD, "spec": {"role": "admin"}}
    for method, content, may in (
        ("patch", "merge-patch+json", {"admin"}),
        ("delete", "json", {"admin", "another admin", "platform_operator"}),
    ):
        got = {who: status(user, more, method, "/bob", content) for who, user in users.items()}
        requests.count(method, len(got))
        assert {who for who, found in got.items() if found == 200} == may
        assert set(got.values()) == {200, 403}


def test_a_status_is_the_platforms(scene: Scene, stored: dict[str, Any], requests: Requests) -> None:
    said = {**GOOD, "status": {"phase": "Ready", "kubeconfig": "another"}}
    for user in scene.on_hub.values():
        requests.count("status", 1)
        assert status(user, said, "patch", "/bob/status", "merge-patch+json") == 403


def test_without_the_policy_another_admin_would_make_it_more(
    scene: Scene, stored: dict[str, Any], other: Cluster
) -> None:
    """The mutation control."""
    more = {**GOOD, "spec": {"role": "admin"}}

    def found() -> int:
        return status(other, more, "patch", "/bob", "merge-patch+json")

    ran(scene.hub, "delete", "validatingadmissionpolicybinding", "tenantry-requests")
    try:
        await_policy(lambda: found() == 200)
        assert found() == 200
    finally:
        assert call_module("platform", kubeconfig=scene.hub).changed
        await_policy(lambda: found() == 403)
