# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Right-sizing: which resources of virtual clusters and quotas of tenants do not fit the use. Pure.

A ResourceQuota rejects pods by their limits. So resources are lowered to the limits of two weeks, not to the use, and
raised by the use only: higher limits alone need no more. Repeated after it is applied, a proposal changes nothing more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities
from ansible_collections.tenantry.kube.plugins.module_utils._usage.advice import HEADROOM, MEASURED_HOURS, p95
from ansible_collections.tenantry.kube.plugins.module_utils._usage.history import DAY, HOUR, MEBI, Usage
from ansible_collections.tenantry.kube.plugins.module_utils._usage.model import (
    NOTHING,
    Sample,
    TenantSample,
    VClusterSample,
)

SHORTEST = 7 * DAY  # between the first sample and now, so that a whole week counts
STEPS = {"cpu": Decimal("0.25"), "memory": Decimal(256 * MEBI), "storage": Decimal(1024 * MEBI)}
LEAST = Decimal("0.1")  # of the amount. Less is not worth a change
SHARED = "shared"  # the mode whose resources are not those of nodes
# Of each resource: its unit in the history, and the sum that a ResourceQuota counts.
_UNITS = {"cpu": Decimal("0.001"), "memory": Decimal(MEBI), "storage": Decimal(MEBI)}
_COUNTED = {"cpu": "cpu_limited", "memory": "memory_limited", "storage": "storage"}

_Key = tuple[str, str, str]  # tenant, name, cluster
_Hours = Mapping[int, list[Usage]]


@dataclass(frozen=True)
class Proposal:
    """Another amount of one resource, in cores or bytes."""

    tenant: str
    vcluster: str | None  # None: the quota of the tenant
    resource: str
    current: Decimal
    proposed: Decimal
    reason: str

    @property
    def about(self) -> str:
        return f"{self.tenant}/{self.vcluster}" if self.vcluster else f"{self.tenant}, quota"

    @property
    def text(self) -> str:
        """The proposed amount as a quantity."""
        return _text(self.resource, self.proposed)

    @property
    def current_text(self) -> str:
        return _text(self.resource, self.current)


def propose(hours: Iterable[Usage], sample: Sample) -> list[Proposal]:
    """Return proposals by tenant, those for its virtual clusters before those for its quota."""
    by_vcluster: dict[_Key, dict[int, list[Usage]]] = defaultdict(lambda: defaultdict(list))
    for hour in hours:
        by_vcluster[hour.tenant, hour.name, hour.cluster][hour.time].append(hour)
    now = int(sample.time.timestamp())
    found: list[Proposal] = []
    for tenant in sample.tenants:
        mine = [one for one in sample.vclusters if one.tenant == tenant.name]
        past = {key: seen for key, seen in by_vcluster.items() if key[0] == tenant.name}
        changes = [change for one in mine for change in _of_vcluster(one, past.get(_key(one), {}), now)]
        found += changes
        # What virtual clusters of a silent cluster are promised now is not known.
        if not any(cluster in sample.missing for _tenant, _name, cluster in past):
            found += _of_quota(tenant, mine, changes, past, now)
    return found


def _of_vcluster(one: VClusterSample, seen: _Hours, now: int) -> list[Proposal]:
    if one.mode != SHARED:
        return []
    # An earlier one may have had its name.
    alive = {time: rows for time, rows in seen.items() if time + HOUR > one.created.timestamp()}
    awake = [rows for rows in alive.values() if not any(row.sums["asleep"] for row in rows)]
    measured = [rows for rows in awake if any(row.sums["measured"] for row in rows)]
    if len(measured) < MEASURED_HOURS or min(alive) > now - SHORTEST:
        return []
    return [
        Proposal(one.tenant, one.name, resource, current, proposed, reason)
        for resource, current, counted in _resources_of(one)
        for proposed, reason in [_needed(resource, current, counted, awake, measured)]
        if proposed != current
    ]


def _resources_of(one: VClusterSample) -> list[tuple[str, Decimal, Decimal]]:
    """Return the name of each resource, what is promised of it and what the ResourceQuota counts now."""
    return [
        ("cpu", one.promised.cpu, one.limited.cpu),
        ("memory", one.promised.memory, one.limited.memory),
        ("storage", one.promised_storage, one.storage),
    ]


def _needed(
    resource: str, current: Decimal, counted: Decimal, awake: list[list[Usage]], measured: list[list[Usage]]
) -> tuple[Decimal, str]:
    """Return the amount to promise, and why."""
    taken = max(counted, *(_mean(rows, resource) for rows in awake))
    if resource == "storage":
        used, reason = NOTHING, f"volumes of up to {_text(resource, taken)}"
    else:
        peaks = [max(row.sums[f"{resource}_peak"] for row in rows) for rows in measured]
        used = p95(peaks) * _UNITS[resource]
        reason = f"limits of up to {_text(resource, taken)}, 95th percentile of the use {_text(resource, used)}"
    if current and used * HEADROOM > current:
        return _changed(resource, current, used), reason
    # Nothing is promised: it is not limited.
    return min(current, _changed(resource, current, max(taken, used))), reason


def _of_quota(
    tenant: TenantSample, mine: list[VClusterSample], changes: list[Proposal], past: Mapping[_Key, _Hours], now: int
) -> list[Proposal]:
    """Return proposals for the quota: by the sum of resources, as if virtual clusters had the proposed ones already."""
    if not past or min(time for seen in past.values() for time in seen) > now - SHORTEST:
        return []
    new = {(change.vcluster, change.resource): change.proposed for change in changes}
    found = []
    for resource in STEPS:
        current = tenant.quota.get(resource, NOTHING)
        promised = {
            _key(one): new.get((one.name, resource), amount)
            for one in mine
            for name, amount, _counted in _resources_of(one)
            if name == resource
        }
        sums: dict[int, Decimal] = defaultdict(Decimal)
        for key, seen in past.items():
            for time, rows in seen.items():
                sums[time] += promised.get(key, max(row.promised[resource] for row in rows) * _UNITS[resource])
        today, usual = sum(promised.values(), NOTHING), p95(list(sums.values()))
        wanted = _changed(resource, current, max(today, usual))
        proposed = wanted if today > current else min(current, wanted)
        if proposed != current:
            reason = f"resources of {_text(resource, today)}, 95th percentile {_text(resource, usual)}"
            found.append(Proposal(tenant.name, None, resource, current, proposed, reason))
    return found


def _changed(resource: str, current: Decimal, needed: Decimal) -> Decimal:
    """Return what is needed, with the headroom, in whole steps. It is the current amount if that is about the same."""
    step = STEPS[resource]
    wanted = (needed * HEADROOM / step).to_integral_value(ROUND_CEILING) * step
    return wanted if wanted and abs(wanted - current) >= max(step, current * LEAST) else current


def _mean(rows: list[Usage], resource: str) -> Decimal:
    seconds = max(1, sum(row.sums["seconds"] for row in rows))
    return sum(row.sums[_COUNTED[resource]] for row in rows) * _UNITS[resource] / seconds


def _text(resource: str, amount: Decimal) -> str:
    """Return an amount for reading: thousandths of a core, whole MiB."""
    unit = _UNITS[resource]
    return quantities.display((amount / unit).to_integral_value(ROUND_CEILING) * unit, binary=resource != "cpu")


def _key(one: VClusterSample) -> _Key:
    return one.tenant, one.name, one.cluster
