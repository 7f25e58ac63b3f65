"""FLEET-1, FLEET-2: what a quota has left while a member is silent, and how promises follow what the hosts have."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import CONFIG_MAP
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import corrections, promises
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import RECORD, tenant_objects
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.promises import Promise
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_state import FleetState, Unreachable
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import parse

from .._tenant.fleet import add_vcluster
from .example import make_item
from .fleet_world import QUOTA, SPACE, FakeFleet, part, refused, reserve, spec


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
