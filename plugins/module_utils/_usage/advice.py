# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What needs attention now, and which requests are larger than the use. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction
from typing import TypeVar

from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import stamp
from ansible_collections.tenantry.kube.plugins.module_utils._usage.history import MEBI, Usage
from ansible_collections.tenantry.kube.plugins.module_utils._usage.model import Amounts, Sample, VClusterSample
from ansible_collections.tenantry.kube.plugins.module_utils._usage.prices import HOURS_OF_MONTH, Prices

Number = TypeVar("Number", int, Decimal)
CRITICAL, WARNING, NOTE = "critical", "warning", "note"
LEVELS = (CRITICAL, WARNING, NOTE)
EXPIRES_SOON = timedelta(days=3)
CERTIFICATES_SOON = timedelta(days=21)  # a restart renews them thirty days before
CREDENTIAL_SOON = timedelta(days=14)
SNAPSHOT_OLD = timedelta(days=7)
IDLE_LONG = timedelta(days=14)
NEARLY_FULL = Decimal("0.8")
HOST_FULL = Decimal("0.9")

WINDOW = timedelta(days=14)
MEASURED_HOURS = 24  # that are needed for an advice
HEADROOM = Decimal("1.2")
# Less is not worth a change: cores, bytes.
LEAST = Amounts(Decimal("0.1"), Decimal(128 * MEBI))
# Without prices, a core weighs as much as this many bytes.
_BYTES_PER_CORE = Decimal(4 * 1024 * MEBI)


@dataclass(frozen=True)
class Finding:
    """One line for operations: what is wrong with what, and what to do."""

    level: str
    tenant: str  # empty: the fleet
    about: str
    text: str
    remedy: str


@dataclass(frozen=True)
class Waste:
    """Requests of a virtual cluster beyond its use."""

    one: VClusterSample
    peak: Amounts  # 95th percentile of the hourly peaks
    proposed: Amounts
    hours: int
    monthly_cost: Fraction

    @property
    def unused(self) -> Amounts:
        requested = self.one.requested
        return Amounts(requested.cpu - self.proposed.cpu, requested.memory - self.proposed.memory)


def attention(sample: Sample) -> list[Finding]:
    """Return what needs attention, the most urgent first."""
    found = [*_of_fleet(sample), *_of_tenants(sample)]
    for one in sample.vclusters:
        found += _of_vcluster(one, sample.time)
    return sorted(found, key=lambda one: (LEVELS.index(one.level), one.tenant, one.about))


def _of_fleet(sample: Sample) -> Iterator[Finding]:
    for name, reason in sample.missing.items():
        remedy = "Repair the connection. Its virtual clusters are missing in this report"
        yield Finding(CRITICAL, "", name, f"does not answer: {reason}", remedy)
    for cluster in sample.clusters:
        if cluster.unmeasured:
            remedy = "Install metrics-server there; on a member, also run the playbook join again"
            yield Finding(WARNING, "", cluster.name, f"reports no use: {cluster.unmeasured}", remedy)
        soon = cluster.credential_expires
        if soon and soon - sample.time < CREDENTIAL_SOON:
            text = f"the platform's credential expires at {stamp(soon)}"
            yield Finding(WARNING, "", cluster.name, text, "Run the playbook join for it")
        for resource in ("cpu", "memory"):
            requested = sum((getattr(one.allocated, resource) for one in sample.of_cluster(cluster.name)), Decimal(0))
            have = getattr(cluster.allocatable, resource)
            if have and requested >= HOST_FULL * have:
                text = f"virtual clusters allocate {_percent(requested, have)} of its {resource}"
                remedy = "Add nodes, or taint it so that new virtual clusters are placed elsewhere"
                yield Finding(WARNING, "", cluster.name, text, remedy)


def _of_tenants(sample: Sample) -> Iterator[Finding]:
    for tenant in sample.tenants:
        mine = [one for one in sample.vclusters if one.tenant == tenant.name]
        promised = {
            "cpu": sum((one.promised.cpu for one in mine), Decimal(0)),
            "memory": sum((one.promised.memory for one in mine), Decimal(0)),
            "storage": sum((one.promised_storage for one in mine), Decimal(0)),
            "vclusters": Decimal(len(mine)),
        }
        for resource, amount in promised.items():
            quota = tenant.quota.get(resource, Decimal(0))
            if amount > quota:
                text = f"exceeds its quota of {resource}: {_percent(amount, quota)} of it are allocated"
                yield Finding(WARNING, tenant.name, tenant.name, text, "Raise the quota, or reduce virtual clusters")
            elif quota and amount >= NEARLY_FULL * quota:
                text = f"has allocated {_percent(amount, quota)} of its quota of {resource}"
                yield Finding(NOTE, tenant.name, tenant.name, text, "Raise the quota if more is planned")


