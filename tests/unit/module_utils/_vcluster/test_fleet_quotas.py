"""FLEET-1, FLEET-2: what a quota has left while a member is silent, and how promises follow what the hosts have."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, Obstacle, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import CONFIG_MAP, NAMESPACE
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import corrections, promises
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.allocation import Wanted
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import RECORD, tenant_objects
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.promises import Promise
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_state import FleetState, Unreachable
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import parse

from .._tenant.fleet import add_vcluster
from .example import make_item
from .fake_host import FakeHost

QUOTA = {"cpu": "8", "memory": "64Gi", "storage": "100Gi", "pods": "100", "vclusters": "4"}
SPACE = "tenant-payments"


def part(cpu: int | str) -> dict[str, str]:
    return {"cpu": str(cpu), "memory": "4Gi", "storage": "20Gi", "pods": "4"}


class FakeFleet:
    """A hub and the member edge, which may be silent."""

    def __init__(self) -> None:
        self.hub, self.edge = FakeHost.hub(), FakeHost("edge")
        for obj in tenant_objects("payments", QUOTA, "payments"):
            self.hub.apply(obj)
        promises.begin(self.hub, "payments")
        self.silent = False

    def names(self) -> list[str]:
        return ["hub", "edge"]

    def cluster(self, name: str) -> FakeHost:
        return {"hub": self.hub, "edge": self.edge}[name]

    def vclusters(self) -> tuple[list[VirtualCluster], dict[str, str]]:
        hosts = [self.hub] if self.silent else [self.hub, self.edge]
        found = [VirtualCluster(host, one) for host in hosts for one in host.list(NAMESPACE) if "--" in _name(one)]
        return found, {"edge": "edge is down"} if self.silent else {}

    def add(self, host: FakeHost, name: str, cpu: int | str, used: dict[str, str] | None = None) -> None:
        add_vcluster(host, "payments", name, {"resources": part(cpu), "format": 1}, {"limits.cpu": str(cpu)})
        if used:
            host.merge("v1/ResourceQuota", "vcluster", f"payments--{name}", {"status": {"used": used}})

    def promised(self) -> dict[str, Promise]:
        return promises.of(self.record())

    def record(self) -> dict:
        found = self.hub.get(CONFIG_MAP, RECORD, SPACE)
        assert found
        return found

    def correct(self, *, check: bool = False) -> list[str]:
        """As a run does at its beginning; its warnings."""
        warnings: list[str] = []
        FleetState(self).quotas.correct(SimpleNamespace(check_mode=check, warn=warnings.append))
        return warnings

    def lose(self, text: str | None = None) -> None:
        annotations = {promises.ANNOTATION: text}
        self.hub.merge(CONFIG_MAP, RECORD, SPACE, {"metadata": {"annotations": annotations}})


def _name(obj: dict) -> str:
    return obj["metadata"]["name"]


@pytest.fixture
def fleet() -> FakeFleet:
    return FakeFleet()


def spec(name: str, cpu: int | str) -> Wanted:
    return parse(make_item(name=name, agents=0, resources=part(cpu))).wanted


def refused(fleet: FakeFleet, *specs: Wanted, leaving: Iterable[str] = ()) -> str:
    return str(FleetState(fleet).quotas.over_quota(specs, leaving).get("payments", ""))


def reserve(state: FleetState, *specs: Wanted, host: str = "hub", leaving: Iterable[str] = ()) -> dict[str, Any]:
    gone = {"payments": list(leaving)} if leaving else {}
    return state.quotas.reserve(specs, {one.namespace: host for one in specs}, gone)


def test_record_of_an_earlier_release_is_completed(fleet: FakeFleet) -> None:
    fleet.lose()
    fleet.add(fleet.hub, "dev", 3)
    fleet.add(fleet.edge, "far", 4)
    assert fleet.correct() == [], "an upgrade is nothing to warn about"
    found = {name: (one.host, one.resources["cpu"], one.pending) for name, one in fleet.promised().items()}
    assert found == {"payments--dev": ("hub", "3", False), "payments--far": ("edge", "4", False)}
    writes = len(fleet.hub.writes)
    assert fleet.correct() == []
    assert len(fleet.hub.writes) == writes


def test_silent_member_stops_only_what_is_on_it(fleet: FakeFleet) -> None:
    fleet.add(fleet.hub, "dev", 3)
    fleet.add(fleet.edge, "far", 4)
    fleet.correct()
    fleet.silent = True
    assert refused(fleet, spec("new", 1)) == ""
    assert refused(fleet, spec("dev", 4)) == ""
    assert "cpu 2 asked for, but 1 left (7 of 8 used by other" in refused(fleet, spec("new", 2))
    assert "cpu 5 asked for, but 4 left" in refused(fleet, spec("dev", 5))
    assert refused(fleet, spec("new", 4), leaving=["payments--dev"]) == ""
    state = FleetState(fleet)
    assert state.host_of("payments", "payments--new", None).name == "hub"
    with pytest.raises(Unreachable, match="payments--far is on edge, which does not answer: edge is down"):
        state.host_of("payments", "payments--far", None)
    with pytest.raises(Unreachable, match="payments--far is on edge, which does not answer"):
        state.host_of("payments", "payments--far", "hub")
    with pytest.raises(Unreachable, match="host: edge is down"):
        state.host_of("payments", "payments--new", "edge")


def test_silent_member_and_a_record_without_promises_is_refused(fleet: FakeFleet) -> None:
    fleet.lose()
    fleet.add(fleet.hub, "dev", 3)
    fleet.silent = True
    assert "does not have all virtual clusters yet" in refused(fleet, spec("new", 1))
    assert refused(fleet, spec("dev", 3)) == "", "what does not grow goes on"
    with pytest.raises(Unreachable, match="may be on a member that does not answer: edge is down"):
        FleetState(fleet).host_of("payments", "payments--new", None)
    assert fleet.correct() == []
    assert not promises.are_kept(fleet.record()), "half a record would hide the rest"
    assert reserve(FleetState(fleet), spec("dev", 2)) == {}
    assert not promises.are_kept(fleet.record())


def test_use_beyond_smaller_resources_counts_while_the_member_is_silent(fleet: FakeFleet) -> None:
    """The example of FLEET-1: 2.3 in use, reduced from 3 to 1.7, and another of 2.3 beside it."""
    fleet.hub.apply(tenant_objects("payments", {**QUOTA, "cpu": "4"}, "payments")[1])
    promises.begin(fleet.hub, "payments")
    fleet.add(fleet.edge, "old", 3, used={"limits.cpu": "2300m"})
    fleet.correct()
    state = FleetState(fleet)
    smaller = spec("old", "1700m")
    assert reserve(state, smaller, host="edge") == {}
    assert fleet.promised()["payments--old"].resources["cpu"] == "3", "until it is applied"
    fleet.add(fleet.edge, "old", "1700m", used={"limits.cpu": "2300m"})
    # Of the services of the API, only the ResourceQuota knows.
    hard = {"spec": {"hard": {"services.nodeports": "1"}}}
    fleet.edge.merge("v1/ResourceQuota", "vcluster", "payments--old", hard)
    state.quotas.settle({smaller.namespace: smaller})
    promise = fleet.promised()["payments--old"]
    assert (promise.resources["cpu"], promise.in_use["cpu"], promise.pending) == ("1700m", "2300m", False)
    for silent in (False, True):
        fleet.silent = silent
        assert "cpu 2300m asked for, but 1700m left" in refused(fleet, spec("new", "2300m"))
        assert refused(fleet, spec("new", "1700m")) == ""
    fleet.silent = False
    fleet.hub.merge(CONFIG_MAP, RECORD, SPACE, {"metadata": {}})
    fleet.edge.merge("v1/ResourceQuota", "vcluster", "payments--old", {"status": {"used": {"limits.cpu": "1"}}})
    assert fleet.correct() == []
    assert fleet.promised()["payments--old"].in_use == {}
    fleet.silent = True
    assert refused(fleet, spec("new", "2300m")) == ""


def test_each_difference_is_one_warning_and_corrected(fleet: FakeFleet) -> None:
    fleet.add(fleet.hub, "same", 1)
    fleet.add(fleet.hub, "other", 2)
    fleet.add(fleet.edge, "moved", 1)
    fleet.add(fleet.edge, "unknown", 1)
    wanted = {
        "payments--same": Promise.of("hub", part(1)),
        "payments--other": Promise.of("hub", part(1)),
        "payments--moved": Promise.of("hub", part(1)),
        "payments--gone": Promise.of("edge", part(1)),
        "payments--left": Promise.of("former", part(1)),
        "payments--deleted": Promise.of("edge", part(1)).leaving(),
        "payments--begun": Promise.of("edge", part(1), run="other"),
    }
    promises.update(fleet.hub, fleet.record(), lambda _before: wanted)
    whole = "cpu 1, memory 4Gi, storage 20Gi, pods 4"
    lines = [
        f"payments--gone: promised {whole} on edge, but it does not exist there. The promise is removed",
        f"payments--left: promised {whole} on former, but it does not exist there, and former is not in the fleet any "
        "more. The promise is removed",
        f"payments--moved: promised {whole} on hub, but {whole} on edge is recorded there. The promise is corrected",
        f"payments--other: promised {whole} on hub, but {whole.replace('cpu 1', 'cpu 2')} on hub is recorded there. "
        "The promise is corrected",
        f"payments--unknown: nothing promised, but {whole} on edge is recorded there. Now it is",
    ]
    assert fleet.correct(check=True) == lines
    assert fleet.promised() == wanted
    assert fleet.correct() == lines
    found = {
        name.removeprefix("payments--"): (one.host, one.resources["cpu"]) for name, one in fleet.promised().items()
    }
    assert found == {
        "same": ("hub", "1"),
        "other": ("hub", "2"),
        "moved": ("edge", "1"),
        "unknown": ("edge", "1"),
        "begun": ("edge", "1"),
    }
    assert fleet.correct() == []


def test_promise_that_neither_record_nor_quota_of_the_host_has_ends(fleet: FakeFleet) -> None:
    """A run was killed after it had promised a device."""
    fleet.add(fleet.hub, "dev", 1)
    fleet.correct()
    more = {**part(1), "nvidia.com/gpu": "2"}
    promises.update(fleet.hub, fleet.record(), lambda before: {**before, "payments--dev": Promise.of("hub", more)})
    (line,) = fleet.correct()
    assert "nvidia.com/gpu 2 on hub, but" in line
    assert "nvidia.com/gpu" not in fleet.promised()["payments--dev"].resources
    promises.update(fleet.hub, fleet.record(), lambda before: {**before, "payments--dev": Promise.of("hub", more)})
    hard = {"spec": {"hard": {"requests.nvidia.com/gpu": "1"}}}
    fleet.hub.merge("v1/ResourceQuota", "vcluster", "payments--dev", hard)
    fleet.correct()
    assert fleet.promised()["payments--dev"].resources["nvidia.com/gpu"] == "1"
    assert fleet.correct() == []


def test_unreadable_promises_are_rebuilt_with_a_warning(fleet: FakeFleet) -> None:
    fleet.add(fleet.edge, "far", 4)
    fleet.lose("{")
    (line,) = fleet.correct()
    assert "annotation tenantry.dev/promises of ConfigMap tenant in tenant-payments: cannot be read" in line
    assert list(fleet.promised()) == ["payments--far"]


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


def test_deleted_one_counts_until_it_is_gone(fleet: FakeFleet) -> None:
    fleet.add(fleet.edge, "far", 5)
    fleet.correct()
    state = FleetState(fleet)
    assert reserve(state, leaving=["payments--far"]) == {}
    fleet.silent = True  # before the deletion has begun
    assert "cpu 5 asked for, but 3 left" in refused(fleet, spec("new", 5))
    fleet.silent = False
    state.quotas.settle({"payments--far": None})
    assert fleet.promised() == {}


def test_of_two_with_one_name_the_promised_counts(fleet: FakeFleet) -> None:
    """The administrator of a member can create any namespace there."""
    fleet.add(fleet.hub, "dev", 3)
    fleet.correct()
    fleet.add(fleet.edge, "dev", 1)
    assert FleetState(fleet).found["payments--dev"].host.name == "hub"
    assert fleet.correct() == []


def test_another_of_that_name_does_not_take_the_place_of_a_silent_one(fleet: FakeFleet) -> None:
    fleet.add(fleet.edge, "far", 3)
    fleet.correct()
    fleet.add(fleet.hub, "far", 1)
    fleet.silent = True
    for wanted in (None, "hub", "edge"):
        with pytest.raises(Unreachable, match="far is on edge, which does not answer: edge is"):
            FleetState(fleet).host_of("payments", "payments--far", wanted)
    assert fleet.promised()["payments--far"].host == "edge"


def test_deletion_of_what_another_run_creates_leaves_its_promise(fleet: FakeFleet) -> None:
    state, new = FleetState(fleet), spec("new", 5)
    assert reserve(FleetState(fleet), new) == {}
    written = fleet.promised()
    for mine in (state, FleetState(fleet)):
        assert reserve(mine, leaving=[new.namespace]) == {}
        mine.quotas.settle({new.namespace: None})
        assert fleet.promised() == written


def test_promises_that_cannot_be_compared_stop_their_tenant_only(
    fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for obj in tenant_objects("research", QUOTA, "research"):
        fleet.hub.apply(obj)
    add_vcluster(fleet.hub, "payments", "dev", {"resources": part(3), "format": 1}, None)
    find = corrections.find

    def fails(known: dict, reality: corrections.Reality) -> Any:
        if reality.found:
            raise KeyError("odd")
        return find(known, reality)

    monkeypatch.setattr(corrections, "find", fails)
    (line,) = fleet.correct()
    assert "promises of tenant payments: cannot be compared" in line
    assert "promises of tenant payments: cannot be compared" in refused(fleet, spec("new", 1))
    lab = parse(make_item(tenant="research", name="lab", agents=0, resources=part(3))).wanted
    assert FleetState(fleet).quotas.over_quota([lab], []) == {}
    fleet.lose()
    fleet.correct()
    assert not promises.are_kept(fleet.record())
