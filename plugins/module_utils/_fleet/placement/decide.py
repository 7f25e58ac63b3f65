# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide which host of the fleet each new virtual cluster runs on. Pure: the same whatever the order of the inputs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import Obstacle
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement import rules
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.capacity import Host
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.model import (
    ALLOCATABLE_CPU,
    ALLOCATABLE_MEMORY,
    SPREAD,
    Decision,
    Exclusion,
    MemberFacts,
    PlacementRequest,
    Promise,
    Score,
)

HIGHEST_SCORE = 100
# Of hosts that do not fit. The row of the virtual cluster has all of them.
MOST_REASONS = 20


def place(
    requests: Iterable[PlacementRequest], members: Iterable[MemberFacts], promises: Iterable[Promise]
) -> dict[str, Decision]:
    """Return the decision for each request, by its name. They count each other: the largest is placed first."""
    of_host: dict[str, list[Promise]] = defaultdict(list)
    for promise in promises:
        of_host[promise.member].append(promise)
    hosts = [Host(one, of_host[one.name]) for one in sorted(members, key=lambda one: one.name)]
    return {one.name: _place(one, hosts) for one in _largest_first(list(requests), hosts)}


def host_of(decision: Decision) -> str:
    """Return the chosen host. Raise an Obstacle with what each host lacks if none fits."""
    if decision.host is not None:
        return decision.host
    reasons = {name: one for name, one in decision.members.items() if isinstance(one, Exclusion)}
    # First those that lack the least: the later the rule, the more of them the host has passed.
    names = sorted(reasons, key=lambda name: (-rules.ORDER.index(reasons[name].rule), name))
    lines = [f"{name}: {reasons[name].rule}: {reasons[name].message}" for name in names[:MOST_REASONS]]
    more = f" | and {len(names) - MOST_REASONS} more" if len(names) > MOST_REASONS else ""
    raise Obstacle(
        f"placement: no host of the fleet fits. {' | '.join(lines)}{more}. Free capacity, join a host with "
        "tenantry.kube.fleet_member, or change placement or resources"
    )


def _largest_first(requests: Sequence[PlacementRequest], hosts: Sequence[Host]) -> list[PlacementRequest]:
    """Sort by the share of the largest host that each needs, so that the small ones take what is left."""
    largest: Counter[str] = Counter()
    for host in hosts:
        for name, amount in host.totals(())[0].items():
            largest[name] = max(largest[name], amount)

    def share(request: PlacementRequest) -> int:
        return max((amount * 10**6 // max(largest[name], 1) for name, amount in request.amounts.items()), default=0)

    return sorted(requests, key=lambda one: (-share(one), one.name))


def _place(request: PlacementRequest, hosts: Sequence[Host]) -> Decision:
    domains = _domains(request, hosts)
    found: dict[str, Exclusion | Score] = {}
    best: tuple[int, Host] | None = None
    for host in hosts:  # by name: of equal scores the first wins
        found[host.facts.name] = one = rules.excluded(request, host) or _score(request, host, domains)
        if isinstance(one, Score) and (best is None or one.total > best[0]):
            best = one.total, host
    if best:
        best[1].promise(request.tenant, request.amounts, request.pods)
    return Decision(request, best[1].facts.name if best else None, found)


def _domains(request: PlacementRequest, hosts: Iterable[Host]) -> Counter[str]:
    """Count the tenant's virtual clusters by the value of the label to spread by."""
    found: Counter[str] = Counter()
    for host in hosts if request.spread_by else ():
        found[host.facts.labels.get(request.spread_by or "", "")] += host.vclusters[request.tenant]
    return found


def _score(request: PlacementRequest, host: Host, domains: Counter[str]) -> Score:
    by_scorer = {
        ALLOCATABLE_CPU: _share_left("cpu", request, host),
        ALLOCATABLE_MEMORY: _share_left("memory", request, host),
    }
    if request.spread_by:
        domain = host.facts.labels.get(request.spread_by)
        by_scorer[SPREAD] = HIGHEST_SCORE // (1 + domains[domain]) if domain is not None else 0
    return Score(sum(request.weights[name] * score for name, score in by_scorer.items()), by_scorer)


def _share_left(resource: str, request: PlacementRequest, host: Host) -> int:
    """Return the percentage of what the host has that is neither promised nor requested with the request on it."""
    have = host.totals(request.node_tolerations)[0].get(resource, 0)
    left = host.free(resource, request) - request.amounts.get(resource, 0)
    return HIGHEST_SCORE * left // have if have else 0
