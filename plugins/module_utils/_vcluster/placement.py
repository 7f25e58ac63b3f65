# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Place new virtual clusters: read what the hosts have, once per call and only if an item needs it, then decide."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from ansible_collections.tenantry.kube.plugins.module_utils._core.labels import EXISTS, Toleration
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement import decide, facts, rules
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.model import (
    Decision,
    MemberFacts,
    PlacementRequest,
    Pods,
    Promise,
    amounts,
)
from ansible_collections.tenantry.kube.plugins.module_utils._module import attempt
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import promises
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_state import FleetState
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    SERVER_SHARE,
    SHARE,
    Share,
    requirements,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.request import PRESENT, DesiredVCluster
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import VClusterSpec
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.exposure import INGRESS
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.resources import Resources
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.scheduling import REQUIRED, Placement
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.version import parse_version


def place_new(places: FleetState, desired: Iterable[DesiredVCluster]) -> dict[str, Decision]:
    """Return the decision for each new virtual cluster with the option placement, by namespace.

    None for items that are invalid or cannot be created: their own step reports that.
    """
    asking = [one for one in desired if _asks(one)]
    found = [attempt(partial(_request, places, one))[1] for one in asking]
    requests = [one for one in found if one]
    if not requests:
        return {}
    return decide.place(requests, _members(places, requests), _promises(places))


def _promises(places: FleetState) -> Iterator[Promise]:
    """Yield what hosts have promised: to existing virtual clusters, and to those that other runs are creating."""
    for one in places.found.values():
        yield Promise(one.host.name, one.tenant, amounts(one.readable_record.resources, one.namespace))
    for tenant, record in places.records.items():
        for namespace, promise in promises.of(record).items():
            if namespace not in places.found and promise.host:
                yield Promise(promise.host, tenant, amounts(promise.resources, namespace))


def _asks(desired: DesiredVCluster) -> bool:
    return desired.state == PRESENT and desired.host is None and desired.options.get("placement") is not None


def _request(places: FleetState, desired: DesiredVCluster) -> PlacementRequest | None:
    """Return the request of an item, or None if it has a host already, or an interrupted run chose one."""
    # Raises if it may exist on a member that does not answer.
    places.host_of(desired.tenant, desired.namespace, None)
    promise = places.quotas.promise(desired.tenant, desired.namespace)
    if desired.namespace in places.found or (promise and promise.host):
        return None
    return request_of(places.spec_of(desired.options))


def _members(places: FleetState, requests: Sequence[PlacementRequest]) -> list[MemberFacts]:
    """Return the facts of all hosts. Only those that labels and taints allow are read, at the same time."""
    fleet, needed = places.fleet, facts.Needed.by(requests)
    on_host: dict[str, set[str]] = defaultdict(set)
    for one in places.found.values():
        on_host[one.host.name].add(one.namespace)

    def member(name: str) -> MemberFacts:
        known = facts.registered(fleet, name, places.unreachable.get(name, ""))
        if not any(rules.is_selected(one, known) for one in requests):
            return known
        problem, found = attempt(lambda: facts.read(known, fleet.cluster(name), on_host[name], needed))
        return found or replace(known, problem=problem or "")

    return fleet.hub.map(member, fleet.names())


def request_of(spec: VClusterSpec) -> PlacementRequest | None:
    """Return what a placement needs to know of a spec, or None if it has none. Pure."""
    by = spec.host_placement
    if by is None:
        return None
    classes = {spec.storage_class, *((spec.shared and spec.shared.storage_classes) or ())} - {None}
    ingress = {*(spec.shared.ingress_classes if spec.shared else ())}
    if spec.exposure.type == INGRESS and spec.exposure.ingress_class:
        ingress.add(spec.exposure.ingress_class)
    extended = [Toleration(name, EXISTS) for name in spec.resources.extended]
    own = [*spec.server_placement.tolerations, *(spec.agent_placement.tolerations if spec.agents else ())]
    return PlacementRequest(
        spec.namespace,
        spec.tenant,
        amounts(spec.resources.as_text(), "resources"),
        shared=spec.shared is not None,
        minor=parse_version(spec.version)[0],
        match_labels=by.match_labels,
        tolerations=by.tolerations,
        spread_by=by.spread_by,
        weights=by.weights,
        storage_classes=frozenset(one for one in classes if one),
        needs_default_storage_class=spec.volume is not None and spec.storage_class is None,
        ingress_classes=frozenset(ingress),
        pods=tuple(_pods_of(spec)),
        node_tolerations=tuple(sorted({*map(Toleration.of, own), *extended}, key=str)),
    )


def _pods_of(spec: VClusterSpec) -> list[Pods]:
    found = [_pods("server", spec.servers, spec.server, spec.server_placement, spec, SERVER_SHARE)]
    if spec.etcd:
        found.append(_pods("etcd", spec.servers, spec.etcd.resources, spec.server_placement, spec))
    if spec.agents:
        found.append(_pods("agent", spec.agents, spec.agent, spec.agent_placement, spec))
    return found


def _pods(part: str, count: int, limits: Resources, where: Placement, spec: VClusterSpec, share: Share = SHARE) -> Pods:
    requests = amounts({**requirements(limits, spec.tier, share)["requests"], "pods": "1"}, part)
    tolerations = tuple(map(Toleration.of, where.tolerations))
    return Pods(part, count, requests, where.node_selector, tolerations, where.anti_affinity == REQUIRED)
