"""One request that is bad, in whatever way, is a row of its own: those of other tenants are carried out."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._platform.crds import KIND, USER_KIND, objects
from ansible_collections.tenantry.kube.plugins.module_utils._self_service.reconcile import (
    RequestReconciler,
    SelfServiceOptions,
)
from ansible_collections.tenantry.kube.plugins.module_utils._self_service.user_requests import UserRequest
from ansible_collections.tenantry.kube.plugins.module_utils._self_service.users import UserReconciler
from ansible_collections.tenantry.kube.plugins.module_utils._self_service.vcluster_requests import Request
from ansible_collections.tenantry.kube.plugins.module_utils._users import reconcile
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import reconcile as vcluster_reconcile
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.options import VClusterOptions

from .test_vcluster_requests import RESOURCES, USUAL

EARLY, ASKED = "2026-05-31T10:00:00Z", "2026-05-31T12:00:00Z"
TENANTS = ("payments", "shop")
LONG = "a" * 60


class Hub:
    """Keeps what requests are told; refuses it where the name says so."""

    def __init__(self) -> None:
        self.told: dict[str, dict] = {}

    def apply_status(self, obj: dict) -> None:
        if obj["metadata"]["name"] == "untold":
            raise ApiError("status: 422 invalid", 422)
        self.told[obj["metadata"]["name"]] = obj["status"]

    def list(self, *_given: Any, **_more: Any) -> list[dict]:
        return []


def asked(name: str, tenant: str = "payments", kind: str = KIND, **spec: Any) -> dict:
    metadata = {"name": name, "namespace": f"tenant-{tenant}", "uid": name, "generation": 1}
    spec = {"requestedBy": "alice", **spec}
    metadata["creationTimestamp"] = ASKED
    return {"apiVersion": "tenantry.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def account(name: str, tenant: str, **annotations: str) -> dict:
    labels = {naming.LABEL_TENANT: tenant, naming.LABEL_USER: name}
    annotations = {f"tenantry.dev/{key}": value for key, value in annotations.items()}
    metadata = {"name": name, "uid": f"uid-{name}", "labels": labels, "annotations": annotations}
    return {"metadata": {**metadata, "creationTimestamp": EARLY}}


def made(items: list[dict]) -> list[dict]:
    if any(item["name"] == "crashes" for item in items):
        raise KeyError("something")
    done = {"actions": [{"action": "create"}], "changed": True, "ready": True, "error": "", "kubeconfigs": []}
    return [{"name": item["name"], "tenant": item["tenant"], **done} for item in items]


def vclusters(items: list[dict]) -> list[dict]:
    return [{key: value for key, value in row.items() if key != "error"} for row in made(items)]


def reconciled(
    monkeypatch: pytest.MonkeyPatch,
    *requests: tuple[str, dict],
    users: tuple[tuple[str, dict], ...] = (),
    accounts: tuple[dict, ...] = (),
    found: dict[str, VirtualCluster] | None = None,
) -> RequestReconciler:
    """After all was carried out."""
    monkeypatch.setattr(vcluster_reconcile, "run", lambda _context, items, _options: vclusters(items))
    monkeypatch.setattr(reconcile, "run", lambda _context, items: made(items))
    options = SelfServiceOptions(USUAL, versions=(), watch=0, vclusters=VClusterOptions(True, 1))
    context = SimpleNamespace(hub=Hub(), check_mode=False, warnings=[])
    context.warn = context.warnings.append
    tenant_namespaces = {tenant: {"metadata": {"creationTimestamp": EARLY}} for tenant in TENANTS}
    definition = {"metadata": {"creationTimestamp": EARLY}}
    places = SimpleNamespace(found=found or {}, quotas=SimpleNamespace(admit=lambda *_given: None))
    places.spec_of = lambda item: SimpleNamespace(wanted=naming.vcluster_namespace(item["tenant"], item["name"]))
    people = UserReconciler(
        context, definition, tenant_namespaces, [UserRequest(*one) for one in users], list(accounts)
    )
    wanted = {one.namespace: one for one in (Request(*given) for given in requests)}
    done = RequestReconciler(
        context, options, definition, tenant_namespaces, wanted, places, places.found, people, set()
    )
    done.reconcile()
    return done


GOOD = ("shop", asked("good", "shop", resources=RESOURCES))


@pytest.mark.parametrize(
    ("bad", "phase", "named"),
    [
        (asked(LONG, resources=RESOURCES), "Denied", "Shorten by 7"),
        (asked("a" * 100, resources=RESOURCES), "Denied", "has 100 characters, at most 63"),
        (asked("bad"), "Failed", "KeyError"),
        (asked("bad", resources=RESOURCES, ttl=[]), "Ready", ""),
        (asked("bad", resources=RESOURCES, ttl={"a": 1}), "Denied", "spec.ttl"),
        (asked("bad", resources=RESOURCES, sleep="x"), "Failed", "unexpected"),
        (asked("bad", requestedBy=None, resources=RESOURCES), "Ready", ""),
        (asked("crashes", resources=RESOURCES), "Failed", "KeyError"),
        (asked("untold", resources=RESOURCES), "Failed", "422"),
        ({**asked("bad"), "spec": None}, "Failed", "KeyError"),
    ],
)
def test_a_bad_request_for_a_virtual_cluster(
    monkeypatch: pytest.MonkeyPatch, bad: dict, phase: str, named: str
) -> None:
    done = reconciled(monkeypatch, ("payments", bad), GOOD)
    name = bad["metadata"]["name"]
    row = done.rows[f"payments--{name}"]
    assert (row["phase"], row["namespace"]) == (phase, f"payments--{name}")
    assert named in row["message"]
    assert ("error" in row) is (phase == "Failed")
    assert ("update" in [action["action"] for action in row["actions"]]) is (name != "untold")
    assert done.rows["shop--good"]["phase"] == done.context.hub.told["good"]["phase"] == "Ready"


def test_tenants_do_not_read_how_full_hosts_are(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = "placement: no host of the fleet fits. hub: Capacity: cpu 8 asked for, but 1 free"
    row = {"name": "dev", "tenant": "payments", "actions": [], "placement": {"host": None}, "error": problem}
    monkeypatch.setitem(globals(), "vclusters", lambda _items: [row])
    done = reconciled(monkeypatch, ("payments", asked("dev", resources=RESOURCES)))
    assert done.rows["payments--dev"]["error"] == problem
    told = done.context.hub.told["dev"]
    assert (told["phase"], "Capacity" in told["message"]) == ("Failed", False)
    assert told["message"].startswith("no cluster of the platform fits")


def test_what_is_asked_for_beside_a_broken_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a virtual cluster, on its host."""
    labels = {naming.LABEL_TENANT: "payments", naming.LABEL_VCLUSTER: "mine"}
    annotations = {"tenantry.dev/spec": json.dumps({"request": "text"})}
    metadata = {"name": "payments--mine", "labels": labels, "annotations": annotations, "creationTimestamp": ASKED}
    found = {"payments--mine": VirtualCluster(SimpleNamespace(name="hub"), {"metadata": metadata})}
    done = reconciled(monkeypatch, ("payments", asked("mine", resources=RESOURCES)), GOOD, found=found)
    assert done.rows["payments--mine"]["phase"] == "Failed"
    assert done.rows["shop--good"]["phase"] == "Ready"


