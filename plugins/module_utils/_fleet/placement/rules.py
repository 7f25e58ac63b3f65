# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules by which a placement excludes hosts, in order: the first that applies is the reason. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ansible_collections.tenantry.kube.plugins.module_utils._core.labels import untolerated
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.capacity import Host
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.model import (
    COMPUTE,
    Exclusion,
    MemberFacts,
    PlacementRequest,
    as_text,
)

# Nodes run the pods of mode shared, as old as Kubernetes allows kubelets to be, and as new as was tested.
MOST_SKEW = 3

_Rule = Callable[[PlacementRequest, Host], str]  # returns the reason, or an empty string


def excluded(request: PlacementRequest, host: Host) -> Exclusion | None:
    """Return the first rule that excludes the host, or None if it fits."""
    for name, rule in _RULES.items():
        if reason := rule(request, host):
            return Exclusion(name, reason)
    return None


def is_selected(request: PlacementRequest, facts: MemberFacts) -> bool:
    """Return whether the host answers, and its labels and taints allow the request. The other rules need its state."""
    host = Host(facts, ())
    return not any(rule(request, host) for rule in _SELECTING.values())


def _reachable(_request: PlacementRequest, host: Host) -> str:
    return host.facts.problem


def _labels(request: PlacementRequest, host: Host) -> str:
    labels = host.facts.labels
    for key, value in sorted(request.match_labels.items()):
        if labels.get(key) != value:
            has = f"{key}={labels[key]}" if key in labels else f"no label {key}"
            return f"{key}={value} required, and it has {has}"
    return ""


def _taints(request: PlacementRequest, host: Host) -> str:
    taints = untolerated(host.facts.taints, request.tolerations) if host.facts.taints else []
    return f"the taint {taints[0]} is not tolerated" if taints else ""


def _nodes(_request: PlacementRequest, host: Host) -> str:
    if host.facts.nodes:
        return ""
    return "it has no ready and schedulable Linux node of amd64, arm64 or arm, which k3s runs on"


def _mode(request: PlacementRequest, host: Host) -> str:
    return host.facts.shared_problem if request.shared else ""


def _version(request: PlacementRequest, host: Host) -> str:
    minor = host.facts.minor
    if not request.shared or minor is None or abs(minor - request.minor) <= MOST_SKEW:
        return ""
    return (
        f"it runs Kubernetes 1.{minor}, more than {MOST_SKEW} minor versions from the virtual cluster's "
        f"1.{request.minor}"
    )


def _storage_classes(request: PlacementRequest, host: Host) -> str:
    if missing := request.storage_classes - host.facts.storage_classes:
        return _missing("StorageClass", missing)
    if request.needs_default_storage_class and not host.facts.has_default_storage_class:
        return "it has no default StorageClass, which persistence.storage_class would replace"
    return ""


def _ingress_classes(request: PlacementRequest, host: Host) -> str:
    missing = request.ingress_classes - host.facts.ingress_classes
    return _missing("IngressClass", missing) if missing else ""


def _missing(kind: str, names: Iterable[str]) -> str:
    return f"it has no {kind} {', '.join(sorted(names))}"


def _capacity(request: PlacementRequest, host: Host) -> str:
    lacking = [name for name, asked in request.amounts.items() if asked > host.free(name, request)]
    return "; ".join(_lack(name, request, host) for name in sorted(lacking, key=_order)) if lacking else ""


def _lack(name: str, request: PlacementRequest, host: Host) -> str:
    allocatable, others = host.totals(request.node_tolerations)
    have, promised, requested = allocatable.get(name, 0), host.promised[name], others.get(name, 0)
    asked, free = request.amounts[name], max(have - promised - requested, 0)
    text = [as_text(name, amount) for amount in (asked, free, asked - free, have, promised, requested)]
    return (
        f"{name} {text[0]} asked for, but {text[1]} free, {text[2]} too little ({text[3]} allocatable, "
        f"{text[4]} promised to virtual clusters, {text[5]} requested by other pods)"
    )


def _order(name: str) -> tuple[int, str]:
    return (COMPUTE.index(name) if name in COMPUTE else len(COMPUTE), name)


def _node_fit(request: PlacementRequest, host: Host) -> str:
    found = host.unassigned(request.pods)
    if found is None:
        return ""
    pods, fitting = found
    size = ", ".join(f"{name} {as_text(name, pods.requests[name])}" for name in ("cpu", "memory"))
    asked = f"its nodes have room for {fitting} of {pods.count} pods ({pods.part}) with requests of {size}"
    largest = host.largest_free_node(pods)
    if largest is None:
        return f"{asked}: none has the labels, or no taint, that they require"
    node, room = largest
    free = ", ".join(f"{name} {as_text(name, max(room.get(name, 0), 0))}" for name in ("cpu", "memory"))
    return f"{asked}: the largest, {node.name}, has {free} free"


_SELECTING: dict[str, _Rule] = {"Reachable": _reachable, "LabelSelector": _labels, "TaintToleration": _taints}
_RULES: dict[str, _Rule] = {
    **_SELECTING,
    "Nodes": _nodes,
    "Mode": _mode,
    "Version": _version,
    "StorageClass": _storage_classes,
    "IngressClass": _ingress_classes,
    "Capacity": _capacity,
    "NodeFit": _node_fit,
}
ORDER = tuple(_RULES)
