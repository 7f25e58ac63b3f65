"""Items of the module vcluster from the request to the result, on a host in memory."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import SPEC_ANNOTATION
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Key
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._module import _rows_of_none
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import promises
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import RECORD, tenant_objects
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import (
    apply,
    connection,
    guest,
    host_facts,
    lifecycle,
    plan,
    reconcile,
    trusted_keys,
    upgrade,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.options import VClusterOptions

from .._tenant.fleet import add_vcluster
from .example import SHARED, make_item
from .fake_host import NODE, QUOTA, FakeHost

NAMESPACE = Key("v1/Namespace", None, "payments--dev")
ETCD = {**SHARED, "servers": 3, "resources": {**SHARED["resources"], "cpu": "9", "memory": "9Gi"}}
SERVER = Key("apps/v1/StatefulSet", "payments--dev", "server")


class Kubeconfig:
    """In the place of AdministratorsKubeconfig, whose tokens need a real API server."""

    exists = False

    def __init__(self, path: str, *_of: Any) -> None:
        self.path = path

    def is_current(self, _api: object, _url: str) -> bool:
        return False

    def renew(self, _api: object, url: str) -> str:
        Path(self.path).write_text(url)
        return "token"

    def action(self) -> dict:
        return {"action": "create", "kind": "Kubeconfig", "name": self.path}


class World:
    """A hub and what is in its virtual clusters, and runs of the module."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.hub, self.guest = FakeHost.hub(), FakeHost("guest")
        self.warnings: list[str] = []
        self.progress: list[str] = []
        patch.setattr(connection, "connect", lambda *_of, **_by: self.guest)
        patch.setattr(guest, "wait_for_agents", lambda *_of: [])
        patch.setattr(host_facts, "service_network", lambda _host: "10.43.0.0/16")
        patch.setattr(plan, "AdministratorsKubeconfig", Kubeconfig)
        patch.setattr(trusted_keys, "keep", lambda *_of: None)
        patch.setattr(upgrade, "wait_for_server", lambda *_of: None)
        patch.setattr(lifecycle, "wait_until_ready", lambda *_of: None)
        patch.setattr(apply, "read_ca_on_first_use", lambda *_of: "ca\n")
        for name in ("wait_for_etcd", "wait_for_syncer", "wait_until_api_ready", "wait_until_endpoint_accepts"):
            patch.setattr(apply, name, lambda *_of: True)

    def run(self, *items: dict, check: bool = False, wait: bool = True) -> list[dict]:
        context = SimpleNamespace(
            hub=self.hub,
            cluster=None,
            check_mode=check,
            warn=self.warnings.append,
            secret=lambda *_texts: None,
            progress=lambda _name, phase: self.progress.append(phase),
            deadline=Deadline,
        )
        return reconcile.run(context, [*items], VClusterOptions(wait, wait_timeout=5))

    def record(self) -> dict:
        found = self.hub.get("v1/ConfigMap", RECORD, "tenant-payments")
        assert found
        return found

    def one(self, check: bool = False, wait: bool = True, **changes: Any) -> dict:
        (row,) = self.run(item(**changes), check=check, wait=wait)
        return row


def item(**changes: Any) -> dict[str, Any]:
    return {**make_item(expose={"port": 30443}), "kubeconfig_path": None, "k3s_config": None, **changes}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_new_one_is_applied_in_two_phases(world: World) -> None:
    planned = world.one(check=True)
    assert planned["changed"]
    assert not world.hub.writes
    row = world.one()
    assert "error" not in row, row
    assert (row["host"], row["ready"], row["endpoint"]) == ("hub", True, "https://192.0.2.10:30443")
    assert world.progress == ["objects applied", "server ready", "ready, nodes 0/1"]
    applied = [name for verb, kind, name in world.hub.writes if (verb, kind) == ("apply", "StatefulSet")]
    service = world.hub.writes.index(("apply", "Service", "api"))
    assert service < world.hub.writes.index(("apply", "StatefulSet", "server"))
    assert sorted(applied) == ["agent", "server"]
    on_host = [one for one in row["actions"] if one.get("namespace") == "payments--dev"]
    assert on_host == [one for one in planned["actions"] if one.get("namespace") == "payments--dev"]


