"""What concurrent and interrupted runs promise of one quota."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, Obstacle, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import CONFIG_MAP
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import promises
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import RECORD, tenant_objects
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_state import FleetState
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import parse

from .example import make_item
from .fleet_world import QUOTA, SPACE, FakeFleet, part, refused, reserve, spec


def test_concurrent_run_has_taken_the_rest(fleet: FakeFleet) -> None:
    mine, other = FleetState(fleet), FleetState(fleet)
    assert reserve(other, spec("other", 5)) == {}
    assert "cpu 5 asked for, but 3 left" in str(reserve(mine, spec("mine", 5))["payments"])
    assert list(fleet.promised()) == ["payments--other"]


def test_concurrent_run_that_has_finished_counts_too(fleet: FakeFleet) -> None:
    """What this run read of the hosts is older than the promise."""
    fleet.add(fleet.edge, "grown", 1)
    fleet.correct()
    mine, other = FleetState(fleet), FleetState(fleet)
    grown = spec("grown", 5)
    assert reserve(other, grown, host="edge") == {}
    other.quotas.settle({grown.namespace: grown})
    assert "cpu 5 asked for, but 3 left" in str(reserve(mine, spec("mine", 5))["payments"])


def test_promise_of_a_concurrent_run_is_kept(fleet: FakeFleet) -> None:
    """Two runs change one virtual cluster: the larger counts until both have ended, and the hosts are read again."""
    fleet.add(fleet.hub, "dev", 1)
    fleet.correct()
    one, other = FleetState(fleet), FleetState(fleet)
    large, small = spec("dev", 5), spec("dev", 2)
    assert reserve(one, large) == {}
    assert reserve(other, small) == {}
    for run, applied, still_held in ((other, small, True), (one, large, False)):
        run.quotas.settle({applied.namespace: applied})
        promise = fleet.promised()["payments--dev"]
        assert (promise.resources["cpu"], promise.held) == ("5", still_held)
    assert "promised cpu 5" in fleet.correct()[0], "whichever of the two came last"
    assert fleet.promised()["payments--dev"].resources["cpu"] == "1"


def test_promise_of_a_killed_run_ends_later_than_that_of_the_one_that_repeats_it(fleet: FakeFleet) -> None:
    new = spec("new", 5)
    assert reserve(FleetState(fleet), new) == {}
    again = FleetState(fleet)
    assert reserve(again, new) == {}
    fleet.add(fleet.hub, "new", 5)
    again.quotas.settle({new.namespace: new})
    (killed,) = fleet.promised()["payments--new"].runs.values()
    assert fleet.promised()["payments--new"].until == datetime.fromisoformat(killed) + promises.LASTS


def test_failed_one_counts_while_its_host_is_silent(fleet: FakeFleet) -> None:
    state, new = FleetState(fleet), spec("new", 5)
    assert reserve(state, new, host="edge") == {}
    state.quotas.settle({}, [new.namespace])
    fleet.silent = True
    assert "cpu 5 asked for, but 3 left" in refused(fleet, spec("other", 5))
    fleet.silent = False
    assert refused(fleet, spec("other", 5)) == ""
    assert ["but it does not exist there" in line for line in fleet.correct()] == [True]


def test_concurrent_run_creates_it_elsewhere(fleet: FakeFleet) -> None:
    mine = FleetState(fleet)
    assert reserve(FleetState(fleet), spec("new", 2), host="edge") == {}
    assert "a concurrent run creates payments--new on edge" in str(reserve(mine, spec("new", 2))["payments"])
    state = FleetState(fleet)
    assert state.host_of("payments", "payments--new", None).name == "edge", "where an interrupted run began"
    with pytest.raises(TenantryError, match="is being created on edge by another run"):
        state.host_of("payments", "payments--new", "hub")


def test_interrupted_run_counts_for_some_minutes(fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reserve(FleetState(fleet), spec("killed", 5)) == {}
    assert "cpu 5 asked for, but 3 left" in refused(fleet, spec("new", 5))
    then = promises.clock() + promises.LASTS
    monkeypatch.setattr(promises, "clock", lambda: then)
    assert refused(fleet, spec("new", 5)) == ""


def test_record_that_cannot_be_written_leaves_the_others_settled(
    fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for obj in tenant_objects("research", QUOTA, "research"):
        fleet.hub.apply(obj)
    promises.begin(fleet.hub, "research")
    state, new = FleetState(fleet), spec("new", 1)
    lab = parse(make_item(tenant="research", name="lab", agents=0, resources=part(1))).wanted
    assert reserve(state, lab, new) == {}
    merge, first = fleet.hub.merge, next(iter(state.quotas._written))

    def fails(kind: str, name: str, namespace: str | None, body: dict, **options: Any) -> dict:
        if namespace == f"tenant-{first}":
            raise ApiError("no answer")
        return merge(kind, name, namespace, body, **options)

    monkeypatch.setattr(fleet.hub, "merge", fails)
    with pytest.raises(Obstacle, match="no answer"):
        state.quotas.settle({one.namespace: one for one in (lab, new)})
    pending = {
        name: one.pending
        for record in fleet.hub.list(CONFIG_MAP)
        if "--" not in record["metadata"]["namespace"]
        for name, one in promises.of(record).items()
    }
    assert sorted(pending.values()) == [False, True]
    assert pending[lab.namespace if first == "research" else new.namespace]


def test_own_promise_is_not_of_a_concurrent_run(fleet: FakeFleet) -> None:
    fleet.add(fleet.hub, "dev", 6)
    fleet.correct()
    state, smaller, new = FleetState(fleet), spec("dev", 2), spec("new", 6)
    assert reserve(state, smaller) == {}
    assert state.quotas.over_quota([smaller, new], []) == {}
    assert "cpu 12 asked for" in refused(fleet, smaller, new)


def test_promise_is_renewed_before_it_ends(fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    state, late = FleetState(fleet), spec("late", 5)
    assert reserve(state, late) == {}
    writes, begun = len(fleet.hub.writes), promises.clock()
    state.quotas.renew("payments", late.namespace)
    assert len(fleet.hub.writes) == writes, "it is new"
    monkeypatch.setattr(promises, "clock", lambda: begun + promises.LASTS / 2)
    fleet.hub.merge(CONFIG_MAP, RECORD, SPACE, {"metadata": {"labels": {"other": "change"}}})
    state.quotas.renew("payments", late.namespace)
    monkeypatch.setattr(promises, "clock", lambda: begun + promises.LASTS)
    assert "cpu 5 asked for, but 3 left" in refused(fleet, spec("other", 5))
    state.quotas.settle({late.namespace: late})
    assert not fleet.promised()[late.namespace].pending, "it is the renewed one that is settled"
