# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Right-sizing: which resources of virtual clusters and quotas of tenants do not fit the use. Pure.

A ResourceQuota rejects pods by their limits. So resources are lowered to the limits of two weeks, not to the use, and
raised by the use only: higher limits alone need no more. Repeated after it is applied, a proposal changes nothing more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal

from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities
from ansible_collections.tenantry.kube.plugins.module_utils._usage.advice import HEADROOM, MEASURED_HOURS, p95
from ansible_collections.tenantry.kube.plugins.module_utils._usage.history import (
    DAY,
    HOUR,
    MEBI,
    PEAKS,
    TAKEN,
    UNKNOWN,
    Usage,
)
from ansible_collections.tenantry.kube.plugins.module_utils._usage.model import (
    NOTHING,
    Sample,
    TenantSample,
    VClusterSample,
)

ENOUGH = MEASURED_HOURS * HOUR  # seconds with samples, however many hours they are in
SHORTEST = 7 * DAY  # between the first sample and now, so that a whole week counts
STEPS = {"cpu": Decimal("0.25"), "memory": Decimal(256 * MEBI), "storage": Decimal(1024 * MEBI)}
LEAST = Decimal("0.1")  # of the amount. Less is not worth a change
SHARED = "shared"  # the mode whose resources are not those of nodes
# Of each resource: its unit in the history, and the most that a ResourceQuota counted of it.
_UNITS = {"cpu": Decimal("0.001"), "memory": Decimal(MEBI), "storage": Decimal(MEBI)}
_TAKEN = dict(zip(STEPS, TAKEN, strict=True))

_Sums = Mapping[str, int]
_Key = tuple[str, str, str]  # tenant, name, cluster
_Hours = Mapping[int, Usage]


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


def propose(
    hours: Iterable[Usage], sample: Sample, editable: Callable[[Proposal], bool] | None = None
) -> list[Proposal]:
    """Return proposals by tenant, those for its virtual clusters before those for its quota.

    Quotas are proposed as if resources were raised as proposed, and lowered if that is editable (by default, all are).
    """
    by_tenant: dict[str, dict[_Key, dict[int, Usage]]] = defaultdict(dict)
    for hour in hours:
        seen = by_tenant[hour.tenant].setdefault((hour.tenant, hour.name, hour.cluster), {})
        before = seen.get(hour.time)
        seen[hour.time] = _merged(before, hour) if before else hour
    now = int(sample.time.timestamp())
    found: list[Proposal] = []
    for tenant in sample.tenants:
        mine = [one for one in sample.vclusters if one.tenant == tenant.name]
        past = by_tenant[tenant.name]
        changes = [change for one in mine for change in _of_vcluster(one, past.get(_key(one), {}), now)]
        found += changes
        # What virtual clusters of a silent cluster are promised now is not known.
        if not any(cluster in sample.missing for _tenant, _name, cluster in past):
            applied = [one for one in changes if one.proposed > one.current or not editable or editable(one)]
            found += _of_quota(tenant, mine, applied, past, now)
    return found


def _of_vcluster(one: VClusterSample, seen: _Hours, now: int) -> list[Proposal]:
    if one.mode != SHARED or one.resources is None:
        return []
    # An earlier one may have had its name.
    created = one.created.timestamp()
    alive = {time: hour for time, hour in seen.items() if time + HOUR > created}
    awake = [hour.sums for hour in alive.values() if not hour.sums["asleep"]]
    measured = [sums for sums in awake if sums["measured"]]
    if sum(sums["measured"] for sums in awake) < ENOUGH or min(alive) > now - SHORTEST:
        return []
    return [
        Proposal(one.tenant, one.name, resource, current, proposed, reason)
        for resource in STEPS
        for current in [one.resources.get(resource, NOTHING)]
        for proposed, reason in [
            _needed(resource, current, _taken(one, resource), [hour.sums for hour in alive.values()], measured)
        ]
        if proposed != current
    ]


def _promised(one: VClusterSample, resource: str) -> Decimal:
    """Return what it has of the quota now."""
    return one.promised_storage if resource == "storage" else getattr(one.promised, resource)


def _taken(one: VClusterSample, resource: str) -> Decimal:
    """Return what its ResourceQuota counts now."""
    return one.storage if resource == "storage" else getattr(one.limited, resource)