@pytest.mark.parametrize("mode", [{}, SHARED, ETCD])
def test_second_run_changes_nothing(world: World, mode: dict[str, Any]) -> None:
    assert "error" not in world.one(**mode)
    world.hub.writes.clear()
    assert world.one(check=True, **mode)["actions"] == []
    row = world.one(**mode)
    assert (row["changed"], row["actions"], row["ready"]) == (False, [], True)
    assert world.hub.writes == []


def test_record_without_format_is_no_change(world: World) -> None:
    world.one()
    annotations = world.hub.objects[NAMESPACE]["metadata"]["annotations"]
    record = json.loads(annotations[SPEC_ANNOTATION])
    del record["format"]
    annotations[SPEC_ANNOTATION] = old = json.dumps(record, sort_keys=True)
    assert world.one()["actions"] == []
    assert world.hub.objects[NAMESPACE]["metadata"]["annotations"][SPEC_ANNOTATION] == old
    row = world.one(deletion_protection=True)
    assert [(one["kind"], one["name"]) for one in row["actions"]] == [("Namespace", "payments--dev")]
    assert json.loads(world.hub.objects[NAMESPACE]["metadata"]["annotations"][SPEC_ANNOTATION])["format"] == 1


def test_pause_resume_restart_and_delete(world: World, tmp_path: Path) -> None:
    world.one()
    for check in (True, False):
        paused = world.one(check=check, state="paused", wait=False)
        assert [(one["kind"], one["name"]) for one in paused["actions"]] == [
            ("StatefulSet", "server"),
            ("StatefulSet", "agent"),
        ]
    assert world.hub.objects[SERVER]["spec"]["replicas"] == 0
    assert world.one(state="paused", wait=False)["actions"] == []
    with pytest.raises(TenantryError, match="payments--dev is paused and cannot be restarted"):
        world.one(state="restarted")
    for check in (True, False):
        resumed = world.one(check=check, state="resumed")
        assert {one["name"]: one["paths"] for one in resumed["actions"]} == {
            name: ["spec.replicas"] for name in ("server", "agent")
        }
    assert world.hub.objects[SERVER]["spec"]["replicas"] == 1
    assert world.one(state="resumed")["actions"] == world.one()["actions"] == []
    assert world.one(state="paused", wait=False)["changed"]
    assert world.one()["changed"]
    assert world.hub.objects[SERVER]["spec"]["replicas"] == 1
    with pytest.raises(TenantryError, match="payments--other does not exist and cannot be resumed"):
        world.one(name="other", state="resumed")
    assert [one["name"] for one in world.one(state="restarted")["actions"]] == ["server", "agent"]
    file = tmp_path / "kubeconfig"
    file.touch()
    gone = world.one(state="absent", kubeconfig_path=str(file), wait=False)
    assert [one["kind"] for one in gone["actions"]] == ["Namespace", "Kubeconfig"]
    assert not file.exists()
    assert NAMESPACE not in world.hub.objects
    assert "error" not in world.one(state="absent")


def test_request_that_cannot_be_is_refused_before_any_write(world: World) -> None:
    world.one(deletion_protection=True)
    world.hub.writes.clear()
    with pytest.raises(TenantryError, match="deletion_protection: is on"):
        world.run(item(name="other"), item(state="absent"))
    assert world.hub.writes == []


@pytest.mark.parametrize(
    "bad", [{"service_cidr": "10.43.0.0/16"}, {"mode": "shared", "agents": 0}, {"name": "a--b"}], ids=str
)
def test_refused_items_get_a_row_each(world: World, bad: dict[str, Any]) -> None:
    """Whichever step refuses one: of the request, of its place, of its plan."""
    world.one()
    items = [item(**bad), item(name="other")]
    with pytest.raises(TenantryError) as refused:
        world.run(*items)
    first, second = _rows_of_none(items, ("tenant", "name"), refused.value)
    assert str(next(iter(bad))) in first["error"]
    assert "error" not in second
    assert second["not_done"]


