"""What is due for a request, what becomes of its options, and what it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, Obstacle, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._module import validate_all
from ansible_collections.tenantry.kube.plugins.module_utils._platform.crds import objects
from ansible_collections.tenantry.kube.plugins.module_utils._self_service.requests import (
    Outcome,
    run_bisecting,
    status_of,
    with_renamed_fields,
)
from ansible_collections.tenantry.kube.plugins.module_utils._self_service.vcluster_requests import (
    Request,
    forgotten,
    in_turns,
    item_of,
    refusal,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec import cluster
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.options import DEFAULTS, OPTIONS

from .._vcluster.example import make_item

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
RESOURCES = {"cpu": 2, "memory": "2Gi", "pods": 10}
USUAL = {
    option: value for option, value in make_item(mode=None, agents=0, pod_security=None).items() if option in DEFAULTS
}
USUAL |= {"ttl": None, "sleep": None}


def request(name: str = "mine", status: dict[str, Any] | None = None, **spec: Any) -> Request:
    metadata = {"name": name, "namespace": "tenant-payments", "uid": "u1", "generation": 1}
    metadata["creationTimestamp"] = "2026-05-31T12:00:00Z"
    spec = {"requestedBy": "bob", "resources": RESOURCES, **spec}
    return Request("payments", {"metadata": metadata, "spec": spec, "status": status or {}})


def vcluster(uid: str | None = "u1", created: str = "2026-05-31T12:01:00Z") -> VirtualCluster:
    record = {"request": {"uid": uid, "user": "bob"}} if uid else {}
    labels = {"tenantry.dev/tenant": "payments", "tenantry.dev/vcluster": "mine"}
    metadata = {"name": "payments--mine", "labels": labels, "creationTimestamp": created}
    metadata["annotations"] = {"tenantry.dev/spec": json.dumps(record)}
    return VirtualCluster(SimpleNamespace(name="hub"), {"metadata": metadata})


def place(created: str) -> dict[str, Any]:
    return {"metadata": {"creationTimestamp": created}}


def item(asked: Request, **usual: Any) -> dict[str, Any]:
    return item_of(asked, {**USUAL, **usual}, ["v1.33.9+k3s1"], {"user": "bob", "account": "account-uid"})


@pytest.mark.parametrize("lost", [False, True])
def test_former_fields_that_cannot_be_renamed_stop_nothing(lost: bool) -> None:
    changes: list[dict] = []
    warnings: list[str] = []

    def merge(_kind: str, _name: str, _namespace: str, change: dict) -> dict:
        if lost:
            raise ApiError("changing it", 404)
        changes.append(change["spec"])
        return {"spec": {"resources": RESOURCES}}

    old = {"metadata": {"name": "dev", "namespace": "tenant-payments", "uid": "u"}, "spec": {"slice": RESOURCES}}
    context = SimpleNamespace(check_mode=False, warn=warnings.append, hub=SimpleNamespace(merge=merge))
    assert with_renamed_fields(context, old)["spec"]["resources"] == RESOURCES
    assert changes == ([] if lost else [{"resources": RESOURCES, "slice": None}])
    assert len(warnings) == lost


def test_what_a_requester_decides_goes_over_what_is_usual() -> None:
    asked = request(version="v1.33.9+k3s1", podSecurity="restricted", ttl="7d", sleep={"idle": "2h"})
    found = item(asked, pod_security="baseline", ttl="30d")
    assert (found["tenant"], found["name"], found["state"]) == ("payments", "mine", "present")
    assert (found["version"], found["pod_security"], found["ttl"]) == ("v1.33.9+k3s1", "restricted", "7d")
    assert found["sleep"] == {"idle": "2h", "schedule": None, "timezone": "UTC"}
    assert found["request"] == {"uid": "u1", "user": "bob", "account": "account-uid"}
    spec = cluster.parse({**found, "mode": "shared"})
    assert spec.record("").request == found["request"]


def test_nothing_else_of_a_request_gets_into_the_item() -> None:
    """Whatever the schema lets through: the item is made of what is known, not of what is there."""
    known = {"name", "sleep", "ttl", "version"}
    evil = dict.fromkeys(OPTIONS.keys() - known, "evil") | {"resources": {**RESOURCES, "tier": "evil"}}
    found = item(request(**evil, requestedBy="bob"))
    assert "evil" not in json.dumps(found, default=str)
    assert set(found["resources"]) == {"cpu", "memory", "storage", "pods"}


@pytest.mark.parametrize(
    ("spec", "usual", "named"),
    [
        ({"version": "v1.30.0+k3s1"}, {}, "spec.version"),
        ({"podSecurity": "baseline"}, {"pod_security": "restricted"}, "weaker"),
        ({"ttl": "31d"}, {"ttl": "30d"}, "longer than the 30d"),
        ({"ttl": "1m"}, {}, "too short"),
    ],
)
def test_what_the_administrators_do_not_allow(spec: dict[str, Any], usual: dict[str, Any], named: str) -> None:
    with pytest.raises(TenantryError, match=named):
        item(request(**spec), **usual)


@pytest.mark.parametrize(
    ("name", "user"),
    [
        ("bob", "bob"),
        ("system:serviceaccount:tenant-payments:bob", "bob"),
        ("system:serviceaccount:tenant-ops:olga", None),
        ("bob@example.com", None),
    ],
)
def test_who_asks(name: str, user: str | None) -> None:
    assert request(requestedBy=name).user == user


def test_what_the_inventory_has_is_not_to_be_had() -> None:
    assert refusal(request(), None) == ""
    assert refusal(request(), vcluster()) == ""
    assert "Choose another name" in refusal(request(), vcluster(uid=None))


@pytest.mark.parametrize(
    ("found", "asked", "home", "kind", "gone"),
    [
        (vcluster(), None, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", True),
        (vcluster("another"), request(), "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", True),
        (vcluster(), request(), "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", False),
        (vcluster(uid=None), None, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", False),
        (vcluster(), None, "2026-05-31T12:02:00Z", "2026-01-01T00:00:00Z", False),
        (vcluster(), None, "2026-01-01T00:00:00Z", "2026-05-31T12:02:00Z", False),
        (vcluster(), None, "2026-01-01T00:00:00Z", "2026-05-31T12:01:00Z", False),
    ],
    ids=[
        "deleted",
        "made anew",
        "there",
        "the inventory's",
        "a new home",
        "a new kind",
        "a new kind within the second",
    ],
)
def test_a_request_that_was_deleted(
    found: VirtualCluster, asked: Request | None, home: str, kind: str, gone: bool
) -> None:
    requests = {asked.namespace: asked} if asked else {}
    assert forgotten(found, requests, place(home), place(kind)) is gone


def test_without_a_home_nothing_is_deleted() -> None:
    assert not forgotten(vcluster(), {}, None, place("2026-01-01T00:00:00Z"))


def test_the_time_in_a_status_is_that_of_the_last_change() -> None:
    first = status_of(request(), Outcome("Ready"), NOW)
    later = NOW.replace(hour=13)
    assert status_of(request(status=first), Outcome("Ready"), later) == first
    failed = status_of(request(status=first), Outcome("Failed", "why"), later)["conditions"][0]
    assert (failed["status"], failed["lastTransitionTime"]) == ("False", "2026-06-01T13:00:00Z")


@pytest.mark.parametrize("phase", ["Failed", "Denied", "Paused"])
def test_a_status_tells_no_address_but_the_tenants_own(phase: str) -> None:
    why = "member edge: https://10.1.2.3:6443: timed out; https://dev.example.com:6443 refuses connections"
    found = status_of(request(), Outcome(phase, why, "https://dev.example.com:6443"), NOW)
    for told in (found, found["conditions"][0]):
        assert told["message"] == "member edge: <address>: timed out; https://dev.example.com:6443 refuses connections"


def test_expiry_is_counted_from_the_request() -> None:
    assert request(ttl="1d").expired(NOW) == "2026-06-01T12:00:00Z"
    assert request(ttl="25h").expired(NOW) == ""


def test_one_that_is_refused_is_found_without_asking_for_each() -> None:
    calls: list[list[int]] = []

    def run_all(items: list[dict]) -> list[dict]:
        calls.append([one["number"] for one in items])
        if any(one["number"] == 5 for one in items):
            raise TenantryError("five is bad")
        return [{**one, "actions": []} for one in items]

    items = [{"tenant": "t", "name": f"v{number}", "number": number} for number in range(8)]
    rows = run_bisecting(run_all, items)
    assert [row["name"] for row in rows] == [one["name"] for one in items]
    assert [row["name"] for row in rows if row.get("refused")] == ["v5"]
    assert len(calls) == 7


@pytest.mark.parametrize(
    ("errors", "refused"),
    [
        ([TenantryError("bad")], True),
        ([Obstacle("a host is silent")], False),
        ([ApiError("503", 503)], False),
        ([TenantryError("bad"), Obstacle("a host is silent")], False),
    ],
)
@pytest.mark.parametrize("name", [None, str])
def test_what_passes_by_itself_refuses_no_request(
    errors: list[TenantryError], refused: bool, name: Callable[[object], str] | None
) -> None:
    """However the flow below says it: as it is, or for items that it has looked through."""

    def check(error: TenantryError) -> None:
        raise error

    def run_all(_items: list[dict]) -> list[dict]:
        validate_all(errors, check, name=name)
        raise AssertionError("reached")

    (row,) = run_bisecting(run_all, [{"tenant": "t", "name": "mine"}])
    assert (row["refused"], row["actions"]) == (refused, [])


def test_the_schema_is_closed() -> None:
    """No part of it takes fields that it does not name."""
    text = json.dumps(objects())
    assert "preserve-unknown-fields" not in text
    assert "additionalProperties" not in text
    assert "embedded-resource" not in text


def test_quota_is_given_away_in_turns_of_the_requesters() -> None:
    """First what there is; who asked for much comes no further than who asks for one thing later."""
    asked = [("b1", "bob"), ("b2", "bob"), ("old", "bob"), ("b3", "bob"), ("c1", "carol"), ("c2", "carol")]
    requests = {name: request(name, requestedBy=user) for name, user in asked}
    assert in_turns(requests, {"old": vcluster()}) == ["old", "b1", "c1", "b2", "c2", "b3"]