def test_users_who_without_access_are_reported_in_their_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    def grant_access(_people: UserReconciler, tenant: str) -> list[dict]:
        if tenant == "payments":
            raise KeyError("something")
        return []

    monkeypatch.setattr(UserReconciler, "grant_access", grant_access)
    done = reconciled(monkeypatch, ("payments", asked("mine", resources=RESOURCES)), GOOD)
    assert "users: " in done.rows["payments--mine"]["error"]
    assert done.rows["shop--good"]["phase"] == "Ready"


def test_users_without_problems_cause_no_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    done = reconciled(monkeypatch, GOOD, accounts=ADMINS)
    assert done.rows["shop--good"]["phase"] == "Ready"
    assert done.context.warnings == []  # type: ignore[attr-defined]  # not the real one


def test_a_user_who_fails_in_one_vcluster_fails_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def grant_access(_people: UserReconciler, tenant: str) -> list[dict]:
        failed = {"error": "no token", "failed_contexts": {"payments--mine"}}
        return [{"name": "bob", "tenant": tenant, "actions": [], **failed}] if tenant == "payments" else []

    monkeypatch.setattr(UserReconciler, "grant_access", grant_access)
    requests = [("payments", asked(name, resources=RESOURCES)) for name in ("mine", "other")]
    done = reconciled(monkeypatch, *requests, GOOD)
    assert done.rows["payments--mine"]["error"] == "user bob: no token"
    assert {done.rows[name]["phase"] for name in ("payments--other", "shop--good")} == {"Ready"}


ADMINS = tuple(account("alice", tenant, role="admin") for tenant in TENANTS)
BROKEN = account("broken", "payments", role="admin", access="{")


@pytest.mark.parametrize(
    ("bad", "phase", "named"),
    [
        (asked("a" * 100, kind=USER_KIND, role="viewer"), "Denied", "metadata.name"),
        (asked("hub", kind=USER_KIND, role="viewer"), "Denied", 'metadata.name: "hub" is reserved'),
        (asked("bad", kind=USER_KIND), "Failed", "KeyError"),
        (asked("bad", kind=USER_KIND, role="viewer", access=[{}]), "Failed", "KeyError"),
        (asked("bad", kind=USER_KIND, role="viewer", requestedBy="broken"), "Failed", "JSONDecodeError"),
        (asked("bad", kind=USER_KIND, role="viewer", requestedBy=None), "Denied", "spec.requestedBy"),
        (asked("crashes", kind=USER_KIND, role="viewer"), "Failed", "KeyError"),
        (asked("untold", kind=USER_KIND, role="viewer"), "Failed", "422"),
    ],
)
def test_a_bad_request_for_a_user(monkeypatch: pytest.MonkeyPatch, bad: dict, phase: str, named: str) -> None:
    good = ("shop", asked("bob", "shop", USER_KIND, role="viewer"))
    done = reconciled(monkeypatch, GOOD, users=(("payments", bad), good), accounts=(*ADMINS, BROKEN))
    row = done.rows[f"tenant-payments/{bad['metadata']['name']}"]
    assert row["phase"] == phase
    assert named in row["message"]
    assert ("error" in row) is (phase == "Failed")
    assert done.rows["tenant-shop/bob"]["phase"] == done.context.hub.told["bob"]["phase"] == "Ready"
    assert done.rows["shop--good"]["phase"] == "Ready"


def test_no_name_is_longer_than_a_label() -> None:
    definitions = [one for one in objects() if one["kind"] == "CustomResourceDefinition"]
    for one in definitions:
        (version,) = one["spec"]["versions"]
        rules = version["schema"]["openAPIV3Schema"]["x-kubernetes-validations"]
        assert "self.metadata.name.size() <= 63" in [rule["rule"] for rule in rules]
    assert len(definitions) == 2