def test_quota_stops_what_grows_only(world: World) -> None:
    world.one()
    large = {"cpu": "65", "memory": "4Gi"}
    grown, other = world.run(item(resources=large), item(name="other", state="absent"))
    assert "quota of tenant payments: cpu 65 asked for" in grown["error"]
    assert (grown["refused"], grown["changed"]) == (True, False)
    assert "error" not in other


def test_failure_keeps_what_was_planned(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_of: Any) -> None:
        raise ApiError("the host is gone")

    monkeypatch.setattr(upgrade, "wait_for_server", fails)
    row = world.one()
    assert row["error"] == "the host is gone"
    assert row["changed"]
    assert "server" in [one["name"] for one in row["actions"]]
    assert "endpoint" not in row
    assert "diff" in row


def test_nodes_are_drained_before_agents_change(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.one(agents=2)
    drained: list[list[str]] = []

    def drain(_host: object, _namespace: str, nodes: Any, *_more: Any) -> None:
        assert world.hub.objects[Key("apps/v1/StatefulSet", "payments--dev", "agent")]["spec"]["replicas"] == 2
        drained.append([*nodes])

    monkeypatch.setattr(apply.drain, "drain", drain)
    row = world.one(agents=1)
    assert drained == [["agent-1"]]
    assert {"action": "drain", "kind": "Node", "name": "agent-1"} in row["actions"]
    assert world.hub.objects[Key("apps/v1/StatefulSet", "payments--dev", "agent")]["spec"]["replicas"] == 1


def test_kubeconfig_is_written_when_the_api_answers(world: World, tmp_path: Path) -> None:
    path = str(tmp_path / "kubeconfig")
    created = {"action": "create", "kind": "Kubeconfig", "name": path}
    assert created in world.one(check=True, kubeconfig_path=path)["actions"]
    assert created not in world.one(kubeconfig_path=path, wait=False)["actions"]
    row = world.one(kubeconfig_path=path)
    assert row["actions"][-1] == created
    assert (row["kubeconfig"], Path(path).read_text()) == (path, row["endpoint"])


def test_upgrade_keeps_the_data_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.one()
    monkeypatch.setattr(upgrade.Upgrade, "keep", lambda *_of: world.hub.writes.append(("keep", "", "")))
    world.hub.writes.clear()
    row = world.one(version="v1.35.0+k3s1")
    assert world.hub.writes[0] == ("keep", "", "")
    assert row["actions"][0]["name"] == "before-upgrade (v1.34.4+k3s1)"
    assert row["version"] == "v1.35.0+k3s1"


def test_replaced_ca_without_volume_is_pinned_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    without = {"persistence": {"type": "none", "size": None, "storage_class": None}}
    world.one(**without)
    monkeypatch.setattr(apply, "read_ca_on_first_use", lambda *_of: "another\n")
    monkeypatch.setattr(apply, "replace_agents", lambda *_of: ["agent-0"])
    row = world.one(**without)
    assert [(one["action"], one["name"]) for one in row["actions"]] == [
        ("update", "platform-credential"),
        ("delete", "agent-0"),
    ]


def test_unreadable_record_stops_its_own_only(world: World) -> None:
    world.one()
    world.hub.objects[NAMESPACE]["metadata"]["annotations"][SPEC_ANNOTATION] = '{"format": 9}'
    stopped, other = world.run(item(), item(name="other", resources={"cpu": "3"}, state="absent"))
    assert "has format 9" in stopped["error"]
    assert stopped["refused"] is False
    assert "error" not in other


@pytest.mark.parametrize(
    ("odd", "cpu", "problem"),
    [
        ({}, "abc", "namespace payments--odd: the field resources.cpu is not a quantity"),
        ({}, "9e60", "namespace payments--odd: the field resources.cpu is not a quantity"),
        ({naming.LABEL_TENANT: None}, "1", None),
        ({naming.LABEL_VCLUSTER: None}, "1", None),
        ({naming.LABEL_VCLUSTER: "dev"}, "64", None),
    ],
)
def test_odd_namespace_stops_its_own_tenant_at_most(
    world: World, odd: dict[str, Any], cpu: str, problem: str | None
) -> None:
    """The administrator of a member can create it there."""
    for obj in tenant_objects("research", QUOTA, "research"):
        world.hub.apply(obj)
    add_vcluster(world.hub, "payments", "odd", {"resources": {"cpu": cpu}, "format": 1}, None)
    world.hub.merge("v1/Namespace", "payments--odd", None, {"metadata": {"labels": odd}})
    lab = item(tenant="research", name="lab", expose=make_item(expose={"port": 30444})["expose"])
    mine, other = world.run(item(), lab)
    assert "error" not in other, other
    assert (problem or "") in mine.get("error", "")
    assert ("error" in mine) == (problem is not None)


@pytest.mark.parametrize("taken", [False, True])
def test_promise_of_one_that_waited_long_is_renewed(world: World, monkeypatch: pytest.MonkeyPatch, taken: bool) -> None:
    begun = promises.clock()

    def wait(*_of: Any) -> None:
        monkeypatch.setattr(promises, "clock", lambda: begun + promises.LASTS / 2)
        if taken:
            promises.update(world.hub, world.record(), lambda before: {**before, "payments--late": small})

    small = promises.Promise.of("hub", {"cpu": "1"})
    monkeypatch.setattr(upgrade, "wait_for_server", wait)
    late = item(name="late", expose=make_item(expose={"port": 30444})["expose"])
    first, second = world.run(item(), late)
    assert "error" not in first
    promise = promises.of(world.record())["payments--late"]
    if taken:
        assert "another run has taken what was promised to payments--late, because" in second["error"]
        assert (second["changed"], promise) == (False, small)
    else:
        assert "error" not in second
        assert (promise.pending, promise.resources["cpu"]) == (False, "2")


class Exchange:
    """Virtual clusters a and b share the quota of 64: a has 40 and gives, b has 20 and takes."""

    def __init__(self, world: World) -> None:
        self.world = world
        (*rows,) = world.run(self.item("b", 20), self.item("a", 40))
        assert not [row["error"] for row in rows if "error" in row]
        world.hub.writes.clear()

    def item(self, name: str, cpu: int, **changes: Any) -> dict[str, Any]:
        expose = make_item(expose={"port": 30443 + ord(name) - ord("a")})["expose"]
        return item(name=name, expose=expose, resources={"cpu": str(cpu), "memory": "4Gi"}, **changes)

    def promised(self) -> dict[str, str]:
        found = promises.of(self.world.record())
        assert not [one for one in found.values() if one.pending]
        return {name.removeprefix("payments--"): one.resources["cpu"] for name, one in found.items()}

    def limits(self) -> dict[str, str]:
        quotas = {one["metadata"]["namespace"]: one for one in self.world.hub.list("v1/ResourceQuota")}
        names = ("a", "b")
        return {
            name: quotas[f"payments--{name}"]["spec"]["hard"]["limits.cpu"]
            for name in names
            if f"payments--{name}" in quotas
        }


@pytest.fixture
def exchange(world: World) -> Exchange:
    return Exchange(world)


@pytest.mark.parametrize("state", ["present", "absent"])
def test_what_frees_quota_goes_before_what_takes_it(exchange: Exchange, state: str) -> None:
    world = exchange.world
    seen: list[dict[str, str]] = []
    apply = world.hub.apply
    world.hub.apply = lambda obj, **options: (seen.append(exchange.limits()), apply(obj, **options))[1]  # type: ignore[method-assign]
    b, a = world.run(exchange.item("b", 50), exchange.item("a", 10, state=state))
    assert (b["name"], a["name"], b.get("error"), a.get("error")) == ("b", "a", None, None)
    assert max(sum(map(int, one.values())) for one in seen) <= 64
    left = {"b": "50"} if state == "absent" else {"a": "10", "b": "50"}
    assert (exchange.limits(), exchange.promised()) == (left, left)
    assert not world.warnings


@pytest.mark.parametrize("state", ["present", "absent"])
def test_what_is_not_freed_is_not_taken(exchange: Exchange, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    world, apply = exchange.world, exchange.world.hub.apply

    def fails(obj: dict, **options: Any) -> dict:
        if obj["metadata"].get("namespace") == "payments--a":
            raise ApiError("the host is dying")
        return apply(obj, **options)

    def stays(*_of: Any, **_options: Any) -> None:
        raise ApiError("the host is dying")

    monkeypatch.setattr(world.hub, "apply", fails)
    monkeypatch.setattr(world.hub, "delete", stays)
    new = exchange.item("c", 2)
    b, a, c = world.run(exchange.item("b", 50), exchange.item("a", 10, state=state), new)
    assert "the host is dying" in a["error"]
    for row in (b, c):
        assert "quota of tenant payments: cpu 52 asked for, but 24 left (40 of 64 used" in row["error"]
        assert (row["changed"], row["refused"]) == (False, True)
    assert exchange.limits() == exchange.promised() == {"a": "40", "b": "20"}
    monkeypatch.undo()


def test_deletion_without_wait_frees_nothing_yet(exchange: Exchange) -> None:
    b, a = exchange.world.run(exchange.item("b", 50), exchange.item("a", 10, state="absent"), wait=False)
    assert "cpu 50 asked for, but 24 left" in b["error"]
    assert "error" not in a


def test_what_fits_anyway_does_not_wait(exchange: Exchange) -> None:
    names: list[str] = []
    run_each = reconcile.run_each

    def each(hub: Any, items: list, *how: Any) -> list[dict]:
        names.append("".join(one.name for one in items))
        return run_each(hub, items, *how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconcile, "run_each", each)
        exchange.world.run(exchange.item("b", 24), exchange.item("a", 10))
        exchange.world.run(exchange.item("b", 50), exchange.item("a", 5), check=True)
        exchange.world.run(exchange.item("b", 60), exchange.item("a", 4))
    assert [one for one in names if one] == ["ba", "ba", "a", "b"]


def member_of(world: World, patch: pytest.MonkeyPatch) -> FakeHost:
    member = FakeHost("edge", NODE)
    annotations = {registry.IDENTITY_ANNOTATION: member.identity()}
    secret = {"metadata": {"annotations": annotations}, "data": {"kubeconfig": "e30="}}
    members = [registry.Member("edge", secret)]
    patch.setattr(registry, "hosts", lambda hub, _connect: registry.Fleet(hub, members, lambda *_of: member))
    return member


def test_lost_rights_on_a_member_are_given_back_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    member = member_of(world, monkeypatch)
    assert world.one(host="edge")["host"] == "edge"
    member.delete("rbac.authorization.k8s.io/v1/RoleBinding", "tenantry-platform", "payments--dev")
    member.delete("v1/LimitRange", "defaults", "payments--dev")
    member.writes.clear()
    foreseen = world.one(check=True)
    assert [one["name"] for one in foreseen["actions"]] == ["tenantry-platform"]
    assert "check mode cannot predict further changes" in world.warnings[-1]
    assert member.writes == []
    row = world.one()
    assert [one["name"] for one in row["actions"]] == ["tenantry-platform", "defaults"]
    assert member.writes[0] == ("apply", "RoleBinding", "tenantry-platform")
    assert len(row["diff"]) == 3  # rights, objects on the host, and in the virtual cluster


def test_silent_host_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs on other hosts goes on."""
    member = member_of(world, monkeypatch)

    def fails(*_of: Any) -> None:
        raise ApiError("no answer")

    monkeypatch.setattr(member, "get", fails)
    silent, other = world.run(item(host="edge"), item(name="other", state="absent", host="hub"))
    assert (silent["host"], silent["error"], silent["refused"]) == ("edge", "no answer", False)
    assert "error" not in other
