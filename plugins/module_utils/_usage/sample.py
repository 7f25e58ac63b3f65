# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Convert objects of hosts, as they were listed, into a sample. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming, quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import moment
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.facts import requests_of
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot import newest_record
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import resources_in_use
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import quota_of
from ansible_collections.tenantry.kube.plugins.module_utils._usage.model import (
    NOTHING,
    Amounts,
    ClusterSample,
    TenantSample,
    VClusterSample,
    gpus_in,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import certificate_lifetime
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.housekeeping import Notes

# In the status of a ResourceQuota, beside the standard resources.
_STANDARD = frozenset({"cpu", "memory", "storage", "ephemeral-storage"})
_REQUESTS = "requests."


@dataclass(frozen=True)
class HostFacts:
    """The objects of one host. `pod_metrics` and `node_metrics` are None if the host does not measure."""

    nodes: list[dict]
    rows: dict[str, dict]  # of virtual clusters, by namespace
    quotas: dict[str, dict]  # ResourceQuotas, by namespace
    control_plane: list[dict] = field(default_factory=list)  # the platform's pods
    pod_metrics: list[dict] | None = None
    node_metrics: list[dict] | None = None
    unmeasured: str = ""


def tenant_sample(record: dict, space: dict) -> TenantSample:
    """Return a tenant by its record and its namespace, which is as old as the tenant: a record can be recreated."""
    name = record["metadata"]["labels"][naming.LABEL_TENANT]
    created = space["metadata"]["creationTimestamp"]
    quota = {key: _amount(value) for key, value in quota_of(record).items()}
    return TenantSample(name, record["data"].get("display_name") or name, quota, moment(created))


def cluster_sample(name: str, version: str, facts: HostFacts, credential_expires: str = "") -> ClusterSample:
    """Sum up the nodes of a host."""
    statuses = [one.get("status") or {} for one in facts.nodes]
    used = None
    if facts.node_metrics is not None:
        used = _sum(_of(one.get("usage") or {}) for one in facts.node_metrics)
    return ClusterSample(
        name=name,
        version=version,
        nodes=len(facts.nodes),
        capacity=_sum(_of(one.get("capacity") or {}) for one in statuses),
        allocatable=_sum(_of(one.get("allocatable") or {}) for one in statuses),
        used=used,
        gpus=sum((gpus_in(_extended(one.get("capacity") or {})) for one in statuses), NOTHING),
        unmeasured=facts.unmeasured,
        credential_expires=moment(credential_expires) if credential_expires else None,
    )


def vcluster_samples(found: Iterable[VirtualCluster], facts: HostFacts) -> list[VClusterSample]:
    """Return a sample of each virtual cluster of a host."""
    used = None if facts.pod_metrics is None else _used_by_namespace(facts.pod_metrics)
    started, platform = _oldest_starts(facts.control_plane), _requested_by_namespace(facts.control_plane)
    return [
        _vcluster_sample(one, facts, used, started.get(one.namespace), platform.get(one.namespace, Amounts()))
        for one in found
    ]


def _vcluster_sample(
    found: VirtualCluster,
    facts: HostFacts,
    used: Mapping[str, Amounts] | None,
    started: datetime | None,
    platform: Amounts,
) -> VClusterSample:
    row, record = facts.rows[found.namespace], found.readable_record
    quota = facts.quotas.get(found.namespace, {})
    counted = (quota.get("status") or {}).get("used") or {}
    promised = resources_in_use.promised_to(found, quota)
    requests = {key.removeprefix(_REQUESTS): value for key, value in counted.items() if key.startswith(_REQUESTS)}
    limits = {key.removeprefix("limits."): value for key, value in counted.items() if key.startswith("limits.")}
    return VClusterSample(
        tenant=found.tenant,
        name=found.name,
        cluster=found.host.name,
        tier=row["tier"] or "",
        mode=row["mode"] or "",
        created=moment(found.created),
        promised=_of(promised),
        requested=_of(requests),
        limited=_of(limits),
        # No pod of it runs: nothing is used, which is known where the host measures.
        used=None if used is None else used.get(found.namespace, Amounts()),
        promised_storage=_amount(promised.get("storage")),
        resources={name: _amount(value) for name, value in record.resources.items()} or None,
        storage=_amount(requests.get("storage")),
        pods=_amount(counted.get("pods")),
        node_ports=_amount(counted.get("services.nodeports")),
        load_balancers=_amount(counted.get("services.loadbalancers")),
        platform=platform,
        extended={name: _amount(value) for name, value in requests.items() if name not in _STANDARD},
        **{key: row[key] for key in ("status", "version", "message")},
        **_times(found, row, started),
        external_datastore="://" in (record.datastore or ""),
        deletion_protection=record.deletion_protection,
        sleep=record.sleep,
    )


def _times(found: VirtualCluster, row: Mapping[str, Any], started: datetime | None) -> dict[str, Any]:
    return {
        "expires": moment(row["expires"]) if row["expires"] else None,
        "certificates_valid_until": certificate_lifetime.valid_until(started) if started else None,
        "idle_since": Notes.of(found).since,
        "snapshot": _newest_snapshot(found),
    }


def _newest_snapshot(found: VirtualCluster) -> datetime | None:
    """Return the time of the newest recorded snapshot, which is its sequence."""
    try:
        noted = newest_record.noted(found.namespace_object)
        return newest_record.taken(noted) if noted else None
    except (ValueError, KeyError, TypeError, OverflowError):  # somebody wrote something else there
        return None


def _used_by_namespace(metrics: Iterable[dict]) -> dict[str, Amounts]:
    found: dict[str, Amounts] = defaultdict(Amounts)
    for one in metrics:
        space = one["metadata"]["namespace"]
        found[space] = found[space].plus(_sum(_of(part.get("usage") or {}) for part in one.get("containers") or []))
    return found


def _requested_by_namespace(pods: Iterable[dict]) -> dict[str, Amounts]:
    """Return what pods request that are not finished, as their ResourceQuota counts it."""
    found: dict[str, Amounts] = defaultdict(Amounts)
    for pod in pods:
        if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            space, requested = pod["metadata"]["namespace"], requests_of(pod)
            found[space] = found[space].plus(
                Amounts(Decimal(requested["cpu"]) / 1000, Decimal(requested["memory"]) / 1000)
            )
    return found


def _oldest_starts(pods: Iterable[dict]) -> dict[str, datetime]:
    """Return when the oldest running k3s process of each namespace started."""
    found: dict[str, datetime] = {}
    for pod in pods:
        if start := certificate_lifetime.start_of(pod):
            space = pod["metadata"]["namespace"]
            found[space] = min(start, found.get(space, start))
    return found


def _extended(resources: Mapping[str, Any]) -> dict[str, Decimal]:
    return {name: _amount(value) for name, value in resources.items() if "/" in name}


def _of(resources: Mapping[str, Any]) -> Amounts:
    return Amounts(_amount(resources.get("cpu")), _amount(resources.get("memory")))


def _sum(parts: Iterable[Amounts]) -> Amounts:
    total = Amounts()
    for part in parts:
        total = total.plus(part)
    return total


def _amount(value: object) -> Decimal:
    """Return the value in base units. What is no quantity, as an API served by others may say, is nothing."""
    try:
        return quantities.parse(value, "quantity") if value is not None else NOTHING
    except (TenantryError, InvalidOperation):
        return NOTHING
