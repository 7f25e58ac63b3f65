"""Items of the module vcluster from the request to the result, on a host in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import SPEC_ANNOTATION
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Key
from ansible_collections.tenantry.kube.plugins.module_utils._module import _rows_of_none
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import tenant_objects
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import (
    apply,
    upgrade,
)

from .._tenant.fleet import add_vcluster
from .example import SHARED, make_item
from .fake_host import NODE, QUOTA, FakeHost
from .flow_world import World, item

NAMESPACE = Key("v1/Namespace", None, "payments--dev")
ETCD = {**SHARED, "servers": 3, "resources": {**SHARED["resources"], "cpu": "9", "memory": "9Gi"}}
SERVER = Key("apps/v1/StatefulSet", "payments--dev", "server")


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
            ("ResourceQuota", "vcluster"),
            ("Namespace", "payments--dev"),
        ]
    assert world.hub.objects[SERVER]["spec"]["replicas"] == 0
    assert world.one(state="paused", wait=False)["actions"] == []
    with pytest.raises(TenantryError, match="payments--dev is paused and cannot be restarted"):
        world.one(state="restarted")
    for check in (True, False):
        present = world.one(check=True)
        resumed = world.one(check=check, state="resumed")
        assert resumed["actions"] == present["actions"]
        paths = {one["name"]: one["paths"] for one in resumed["actions"] if one["kind"] == "StatefulSet"}
        assert paths == {name: ["spec.replicas"] for name in ("server", "agent")}
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
