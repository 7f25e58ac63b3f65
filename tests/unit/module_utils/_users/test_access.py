"""Who was administrator of a virtual cluster, and what a run still does about it when an earlier one could not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import clock, stamp
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Key, key_of
from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import hub_user, inside_user
from ansible_collections.tenantry.kube.plugins.module_utils._users import access as users_access
from ansible_collections.tenantry.kube.plugins.module_utils._users import findings, reconcile, tenant_namespace
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import client_ca_renewal, connection
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import client_ca
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import secret

TENANT, NAMESPACE, HOME = "guild", "guild--dev", "tenant-guild"
FORMER = "former.tenantry.dev/bob"
BINDING = "tenantry:bob:admin"
FINDING = {"kind": "ClusterRoleBinding", "namespace": None, "name": "eve", "why": "it is", "end": "so", "expires": None}
CA = ("v1/Secret", "client-ca", NAMESPACE)


class Cluster:
    """Objects by their names, and what goes wrong on the way."""

    server, ca_data, timeout, requester = "https://hub", "Q0E=", 30, ""

    def __init__(self, name: str, objects: Iterable[dict] = ()) -> None:
        self.name = name
        self.objects: dict[Key, dict] = {}
        for obj in objects:
            self.add(obj)

    def add(self, obj: dict) -> None:
        found = copy.deepcopy(obj)
        found["metadata"].setdefault("uid", f"uid-{len(self.objects)}")
        self.objects[key_of(found)] = found

    def limited(self, _seconds: float) -> Cluster:
        return self

    def close(self) -> None:
        pass

    def map(self, do: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return [do(item) for item in items]

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict | None:
        return copy.deepcopy(self.objects.get(Key(kind, namespace, name)))

    def list(self, kind: str, namespace: str | None = None, selector: str | None = None) -> list[dict]:
        wanted = {tuple(one.split("=", 1)) for one in (selector or "").split(",") if one}
        return [
            copy.deepcopy(obj)
            for key, obj in self.objects.items()
            if key.kind == kind
            and namespace in (None, key.namespace)
            and wanted <= {*(obj["metadata"].get("labels") or {}).items()}
        ]

    def pages(self, kind: str, **_options: Any) -> Iterator[list[dict]]:
        yield self.list(kind)

    def apply(self, obj: dict, **_options: Any) -> dict:
        self.add(obj)
        return obj

    def merge(self, kind: str, name: str, namespace: str | None, body: dict) -> None:
        _merge(self.objects[Key(kind, namespace, name)], body)

    def delete(self, kind: str, name: str, namespace: str | None = None, **_options: Any) -> bool:
        found = self.objects.get(Key(kind, namespace, name))
        if found and not found["metadata"].get("finalizers"):
            del self.objects[Key(kind, namespace, name)]
        return found is not None


def _merge(into: dict, body: dict) -> None:
    for key, value in body.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict):
            _merge(into.setdefault(key, {}), value)
        else:
            into[key] = value


class World:
    """A hub, the virtual cluster dev on it, and runs of tenant_user for bob there."""

    def __init__(self, hub: Cluster, inside: Cluster, patch: pytest.MonkeyPatch) -> None:
        self.hub, self.inside = hub, inside
        self.looks: list[Any] = []
        self.warnings: list[str] = []
        self.look_fails = False
        patch.setattr(connection, "inside", lambda *_of: inside)
        patch.setattr(connection, "endpoint", lambda *_of: "https://dev")
        patch.setattr(client_ca_renewal, "wait_until_ready", lambda *_of: None)
        patch.setattr(client_ca_renewal, "PUBLISHED_SECONDS", 0)
        patch.setattr(findings, "look", self._look)
        self.request: dict | None = None
        self.is_silent = False

    def _look(self, *_of: Any, **_options: Any) -> tuple[list[dict], int]:
        self.looks.append(_of)
        if self.look_fails:
            raise TenantryError("it is silent")
        return [FINDING], 0

    def run(self, role: str | None = None, *, check: bool = False, **options: Any) -> dict:
        """One run for bob, who leaves if he gets no role."""
        space = {"metadata": {"name": NAMESPACE, "labels": naming.labels("vcluster", tenant=TENANT, vcluster="dev")}}
        if self.request:
            space["metadata"]["annotations"] = {"tenantry.dev/spec": json.dumps({"request": self.request})}
        places = [
            users_access.VClusterAccess(VirtualCluster(self.hub, space)),
            tenant_namespace.TenantNamespaceAccess.of(self.hub, TENANT),
        ][self.is_silent :]
        asked = {"access": None, "person": None, "requested_kubeconfigs": [], "purge": False, **options}
        want = reconcile.DesiredUser(TENANT, "bob", role is not None, role or "", **asked)
        context = SimpleNamespace(hub=self.hub, check_mode=check, warn=self.warnings.append, missing=None)
        want.note = reconcile.users_former.read(self.hub, [TENANT]).get(want.key)
        want.unasked = self.is_silent
        reconcile._know_requesters(self.hub, [want], places[:-1])
        reconcile._assign(context, want, places, {"edge": "edge does not answer"} if self.is_silent else {})
        return reconcile._reconcile(context, [want], places)[0]

    @property
    def annotations(self) -> dict[str, str]:
        return self.hub.get(*CA)["metadata"].get("annotations") or {}

    @property
    def ca(self) -> str:
        return self.hub.get(*CA)["data"]["ca.crt"]

    def remember(self, **objects: str) -> None:
        self.hub.merge(*CA, {"metadata": {"annotations": objects}})


def _hub(role: str, access: dict[str, str] | None = None) -> Cluster:
    meta = {"namespace": NAMESPACE, "labels": naming.labels("vcluster", tenant=TENANT, vcluster="dev")}
    server = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {**meta, "name": "server"},
        "spec": {"replicas": 1, "template": {"metadata": {"annotations": {}}}},
    }
    ca = secret({**meta, "name": "client-ca"}, client_ca.make(NAMESPACE))
    record = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "tenant", "namespace": HOME}}
    return Cluster("hub", [ca, server, record, *hub_user(TENANT, "bob", role, access)])


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Bob is admin, and deleted their own binding in the virtual cluster."""
    inside = [one for one in inside_user(TENANT, "bob", "admin") if one["kind"] == "ServiceAccount"]
    return World(_hub("admin"), Cluster("dev", inside), monkeypatch)


