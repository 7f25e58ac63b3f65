# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a placement is decided by, and the decision. Pure.

Amounts are whole thousandths of the base unit (millicores, thousandths of bytes and pieces), by resource.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.labels import Taint, Toleration

Amounts = Mapping[str, int]

# Of hosts, their capacity is known. That of storage is not: a storage class does not tell it.
COMPUTE = ("cpu", "memory", "pods")
# The scorers, with the weight that each has if it is not set.
ALLOCATABLE_CPU, ALLOCATABLE_MEMORY, SPREAD = "allocatable_cpu", "allocatable_memory", "spread"
WEIGHTS = {ALLOCATABLE_CPU: 1, ALLOCATABLE_MEMORY: 1, SPREAD: 1}


def amounts(resources: Mapping[str, str], where: str) -> dict[str, int]:
    """Return the amounts of CPU, memory, pods and extended resources."""
    return {
        name: quantities.milli(value, f"{where}.{name}")
        for name, value in resources.items()
        if name in COMPUTE or "/" in name or name.startswith("hugepages-")
    }


@lru_cache(maxsize=4096)
def as_text(resource: str, amount: int) -> str:
    """Return an amount as a quantity."""
    exact = quantities.parse(f"{amount}m", resource)
    return quantities.display(exact, binary=resource == "memory" or resource.startswith("hugepages-"))


@dataclass(frozen=True)
class NodeFacts:
    """A node that is ready and schedulable, and that k3s can run on."""

    name: str
    allocatable: Amounts
    requested: Amounts = field(default_factory=dict)  # by all its pods
    others: Amounts = field(default_factory=dict)  # by its pods that belong to no virtual cluster
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()  # that keep pods from it


@dataclass(frozen=True)
class MemberFacts:
    """A host: the hub or a member."""

    name: str
    problem: str = ""  # why it cannot be used at all: it does not answer, or hides what a placement needs
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    minor: int | None = None  # of its Kubernetes version
    shared_problem: str = ""  # why mode shared is not possible
    storage_classes: frozenset[str] = frozenset()
    has_default_storage_class: bool = False
    ingress_classes: frozenset[str] = frozenset()
    nodes: tuple[NodeFacts, ...] = ()


@dataclass(frozen=True)
class Promise:
    """What a host has promised to an existing virtual cluster."""

    member: str
    tenant: str
    amounts: Amounts


@dataclass(frozen=True)
class Pods:
    """Pods of a virtual cluster that are alike: its servers or its agents."""

    part: str
    count: int
    requests: Amounts  # of each
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    apart: bool = False  # each on a node of its own


@dataclass(frozen=True)
class PlacementRequest:
    """A virtual cluster to place, and by what."""

    name: str  # its namespace, which is unique
    tenant: str
    amounts: Amounts  # its resources, which the host promises
    shared: bool = True
    minor: int = 0  # of its Kubernetes version
    match_labels: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    spread_by: str | None = None
    weights: Mapping[str, int] = field(default_factory=lambda: dict(WEIGHTS))
    storage_classes: frozenset[str] = frozenset()
    needs_default_storage_class: bool = False
    ingress_classes: frozenset[str] = frozenset()
    pods: tuple[Pods, ...] = ()
    node_tolerations: tuple[Toleration, ...] = ()  # of any of its pods


@dataclass(frozen=True)
class Exclusion:
    """The one rule that excludes a host, with its reason."""

    rule: str
    message: str


@dataclass(frozen=True)
class Score:
    """The score of a host that fits: of each scorer 0 to 100, and their weighted sum."""

    total: int
    by_scorer: Mapping[str, int]


@dataclass(frozen=True)
class Decision:
    """The chosen host, or None if none fits, and an exclusion or a score of every host."""

    request: PlacementRequest
    host: str | None
    members: Mapping[str, Exclusion | Score]

    def as_row(self) -> dict[str, Any]:
        """Return the decision in plain types."""
        rows: list[dict[str, Any]] = []
        for name, one in sorted(self.members.items()):
            if isinstance(one, Score):
                rows.append({"name": name, "score": one.total, "scores": dict(one.by_scorer)})
            else:
                rows.append({"name": name, "excluded_by": one.rule, "reason": one.message})
        chosen = self.members.get(self.host or "")
        return {"host": self.host, "score": chosen.total if isinstance(chosen, Score) else None, "members": rows}
