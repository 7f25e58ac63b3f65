"""What a placement is asked for, and when hosts are read for it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import Obstacle
from ansible_collections.tenantry.kube.plugins.module_utils._core.labels import Toleration
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement import facts
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.model import (
    NodeFacts,
    PlacementRequest,
    amounts,
)
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.registry import Fleet
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import promises
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import placement
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_state import FleetState
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.request import DesiredVCluster
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import parse

from .example import SHARED, make_item
from .fake_host import FakeHost

ROOM = amounts({"cpu": "4", "memory": "8Gi", "pods": "50"}, "test")


def request_of(**changes: Any) -> PlacementRequest:
    found = placement.request_of(parse(make_item(placement={}, **changes)))
    assert found
    return found


def desired(name: str = "dev", *, state: str = "present", host: str | None = None, **item: Any) -> DesiredVCluster:
    return DesiredVCluster("payments", name, state, host, None, None, make_item(name=name, **item))


@pytest.fixture
def places() -> FleetState:
    hub = FakeHost.hub()
    return FleetState(Fleet(hub, [], lambda *_of: hub))  # type: ignore[arg-type,return-value]  # a fake


def test_request_of_without_the_option_is_none() -> None:
    assert placement.request_of(parse(make_item())) is None


def test_request_of_dedicated_has_its_pods() -> None:
    found = request_of(agents=2, agent={"tolerations": [{"key": "gpu", "operator": "Exists"}]})
    assert (found.shared, found.minor, found.needs_default_storage_class) == (False, 34, True)
    assert [(one.part, one.count) for one in found.pods] == [("server", 1), ("agent", 2)]
    assert (found.pods[1].requests["cpu"], found.pods[1].requests["pods"]) == (250, 1000)  # a quarter, in tier dev
    assert found.pods[0].requests["cpu"] == 50, "a server requests less, as it is rendered"
    assert found.node_tolerations == (Toleration("gpu", "Exists"),)
    assert found.amounts["cpu"] == 3000


def test_request_of_shared_has_its_classes_and_extended_resources() -> None:
    gpu = {"nvidia.com/gpu": "2"}
    classes = {"storage_classes": ["fast"], "ingress_classes": ["nginx"], "ingress_hosts": ["*"]}
    asked = {**SHARED, **classes, "resources": {**SHARED["resources"], "extended": gpu}}
    found = request_of(**asked, persistence={"storage_class": "slow"})
    assert (found.storage_classes, found.ingress_classes) == ({"fast", "slow"}, {"nginx"})
    assert not found.needs_default_storage_class
    assert found.amounts["nvidia.com/gpu"] == 2000
    assert found.node_tolerations == (Toleration("nvidia.com/gpu", "Exists"),)


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"placement": {}, "host": "hub"},
        {"placement": {}, "state": "absent"},
        {"placement": {"spread_by": "a b"}},
    ],
)
def test_place_new_reads_no_host_in_vain(places: FleetState, monkeypatch: pytest.MonkeyPatch, item: dict) -> None:
    monkeypatch.setattr(facts, "read", None)
    assert placement.place_new(places, [desired(**item)]) == {}


def test_place_new_leaves_an_existing_one(places: FleetState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "read", None)
    places.found["payments--dev"] = SimpleNamespace(host=places.fleet.hub, record=None)  # type: ignore[assignment]
    places.found["payments--dev"].record = SimpleNamespace(mode="dedicated")  # type: ignore[misc]
    assert placement.place_new(places, [desired(placement={})]) == {}


def test_place_new_may_exist_on_a_silent_member_gets_none(places: FleetState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "read", None)
    places.unreachable["edge"] = "no answer"
    assert placement.place_new(places, [desired(placement={})]) == {}


def test_place_new_reads_only_hosts_that_labels_allow(places: FleetState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "read", None)
    decided = placement.place_new(places, [desired(placement={"match_labels": {"region": "eu"}})])
    assert [one["excluded_by"] for one in decided["payments--dev"].as_row()["members"]] == ["LabelSelector"]


def test_place_new_unreadable_host_is_excluded(places: FleetState, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_of: Any) -> None:
        raise Obstacle("forbidden")

    monkeypatch.setattr(facts, "read", read)
    (row,) = placement.place_new(places, [desired(placement={})])["payments--dev"].as_row()["members"]
    assert (row["excluded_by"], row["reason"]) == ("Reachable", "forbidden")


def test_place_new_counts_what_other_runs_are_creating(places: FleetState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "read", lambda known, *_of: replace(known, nodes=(NodeFacts("one", ROOM),)))
    item = desired(placement={}, persistence={"type": "none"}, agents=0)
    before = placement.place_new(places, [item])["payments--dev"].as_row()
    being_created = {"payments--other": promises.Promise("hub", {"cpu": "2", "memory": "1Gi", "pods": "1"}, "")}
    monkeypatch.setattr(promises, "of", lambda _record: being_created)
    after = placement.place_new(places, [item])["payments--dev"].as_row()
    assert (before["members"][0]["scores"]["allocatable_cpu"], before["host"]) == (75, "hub")
    assert after["members"][0]["scores"]["allocatable_cpu"] == 25
