"""What a virtual cluster becomes that does not say its mode: what it is already, and a new one shared."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import SPEC_ANNOTATION
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_state import FleetState
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.options import VClusterOptions
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.reconcile import Batch
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.request import DesiredVCluster
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import (
    VClusterSpec,
    check_change,
    parse,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.options import OPTIONS

from ..example import SHARED, make_item

RESOURCES = {"agents": 0, "resources": SHARED["resources"]}
UNSAID = {"mode": None, "kubeconfig_path": None}


class Fleet:
    """A hub with these namespaces of virtual clusters, and members that do not answer."""

    def __init__(self, *spaces: dict, down: tuple[str, ...] = ()) -> None:
        metadata = {"name": "tenant", "labels": naming.labels("tenant", tenant="payments")}
        record = {"metadata": metadata, "data": {"quota": "{}"}}
        self.hub = SimpleNamespace(name="hub", list=lambda _kind, selector: [record])
        self._spaces, self._down = spaces, down

    def vclusters(self) -> tuple[list, dict[str, str]]:
        return [VirtualCluster(self.hub, space) for space in self._spaces], {
            name: f"{name} is down" for name in self._down
        }

    def cluster(self, _name: str) -> SimpleNamespace:
        return self.hub


def namespace(record: str) -> dict:
    labels = naming.labels("vcluster", tenant="payments", vcluster="dev")
    return {"metadata": {"name": "payments--dev", "labels": labels, "annotations": {SPEC_ANNOTATION: record}}}


def made(**changes: Any) -> Fleet:
    return Fleet(namespace(parse(make_item(**changes)).record("").as_text()))


def placed(fleet: Fleet, **changes: Any) -> Batch:
    """The item of the example with changes, as far as it gets before anything of the host is looked at."""
    desired = DesiredVCluster.of({**make_item(), **UNSAID, **changes})
    batch = Batch(SimpleNamespace(), FleetState(fleet), [desired], VClusterOptions(True, 1))
    batch._place(desired)
    return batch


def spec_of(fleet: Fleet, **changes: Any) -> VClusterSpec:
    return placed(fleet, **changes).specs["payments--dev"]


def test_the_module_has_no_default_which_could_not_be_distinguished_from_a_wish():
    assert "default" not in OPTIONS["mode"]
    assert OPTIONS["mode"]["choices"][0] == "shared"


def test_a_new_one_is_shared():
    assert spec_of(Fleet(), **RESOURCES).mode == "shared"


def test_a_new_one_can_have_nodes_of_its_own():
    spec = spec_of(Fleet(), mode="dedicated")
    assert (spec.mode, spec.agents) == ("dedicated", 1)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"agents": 0},
            r"^resources\.cpu, resources\.memory, resources\.pods: required .* more than 1500m, .* mode: dedicated",
        ),
        ({"agents": 0, "resources": {"cpu": "4", "memory": "4Gi"}}, r"^resources\.pods: required .* mode: dedicated"),
        ({"agents": 2}, "^agents: must be 0 .* mode: dedicated"),
        ({**RESOURCES, "agents": 2}, "^agents: must be 0 .* mode: dedicated"),
        ({**RESOURCES, "cluster_cidr": "10.60.0.0/16"}, "^cluster_cidr: applies to mode dedicated only"),
    ],
)
def test_a_new_one_that_cannot_be_shared_is_one_line_with_the_way_out(changes, told):
    with pytest.raises(TenantryError, match=told) as refused:
        placed(Fleet(), **changes)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("changes", [{"agents": 0}, {"agents": 2}, {"cluster_cidr": "10.52.0.0/16"}])
def test_a_dedicated_one_stays_so(changes):
    fleet = made()
    spec = spec_of(fleet, **changes)
    assert spec.mode == "dedicated"
    check_change(FleetState(fleet).found["payments--dev"].record, spec)


def test_a_shared_one_stays_so():
    fleet = made(**SHARED)
    spec = spec_of(fleet, **RESOURCES, pod_security="restricted")
    assert (spec.mode, spec.shared.pod_security) == ("shared", "restricted")
    check_change(FleetState(fleet).found["payments--dev"].record, spec)


@pytest.mark.parametrize(
    ("fleet", "wanted", "told"),
    [
        (made(), SHARED, "mode: cannot be changed from dedicated to shared"),
        (made(**SHARED), {"mode": "dedicated"}, "mode: cannot be changed from shared to dedicated"),
    ],
)
def test_a_change_that_is_asked_for_is_refused(fleet, wanted, told):
    spec = spec_of(fleet, **wanted)
    with pytest.raises(TenantryError, match=told):
        check_change(FleetState(fleet).found["payments--dev"].record, spec)


@pytest.mark.parametrize("record", ["{", "{}", json.dumps({"agents": 1}), json.dumps({"mode": "both"})])
def test_one_whose_record_is_lost_is_not_guessed(record):
    fleet = Fleet(namespace(record))
    with pytest.raises(TenantryError, match=r"^mode: missing, .* Set the mode it was created with"):
        placed(fleet)
    assert spec_of(fleet, mode="dedicated").mode == "dedicated"


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "latest"},
        {**RESOURCES, "version": "latest"},
        {"agents": 101},
        {"mode": "shared", "agents": 2},
        {"mode": "dedicated", "pod_security": "baseline"},
    ],
)
def test_what_is_wrong_in_any_mode_is_refused_without_the_fleet(changes):
    with pytest.raises(TenantryError):
        DesiredVCluster.of({**make_item(agents=0), **UNSAID, **changes})


@pytest.mark.parametrize(
    ("fleet", "changes", "told"),
    [
        (Fleet(), {"pod_security": "restricted", "agents": 0}, r"^resources\.cpu"),
        (Fleet(), {"version": "latest", "agents": 2}, "^agents"),
        (made(), {"version": "latest", "agents": 2}, "^version"),
        (made(**SHARED), {"version": "latest", "agents": 2}, "^agents"),
    ],
)
def test_what_is_wrong_in_each_mode_differently_is_reported_for_the_one_it_has(fleet, changes, told):
    with pytest.raises(TenantryError, match=told):
        placed(fleet, **changes)


def test_one_on_a_member_that_is_down_has_no_mode_yet():
    batch = placed(Fleet(down=("edge",)), agents=0)
    assert "edge is down" in batch.stopped["payments--dev"].problem
    assert batch.specs == {}


def test_the_absent_have_no_mode():
    assert placed(made(**SHARED), state="absent", version=None).specs == {}
