"""Users whom a tenant's admins ask for: who is made, refused and removed, and how they get their first kubeconfig."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig as kubeconfig_files
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._self_service import requests, user_requests
from ansible_collections.tenantry.kube.plugins.module_utils._self_service import users as self_service_users

from .harness import ModuleResult, call_module, kubectl, ran, writes
from .people import can, is_known, is_refused, until_old_enough

HOME = "tenant-payments"
KIND = "tenantuserrequests"
ADMINS = {"alice": {"role": "admin"}, "anna": {"role": "admin", "access": [{"vcluster": "dev", "role": "developer"}]}}

Ask = Callable[..., None]


@pytest.fixture(scope="module")
def hub(payments: Path) -> Iterator[Path]:
    """A hub with the tenant payments, its virtual clusters dev and stage, and two admins: one of all, one of dev."""
    users = [{"tenant": "payments", "name": name, "hub_access": True, **who} for name, who in ADMINS.items()]
    made = call_module("tenant_user", kubeconfig=payments, users=users)
    assert not made.failed, made.msg
    until_old_enough(payments, HOME)
    yield payments
    gone = [{"tenant": "payments", "name": name, "state": "absent"} for name in ADMINS]
    assert not call_module("tenant_user", kubeconfig=payments, users=gone).failed


def client(hub: Path, name: str) -> Cluster:
    config = kubeconfig_files.load(str(hub))
    token = Cluster.from_kubeconfig(config, name="hub").token_request(HOME, name, seconds=3600, bound_secret=None)[0]
    config["users"][0]["user"] = {"token": token}
    return Cluster.from_kubeconfig(config, name="hub")


@pytest.fixture
def ask(hub: Path) -> Iterator[Ask]:
    """Makes a request; all of them, and what came of them, are gone after the test."""
    clients = {name: client(hub, name) for name in ADMINS}

    def request(name: str, by: str = "alice", role: str = "developer", **spec: Any) -> None:
        clients[by].create(request_for(name, by, role, **spec))

    yield request
    ran(hub, "delete", KIND, "--all", "-n", HOME)
    gone = serve(hub)
    assert not gone.failed, gone.msg


def request_for(name: str, by: str, role: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": HOME}
    spec = {"requestedBy": by, "role": role, **spec}
    return {"apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantUserRequest", "metadata": metadata, "spec": spec}


def change(hub: Path, name: str, **spec: Any) -> None:
    who = f"--as=system:serviceaccount:{HOME}:alice"
    ran(hub, "patch", KIND, name, "-n", HOME, "--type=merge", "-p", json.dumps({"spec": spec}), who)


def serve(hub: Path, **options: Any) -> ModuleResult:
    given = {"defaults": {"version": "v1.37.2+k3s1"}, "wait": False, **options}
    return call_module("vcluster_self_service", kubeconfig=hub, **given)


def told(hub: Path, name: str) -> dict[str, Any]:
    return json.loads(ran(hub, "get", KIND, name, "-n", HOME, "-o", "json")).get("status", {})


def phases(result: ModuleResult) -> dict[str, str]:
    return {row["name"]: row["phase"] for row in result.data["results"]}


def taken(reader: Cluster, secret: str, path: Path) -> Path:
    """The kubeconfig in a Secret, as the reader takes it."""
    path.write_bytes(base64.b64decode(reader.get("v1/Secret", secret, HOME)["data"]["kubeconfig"]))
    return path


def roles(hub: Path) -> dict[str, str]:
    accounts = json.loads(ran(hub, "get", "serviceaccounts", "-n", HOME, "-l", "tenantry.dev/user", "-o", "json"))
    found = {one["metadata"]["name"]: one["metadata"]["annotations"]["tenantry.dev/role"] for one in accounts["items"]}
    return {name: role for name, role in found.items() if name not in ADMINS}


def test_a_user_is_made_invited_and_removed(hub: Path, ask: Ask, tmp_path: Path) -> None:
    ask("bob")
    before = len(writes(hub))
    foreseen = serve(hub, check=True, diff=True)
    assert foreseen.changed
    assert phases(foreseen) == {"bob": "Pending"}
    assert len(writes(hub)) == before
    made = serve(hub)
    assert not made.failed, made.msg
    assert phases(made) == {"bob": "Ready"}
    assert [row["kind"] for row in made.data["results"]] == ["user"]
    assert told(hub, "bob")["kubeconfig"] == "initial-kubeconfig-bob"
    again = serve(hub)
    assert not again.changed, again.data

    alice, anna = client(hub, "alice"), client(hub, "anna")
    with pytest.raises(ApiError, match="forbidden"):
        taken(anna, "initial-kubeconfig-bob", tmp_path / "stolen.yaml")
    with pytest.raises(ApiError, match="forbidden"):
        taken(alice, "kubeconfig-bob", tmp_path / "stolen.yaml")
    first = taken(alice, "initial-kubeconfig-bob", tmp_path / "first.yaml")
    for vcluster in ("dev", "stage"):
        assert can(first, f"payments--{vcluster}", "create", "deployments")
        assert not can(first, f"payments--{vcluster}", "create", "clusterrolebindings")
    assert can(first, "payments--hub", "get", "secrets/kubeconfig-bob", "-n", HOME)
    own = taken(client(hub, "bob"), "kubeconfig-bob", tmp_path / "own.yaml")
    assert is_known(own, "payments--dev")

    ran(hub, "delete", KIND, "bob", "-n", HOME)
    gone = serve(hub)
    assert not gone.failed, gone.msg
    assert phases(gone) == {"bob": "Deleted"}
    assert roles(hub) == {}
    for kubeconfig in (first, own):
        assert is_refused(kubeconfig, "payments--dev")
    left = ran(hub, "get", "secrets,roles,rolebindings", "-n", HOME, "-l", "tenantry.dev/user=bob", "-o", "name")
    assert left == ""


def test_the_initial_kubeconfig_ends_after_a_day_and_the_user_stays(
    hub: Path, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask("bob")
    serve(hub)
    alice = client(hub, "alice")
    first = taken(alice, "initial-kubeconfig-bob", tmp_path / "first.yaml")
    own = taken(client(hub, "bob"), "kubeconfig-bob", tmp_path / "own.yaml")
    later = requests.clock() + user_requests.INITIAL_LIFETIME
    monkeypatch.setattr(self_service_users, "clock", lambda: later)
    ended = serve(hub)
    assert not ended.failed, ended.msg
    assert phases(ended) == {"bob": "Ready"}
    assert told(hub, "bob")["kubeconfig"] == "kubeconfig-bob"
    assert is_refused(first, "payments--dev")
    assert is_known(own, "payments--dev")
    with pytest.raises(ApiError, match="forbidden"):
        alice.get("v1/Secret", "initial-kubeconfig-bob", HOME)
    assert not serve(hub).changed


def test_initial_kubeconfig_of_an_earlier_version_is_replaced(
    hub: Path, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask("bob")
    with monkeypatch.context() as patch:
        patch.setattr(self_service_users, "INITIAL_KUBECONFIG", "invitation")
        serve(hub)
    alice = client(hub, "alice")
    former = taken(alice, "initial-kubeconfig-bob", tmp_path / "former.yaml")
    assert is_known(former, "payments--dev")
    renamed = serve(hub)
    assert phases(renamed) == {"bob": "Ready"}
    assert is_refused(former, "payments--dev")
    assert is_known(taken(alice, "initial-kubeconfig-bob", tmp_path / "now.yaml"), "payments--dev")
    info = call_module("tenant_user_info", kubeconfig=hub, tenant="payments", name="bob").data["users"][0]
    assert {one["kubeconfig"] for one in info["credentials"]} == {"initial", "self-service"}
    assert not serve(hub).changed


def test_nobody_gives_more_than_he_has(hub: Path, ask: Ask) -> None:
    ask("every", by="anna")
    ask("more", by="anna", access=[{"vcluster": "dev", "role": "admin"}])
    ask("other", by="anna", access=[{"vcluster": "stage", "role": "viewer"}])
    ask("fine", by="anna", access=[{"vcluster": "dev", "role": "viewer"}])
    ask("alice")  # a user of the administrators
    ask("nowhere", access=[{"vcluster": "prod", "role": "viewer"}])
    done = serve(hub)
    assert not done.failed, done.msg
    refused = dict.fromkeys(("every", "more", "other", "alice", "nowhere"), "Denied")
    assert phases(done) == {"fine": "Ready", **refused}
    assert "spec.access: missing" in told(hub, "every")["message"]
    assert "less than admin" in told(hub, "more")["message"]
    assert "may not enter" in told(hub, "other")["message"]
    assert "of the inventory" in told(hub, "alice")["message"]
    assert "payments does not have" in told(hub, "nowhere")["message"]
    assert roles(hub) == {"fine": "developer"}
    assert not serve(hub).changed


def test_what_was_refused_stays_refused_in_later_runs(hub: Path, ask: Ask) -> None:
    fine = [{"vcluster": "dev", "role": "viewer"}]
    ask("bob", by="anna", access=fine)
    assert phases(serve(hub)) == {"bob": "Ready"}
    asked = client(hub, "anna").get("tenantry.dev/v1alpha1/TenantUserRequest", "bob", HOME)
    changed = {"role": "admin", "access": [{"vcluster": "stage", "role": "admin"}]}
    who = f"--as=system:serviceaccount:{HOME}:anna"
    ran(hub, "patch", KIND, "bob", "-n", HOME, "--type=merge", "-p", json.dumps({"spec": changed}), who)
    for _run in range(3):
        assert phases(serve(hub)) == {"bob": "Denied"}
        assert roles(hub) == {"bob": asked["spec"]["role"]}
        info = call_module("tenant_user_info", kubeconfig=hub, tenant="payments", name="bob").data["users"][0]
        assert info["access"] == {"dev": "viewer"}
        assert [(one["vcluster"], one["role"]) for one in info["vclusters"]] == [("dev", "viewer")]


def test_a_change_is_judged_again_and_what_was_given_stays(hub: Path, ask: Ask) -> None:
    ask("bob", role="viewer")
    serve(hub)
    change(hub, "bob", role="admin")
    serve(hub)
    assert roles(hub) == {"bob": "admin"}
    alice = {"kubeconfig": hub, "tenant": "payments", "name": "alice", "hub_access": True}
    try:
        assert not call_module("tenant_user", **alice, role="developer").failed
        assert not serve(hub).changed
        assert not call_module("tenant_user", **alice, role="admin").failed
        change(hub, "bob", role="viewer")
        assert not call_module("tenant_user", **alice, role="developer").failed
        assert phases(serve(hub)) == {"bob": "Denied"}
        assert roles(hub) == {"bob": "admin"}
    finally:
        assert not call_module("tenant_user", **alice, role="admin").failed


def test_the_inventory_takes_over(hub: Path, ask: Ask) -> None:
    ask("bob")
    serve(hub)
    bob = {"kubeconfig": hub, "tenant": "payments", "name": "bob"}
    assert call_module("tenant_user", **bob, role="viewer").changed
    assert phases(serve(hub)) == {"bob": "Denied"}
    ran(hub, "delete", KIND, "bob", "-n", HOME)
    assert serve(hub).data["results"] == []
    assert roles(hub) == {"bob": "viewer"}
    assert not call_module("tenant_user", **bob, state="absent").failed


def test_requests_that_are_lost_are_not_deleted(hub: Path, ask: Ask) -> None:
    ask("bob")
    serve(hub)
    ran(hub, "delete", "crd", f"{KIND}.tenantry.dev")
    lost = serve(hub)
    assert lost.failed
    assert "Run tenantry.kube.platform" in lost.msg
    call_module("platform", kubeconfig=hub)
    ran(hub, "wait", "--for=condition=Established", "crd", f"{KIND}.tenantry.dev", "--timeout=30s")
    assert not serve(hub).changed
    assert roles(hub) == {"bob": "developer"}
    gone = call_module("tenant_user", kubeconfig=hub, tenant="payments", name="bob", state="absent")
    assert not gone.failed, gone.msg


def test_a_recreated_requester_cannot_read_the_initial_kubeconfig(hub: Path, ask: Ask) -> None:
    """A later admin of the same name is not the requester."""
    alice = {"kubeconfig": hub, "tenant": "payments", "name": "alice"}
    ask("bob")
    serve(hub)
    assert client(hub, "alice").get("v1/Secret", "initial-kubeconfig-bob", HOME)
    assert not call_module("tenant_user", **alice, state="absent").failed
    assert not call_module("tenant_user", **alice, role="admin", hub_access=True).failed
    served = serve(hub)
    assert not served.failed, served.msg
    with pytest.raises(ApiError, match="forbidden"):
        client(hub, "alice").get("v1/Secret", "initial-kubeconfig-bob", HOME)
    assert kubectl(hub, "get", "secret", "initial-kubeconfig-bob", "-n", HOME).returncode != 0
    assert roles(hub) == {"bob": "developer"}
