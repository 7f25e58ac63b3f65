# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report as plain data, which the page, JSON and the metrics have in common. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import rfc3339, stamp
from ansible_collections.tenantry.kube.plugins.module_utils._usage import advice, costs
from ansible_collections.tenantry.kube.plugins.module_utils._usage.costs import IDLE, Charge
from ansible_collections.tenantry.kube.plugins.module_utils._usage.history import (
    DAY,
    HOUR,
    MEBI,
    ClusterUsage,
    Usage,
    day_of,
)
from ansible_collections.tenantry.kube.plugins.module_utils._usage.model import (
    Amounts,
    ClusterSample,
    Sample,
    TenantSample,
    VClusterSample,
)
from ansible_collections.tenantry.kube.plugins.module_utils._usage.prices import Prices

FORMAT = 1
DAYS_SHOWN = 90
WASTE_SHOWN = 10
# After the name of a tenant that was deleted, and whose name a new one has.
EARLIER = " (earlier)"
_WEEK = 7
# What is shown over time: the unit of its sum in cores or bytes, and the seconds of a cluster in which it was known.
_OVER_TIME = {
    "cpu_requested": (0.001, "seconds"),
    "cpu_used": (0.001, "measured"),
    "memory_requested": (MEBI, "seconds"),
    "memory_used": (MEBI, "measured"),
}


@dataclass(frozen=True)
class Past:
    """What the history knows: by day since the month before or DAYS_SHOWN ago, by hour since advice.WINDOW ago."""

    days: Sequence[Usage] = ()
    cluster_days: Sequence[ClusterUsage] = ()
    hours: Sequence[Usage] = ()

    def by_owner(self, tenants: Iterable[TenantSample]) -> Past:
        """Return the same, with what was before the creation of a tenant as that of an earlier one of its name."""
        created = {one.name: one.created.timestamp() for one in tenants}

        def owned(found: Sequence[Usage], length: int) -> list[Usage]:
            return [
                replace(one, tenant=one.tenant + EARLIER) if one.time + length <= created.get(one.tenant, 0) else one
                for one in found
            ]

        return replace(self, days=owned(self.days, DAY), hours=owned(self.hours, HOUR))


@dataclass(frozen=True)
class Calendar:
    """The days and months that a report of that time is about, in UTC. All are seconds since the epoch."""

    now: int
    today: int
    month: int
    month_end: int
    last_month: int

    @classmethod
    def at(cls, now: datetime) -> Calendar:
        first = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        following = (first + timedelta(days=32)).replace(day=1)
        before = (first - timedelta(days=1)).replace(day=1)
        return cls(int(now.timestamp()), day_of(now), *(int(one.timestamp()) for one in (first, following, before)))

    @property
    def days(self) -> list[int]:
        return [self.today - DAY * back for back in reversed(range(DAYS_SHOWN))]

    @property
    def since(self) -> int:
        """The first day that a report needs."""
        return min(self.last_month, self.days[0])


def build(sample: Sample, past: Past, prices: Prices) -> dict[str, Any]:
    """Return the report of all tenants. Cores, bytes, pieces; costs with two decimals; times in RFC 3339."""
    calendar = Calendar.at(sample.time)
    charges = costs.charges(past.days, past.cluster_days, prices)
    bill = _Bill(charges, calendar)
    found = advice.waste(past.hours, sample, prices)
    newest = _newest_version(sample)
    return {
        "format": FORMAT,
        "time": stamp(sample.time),
        "currency": prices.currency if prices.given else None,
        "month": rfc3339(calendar.month)[:7],
        "coverage": _coverage(past.cluster_days, calendar),
        "days": [rfc3339(day)[:10] for day in calendar.days],
        "missing_clusters": dict(sample.missing),
        "unmeasured_clusters": {one.name: one.unmeasured for one in sample.clusters if one.unmeasured},
        "cost": bill.of_fleet(),
        "clusters": [_cluster(one, sample, bill) for one in sample.clusters],
        "tenants": _tenants(sample, past, bill, calendar),
        "former_tenants": bill.of_others({one.name for one in sample.tenants}),
        "vclusters": [_vcluster(one, bill, newest) for one in sample.vclusters],
        "waste": [_wasted(one) for one in found],
        "attention": [vars(one) for one in advice.attention(sample)],
    }


def only_tenant(report: Mapping[str, Any], tenant: str) -> dict[str, Any]:
    """Return the part of a report that this tenant may see: nothing of others, and nothing of the fleet's clusters."""
    mine = {key: [one for one in report[key] if one["tenant"] == tenant] for key in ("vclusters", "waste", "attention")}
    tenants = [one for one in report["tenants"] if one["name"] == tenant]
    hosts = {one["cluster"] for one in mine["vclusters"]}
    unmeasured = {name: "reports no use" for name in report["unmeasured_clusters"] if name in hosts}
    missing = dict.fromkeys(report["missing_clusters"], "does not answer")
    hidden: dict[str, Any] = {
        "clusters": [],
        "former_tenants": {},
        "cost": None,
        "coverage": {},
        "missing_clusters": missing,
        "unmeasured_clusters": unmeasured,
    }
    return {**report, **hidden, "tenants": tenants, **mine}


