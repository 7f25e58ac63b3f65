# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read from a host what a placement needs to know of it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, replace

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.labels import Taint
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.host_labels import HostLabels
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.host_networks import service_network
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.model import (
    Amounts,
    MemberFacts,
    NodeFacts,
    PlacementRequest,
    amounts,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.conditions import is_ready
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    INGRESS_CLASS,
    NODE,
    POD,
    STORAGE_CLASS,
)

ARCHITECTURES = ("amd64", "arm64", "arm")  # that k3s and its image exist for
KEEPING_AWAY = ("NoSchedule", "NoExecute")  # effects of taints
NOT_FINISHED = "status.phase!=Succeeded,status.phase!=Failed"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_MINOR = re.compile(r"v1\.([0-9]+)")


@dataclass(frozen=True)
class Needed:
    """Which facts the requests of a call need, besides nodes and pods."""

    shared: bool
    ingress_classes: bool

    @classmethod
    def by(cls, requests: Collection[PlacementRequest]) -> Needed:
        return cls(any(one.shared for one in requests), any(one.ingress_classes for one in requests))


def registered(fleet: registry.Fleet, name: str, problem: str) -> MemberFacts:
    """Return what the hub's registry knows of a host. `problem` is why it does not answer, or empty."""
    member = fleet.members.get(name)
    known = HostLabels.of(member.secret if member else registry.platform_namespace(fleet.hub))
    return MemberFacts(name, problem, known.labels or {}, known.taints or ())


def read(known: MemberFacts, host: Cluster, vclusters: Collection[str], needed: Needed) -> MemberFacts:
    """Return the facts with those of the host itself. `vclusters` are the namespaces of virtual clusters on it."""
    classes = host.list(STORAGE_CLASS)
    found = replace(
        known,
        nodes=tuple(_nodes(host, vclusters)),
        storage_classes=frozenset(one["metadata"]["name"] for one in classes),
        has_default_storage_class=any(_is_default(one) for one in classes),
        ingress_classes=frozenset(_ingress_classes(host)) if needed.ingress_classes else frozenset(),
    )
    if not needed.shared:
        return found
    minor = _MINOR.match(host.version())
    return replace(found, minor=int(minor[1]) if minor else None, shared_problem=_shared_problem(host))


def _is_default(storage_class: dict) -> bool:
    return (storage_class["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true"


def _ingress_classes(host: Cluster) -> list[str]:
    try:
        return [one["metadata"]["name"] for one in host.list(INGRESS_CLASS)]
    except ApiError as error:
        if error.status != 403:
            raise
        raise ApiError(
            f"host {host.name} does not let the platform list its ingress classes: {error}. Join it again with "
            "tenantry.kube.fleet_member, which grants that right",
            error.status,
        ) from None


def _shared_problem(host: Cluster) -> str:
    try:
        service_network(host)
    except ApiError:
        raise
    except TenantryError as error:
        return str(error)
    return ""


def _nodes(host: Cluster, vclusters: Collection[str]) -> list[NodeFacts]:
    requested: dict[str, Counter[str]] = defaultdict(Counter)
    others: dict[str, Counter[str]] = defaultdict(Counter)
    for page in host.pages(POD, fields=NOT_FINISHED):
        for pod in page:
            node, takes = pod["spec"].get("nodeName", ""), requests_of(pod)
            requested[node].update(takes)
            if pod["metadata"]["namespace"] not in vclusters:
                others[node].update(takes)
    return [_node(one, requested, others) for one in host.list(NODE) if _is_usable(one)]


def _node(node: dict, requested: dict[str, Counter[str]], others: dict[str, Counter[str]]) -> NodeFacts:
    name = node["metadata"]["name"]
    taints = node["spec"].get("taints") or []
    return NodeFacts(
        name,
        amounts(node["status"].get("allocatable") or {}, f"node {name}"),
        requested[name],
        others[name],
        node["metadata"].get("labels") or {},
        tuple(Taint(one["key"], one.get("value") or "") for one in taints if one["effect"] in KEEPING_AWAY),
    )


def _is_usable(node: dict) -> bool:
    info = (node.get("status") or {}).get("nodeInfo") or {}
    return (
        is_ready(node)
        and not node["spec"].get("unschedulable")
        and info.get("operatingSystem") in (None, "", "linux")
        and info.get("architecture") in (None, "", *ARCHITECTURES)
    )


def requests_of(pod: dict) -> Amounts:
    """Return what a pod requests of its node, as the scheduler counts it. Pure."""
    spec = pod["spec"]
    total: Counter[str] = Counter()
    for container in spec.get("containers") or []:
        total.update(_requests(container))
    sidecars: Counter[str] = Counter()
    peak: Counter[str] = Counter()
    for container in spec.get("initContainers") or []:
        if container.get("restartPolicy") == "Always":
            sidecars.update(_requests(container))
            peak |= sidecars
        else:
            peak |= sidecars + Counter(_requests(container))
    found = (total + sidecars) | peak
    found.update({name: amount - found[name] for name, amount in _requests(spec).items()})  # of the whole pod
    found.update(amounts(spec.get("overhead") or {}, "overhead"))
    found["pods"] = 1000
    return found


def _requests(of: dict) -> Amounts:
    return amounts((of.get("resources") or {}).get("requests") or {}, "requests")