def _of_vcluster(one: VClusterSample, now: datetime) -> Iterator[Finding]:
    about = f"{one.tenant}/{one.name}"

    def finding(level: str, text: str, remedy: str) -> Finding:
        return Finding(level, one.tenant, about, text, remedy)

    if one.status == "NotReady":
        yield finding(CRITICAL, f"is not ready: {one.message or 'no reason is known'}", "See docs/troubleshooting.md")
    if one.expires and one.expires - now < EXPIRES_SOON:
        when = "expired" if one.expires <= now else "expires"
        yield finding(WARNING, f"{when} at {stamp(one.expires)}", "Raise its ttl if it is still needed")
    valid = one.certificates_valid_until
    if valid and valid - now < CERTIFICATES_SOON:
        text = f"its certificates are valid until {stamp(valid)} at least"
        yield finding(WARNING, text, "Run the playbook housekeeping, which restarts it")
    for resource in ("cpu", "memory"):
        limited, promised = getattr(one.limited, resource), getattr(one.promised, resource)
        if promised and limited >= promised and one.mode == "shared":
            text = f"its pods take all of its {resource}, so that new ones are rejected"
            yield finding(WARNING, text, f"Raise resources.{resource}, or lower the limits of its pods")
    backed_up = one.snapshot and now - one.snapshot <= SNAPSHOT_OLD
    if one.tier == "prod" and not one.external_datastore and not backed_up:
        known = f"its newest snapshot is of {stamp(one.snapshot)}" if one.snapshot else "it has no snapshot on record"
        yield finding(WARNING, known, "Schedule the playbook backup")
    if one.status == "Ready" and one.idle_since and now - one.idle_since > IDLE_LONG:
        text = f"is unused since {stamp(one.idle_since)}"
        yield finding(NOTE, text, "Set sleep or ttl, or delete it")


def waste(hours: Iterable[Usage], sample: Sample, prices: Prices) -> list[Waste]:
    """Return virtual clusters that request more than they use, the most expensive first, by the hours of WINDOW."""
    peaks: dict[tuple[str, str, str], list[tuple[int, int]]] = defaultdict(list)
    for hour in hours:
        if hour.sums["measured"] and not hour.sums["asleep"]:
            key = hour.tenant, hour.name, hour.cluster
            peaks[key].append((hour.sums["cpu_peak"], hour.sums["memory_peak"]))
    found = []
    for one in sample.vclusters:
        seen = peaks.get((one.tenant, one.name, one.cluster), [])
        if len(seen) < MEASURED_HOURS:
            continue
        peak = Amounts(Decimal(p95([cpu for cpu, _m in seen])) / 1000, Decimal(p95([mib for _c, mib in seen]) * MEBI))
        proposed = Amounts(
            _proposed("cpu", one, peak, Decimal("0.05")),
            _proposed("memory", one, peak, Decimal(64 * MEBI)),
        )
        if proposed != one.requested:
            found.append(Waste(one, peak, proposed, len(seen), _monthly(one, proposed, prices)))
    return sorted(found, key=lambda each: (-each.monthly_cost, -_weight(each.unused), each.one.tenant, each.one.name))


def p95(values: Sequence[Number]) -> Number:
    """Return the 95th percentile, by the nearest rank."""
    return sorted(values)[max(0, math.ceil(0.95 * len(values)) - 1)]


def _proposed(resource: str, one: VClusterSample, peak: Amounts, step: Decimal) -> Decimal:
    """Return what its pods should request. The tenant cannot lower the requests of the platform's own pods."""
    requested, used, platform, least = (getattr(part, resource) for part in (one.requested, peak, one.platform, LEAST))
    wanted = max(platform, (used * HEADROOM / step).to_integral_value(ROUND_CEILING) * step)
    return wanted if requested - wanted >= least else requested


def _monthly(one: VClusterSample, proposed: Amounts, prices: Prices) -> Fraction:
    cpu, memory = (prices.of(option, one.cluster, one.tier) for option in ("cpu_hour", "memory_gib_hour"))
    saved = Fraction(one.requested.cpu - proposed.cpu) * cpu
    saved += Fraction(one.requested.memory - proposed.memory) / (1024 * MEBI) * memory
    return saved * HOURS_OF_MONTH


def _weight(unused: Amounts) -> Decimal:
    return unused.cpu + unused.memory / _BYTES_PER_CORE


def _percent(part: Decimal, whole: Decimal) -> str:
    return f"{int(part * 100 / whole)} %" if whole else "more than 100 %"
