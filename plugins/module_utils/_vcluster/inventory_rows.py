# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the inventory plugin vclusters: the clusters of the fleet, and the virtual clusters on them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import AGENT, SERVER, SYNCER
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    RESOURCE_QUOTA,
    SERVICE,
    STATEFUL_SET,
)
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context, attempt, run_concurrently
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.resources_in_use import VCLUSTER_QUOTA, quota_use
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import info
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.lifecycle import is_paused
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import exposure
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import API_SERVICE
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.mode import SHARED

_KINDS = (RESOURCE_QUOTA, SERVICE, STATEFUL_SET)

# Objects of one host by kind, namespace and name.
_Objects = dict[tuple[str, str, str], dict]


def read(context: Context, tenant: str | None, *, live: bool) -> dict[str, list[dict]]:
    """
    A row for each cluster of the fleet, and one for each virtual cluster, all of them or a tenant's. They hold no
    credential, and plain types only: they may be cached.

    Not `live`: by what the hosts know, a request per kind and host. The virtual clusters themselves are not asked.
    """
    if tenant is not None:  # a name that cannot exist is an error, not an empty answer
        naming.check_name(tenant, "tenant")
    with registry.open_fleet(context) as fleet:
        vclusters, unreachable = fleet.vclusters()
        wanted = _first_of_each([found for found in vclusters if tenant in (None, found.tenant)])
        rows = info.live_rows(wanted) if live else _rows_by_hosts(wanted)
        return {"fleet": _fleet_rows(fleet, unreachable), "vclusters": rows}


def _first_of_each(vclusters: Sequence[VirtualCluster]) -> list[VirtualCluster]:
    """Of several with the same name the hub's own counts, or that of the first member: others may be false."""
    found: dict[str, VirtualCluster] = {}
    for one in vclusters:
        found.setdefault(one.namespace, one)
    return list(found.values())


def _fleet_rows(fleet: registry.Fleet, unreachable: dict[str, str]) -> list[dict]:
    members = fleet.members.items()
    known = {naming.HUB: (fleet.hub.server, fleet.hub.version())}
    known |= {name: (member.server, member.version) for name, member in members}
    return [
        {
            "name": name,
            "server": known[name][0],
            "version": known[name][1],
            "reachable": name not in unreachable,
            "message": unreachable.get(name),
        }
        for name in fleet.names()
    ]


def _rows_by_hosts(vclusters: Sequence[VirtualCluster]) -> list[dict]:
    on_host: dict[str, list[VirtualCluster]] = defaultdict(list)
    for found in vclusters:
        on_host[found.host.name].append(found)
    rows = run_concurrently(lambda of_host: rows_of_host(of_host[0].host, of_host), list(on_host.values()))
    return info.by_name([row for of_host in rows for row in of_host])


def rows_of_host(host: Cluster, vclusters: Sequence[VirtualCluster]) -> list[dict]:
    """Return a row for each of these virtual clusters, which are on that host, by what it knows of them."""
    problem, objects = attempt(lambda: _objects(host))

    def row(found: VirtualCluster) -> dict:
        if objects is None:
            raise TenantryError(str(problem))
        return _row(found, objects)

    return [info.readable(found, row) for found in vclusters]


def _objects(host: Cluster) -> _Objects:
    selector = naming.selector("vcluster")
    lists = host.map(lambda kind: (kind, host.list(kind, selector=selector)), _KINDS)
    return {
        (kind, one["metadata"]["namespace"], one["metadata"]["name"]): one for kind, found in lists for one in found
    }


def _row(found: VirtualCluster, objects: _Objects) -> dict:
    namespace, record = found.namespace, found.record
    server = objects.get((STATEFUL_SET, namespace, SERVER))
    service = objects.get((SERVICE, namespace, API_SERVICE))
    quota = objects.get((RESOURCE_QUOTA, namespace, VCLUSTER_QUOTA))
    row = {
        **info.recorded(found, record),
        "servers": info.ready_servers(server),
        "resources": quota_use(quota or {}),
        "nodes": None,
        "endpoint": exposure.url_of(service, record.expose, record.address) if service else None,
    }
    if found.is_deleting:
        return {**row, "status": "Deleting", "endpoint": None, "message": None}
    if is_paused(server):
        return {**row, "status": "Paused", "message": None}
    parts = [(SERVER, "server"), (SYNCER, "syncer") if record.mode == SHARED else (AGENT, "agent")]
    lacking = [text for part, text in parts if not _is_up(part, objects.get((STATEFUL_SET, namespace, part)))]
    message = f"no {' and no '.join(lacking)} is ready" if lacking else None
    return {**row, "status": "NotReady" if lacking else "Ready", "message": message}


def _is_up(part: str, stateful_set: dict | None) -> bool:
    """Of servers and syncers, one that is ready is enough. There may be no agents."""
    if stateful_set is None:
        return part == AGENT
    return bool((stateful_set.get("status") or {}).get("readyReplicas")) or stateful_set["spec"]["replicas"] == 0