def _finds(row: dict) -> list[str]:
    return [one["name"] for one in row["remains"]]


def test_admin_without_binding_inside_is_former_by_the_hubs_record(world: World) -> None:
    before = world.ca
    foreseen = world.run(revoke=True, check=True)
    assert (world.ca, world.annotations) == (before, {})
    removed = world.run(revoke=True)
    assert removed["actions"] == foreseen["actions"]
    assert ("update", "client-ca") in [(one["action"], one["name"]) for one in removed["actions"]]
    assert world.ca != before
    assert _finds(removed) == _finds(foreseen) == ["eve"]
    assert world.annotations == {}
    assert "bob was administrator there" in world.warnings[-1]
    after, looks = world.ca, len(world.looks)
    again = world.run(revoke=True)
    assert not again["changed"]
    assert (world.ca, again["remains"], len(world.looks)) == (after, [], looks)


@pytest.mark.parametrize(
    ("role", "access", "former"),
    [
        ("admin", None, True),
        ("admin", {"stage": "admin"}, False),
        ("viewer", {"dev": "admin"}, True),
        ("admin", {"dev": "viewer"}, False),
        ("developer", None, False),
        ("platform_operator", None, False),
    ],
)
def test_role_and_access_on_the_hub_tell_who_was_admin(
    world: World, role: str, access: dict[str, str] | None, former: bool
) -> None:
    world.hub = _hub(role, access)
    assert bool(world.run()["remains"]) is former
    assert (FORMER in world.annotations) is former


