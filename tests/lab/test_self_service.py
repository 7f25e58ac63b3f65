"""Virtual clusters that tenants ask for: what is made, refused and deleted.

On an API server without nodes, so nothing gets ready; that it does is in test_self_service_site.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster

from .harness import ModuleResult, call_module, kubectl, ran, run_module, until, writes
from .people import add_vcluster, can, is_refused, lose_promises, silent_member, tenant_with, until_counted

HOME = "tenant-payments"
KIND = "virtualclusterrequests"
VERSION = "v1.37.2+k3s1"
RESOURCES = {"cpu": 2, "memory": "2Gi", "pods": 10}
QUOTA = {"cpu": "4", "memory": "8Gi", "storage": "40Gi", "pods": 100, "vclusters": 3}

Ask = Callable[..., None]


@pytest.fixture(scope="module")
def hub(platform: Path) -> Iterator[Path]:
    """A hub with the tenant payments, whose developer is bob."""
    tenant = {"kubeconfig": platform, "tenant": "payments"}
    bob = {**tenant, "name": "bob", "role": "developer", "hub_access": True}
    for made in (call_module("tenant_quota", **tenant, quota=QUOTA), call_module("tenant_user", **bob)):
        assert not made.failed, made.msg
    until_counted(platform, HOME)
    yield platform
    for removed in (
        call_module("tenant_user", **{**tenant, "name": "bob", "state": "absent"}),
        call_module("tenant_quota", **tenant, state="absent"),
    ):
        assert not removed.failed, removed.msg


@pytest.fixture
def bob(hub: Path) -> Cluster:
    admin = Cluster.from_kubeconfig(kubeconfig.load(str(hub)), name="hub")
    config = kubeconfig.load(str(hub))
    token = admin.token_request(HOME, "bob", seconds=3600, bound_secret=None)[0]
    config["users"][0]["user"] = {"token": token}
    return Cluster.from_kubeconfig(config, name="hub")


@pytest.fixture
def ask(hub: Path, bob: Cluster) -> Iterator[Ask]:
    """Makes a request as bob; all of them, and what came of them, are gone after the test."""

    def request(name: str, **spec: Any) -> None:
        bob.create(request_for(name, **spec))

    yield request
    ran(hub, "delete", KIND, "--all", "-n", HOME)
    gone = serve(hub, wait=True)
    assert not gone.failed, gone.msg


def request_for(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "VirtualClusterRequest",
        "metadata": {"name": name, "namespace": HOME},
        "spec": {key: value for key, value in {"requestedBy": "bob", "resources": RESOURCES, **spec}.items() if value},
    }


def serve(hub: Path, **options: Any) -> ModuleResult:
    given = {"defaults": {"version": VERSION}, "wait": False, **options}
    return call_module("vcluster_self_service", kubeconfig=hub, **given)


def told(hub: Path, name: str) -> dict[str, Any]:
    return json.loads(ran(hub, "get", KIND, name, "-n", HOME, "-o", "json")).get("status", {})


def phases(result: ModuleResult) -> dict[str, str]:
    return {row["name"]: row["phase"] for row in result.data["results"]}


def exists(hub: Path, name: str) -> bool:
    space = kubectl(hub, "get", "namespace", f"payments--{name}", "-o", "jsonpath={.metadata.deletionTimestamp}")
    return space.returncode == 0 and not space.stdout


def uid_of(hub: Path, name: str) -> str:
    return kubectl(hub, "get", "namespace", f"payments--{name}", "-o", "jsonpath={.metadata.uid}").stdout


def test_what_is_asked_for_is_made_and_what_is_not_any_more_goes(hub: Path, bob: Cluster, ask: Ask) -> None:
    ask("mine", podSecurity="restricted", ttl="14d")
    before = len(writes(hub))
    foreseen = serve(hub, check=True, diff=True)
    assert foreseen.changed
    assert not exists(hub, "mine")
    assert len(writes(hub)) == before
    made = serve(hub)
    assert not made.failed, made.msg
    assert phases(made) == {"mine": "Pending"}
    space = json.loads(ran(hub, "get", "namespace", "payments--mine", "-o", "json"))["metadata"]
    assert space["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    record = json.loads(space["annotations"]["tenantry.dev/spec"])
    assert (record["mode"], record["tier"], record["ttl"]) == ("shared", "dev", "14d")
    assert record["request"]["user"] == "bob"
    again = serve(hub)
    assert not again.changed, again.data
    bob.delete("tenantry.dev/v1alpha1/VirtualClusterRequest", "mine", HOME)
    gone = serve(hub, wait=True)
    assert phases(gone) == {"mine": "Deleted"}
    assert gone.changed
    assert not exists(hub, "mine")


def test_a_request_with_former_fields_gets_those_of_today(hub: Path, ask: Ask) -> None:
    """`slice` and `expires`, as before the first release."""
    ask("old", resources=None, slice=RESOURCES, expires="14d")
    before = len(writes(hub))
    foreseen = serve(hub, check=True)
    assert phases(foreseen) == {"old": "Pending"}
    assert len(writes(hub)) == before
    made = serve(hub)
    assert not made.failed, made.msg
    spec = json.loads(ran(hub, "get", KIND, "old", "-n", HOME, "-o", "json"))["spec"]
    assert spec == {"requestedBy": "bob", "resources": RESOURCES, "ttl": "14d"}
    assert not serve(hub).changed


def test_one_that_is_refused_says_why_and_stops_no_other(hub: Path, ask: Ask) -> None:
    """The oldest comes first; what the quota has left is for those that follow."""
    ask("first")
    ask("greedy", resources={**RESOURCES, "cpu": 3})
    ask("tiny", resources={**RESOURCES, "memory": "1Mi"})
    ask("newest", version="v1.38.0+k3s1")
    ask("short", ttl="1m")
    ask("hub")
    ask("last")
    before = len(writes(hub))
    done = serve(hub)
    assert not done.failed, done.msg
    refused = dict.fromkeys(("greedy", "tiny", "newest", "short", "hub"), "Denied")
    assert phases(done) == {"first": "Pending", "last": "Pending", **refused}
    assert "cpu 3 asked for, but 2 left" in told(hub, "greedy")["message"]
    assert "resources.memory" in told(hub, "tiny")["message"]
    assert "not offered" in told(hub, "newest")["message"]
    assert "too short" in told(hub, "short")["message"]
    assert "reserved" in told(hub, "hub")["message"]
    assert [exists(hub, name) for name in ("first", "last", *refused)] == [True, True, *[False] * 5]
    assert not [write for write in writes(hub)[before:] if "payments--greedy" in write]
    condition = told(hub, "greedy")["conditions"][0]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Ready", "False", "Denied")
    serve(hub)  # what the quota has left was more when the greedy one was told
    assert not serve(hub).changed


def test_what_cannot_be_judged_for_now_failed_and_is_made_later(hub: Path, ask: Ask) -> None:
    """The request is as it should be: only what a member holds of the quota is not known while it is silent."""
    ask("mine")
    lose_promises(hub, "payments")
    with silent_member(hub):
        done = serve(hub)
        assert phases(done) == {"mine": "Failed"}
        assert done.failed, "the administrators see it"
        assert "edge does not answer" in told(hub, "mine")["message"]
        assert "127.0.0.1" not in told(hub, "mine")["message"]
        assert not exists(hub, "mine")
    made = serve(hub)
    assert (made.failed, phases(made)) == (False, {"mine": "Pending"})
    with silent_member(hub):
        ask("greedy", resources={**RESOURCES, "memory": "1Mi"})
        assert phases(serve(hub))["greedy"] == "Denied", "what is wrong with it is known"


def test_what_the_administrators_allow(hub: Path, ask: Ask) -> None:
    ask("newer", version="v1.38.0+k3s1")
    ask("weaker", podSecurity="baseline")
    ask("longer", ttl="31d")
    limits = {"version": VERSION, "pod_security": "restricted", "ttl": "30d"}
    done = serve(hub, defaults=limits, versions=["v1.38.0+k3s1"])
    assert phases(done) == {"newer": "Pending", "weaker": "Denied", "longer": "Denied"}
    assert "weaker than restricted" in told(hub, "weaker")["message"]
    assert "longer than the 30d" in told(hub, "longer")["message"]


def test_what_the_administrators_made_is_left_alone(hub: Path, ask: Ask) -> None:
    add_vcluster(hub, "payments", "prod", resources={"cpu": "1", "memory": "1Gi", "storage": "0", "pods": "1"})
    try:
        ask("prod")
        before = ran(hub, "get", "namespace", "payments--prod", "-o", "jsonpath={.metadata.resourceVersion}")
        done = serve(hub)
        assert phases(done) == {"prod": "Denied"}
        assert "of the inventory" in told(hub, "prod")["message"]
        ran(hub, "delete", KIND, "prod", "-n", HOME)
        assert serve(hub).data["results"] == []
        assert ran(hub, "get", "namespace", "payments--prod", "-o", "jsonpath={.metadata.resourceVersion}") == before
    finally:
        kubectl(hub, "delete", "namespace", "payments--prod")


def test_another_request_of_the_same_name_gets_a_new_one(hub: Path, ask: Ask) -> None:
    ask("mine")
    serve(hub)
    first = uid_of(hub, "mine")
    ran(hub, "delete", KIND, "mine", "-n", HOME)
    ask("mine")
    done = serve(hub)
    assert phases(done) == {"mine": "Pending"}
    assert "still being deleted" in told(hub, "mine")["message"]
    until(lambda: not kubectl(hub, "get", "namespace", "payments--mine", "--ignore-not-found").stdout)
    assert phases(serve(hub)) == {"mine": "Pending"}
    assert uid_of(hub, "mine") not in ("", first)


def test_requests_that_are_lost_are_not_deleted(hub: Path, ask: Ask) -> None:
    """All at once, with their kind: nobody wished for that."""
    ask("mine")
    serve(hub)
    ran(hub, "delete", "crd", f"{KIND}.tenantry.dev")
    lost = serve(hub)
    assert lost.failed
    assert "Run tenantry.kube.platform" in lost.msg
    call_module("platform", kubeconfig=hub)
    ran(hub, "wait", "--for=condition=Established", "crd", f"{KIND}.tenantry.dev", "--timeout=30s")
    assert not serve(hub).changed
    assert exists(hub, "mine")
    removed = call_module("vcluster", kubeconfig=hub, tenant="payments", name="mine", state="absent")
    assert not removed.failed, removed.msg


def test_requests_are_watched(hub: Path, bob: Cluster, ask: Ask) -> None:
    """One run does what is asked for while it goes on, and ends when its time is over."""
    with ThreadPoolExecutor(1) as pool:
        # Of another process: two modules within one share what Ansible gives a module.
        options = {"defaults": {"version": VERSION}, "wait": False, "watch": 25}
        running = pool.submit(run_module, "vcluster_self_service", kubeconfig=hub, **options)
        ask("early")
        until(lambda: exists(hub, "early"))
        assert not running.done()
        bob.delete("tenantry.dev/v1alpha1/VirtualClusterRequest", "early", HOME)
        until(lambda: not exists(hub, "early"))
        assert not running.done()
        done = running.result()
    assert not done.failed, done.msg
    assert phases(done) == {"early": "Deleted"}


# Who gets in ----------------------------------------------------------------------------------------------------------


def test_who_asked_is_the_administrator_there_and_nobody_else(
    platform: Path, dev: Path, stage: Path, tmp_path: Path
) -> None:
    """The table's row on the vcluster's cluster-admin: a developer is it in what he asked for, until he is none."""
    everything = ("create", "clusterrolebindings")
    with tenant_with(platform, "guild", {"dev": dev, "mine": stage}):
        who = {"kubeconfig": platform, "tenant": "guild"}
        users = [
            {"tenant": "guild", "name": name, "role": role, "kubeconfig_path": str(tmp_path / f"{name}.yaml")}
            for name, role in (("bob", "developer"), ("dora", "developer"), ("alice", "admin"), ("carol", "viewer"))
        ]
        try:
            assert not call_module("tenant_user", kubeconfig=platform, users=users).failed
            uid = ran(platform, "get", "serviceaccount", "bob", "-n", "tenant-guild", "-o", "jsonpath={.metadata.uid}")
            record = json.dumps({"request": {"uid": "1", "user": "bob", "account": uid}})
            ran(platform, "annotate", "namespace", "guild--mine", f"tenantry.dev/spec={record}", "--overwrite")
            assert not call_module("tenant_user", kubeconfig=platform, users=users).failed

            def masters(vcluster: str) -> set[str]:
                return {
                    one["name"]
                    for one in users
                    if can(tmp_path / f"{one['name']}.yaml", f"guild--{vcluster}", *everything)
                }

            assert masters("mine") == {"bob", "alice"}
            assert masters("dev") == {"alice"}
            users[0]["role"] = "viewer"
            assert not call_module("tenant_user", kubeconfig=platform, users=users).failed
            assert masters("mine") == {"alice"}
            users[0]["role"] = "developer"
            assert not call_module("tenant_user", **who, name="bob", state="absent").failed
            assert not call_module("tenant_user", kubeconfig=platform, users=users).failed
            assert masters("mine") == {"alice"}, "a later user of the same name inherits nothing"
        finally:
            gone = [{"tenant": "guild", "name": one["name"], "state": "absent"} for one in users]
            call_module("tenant_user", kubeconfig=platform, users=gone)


def test_a_kubeconfig_for_the_hub(hub: Path, tmp_path: Path) -> None:
    """Its own context, for the tenant namespace only; without hub_access it is gone, and refused."""
    path = tmp_path / "bob.yaml"
    bob = {"kubeconfig": hub, "tenant": "payments", "name": "bob", "role": "developer"}
    given = call_module("tenant_user", **bob, hub_access=True, kubeconfig_path=path)
    assert not given.failed, given.msg
    assert given.data["results"][0]["kubeconfigs"][0]["contexts"] == ["payments--hub"]
    assert not call_module("tenant_user", **bob, hub_access=True, kubeconfig_path=path).changed
    known = call_module("tenant_user_info", kubeconfig=hub, tenant="payments", name="bob").data["users"][0]
    assert {one["vcluster"] for one in known["credentials"]} == {"hub"}
    assert can(path, "payments--hub", "create", KIND, "-n", HOME)
    assert can(path, "payments--hub", "get", "secrets/kubeconfig-bob", "-n", HOME)
    for question in (("list", "secrets", "-n", HOME), ("get", "secrets/kubeconfig-alice", "-n", HOME)):
        assert not can(path, "payments--hub", *question)
    assert not can(path, "payments--hub", "create", KIND, "-n", "tenant-research")
    kept = path.read_text()
    taken = call_module("tenant_user", **bob, kubeconfig_path=path)
    assert not taken.failed, taken.msg
    assert not path.exists()
    path.write_text(kept)
    assert is_refused(path, "payments--hub")
    call_module("tenant_user", **bob, hub_access=True)
