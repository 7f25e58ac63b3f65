"""Hosts and requests of placements, by few words, and at random."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core.labels import Taint, Toleration
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.model import (
    WEIGHTS,
    MemberFacts,
    NodeFacts,
    PlacementRequest,
    Pods,
    Promise,
    amounts,
)
from hypothesis import strategies as st


def resources(cpu: float = 1, memory: str = "1Gi", pods: int = 10) -> dict[str, int]:
    return amounts({"cpu": str(cpu), "memory": memory, "pods": str(pods)}, "test")


def node(name: str = "node", cpu: float = 8, memory: str = "16Gi", pods: int = 110, **more: Any) -> NodeFacts:
    return NodeFacts(name, resources(cpu, memory, pods), **more)


def member(name: str, *nodes: NodeFacts, labels: Mapping[str, str] | None = None, **more: Any) -> MemberFacts:
    usual = {"minor": 37, "has_default_storage_class": True, "storage_classes": frozenset({"standard"})}
    return MemberFacts(name, labels=labels or {}, nodes=nodes or (node(),), **{**usual, **more})


def request(name: str = "payments--dev", cpu: float = 1, memory: str = "1Gi", **more: Any) -> PlacementRequest:
    asked = resources(cpu, memory, more.pop("pod_count", 10))
    return PlacementRequest(name, name.partition("--")[0], asked, **{"minor": 37, **more})


def promise(host: str, tenant: str = "other", cpu: float = 1, memory: str = "1Gi") -> Promise:
    return Promise(host, tenant, resources(cpu, memory))


_LABELS = st.fixed_dictionaries({}, optional={"region": st.sampled_from(["eu", "us"]), "tier": st.just("a")})
_TAINTS = st.lists(st.builds(Taint, st.sampled_from(["gpu", "old"]), st.sampled_from(["", "x"])), max_size=1)
_TOLERATIONS = st.lists(
    st.builds(Toleration, st.sampled_from(["gpu", "old", ""]), st.sampled_from(["Exists"])), max_size=1
)


@st.composite
def _nodes(draw: st.DrawFn) -> tuple[NodeFacts, ...]:
    sizes = draw(st.lists(st.tuples(st.integers(1, 16), st.integers(1, 32), st.integers(0, 3)), max_size=3))
    return tuple(
        node(
            f"node-{number}",
            cpu,
            f"{memory}Gi",
            requested=resources(cpu / 2, "512Mi", 5),
            others=resources(cpu / 4, "256Mi", 3),
            taints=(Taint("gpu"),) if tainted == 0 else (),
        )
        for number, (cpu, memory, tainted) in enumerate(sizes)
    )


@st.composite
def _members(draw: st.DrawFn) -> list[MemberFacts]:
    return [
        MemberFacts(
            f"host-{number}",
            draw(st.sampled_from(["", "", "", "no answer"])),
            draw(_LABELS),
            tuple(draw(_TAINTS)),
            draw(st.sampled_from([30, 36, 37, None])),
            draw(st.sampled_from(["", "", "", "two service networks"])),
            draw(st.sampled_from([frozenset(), frozenset({"standard"})])),
            draw(st.booleans()),
            draw(st.sampled_from([frozenset(), frozenset({"nginx"})])),
            draw(_nodes()),
        )
        for number in range(draw(st.integers(0, 5)))
    ]


@st.composite
def _requests(draw: st.DrawFn) -> list[PlacementRequest]:
    found = []
    for number in range(draw(st.integers(1, 6))):
        agents = draw(st.integers(0, 3))
        found.append(
            request(
                f"{draw(st.sampled_from(['payments', 'research']))}--{number}",
                draw(st.integers(1, 8)),
                f"{draw(st.integers(1, 16))}Gi",
                shared=not agents,
                match_labels=draw(st.sampled_from([{}, {}, {"region": "eu"}])),
                tolerations=tuple(draw(_TOLERATIONS)),
                spread_by=draw(st.sampled_from([None, "region"])),
                weights={name: draw(st.integers(-10, 10)) for name in WEIGHTS},
                storage_classes=draw(st.sampled_from([frozenset(), frozenset({"standard"})])),
                needs_default_storage_class=draw(st.booleans()),
                ingress_classes=draw(st.sampled_from([frozenset(), frozenset({"nginx"})])),
                pods=(Pods("agent", agents, resources(1, "2Gi", 1), apart=draw(st.booleans())),) if agents else (),
                node_tolerations=(Toleration("gpu", "Exists"),) if draw(st.booleans()) else (),
            )
        )
    return found


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[PlacementRequest], list[MemberFacts], list[Promise]]:
    """Requests, the hosts of a fleet and what these have promised."""
    members = draw(_members())
    names = [one.name for one in members] or ["gone"]
    promised = st.builds(promise, st.sampled_from(names), st.sampled_from(["payments", "other"]), st.integers(1, 8))
    return draw(_requests()), members, draw(st.lists(promised, max_size=6))