@pytest.mark.parametrize(("account", "former"), [("mine", True), ("another", False)])
def test_requester_was_admin(world: World, account: str, former: bool) -> None:
    world.hub = _hub("developer")
    mine = world.hub.get("v1/ServiceAccount", "bob", HOME)["metadata"]["uid"]
    world.request = {"user": "bob", "account": mine if account == "mine" else "uid-of-another"}
    assert bool(world.run()["remains"]) is former


def test_lower_role_on_the_hub_is_an_end_too_and_is_reported_once(world: World) -> None:
    assert _finds(world.run("viewer")) == ["eve"]
    assert world.annotations == {FORMER: "seen"}
    assert not world.run("viewer")["remains"]
    world.run("admin")
    assert not world.run("admin")["remains"]


def test_removal_without_revoke_is_reported_once_and_stays_recorded(world: World) -> None:
    assert _finds(world.run()) == ["eve"]
    again = world.run()
    assert not again["changed"]
    assert not again["remains"]
    assert world.annotations == {FORMER: "seen"}
    before = world.ca
    later = world.run(revoke=True)
    assert _finds(later) == ["eve"]
    assert world.ca != before
    assert world.annotations == {}


@pytest.mark.parametrize("revoke", [True, False])
def test_run_after_one_that_failed_still_looks(world: World, revoke: bool) -> None:
    account = Key("v1/ServiceAccount", "tenantry-system", "bob")
    world.inside.objects[account]["metadata"]["finalizers"] = ["eve/stay"]
    before, failed = world.ca, world.run(revoke=revoke)
    assert "finalizer eve/stay" in failed["error"]
    assert ("delete", "ServiceAccount", "tenantry-system") in [
        (one["action"], one["kind"], one.get("namespace")) for one in failed["actions"]
    ]
    assert not world.hub.get("v1/ServiceAccount", "bob", HOME)
    assert (world.ca, world.annotations, world.looks) == (before, {FORMER: ""}, [])
    del world.inside.objects[account]
    assert _finds(world.run(revoke=revoke)) == ["eve"]
    assert (world.ca != before) is revoke
    assert world.annotations == ({} if revoke else {FORMER: "seen"})


def test_run_after_one_whose_servers_did_not_come_looks_and_renews(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_of: Any) -> None:
        raise TenantryError("not ready within 600 s")

    with monkeypatch.context() as patch:
        patch.setattr(client_ca_renewal, "wait_until_ready", late)
        assert "600 s" in world.run(revoke=True)["error"]
    before = world.ca
    assert world.annotations == {FORMER: ""}
    assert _finds(world.run(revoke=True)) == ["eve"]
    assert world.ca != before
    assert world.annotations == {}


@pytest.mark.parametrize("revoke", [True, False])
def test_record_stays_as_long_as_no_look_succeeded(world: World, revoke: bool) -> None:
    world.look_fails = True
    world.run(revoke=revoke)
    assert world.annotations == {FORMER: ""}
    world.look_fails = False
    assert _finds(world.run(revoke=revoke)) == ["eve"]
    assert world.annotations == ({} if revoke else {FORMER: "seen"})


