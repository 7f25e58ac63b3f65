# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report as gauges in Prometheus' text format. Pure. Rules and a dashboard for them are in `monitoring`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import moment

_Row = Mapping[str, Any]
_Value = Callable[[_Row], "float | None"]
_OF_CLUSTER, _OF_TENANT, _OF_VCLUSTER = ("cluster",), ("tenant",), ("tenant", "vcluster", "cluster")
_UNITS = {"cpu": "cores", "memory": "bytes"}
# What a virtual cluster has or meets at some time, by its key in the report.
_TIMES = {
    "expires": "When a virtual cluster is deleted, by its ttl.",
    "certificates_valid_until": "Until when the certificates of a virtual cluster are valid at least.",
    "snapshot": "When the newest snapshot of a virtual cluster was taken.",
    "idle_since": "Since when a virtual cluster is unused.",
}


def render(report: Mapping[str, Any]) -> str:
    """Return all metrics. What is not known has no line."""
    lines = [*_of_report(report), *_of_clusters(report), *_of_tenants(report), *_of_vclusters(report)]
    return "\n".join(lines) + "\n"


def _of_report(report: Mapping[str, Any]) -> Iterator[str]:
    yield from _gauge("report_timestamp_seconds", "When the sample was taken.", [report], (), _time("time"))


def _of_clusters(report: Mapping[str, Any]) -> Iterator[str]:
    rows = [{**one, "cluster": one["name"]} for one in report["clusters"]]
    silent = [{"cluster": name, "up": 0} for name in report["missing_clusters"]]
    answers = sorted([*({**one, "up": 1} for one in rows), *silent], key=lambda one: one["cluster"])
    yield from _gauge("cluster_up", "Whether a cluster of the fleet answered.", answers, _OF_CLUSTER, _plain("up"))
    for resource, unit in _UNITS.items():
        for part in ("capacity", "allocatable", "promised", "requested", "used", "idle"):
            help_ = f"{resource} of a cluster of the fleet: {part}."
            yield from _gauge(f"cluster_{resource}_{part}_{unit}", help_, rows, _OF_CLUSTER, _amount(resource, part))
    help_ = "When the platform's credential for a member expires."
    expires = _time("credential_expires")
    yield from _gauge("cluster_credential_expires_timestamp_seconds", help_, rows, _OF_CLUSTER, expires)


def _of_tenants(report: Mapping[str, Any]) -> Iterator[str]:
    rows = [{**one, "tenant": one["name"], "currency": report["currency"]} for one in report["tenants"]]
    for resource, unit in {**_UNITS, "storage": "bytes"}.items():
        help_ = f"Quota of {resource}."
        yield from _gauge(f"tenant_{resource}_quota_{unit}", help_, rows, _OF_TENANT, _amount("quota", resource))
    if report["currency"]:
        labels, help_ = (*_OF_TENANT, "currency"), "Cost of this month so far."
        yield from _gauge("tenant_cost_month_to_date", help_, rows, labels, _cost)


def _of_vclusters(report: Mapping[str, Any]) -> Iterator[str]:
    rows = [{**one, "vcluster": one["name"]} for one in report["vclusters"]]
    labels, help_ = (*_OF_VCLUSTER, "tier", "mode", "status"), "The status of a virtual cluster, always 1."
    yield from _gauge("vcluster_status", help_, rows, labels, lambda _one: 1)
    for resource, unit in _UNITS.items():
        for part in ("promised", "requested", "limited", "used"):
            help_ = f"{resource} of a virtual cluster: {part}."
            yield from _gauge(f"vcluster_{resource}_{part}_{unit}", help_, rows, _OF_VCLUSTER, _amount(part, resource))
    promised = _amount("promised", "storage")
    yield from _gauge(
        "vcluster_storage_promised_bytes", "storage of a virtual cluster: promised.", rows, _OF_VCLUSTER, promised
    )
    help_ = "storage of a virtual cluster: provisioned."
    yield from _gauge("vcluster_storage_provisioned_bytes", help_, rows, _OF_VCLUSTER, _plain("storage"))
    yield from _gauge("vcluster_pods", "Pods of a virtual cluster.", rows, _OF_VCLUSTER, _plain("pods"))
    for key, meaning in _TIMES.items():
        yield from _gauge(f"vcluster_{key}_timestamp_seconds", meaning, rows, _OF_VCLUSTER, _time(key))


def _plain(key: str) -> _Value:
    return lambda one: one[key]


def _amount(group: str, key: str) -> _Value:
    return lambda one: one[group] and one[group].get(key)


def _time(key: str) -> _Value:
    return lambda one: int(moment(one[key]).timestamp()) if one[key] else None


def _cost(one: _Row) -> float:
    return float(one["cost"]["month_to_date"])


def _gauge(name: str, help_: str, rows: Iterable[_Row], labels: Sequence[str], value: _Value) -> Iterator[str]:
    """Yield a metric. A row whose value is not known has no line."""
    name = f"tenantry_{name}"
    yield f"# HELP {name} {help_}"
    yield f"# TYPE {name} gauge"
    for row in rows:
        amount = value(row)
        if amount is not None:
            named = ",".join(f'{label}="{_label(row[label])}"' for label in labels)
            yield f"{name}{{{named}}} {amount}" if labels else f"{name} {amount}"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
