# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read a sample from the clusters of the fleet: a few requests to each, and none to a virtual cluster."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    NAMESPACE,
    NODE,
    NODE_METRICS,
    POD,
    POD_METRICS,
    RESOURCE_QUOTA,
)
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context, attempt
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import records
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.resources_in_use import VCLUSTER_QUOTA
from ansible_collections.tenantry.kube.plugins.module_utils._usage.model import (
    ClusterSample,
    Sample,
    TenantSample,
    VClusterSample,
)
from ansible_collections.tenantry.kube.plugins.module_utils._usage.sample import (
    HostFacts,
    cluster_sample,
    tenant_sample,
    vcluster_samples,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import inventory_rows

_Part = tuple[ClusterSample, list[VClusterSample]]


def take(context: Context, now: datetime) -> Sample:
    """Take a sample of the whole fleet. A cluster that does not answer is missing, and named."""
    with registry.open_fleet(context) as fleet:
        found_tenants = tenants(fleet.hub)
        found, missing = fleet.vclusters()
        clusters, _unreachable = fleet.reachable(name for name in fleet.names() if name not in missing)

        def read(host: Cluster) -> _Part | None:
            problem, part = attempt(lambda: _part(fleet, host, [one for one in found if one.host.name == host.name]))
            if problem:
                missing[host.name] = problem
            return part

        parts = [part for part in fleet.hub.map(read, clusters.values()) if part]
    return Sample(
        time=now,
        clusters=tuple(cluster for cluster, _vclusters in parts),
        vclusters=tuple(sorted((one for _c, ones in parts for one in ones), key=lambda one: (one.tenant, one.name))),
        tenants=tuple(sorted(found_tenants, key=lambda one: one.name)),
        missing=missing,
    )


def tenants(hub: Cluster) -> list[TenantSample]:
    """Return the tenants on record."""
    known = {one["metadata"]["namespace"]: one for one in records.read(hub).values()}
    spaces = {one["metadata"]["name"]: one for one in hub.list(NAMESPACE, selector=naming.selector("tenant"))}
    # One without a namespace was deleted between the two requests.
    return [tenant_sample(record, spaces[name]) for name, record in known.items() if name in spaces]


def _part(fleet: registry.Fleet, host: Cluster, found: Sequence[VirtualCluster]) -> _Part:
    member = fleet.members.get(host.name)
    facts = _facts(host, found)
    cluster = cluster_sample(host.name, host.version(), facts, member.credential_expires if member else "")
    return cluster, vcluster_samples(found, facts)


def _facts(host: Cluster, found: Sequence[VirtualCluster]) -> HostFacts:
    selector = naming.selector("vcluster")
    nodes, quotas, pods = host.map(
        lambda query: host.list(query[0], selector=query[1]),
        [
            (NODE, None),
            (RESOURCE_QUOTA, selector),
            (POD, naming.selecting({naming.LABEL_MANAGED_BY: naming.MANAGED_BY})),
        ],
    )
    # A host without the metrics API, or a credential from before that right: a gap, which is named.
    unmeasured, metrics = attempt(lambda: host.map(host.list, [POD_METRICS, NODE_METRICS]))
    of_pods, of_nodes = metrics or (None, None)
    return HostFacts(
        nodes=nodes,
        rows={row["namespace"]: row for row in inventory_rows.rows_of_host(host, found)},
        quotas={one["metadata"]["namespace"]: one for one in quotas if one["metadata"]["name"] == VCLUSTER_QUOTA},
        control_plane=pods,
        pod_metrics=of_pods,
        node_metrics=of_nodes,
        unmeasured=unmeasured or "",
    )
