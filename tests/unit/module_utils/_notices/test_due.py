"""Which notices are due, by facts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import moment, stamp
from ansible_collections.tenantry.kube.plugins.module_utils._notices import due
from ansible_collections.tenantry.kube.plugins.module_utils._notices.model import Notice

from .._usage.fleet import NOW, host, vcluster
from .facts import DAYS, USUAL, facts, usage

MINUTE = timedelta(minutes=1)


def found(*vclusters: Any, **other: Any) -> list[Notice]:
    return due.notices(facts(*vclusters, **other), USUAL)


def kinds(*vclusters: Any, **other: Any) -> list[str]:
    return [one.kind for one in found(*vclusters, **other)]


def test_nothing_is_due_for_one_in_use() -> None:
    one = vcluster(tier="prod", snapshot=NOW, expires=NOW + 4 * DAYS, idle_since=NOW, sleep={"idle": "2h"})
    assert found(one, tenants=[usage(cpu="7")]) == []


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("ttl", {"expires": NOW + 3 * DAYS + MINUTE}, {"expires": NOW + 3 * DAYS}),
        ("idle", {"idle_since": NOW - 14 * DAYS + MINUTE}, {"idle_since": NOW - 14 * DAYS}),
        (
            "certificate",
            {"certificates_valid_until": NOW + 21 * DAYS + MINUTE},
            {"certificates_valid_until": NOW + 21 * DAYS},
        ),
        (
            "snapshot",
            {"tier": "prod", "snapshot": NOW - 7 * DAYS + MINUTE},
            {"tier": "prod", "snapshot": NOW - 7 * DAYS},
        ),
        ("snapshot", {"tier": "prod", "created": NOW - 6 * DAYS}, {"tier": "prod", "created": NOW - 7 * DAYS}),
    ],
)
def test_each_kind_begins_at_its_threshold(kind: str, before: dict, after: dict) -> None:
    assert kinds(vcluster(**before)) == []
    assert kinds(vcluster(**after)) == [kind]


@pytest.mark.parametrize(
    "given",
    [
        {"expires": NOW, "deletion_protection": True},
        {"expires": NOW, "status": "Deleting"},
        {"idle_since": NOW - 30 * DAYS, "status": "Paused"},
        {"tier": "prod", "external_datastore": True},
        {"sleep": {"schedule": ["mon-fri 09:10-17:00"]}, "status": "Paused"},
        {"sleep": {"nonsense": True}},
    ],
)
def test_what_does_not_happen_is_not_announced(given: dict) -> None:
    assert kinds(vcluster(**given)) == []


def test_an_expired_one_is_still_announced() -> None:
    """The first run may come late."""
    assert kinds(vcluster(expires=NOW - DAYS)) == ["ttl"]


@pytest.mark.parametrize(
    ("schedule", "zone", "expected"),
    [
        ("mon-fri 09:30-17:00", "UTC", "2026-11-30T09:30:00Z"),
        ("mon-fri 09:33-17:00", "UTC", None),
        ("mon-fri 09:02-17:00", "UTC", None),  # has begun
        ("mon 09:10-09:15", "UTC", "2026-11-30T09:10:00Z"),  # shorter than the notice is early
        ("tue-fri 09:30-17:00", "UTC", None),
        ("mon-fri 10:20-17:00", "Europe/Berlin", "2026-11-30T09:20:00Z"),
    ],
)
def test_sleep_by_schedule(schedule: str, zone: str, expected: str | None) -> None:
    given = found(vcluster(sleep={"schedule": [schedule], "timezone": zone}))
    assert [stamp(one.due) for one in given if one.due] == [one for one in [expected] if one]


def test_sleep_that_begins_after_midnight() -> None:
    late = datetime(2026, 11, 30, 23, 45, tzinfo=NOW.tzinfo)
    (one,) = found(vcluster(sleep={"schedule": ["tue"]}), time=late)
    assert one.due == moment("2026-12-01T00:00:00Z")


@pytest.mark.parametrize(("idle", "unused", "announced"), [("2h", 89, False), ("2h", 90, True), ("10m", 4, False)])
def test_sleep_of_an_idle_one(idle: str, unused: int, announced: bool) -> None:
    """One that sleeps after ten minutes is announced after five."""
    assert bool(found(vcluster(sleep={"idle": idle}, idle_since=NOW - unused * MINUTE))) == announced
    assert found(vcluster(sleep={"idle": "10m"}, idle_since=NOW - 5 * MINUTE))


def test_raised_ttl_and_new_use_are_other_matters() -> None:
    def key(**given: Any) -> str:
        return found(vcluster(**given))[0].keys[0]

    assert key(expires=NOW) != key(expires=NOW + DAYS)
    assert key(idle_since=NOW - 20 * DAYS) != key(idle_since=NOW - 21 * DAYS)


def test_quota_has_two_steps_and_the_higher_includes_the_lower() -> None:
    (one,) = found(tenants=[usage(cpu="8", memory="7")])
    assert (one.level, one.keys) == ("note", ("quota payments cpu 80",))
    assert one.text == "has allocated 80 % of its quota of cpu (8 of 10)"
    (one,) = found(tenants=[usage(cpu="12500m")])
    assert (one.level, one.keys) == ("warning", ("quota payments cpu 100", "quota payments cpu 80"))
    assert "125 %" in one.text


def test_quota_of_nothing_is_not_full() -> None:
    assert found(tenants=[usage(quota="0")]) == []


def test_members_are_of_the_fleet_only() -> None:
    edge = host("edge", credential_expires=NOW + 14 * DAYS)
    lost, ends = found(clusters=(host(), edge), missing={"far": "no answer\nfrom 10.0.0.1"})
    assert (lost.kind, lost.level, lost.tenant, lost.text) == (
        "member",
        "critical",
        "",
        "does not answer: no answer from 10.0.0.1",
    )
    assert (ends.kind, ends.tenant, ends.about, ends.due) == ("credential", "", "edge", NOW + 14 * DAYS)


def credential(vcluster: str, left: timedelta, lifetime: timedelta, kubeconfig: str = "default") -> dict[str, Any]:
    ends = NOW + left
    where = {"kubeconfig": kubeconfig, "vcluster": vcluster, "host": "hub"}
    return {**where, "issued": stamp(ends - lifetime), "expires": stamp(ends)}


def user(*credentials: dict[str, Any]) -> dict[str, Any]:
    return {"tenant": "payments", "name": "alice", "credentials": list(credentials)}


def test_kubeconfig_with_several_credentials_is_one_notice() -> None:
    both = credential("dev", 5 * DAYS, 90 * DAYS), credential("prod", 4 * DAYS, 90 * DAYS)
    (one,) = found(users=[user(*both)])
    assert (one.about, one.due) == ("payments/alice", NOW + 4 * DAYS)
    assert one.keys == ("credential payments/alice default",)


@pytest.mark.parametrize(
    ("left", "lifetime", "announced"),
    [
        (14 * DAYS, 90 * DAYS, True),
        (11 * DAYS, 30 * DAYS, False),
        (10 * DAYS, 30 * DAYS, True),
        (timedelta(hours=12), DAYS, False),
        (timedelta(0), 90 * DAYS, False),  # has expired
    ],
)
def test_kubeconfig_before_its_end(left: timedelta, lifetime: timedelta, announced: bool) -> None:
    assert bool(found(users=[user(credential("dev", left, lifetime))])) == announced


def test_renewed_credential_is_not_announced() -> None:
    """The one before it stays for a while."""
    assert found(users=[user(credential("dev", DAYS, 90 * DAYS), credential("dev", 90 * DAYS, 90 * DAYS))]) == []


def test_credential_without_times_is_left_out() -> None:
    """Earlier releases recorded less."""
    assert found(users=[user({**credential("dev", DAYS, 90 * DAYS), "issued": None})]) == []


def request(
    phase: str = "Denied", namespace: str = "tenant-payments", name: str = "big", **status: Any
) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace, "uid": "u1", "creationTimestamp": "2026-11-30T09:00:00Z"}
    return {"kind": "VirtualClusterRequest", "metadata": meta, "status": {"phase": phase, **status}}


def test_denied_request_is_announced_with_its_reason() -> None:
    (one,) = found(requests=[request(message="cpu: 99 is too much.\nUse less.", observedGeneration=2)])
    assert one.text == "was requested as a virtual cluster and denied: cpu: 99 is too much. Use less"
    assert (one.tenant, one.keys) == ("payments", ("request VirtualClusterRequest payments/big u1",))


def test_tenant_that_makes_and_changes_many_requests_does_not_flood_operations() -> None:
    first, second = (found(requests=[request(observedGeneration=number)])[0] for number in (1, 2))
    assert first.keys == second.keys
    many = [request(name=f"r-{number}") for number in range(22)]
    oldest = {**request(name="z"), "metadata": {**request(name="z")["metadata"], "creationTimestamp": "2026-11-01"}}
    *single, last, of_other = found(requests=[*many, oldest, request(namespace="tenant-research")])
    assert [one.about for one in single] == ["payments/z", *(f"payments/r-{number}" for number in range(19))]
    assert (last.about, last.text) == ("payments", "has more denied requests: 3")
    assert (last.kind, last.keys) == ("request", ("request payments",))
    assert of_other.about == "research/big"


@pytest.mark.parametrize("given", [request("Ready"), request("Failed"), request(namespace="default")])
def test_other_requests_are_not_announced(given: dict) -> None:
    assert found(requests=[given, {**given, "status": None}]) == []


def test_long_reason_is_shortened() -> None:
    (one,) = found(requests=[request(message="x" * 5000)])
    assert len(one.text) < 400
