# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module tenant_usage_info: tenants now and, from the history, what they used in a period."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import shown as quoted
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import clock, rfc3339
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import usage
from ansible_collections.tenantry.kube.plugins.module_utils._usage import gather
from ansible_collections.tenantry.kube.plugins.module_utils._usage.history import (
    HOUR,
    HOURS_KEPT,
    MEBI,
    TABLES,
    ClusterUsage,
    Usage,
    open_history,
)
from ansible_collections.tenantry.kube.plugins.module_utils._usage.report import Past

_PARTS = ("requested", "limited", "used", "allocated")


@dataclass(frozen=True)
class Period:
    """Whole days or hours, in seconds since the epoch. `until` is exclusive."""

    history: Path
    since: int
    until: int
    interval: str

    @classmethod
    def of(cls, params: Mapping[str, Any], now: datetime) -> Period | None:
        """Validate the options. None without `since`. Raise a TenantryError."""
        if params["since"] is None:
            if params["until"] is not None:
                raise TenantryError("until: needs since. Set since too, or omit until")
            return None
        if not params["history"]:
            raise TenantryError("since: needs history. Set history to the file that usage_report keeps")
        interval, ends = params["interval"], int(now.timestamp())
        since = _seconds(params["since"], "since", ends)
        until = ends
        if params["until"] is not None:
            until = _seconds(params["until"], "until", ends)
            until -= until % TABLES[interval]
        if interval == "hour" and since < ends - HOURS_KEPT.total_seconds():
            raise TenantryError(
                f"since: {rfc3339(since)} is too early, because hours are kept for {HOURS_KEPT.days} days. "
                "Set a later time, or interval: day"
            )
        since -= since % TABLES[interval]
        if since >= until:
            raise TenantryError(f"until: {rfc3339(until)} is not after since ({rfc3339(since)}). Set a later time")
        return cls(Path(params["history"]), since, until, interval)


def run(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tenants. With a period, each has its `history`."""
    period = Period.of(params, clock())
    past = _read(period) if period else None
    found = usage.run(context, params["tenant"])
    if period is None or past is None:
        return found
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    # What was before the creation of a tenant is of an earlier one of its name.
    owned = past.by_owner(gather.tenants(context.hub))
    for one in [*owned.days, *owned.hours]:
        rows[one.tenant].append(_row(one))
    tenants = [{**one, "history": rows[one["name"]]} for one in found["tenants"]]
    return {**found, "tenants": tenants, "period": _described(period, past.cluster_days)}


def _seconds(given: str, option: str, now: int) -> int:
    """Return a time: a duration before now, or a date or point in time of RFC 3339, in UTC without an offset."""
    try:
        when = datetime.fromisoformat(given)
    except ValueError:
        try:
            return now - quantities.seconds(given, option)
        except TenantryError:
            raise TenantryError(
                f"{option}: {quoted(given)} is not a time. Use a duration such as 7d, which is before now, a date such "
                "as 2026-11-01, or a time such as 2026-11-01T12:00:00Z"
            ) from None
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())


def _read(period: Period) -> Past:
    """Read the period. Raise a TenantryError if the history has nothing of it."""
    path, last = period.history, period.until - 1
    if not path.is_file():
        raise TenantryError(
            f"history: {path} is no file. Correct the path, or run usage_report with this history first"
        )
    with open_history(path, writable=False) as history:
        vclusters = list(history.vclusters(period.interval, period.since, last))
        clusters = list(history.clusters(period.interval, period.since, last))
        first = history.first()
    if not clusters:
        begins = f"It begins on {rfc3339(first)[:10]}" if first is not None else "It has no sample at all"
        raise TenantryError(
            f"since: {path} has no sample from {rfc3339(period.since)} to {rfc3339(period.until)}. {begins}. "
            "Set another period"
        )
    if period.interval == "hour":
        return Past(hours=vclusters, cluster_days=clusters)
    return Past(days=vclusters, cluster_days=clusters)


def _described(period: Period, clusters: Sequence[ClusterUsage]) -> dict[str, Any]:
    seconds: dict[str, int] = defaultdict(int)
    for one in clusters:
        seconds[one.cluster] += one.sums["seconds"]
    length = period.until - period.since
    return {
        "since": rfc3339(period.since),
        "until": rfc3339(period.until),
        "interval": period.interval,
        "coverage": {name: min(1.0, round(covered / length, 4)) for name, covered in sorted(seconds.items())},
    }


def _row(one: Usage) -> dict[str, Any]:
    sums, measured = one.sums, one.sums["measured"] > 0

    def hours(resource: str, unit: float) -> dict[str, float | None]:
        known = {part: sums[f"{resource}_{part}"] for part in _PARTS if part != "used" or measured}
        known["promised"] = one.promised[resource] * sums["seconds"]
        return {part: round(known[part] * unit / HOUR, 6) if part in known else None for part in ("promised", *_PARTS)}

    return {
        "time": rfc3339(one.time),
        "vcluster": one.name,
        "host": one.cluster,
        "tier": one.tier,
        "seconds": sums["seconds"],
        "asleep_seconds": sums["asleep"],
        "measured_seconds": sums["measured"],
        "cpu_core_hours": hours("cpu", 0.001),
        "memory_gib_hours": hours("memory", 1 / 1024),
        "storage_gib_hours": round(sums["storage"] / 1024 / HOUR, 6),
        "gpu_hours": round(sums["gpus"] / HOUR, 6),
        "cpu_peak": sums["cpu_peak"] / 1000 if measured else None,
        "memory_peak": sums["memory_peak"] * MEBI if measured else None,
    }