def test_admin_of_a_place_that_cannot_be_opened_is_recorded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_of: Any) -> None:
        raise ApiError("it does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "inside", silent)
        assert "does not answer" in world.run(revoke=True)["error"]
    assert world.annotations == {FORMER: ""}
    assert _finds(world.run(revoke=True)) == ["eve"]


@pytest.mark.parametrize("role", ["admin", "developer"])
@pytest.mark.parametrize("left", [None, "viewer"])
def test_admin_on_a_host_that_does_not_answer_is_noted_on_the_hub(world: World, role: str, left: str | None) -> None:
    world.hub = _hub(role)
    account = world.hub.get("v1/ServiceAccount", "bob", HOME)["metadata"]["uid"]
    world.request = {"user": "bob", "account": account}
    before = world.ca
    world.is_silent = True
    for _run in range(2):
        assert "edge does not answer" in world.run(left, revoke=left is None)["error"]
        assert _note(world), "the run after that has no other record"
        assert bool(world.hub.get("v1/ServiceAccount", "bob", HOME)) is (left is not None)
    world.is_silent = False
    assert _finds(world.run(left, revoke=left is None)) == ["eve"]
    assert (world.ca != before) is (left is None)
    assert not _note(world)
    assert not world.run(left, revoke=left is None)["remains"]


def test_no_note_is_left_of_who_was_no_admin(world: World) -> None:
    world.hub, world.is_silent = _hub("viewer"), True
    world.run()
    assert not _note(world)


def test_a_check_leaves_no_note(world: World) -> None:
    world.is_silent = True
    world.run(check=True)
    assert not _note(world)


def test_one_who_is_admin_again_is_not_former(world: World) -> None:
    world.is_silent = True
    world.run()
    assert _note(world)
    world.is_silent = False
    world.run("admin")
    assert not _note(world)
    assert not world.warnings


def test_place_without_its_ca_is_noted_and_one_that_is_done_is_not_done_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_of: Any) -> None:
        raise ApiError("it does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(client_ca_renewal, "find", silent)
        assert "does not answer" in world.run()["error"]
    assert _note(world)
    assert world.annotations == {}
    assert _finds(world.run()) == ["eve"]
    world.hub.merge("v1/ConfigMap", "tenant", HOME, {"metadata": {"annotations": _NOTE_DONE}})
    assert not world.run()["remains"]


_NOTE_DONE = {
    FORMER: json.dumps(
        {"before": {"name": "bob", "role": "admin", "access": None, "account": "u"}, "done": [NAMESPACE]}
    )
}


def _note(world: World) -> str | None:
    return (world.hub.get("v1/ConfigMap", "tenant", HOME)["metadata"].get("annotations") or {}).get(FORMER)


def test_record_of_others_counts_only_in_a_run_for_them(world: World) -> None:
    world.hub = _hub("viewer")
    world.remember(**{"former.tenantry.dev/ann": ""})
    assert not world.run(revoke=True)["remains"]
    assert world.annotations == {"former.tenantry.dev/ann": ""}


def test_check_mode_keeps_the_record(world: World) -> None:
    world.remember(**{FORMER: ""})
    assert _finds(world.run(revoke=True, check=True)) == ["eve"]
    assert world.annotations == {FORMER: ""}


@pytest.mark.parametrize(("minutes", "anew"), [(2, True), (0, False)])
def test_identity_of_a_user_unknown_to_the_hub_is_replaced(world: World, minutes: int, anew: bool) -> None:
    """But not that which a run at the same time has made."""
    for kind, name in (("v1/ServiceAccount", "bob"), ("rbac.authorization.k8s.io/v1/RoleBinding", BINDING)):
        del world.hub.objects[Key(kind, HOME, name)]
    there = world.inside.objects[Key("v1/ServiceAccount", "tenantry-system", "bob")]
    there["metadata"]["creationTimestamp"] = stamp(clock() - timedelta(minutes=minutes))
    changed = [(one["action"], one["kind"], one.get("namespace")) for one in world.run("viewer")["actions"]]
    assert (("update", "ServiceAccount", "tenantry-system") in changed) is anew
    assert ("create", "ServiceAccount", HOME) in changed
    assert not world.run("viewer")["changed"]


def test_user_who_fails_on_the_hub_has_the_rights_inside(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(obj: dict, **_options: Any) -> dict:
        raise ApiError(f"no {obj['kind']}")

    monkeypatch.setattr(world.hub, "apply", fails)
    row = world.run("viewer")
    assert row["error"].startswith("no ")
    assert row["changed"]
    assert ("create", "tenantry:bob:viewer") in [(one["action"], one["name"]) for one in row["actions"]]
