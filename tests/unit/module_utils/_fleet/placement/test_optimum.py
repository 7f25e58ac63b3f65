"""FLEET-5: placements of random fleets, against the optimum that OR-tools' CP-SAT finds of the same scores."""

from __future__ import annotations

import os
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import chain, combinations

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.capacity import Host
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.decide import place
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.model import (
    Decision,
    MemberFacts,
    PlacementRequest,
    Promise,
    Score,
)

from .example import member, node, promise, request

cp_model = pytest.importorskip("ortools.sat.python.cp_model", reason="the oldest packages are tested without OR-tools")
FLEETS = 1000 if os.environ.get("TENANTRY_NIGHTLY") else 50
Subset = tuple[int, ...]
PLACED = 10_000  # more than all scores together: first as many as possible, then the best


def at_random(seed: int) -> tuple[list[PlacementRequest], list[MemberFacts], list[Promise]]:
    dice = random.Random(seed)
    members = [
        member(
            f"host-{number}",
            *(node(f"node-{one}", dice.choice([4, 8, 16]), dice.choice(["8Gi", "32Gi"])) for one in range(3)),
            labels={"region": dice.choice(["eu", "us", "asia"])},
        )
        for number in range(dice.randint(2, 4))
    ]
    requests = [
        request(
            f"{dice.choice(['payments', 'research'])}--{number}",
            dice.choice([1, 2, 4, 8]),
            f"{dice.choice([2, 4, 8, 16])}Gi",
            spread_by=dice.choice([None, "region"]),
            match_labels=dice.choice([{}, {}, {}, {"region": "eu"}]),
        )
        for number in range(dice.randint(2, 6))
    ]
    promises = [
        promise(dice.choice(members).name, dice.choice(["payments", "other"]), dice.choice([1, 4]), "4Gi")
        for _one in range(dice.randint(0, 6))
    ]
    return requests, members, promises


class Optimum:
    """The same rules and scores as a model of CP-SAT, with a variable for each subset that a host, or region, can get.

    The requests are in the order in which they are placed, because each has its score at that moment.
    """

    def __init__(self, decisions: Sequence[Decision], members: list[MemberFacts], promises: list[Promise]) -> None:
        self.model = cp_model.CpModel()
        self.requests = [one.request for one in decisions]
        self.hosts = [Host(one, [each for each in promises if each.member == one.name]) for one in members]
        self.value: cp_model.LinearExprT = 0
        by_region: dict[str, list[Host]] = defaultdict(list)
        for host in self.hosts:
            by_region[host.facts.labels["region"]].append(host)
        on = {
            host.facts.name: self._subsets(lambda subset, host=host: self._on_host(subset, host)) for host in self.hosts
        }
        for i in range(len(decisions)):
            self.model.add_at_most_one(var for of_host in on.values() for subset, var in of_host if i in subset)
        for hosts in by_region.values():
            within = self._subsets(lambda subset, hosts=hosts: self._in_region(subset, hosts))
            for i in range(len(decisions)):
                here = [var for host in hosts for subset, var in on[host.facts.name] if i in subset]
                self.model.add(sum(here) == sum(var for subset, var in within if i in subset))
        self.count = sum(len(subset) * var for of_host in on.values() for subset, var in of_host)

    def solve(self) -> tuple[int, int]:
        """Return how many can be placed, and the highest sum of their scores."""
        self.model.maximize(PLACED * self.count + self.value)
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        assert solver.solve(self.model) == cp_model.OPTIMAL
        return solver.value(self.count), solver.value(self.value)

    def _subsets(self, score: Callable[[Subset], int | None]) -> list[tuple[Subset, cp_model.IntVar]]:
        """Return a variable for each subset that has a score, of which one is chosen."""
        found = []
        for subset in chain.from_iterable(
            combinations(range(len(self.requests)), n) for n in range(len(self.requests) + 1)
        ):
            if (value := score(subset)) is not None:
                var = self.model.new_bool_var("")
                self.value += value * var
                found.append((subset, var))
        self.model.add_exactly_one(var for _subset, var in found)
        return found

    def _on_host(self, subset: Subset, host: Host) -> int | None:
        """Return the scores for what is left, or None if they do not fit."""
        free = {name: host.free(name, self.requests[0]) for name in ("cpu", "memory", "pods")}
        have, total = host.totals(())[0], 0
        for one in (self.requests[i] for i in subset):
            free = {name: amount - one.amounts[name] for name, amount in free.items()}
            if min(free.values()) < 0 or not one.match_labels.items() <= host.facts.labels.items():
                return None
            total += sum(
                one.weights[f"allocatable_{name}"] * (100 * free[name] // have[name]) for name in ("cpu", "memory")
            )
        return total

    def _in_region(self, subset: Subset, hosts: list[Host]) -> int:
        """Return the scores for the spread over regions."""
        there = sum((host.vclusters for host in hosts), Counter())
        total = 0
        for one in (self.requests[i] for i in subset):
            total += one.weights["spread"] * (100 // (1 + there[one.tenant])) if one.spread_by else 0
            there[one.tenant] += 1
        return total


def _achieved(decisions: Sequence[Decision]) -> tuple[int, int]:
    chosen = [one.members[one.host] for one in decisions if one.host]
    return len(chosen), sum(one.total for one in chosen if isinstance(one, Score))


def test_place_within_five_percent_of_the_optimum() -> None:
    ours = [0, 0]
    optimal = [0, 0]
    worst = 1.0
    for seed in range(FLEETS):
        requests, members, promises = at_random(seed)
        decisions = list(place(requests, members, promises).values())
        achieved, possible = _achieved(decisions), Optimum(decisions, members, promises).solve()
        assert achieved <= possible, f"fleet {seed}: better than what is feasible"
        ours[0], optimal[0] = ours[0] + achieved[0], optimal[0] + possible[0]
        if achieved[0] == possible[0] > 0:
            ours[1], optimal[1] = ours[1] + achieved[1], optimal[1] + possible[1]
            worst = min(worst, achieved[1] / possible[1])
    print(f"{FLEETS} fleets: placed {ours[0]} of {optimal[0]}, scores {ours[1]} of {optimal[1]}, worst {worst:.3f}")
    assert ours[0] >= 0.95 * optimal[0]
    assert ours[1] >= 0.95 * optimal[1]
