"""FLEET-5: a placement is feasible, independent of the order of inputs, and explained for every host."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import Obstacle
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement import rules
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.decide import host_of, place
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.model import (
    Decision,
    Exclusion,
    MemberFacts,
    PlacementRequest,
    Promise,
    Score,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from .example import fleets, member, node, promise, request

Fleet = tuple[list[PlacementRequest], list[MemberFacts], list[Promise]]


def chosen(*requests: PlacementRequest, members: Sequence[MemberFacts], promises: Sequence[Promise] = ()) -> list:
    decided = place(requests, members, promises)
    return [decided[one.name].host for one in requests]


def rows(fleet: Fleet) -> dict[str, dict]:
    return {name: decision.as_row() for name, decision in place(*fleet).items()}


def test_place_prefers_the_host_with_the_most_left() -> None:
    members = [member("a"), member("b")]
    assert chosen(request(), members=members, promises=[promise("a")]) == ["b"]
    assert chosen(request(), members=members, promises=[promise("b")]) == ["a"]


def test_place_equal_scores_first_by_name() -> None:
    assert chosen(request(), members=[member("b"), member("c"), member("a")]) == ["a"]


def test_place_counts_requests_of_one_call() -> None:
    both = [request("payments--one", cpu=6), request("payments--two", cpu=6)]
    assert sorted(chosen(*both, members=[member("a"), member("b")])) == ["a", "b"]
    assert chosen(*both, members=[member("a")]) == ["a", None]


def test_place_largest_first_leaves_room_for_it() -> None:
    requests = [request("payments--a", cpu=2), request("payments--b", cpu=2), request("payments--z", cpu=7)]
    assert None not in chosen(*requests, members=[member("a"), member("b")])


def test_place_negative_weight_fills_the_fullest_host() -> None:
    packing = {"allocatable_cpu": -1, "allocatable_memory": -1, "spread": 0}
    members = [member("a"), member("b")]
    assert chosen(request(weights=packing), members=members, promises=[promise("b")]) == ["b"]


def test_place_spreads_a_tenant_over_a_label() -> None:
    members = [
        member("a", labels={"region": "eu"}),
        member("b", labels={"region": "eu"}),
        member("c", node(cpu=4, memory="8Gi"), labels={"region": "us"}),
    ]
    spread = request(spread_by="region")
    assert chosen(spread, members=members) == ["a"]
    assert chosen(spread, members=members, promises=[promise("a", "payments")]) == ["c"]
    assert chosen(spread, members=members, promises=[promise("a", "research")]) == ["b"]


def test_host_of_names_what_every_host_lacks() -> None:
    eu = {"region": "eu"}
    members = [
        member("full", labels=eu),
        member("other", labels={"region": "us"}),
        member("small", node(cpu=2), labels=eu),
        member("silent", problem="no answer in time"),
    ]
    asked = request(cpu=4, match_labels=eu)
    decision = place([asked], members, [promise("full", cpu=5)])[asked.name]
    with pytest.raises(Obstacle) as raised:
        host_of(decision)
    message = str(raised.value)
    assert (
        "full: Capacity: cpu 4 asked for, but 3 free, 1 too little (8 allocatable, 5 promised to virtual clusters, "
        "0 requested by other pods)" in message
    )
    assert "small: Capacity: cpu 4 asked for, but 2 free, 2 too little" in message
    assert "other: LabelSelector: region=eu required, and it has region=us" in message
    assert "silent: Reachable: no answer in time" in message
    assert message.index("full:") < message.index("small:") < message.index("other:") < message.index("silent:")


def test_host_of_many_hosts_limits_the_reasons() -> None:
    decision = place([request(cpu=99)], [member(f"host-{number:03}") for number in range(100)], [])["payments--dev"]
    with pytest.raises(Obstacle, match=r"\| and 80 more\. Free capacity"):
        host_of(decision)


def _check_feasible(fleet: Fleet, decided: dict[str, Decision]) -> None:
    """Count again, by other means, that no chosen host has less than it promises."""
    requests, members, promises = fleet
    facts = {one.name: one for one in members}
    on_host = [(one.member, one.amounts) for one in promises]
    on_host += [(decided[one.name].host or "", one.amounts) for one in requests]
    for one in requests:
        host = facts.get(decided[one.name].host or "")
        if host is None:
            continue
        assert not host.problem
        assert one.match_labels.items() <= host.labels.items()
        assert all(any(t.key in ("", taint.key) for t in one.tolerations) for taint in host.taints)
        assert one.storage_classes <= host.storage_classes
        assert one.ingress_classes <= host.ingress_classes
        assert not one.shared or (not host.shared_problem and (host.minor is None or abs(host.minor - one.minor) <= 3))
        assert host.has_default_storage_class or not one.needs_default_storage_class
        usable = [each for each in host.nodes if not each.taints or one.node_tolerations]
        for resource in ("cpu", "memory", "pods"):
            # Of those placed after it, some may use tainted nodes that this one cannot.
            promised = sum(each[resource] for name, each in on_host if name == host.name)
            have = sum(each.allocatable[resource] - each.others[resource] for each in host.nodes)
            assert promised <= have
            assert one.amounts[resource] <= sum(each.allocatable[resource] - each.others[resource] for each in usable)


@given(fleets())
@settings(max_examples=100, deadline=None)
def test_place_is_feasible_and_explained(fleet: Fleet) -> None:
    requests, members, _promises = fleet
    decided = place(*fleet)
    assert set(decided) == {one.name for one in requests}
    for decision in decided.values():
        assert set(decision.members) == {one.name for one in members}
        scores = {name: one.total for name, one in decision.members.items() if isinstance(one, Score)}
        excluded = [one for one in decision.members.values() if isinstance(one, Exclusion)]
        assert all(one.rule in rules.ORDER and one.message for one in excluded)
        best = max(scores.values(), default=None)
        assert decision.host == min((name for name in scores if scores[name] == best), default=None)
    _check_feasible(fleet, decided)


@given(fleets(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_place_same_in_any_order(fleet: Fleet, order: random.Random) -> None:
    shuffled = tuple(order.sample(one, len(one)) for one in fleet)
    assert rows(shuffled) == rows(fleet)  # type: ignore[arg-type]


def test_place_thousand_hosts_in_two_seconds() -> None:
    """1,000 hosts with 10,000 virtual clusters, and 50 more."""
    dice = random.Random(1)
    members = [
        member(f"host-{number}", *(node(f"node-{one}", 64, "256Gi", 1000) for one in range(3)))
        for number in range(1000)
    ]
    promises = [promise(f"host-{dice.randrange(1000)}", f"tenant-{dice.randrange(100)}") for _one in range(10_000)]
    requests = [request(f"tenant-{number}--new", cpu=dice.choice([1, 2, 500])) for number in range(50)]
    began = time.process_time()
    decided = place(requests, members, promises)
    assert time.process_time() - began <= 2
    assert {one.host is None for one in decided.values()} == {True, False}  # the large ones fit nowhere
