# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host still has for virtual clusters, while those of a call are placed one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ansible_collections.tenantry.kube.plugins.module_utils._core.labels import Toleration, untolerated
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.model import (
    Amounts,
    MemberFacts,
    NodeFacts,
    PlacementRequest,
    Pods,
    Promise,
)


class Host:
    """A host with what it has promised so far."""

    def __init__(self, facts: MemberFacts, promises: Iterable[Promise]) -> None:
        self.facts = facts
        self.promised: Counter[str] = Counter()
        self.vclusters: Counter[str] = Counter()  # by tenant
        self._rooms = [_room(node) for node in facts.nodes]
        self._totals: dict[tuple[Toleration, ...], tuple[Counter[str], Counter[str]]] = {}
        for promise in promises:
            self.promise(promise.tenant, promise.amounts)

    def promise(self, tenant: str, amounts: Amounts, pods: Iterable[Pods] = ()) -> None:
        """Count a virtual cluster that is on this host, or will be. Its pods must fit."""
        self.promised.update(amounts)
        self.vclusters[tenant] += 1
        for index, room in self._assigned(pods)[0].items():
            self._rooms[index] = room

    def totals(self, tolerations: tuple[Toleration, ...]) -> tuple[Amounts, Amounts]:
        """Return what the nodes have that pods with these tolerations can use, and what other pods there request."""
        if tolerations not in self._totals:
            allocatable: Counter[str] = Counter()
            others: Counter[str] = Counter()
            for node in self.facts.nodes:
                if not untolerated(node.taints, tolerations):
                    allocatable.update(node.allocatable)
                    others.update(node.others)
            self._totals[tolerations] = allocatable, others
        return self._totals[tolerations]

    def free(self, resource: str, request: PlacementRequest) -> int:
        """Return allocatable - promised - requests of others. It may be negative."""
        allocatable, others = self.totals(request.node_tolerations)
        return allocatable.get(resource, 0) - self.promised[resource] - others.get(resource, 0)

    def unassigned(self, pods: Iterable[Pods]) -> tuple[Pods, int] | None:
        """Return pods for which no node has room, and how many of them found one. None if all did."""
        return self._assigned(pods)[1]

    def largest_free_node(self, pods: Pods) -> tuple[NodeFacts, Amounts] | None:
        """Return the node with the most memory and CPU free of those that these pods may run on, or None."""
        nodes = [(node, room) for node, room in zip(self.facts.nodes, self._rooms, strict=True) if _admits(node, pods)]
        return max(nodes, key=lambda one: (one[1].get("memory", 0), one[1].get("cpu", 0)), default=None)

    def _assigned(self, pods: Iterable[Pods]) -> tuple[dict[int, dict[str, int]], tuple[Pods, int] | None]:
        """Assign the largest pods first, each to the node with the least memory left. Return the rooms that changed."""
        rooms: dict[int, dict[str, int]] = {}
        for part in sorted(pods, key=lambda one: (-one.requests.get("memory", 0), -one.requests.get("cpu", 0))):
            taken: set[int] = set()
            for number in range(part.count):
                index = self._best(part, rooms, taken)
                if index is None:
                    return rooms, (part, number)
                room = rooms.get(index, self._rooms[index])
                rooms[index] = {name: amount - part.requests.get(name, 0) for name, amount in room.items()}
                taken.update([index] if part.apart else [])
        return rooms, None

    def _best(self, part: Pods, rooms: dict[int, dict[str, int]], taken: set[int]) -> int | None:
        fitting = []
        for index, node in enumerate(self.facts.nodes):
            room = rooms.get(index, self._rooms[index])
            if (
                index not in taken
                and all(room.get(name, 0) >= amount for name, amount in part.requests.items())
                and _admits(node, part)
            ):
                fitting.append((room.get("memory", 0), node.name, index))
        return min(fitting)[2] if fitting else None


def _room(node: NodeFacts) -> dict[str, int]:
    return {name: amount - node.requested.get(name, 0) for name, amount in node.allocatable.items()}


def _admits(node: NodeFacts, pods: Pods) -> bool:
    """Return whether pods may run on a node, whatever room it has."""
    labels = node.labels
    return all(labels.get(key) == value for key, value in pods.node_selector.items()) and not untolerated(
        node.taints, pods.tolerations
    )