class _Bill:
    """Costs by tenant and by virtual cluster. What is shown of a month adds up."""

    def __init__(self, charges: Iterable[Charge], calendar: Calendar) -> None:
        self._calendar = calendar
        self._days: dict[str, dict[int, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
        self._idle_of: dict[str, Fraction] = defaultdict(Fraction)
        self._cost_of: dict[str, Fraction] = defaultdict(Fraction)
        self._vclusters: dict[str, dict[tuple[str, str], Fraction]] = defaultdict(lambda: defaultdict(Fraction))
        for one in charges:
            cost = one.cost
            self._days[one.tenant][one.time] += cost
            if one.time >= calendar.month:
                self._cost_of[one.cluster] += cost
                self._vclusters[one.tenant][one.name, one.cluster] += cost
                if one.tenant == IDLE:
                    self._idle_of[one.cluster] += cost
        self.month = costs.apportion({tenant: self._sum(tenant, calendar.month) for tenant in self._days})
        self._of_clusters = costs.apportion(self._cost_of)
        self._months = {
            (tenant, *key): cost
            for tenant, parts in self._vclusters.items()
            for key, cost in costs.apportion(parts, self.month[tenant]).items()
        }

    def of_fleet(self) -> dict[str, Any]:
        idle = self.month.get(IDLE, Decimal(0))
        whole = sum(self.month.values(), Decimal(0))
        forecast = sum((self._forecast(tenant) for tenant in self._days), Fraction(0))
        return {
            "month_to_date": _money(whole),
            "tenants": _money(whole - idle),
            "idle": _money(idle),
            "forecast": _money(costs.rounded(forecast)),
        }

    def of_cluster(self, name: str) -> dict[str, Any]:
        whole = self._of_clusters.get(name, Decimal(0))
        return {"month_to_date": _money(whole), "idle": _money(costs.rounded(self._idle_of[name]))}

    def of_others(self, known: Collection[str]) -> dict[str, str]:
        """Return the costs of tenants that exist no more."""
        return {name: _money(cost) for name, cost in sorted(self.month.items()) if cost and name not in {IDLE, *known}}

    def of_vcluster(self, one: VClusterSample) -> str:
        return _money(self._months.get((one.tenant, one.name, one.cluster), Decimal(0)))

    def of_tenant(self, tenant: str) -> dict[str, Any]:
        calendar, days = self._calendar, self._days.get(tenant, {})
        week, before = (self._sum(tenant, calendar.today - DAY * _WEEK * back) for back in (1, 2))
        # Today is not over, so both weeks are without it.
        week -= days.get(calendar.today, Fraction(0))
        before -= week + days.get(calendar.today, Fraction(0))
        last = self._sum(tenant, calendar.last_month) - self._sum(tenant, calendar.month)
        return {
            "month_to_date": _money(self.month.get(tenant, Decimal(0))),
            "last_month": _money(costs.rounded(last)),
            "forecast": _money(costs.rounded(self._forecast(tenant))),
            "trend": float(round((week - before) / before, 3)) if before else None,
            "days": [float(costs.rounded(days[day])) if day in days else None for day in calendar.days],
        }

    def _forecast(self, tenant: str) -> Fraction:
        """Return the month so far, with the mean of the last whole days for each one to come."""
        calendar, days = self._calendar, self._days[tenant]
        recent = [days[day] for day in range(calendar.today - DAY * _WEEK, calendar.today, DAY) if day in days]
        so_far = self._sum(tenant, calendar.month)
        if not recent:
            return so_far
        mean = sum(recent, Fraction(0)) / len(recent)
        rest = Fraction(calendar.month_end - calendar.today - DAY, DAY)
        return so_far - days.get(calendar.today, Fraction(0)) + mean * (rest + 1)

    def _sum(self, tenant: str, since: int) -> Fraction:
        return sum((cost for day, cost in self._days[tenant].items() if day >= since), Fraction(0))


def _coverage(days: Iterable[ClusterUsage], calendar: Calendar) -> dict[str, float]:
    """Return which part of this month the history covers, for each cluster of the fleet."""
    seconds: dict[str, int] = defaultdict(int)
    for one in days:
        if one.time >= calendar.month:
            seconds[one.cluster] += one.sums["seconds"]
    elapsed = max(1, calendar.now - calendar.month)
    return {name: round(min(1.0, covered / elapsed), 4) for name, covered in sorted(seconds.items())}


def _cluster(one: ClusterSample, sample: Sample, bill: _Bill) -> dict[str, Any]:
    mine = sample.of_cluster(one.name)
    requested, promised = (_total([getattr(each, part) for each in mine]) for part in ("requested", "promised"))
    allocated = _total([each.allocated for each in mine])
    return {
        "name": one.name,
        "version": one.version,
        "nodes": one.nodes,
        "vclusters": len(mine),
        "gpus": float(one.gpus),
        "credential_expires": _moment(one.credential_expires),
        "cost": bill.of_cluster(one.name),
        **{
            resource: {
                "capacity": _number(getattr(one.capacity, resource)),
                "allocatable": _number(getattr(one.allocatable, resource)),
                "promised": _number(getattr(promised, resource)),
                "requested": _number(getattr(requested, resource)),
                "used": _number(getattr(one.used, resource)) if one.used else None,
                "idle": _number(max(Decimal(0), getattr(one.capacity, resource) - getattr(allocated, resource))),
            }
            for resource in ("cpu", "memory")
        },
    }


def _tenants(sample: Sample, past: Past, bill: _Bill, calendar: Calendar) -> list[dict[str, Any]]:
    means = _means(past)
    return [_tenant(one, sample, means[one.name], bill, calendar) for one in sample.tenants]


def _means(past: Past) -> dict[str, dict[str, dict[int, float]]]:
    """Return what each tenant requested and used on average while there were samples: tenant, part, day."""
    seconds = {(one.time, one.cluster): one.sums for one in past.cluster_days}
    found: dict[str, dict[str, dict[int, float]]] = defaultdict(
        lambda: {part: defaultdict(float) for part in _OVER_TIME}
    )
    for one in past.days:
        of_host = seconds.get((one.time, one.cluster), {})
        for part, (unit, counted) in _OVER_TIME.items():
            if of_host.get(counted):
                found[one.tenant][part][one.time] += one.sums[part] * unit / of_host[counted]
    return found


def _tenant(
    one: TenantSample,
    sample: Sample,
    means: Mapping[str, Mapping[int, float]],
    bill: _Bill,
    calendar: Calendar,
) -> dict[str, Any]:
    mine = [each for each in sample.vclusters if each.tenant == one.name]
    promised, requested = (_total([getattr(each, part) for each in mine]) for part in ("promised", "requested"))
    measured = [each.used for each in mine if each.used is not None]

    return {
        "name": one.name,
        "display_name": one.display_name,
        "quota": {resource: _number(amount) for resource, amount in one.quota.items()},
        "promised": {
            **_both(promised),
            "storage": _number(sum((each.promised_storage for each in mine), Decimal(0))),
            "vclusters": len(mine),
        },
        "requested": _both(requested),
        # One that is not measured makes the sum unknown, not smaller.
        "used": _both(_total(measured)) if len(measured) == len(mine) else None,
        "storage": _number(sum((each.storage for each in mine), Decimal(0))),
        "pods": _number(sum((each.pods for each in mine), Decimal(0))),
        "days": {
            part: [round(values[day], 3) if day in values else None for day in calendar.days]
            for part, values in means.items()
        },
        "cost": bill.of_tenant(one.name),
    }


def _vcluster(one: VClusterSample, bill: _Bill, newest: str) -> dict[str, Any]:
    return {
        "tenant": one.tenant,
        "name": one.name,
        "cluster": one.cluster,
        "tier": one.tier,
        "mode": one.mode,
        "status": one.status,
        "message": one.message,
        "version": one.version,
        "version_behind": bool(one.version) and one.version != newest,
        "created": stamp(one.created),
        "promised": {**_both(one.promised), "storage": _number(one.promised_storage)},
        "requested": _both(one.requested),
        "limited": _both(one.limited),
        "used": _both(one.used) if one.used else None,
        "storage": _number(one.storage),
        "pods": _number(one.pods),
        "node_ports": _number(one.node_ports),
        "load_balancers": _number(one.load_balancers),
        "extended": {name: _number(amount) for name, amount in one.extended.items()},
        "expires": _moment(one.expires),
        "certificates_valid_until": _moment(one.certificates_valid_until),
        "idle_since": _moment(one.idle_since),
        "snapshot": _moment(one.snapshot),
        "month_to_date": bill.of_vcluster(one),
    }


def _wasted(found: advice.Waste) -> dict[str, Any]:
    one = found.one
    return {
        "tenant": one.tenant,
        "name": one.name,
        "cluster": one.cluster,
        "requested": _both(one.requested),
        "peak": _both(found.peak),
        "proposed": _both(found.proposed),
        "hours": found.hours,
        "monthly_cost": _money(costs.rounded(found.monthly_cost)),
    }


def _newest_version(sample: Sample) -> str:
    return max((one.version for one in sample.vclusters if one.version), key=_version_key, default="")


def _version_key(version: str) -> list[int]:
    return [int(part) for part in "".join(c if c.isdigit() else " " for c in version).split()]


def _total(parts: Iterable[Amounts]) -> Amounts:
    found = Amounts()
    for part in parts:
        found = found.plus(part)
    return found


def _both(amounts: Amounts) -> dict[str, Any]:
    return {"cpu": _number(amounts.cpu), "memory": _number(amounts.memory)}


def _number(amount: Decimal) -> int | float:
    """Return a number of JSON: cores with three decimals, whole bytes and pieces."""
    short = round(amount, 3)
    return int(short) if short == short.to_integral_value() else float(short)


def _money(amount: Decimal) -> str:
    """Return a cost as text, because numbers of JSON are not exact."""
    return f"{amount:.2f}"


def _moment(when: datetime | None) -> str | None:
    return stamp(when) if when else None