def _needed(
    resource: str, current: Decimal, counted: Decimal, alive: list[_Sums], measured: list[_Sums]
) -> tuple[Decimal, str]:
    """Return the amount to promise, and why."""
    peaks = [sums[_TAKEN[resource]] for sums in alive]
    taken = max(counted, max(peaks) * _UNITS[resource])
    if resource == "storage":
        used, reason = NOTHING, f"volumes of up to {_text(resource, taken)}"
    else:
        used = p95([sums[f"{resource}_peak"] for sums in measured]) * _UNITS[resource]
        reason = f"limits of up to {_text(resource, taken)}, 95th percentile of the use {_text(resource, used)}"
    if current and used * HEADROOM > current:
        return _changed(resource, current, used), reason
    if UNKNOWN in peaks:
        return current, reason
    # Nothing is promised: it is not limited.
    return min(current, _changed(resource, current, max(taken, used))), reason


def _of_quota(
    tenant: TenantSample, mine: list[VClusterSample], changes: list[Proposal], past: Mapping[_Key, _Hours], now: int
) -> list[Proposal]:
    """Return proposals for the quota: by the sum of resources, as if virtual clusters had the proposed ones already."""
    covered: dict[int, int] = {}
    for hour in (hour for seen in past.values() for hour in seen.values()):
        covered[hour.time] = max(hour.sums["seconds"], covered.get(hour.time, 0))
    if sum(covered.values()) < ENOUGH or min(covered) > now - SHORTEST:
        return []
    new = {(change.vcluster, change.resource): change.proposed for change in changes}
    found = []
    for resource in STEPS:
        current = tenant.quota.get(resource, NOTHING)
        # One that is paused gets all of its resources again when it wakes up.
        most = {
            key: max(hour.promised[resource] for hour in seen.values()) * _UNITS[resource] for key, seen in past.items()
        }
        full = {_key(one): _full(one, resource, most.get(_key(one), NOTHING)) for one in mine}
        awake = {key: new.get((key[1], resource), amount) for key, amount in full.items()}
        sums: dict[int, Decimal] = defaultdict(Decimal)
        for key, seen in past.items():
            for time in seen:
                sums[time] += awake[key] if key in awake else most[key]
        today, usual = sum(awake.values(), NOTHING), p95(list(sums.values()))
        keeps = {_key(one): _promised(one, resource) for one in mine}
        counted = sum((min(keeps[key], awake[key]) if keeps[key] < full[key] else awake[key] for key in full), NOTHING)
        if counted > current:
            proposed = _changed(resource, current, counted)
        else:
            proposed = min(current, _changed(resource, current, max(today, usual)))
        if proposed != current:
            reason = f"resources of {_text(resource, today)}, 95th percentile {_text(resource, usual)}"
            found.append(Proposal(tenant.name, None, resource, current, proposed, reason))
    return found


def _full(one: VClusterSample, resource: str, most: Decimal) -> Decimal:
    """Return what it has while it is awake. If its record cannot be read, that is the most that is known."""
    if one.resources is None:
        return max(_promised(one, resource), most)
    return one.resources.get(resource, NOTHING)


def _changed(resource: str, current: Decimal, needed: Decimal) -> Decimal:
    """Return what is needed, with the headroom, in whole steps. It is the current amount if that is about the same."""
    step = STEPS[resource]
    wanted = (needed * HEADROOM / step).to_integral_value(ROUND_CEILING) * step
    return wanted if wanted and abs(wanted - current) >= max(step, current * LEAST) else current


def _merged(one: Usage, other: Usage) -> Usage:
    """Return an hour in which the resources changed as one."""
    both = {key: (value, other.sums[key]) for key, value in one.sums.items()}
    sums = {key: max(values) if key in (*PEAKS, *TAKEN) else sum(values) for key, values in both.items()}
    sums |= {key: UNKNOWN for key in TAKEN if UNKNOWN in both[key]}
    promised = {key: max(value, other.promised[key]) for key, value in one.promised.items()}
    return replace(one, sums=sums, promised=promised)


def _text(resource: str, amount: Decimal) -> str:
    """Return an amount for reading: thousandths of a core, whole MiB."""
    unit = _UNITS[resource]
    return quantities.display((amount / unit).to_integral_value(ROUND_CEILING) * unit, binary=resource != "cpu")


def _key(one: VClusterSample) -> _Key:
    return one.tenant, one.name, one.cluster
