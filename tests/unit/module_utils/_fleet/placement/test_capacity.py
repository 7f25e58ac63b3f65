from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core.labels import Taint, Toleration
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.capacity import Host
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.model import Pods

from .example import member, node, promise, request, resources


def test_free_is_allocatable_without_promises_and_others() -> None:
    host = Host(member("a", node(others=resources(1))), [promise("a", cpu=2), promise("a", cpu=3)])
    assert host.free("cpu", request()) == 2000
    assert host.vclusters == {"other": 2}


def test_free_counts_tainted_nodes_for_those_that_tolerate_them() -> None:
    host = Host(member("a", node("one"), node("two", taints=(Taint("gpu"),))), [])
    assert host.free("cpu", request()) == 8000
    assert host.free("cpu", request(node_tolerations=(Toleration("gpu", "Exists"),))) == 16000


def test_promise_takes_room_of_nodes() -> None:
    host, agents = Host(member("a"), []), (Pods("agent", 2, resources(3, "1Gi", 1)),)
    assert host.unassigned(agents) is None
    host.promise("payments", resources(6), agents)
    assert host.unassigned(agents) == (agents[0], 0)


def test_unassigned_places_the_largest_first() -> None:
    host = Host(member("a", node("one", 8, "4Gi"), node("two", 8, "2Gi")), [])
    small, large = Pods("small", 1, resources(1, "2Gi", 1)), Pods("large", 1, resources(1, "4Gi", 1))
    assert host.unassigned((small, large)) is None
