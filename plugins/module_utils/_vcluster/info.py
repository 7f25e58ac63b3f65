# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module vcluster_info: virtual clusters and their live status."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import SERVER, SYNCER
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import stamp
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import VClusterRecord
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.conditions import is_ready
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    NODE,
    RESOURCE_QUOTA,
    STATEFUL_SET,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import explanation
from ansible_collections.tenantry.kube.plugins.module_utils._module import (
    Context,
    attempt,
    run_concurrently,
)
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import promises, records
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.resources_in_use import VCLUSTER_QUOTA, quota_use
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import certificate_lifetime, connection
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.guest import ready_of_all
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.lifecycle import is_paused
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.lifecycle import expiry
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.mode import SHARED

# The fields of a row that only the host knows.
UNREADABLE = (
    "mode",
    "tier",
    "version",
    "datastore",
    "servers",
    "nodes",
    "endpoint",
    "created",
    "certificates_valid_until",
    "deletion_protection",
    "expires",
    "sleep",
)


def run(context: Context, tenant: str | None, name: str | None, host: str | None) -> dict:
    """Return the virtual clusters that match, and an error line for each host that does not answer."""
    for field, value in (("tenant", tenant), ("name", name)):
        if value is not None:  # a name that cannot exist is an error, not an empty answer
            naming.check_name(value, field)
    with registry.open_fleet(context) as fleet:
        if host is not None and host not in fleet.names():
            raise fleet.unknown(host)
        vclusters, unreachable = fleet.vclusters()
        wanted = [
            found
            for found in vclusters
            if tenant in (None, found.tenant) and name in (None, found.name) and host in (None, found.host.name)
        ]
        known = {found.namespace for found in vclusters}
        silent = [
            row
            for row in _silent_rows(fleet, tenant, unreachable, known)
            if name in (None, row["name"]) and host in (None, row["host"])
        ]
        rows = by_name([*live_rows(wanted), *silent])
    return {"vclusters": rows, "unreachable_members": {} if host and host not in unreachable else unreachable}


def _silent_rows(
    fleet: registry.Fleet, tenant: str | None, unreachable: dict[str, str], known: set[str]
) -> Iterator[dict]:
    """Yield a row for each virtual cluster that is promised on a host that does not answer."""
    if not unreachable:
        return
    for owner, record in records.read(fleet.hub, tenant).items():
        for namespace, promise in promises.away(record, unreachable, known).items():
            yield {
                **dict.fromkeys(UNREADABLE),
                "tenant": owner,
                "name": namespace.removeprefix(naming.joined(owner, "")),
                "host": promise.host,
                "namespace": namespace,
                "resources": promises.as_limits(promise),
                "status": promises.UNKNOWN,
                "message": unreachable[promise.host],
            }


def live_rows(vclusters: Sequence[VirtualCluster]) -> list[dict]:
    """A row for each, by tenant and name, with what its host and its own API server say now."""
    return by_name(run_concurrently(lambda found: readable(found, _row), vclusters))


def by_name(rows: list[dict]) -> list[dict]:
    return sorted(rows, key=lambda row: (row["tenant"], row["name"]))


def readable(found: VirtualCluster, read: Callable[[VirtualCluster], dict]) -> dict:
    """Its row. One that cannot be read is reported as such, and hides no other."""
    problem, row = attempt(lambda: read(found))
    if row:
        return row
    return {
        **recorded(found, found.readable_record),
        "status": "NotReady",
        "nodes": None,
        "endpoint": None,
        "message": problem,
    }


def recorded(found: VirtualCluster, record: VClusterRecord) -> dict:
    """What is on record."""
    return {
        "tenant": found.tenant,
        "name": found.name,
        "host": found.host.name,
        "namespace": found.namespace,
        "mode": record.mode,
        "tier": record.tier,
        "version": record.version,
        "datastore": record.datastore,
        "servers": None,
        "resources": {},
        "created": found.created,
        "certificates_valid_until": None,
        **upkeep_of(found, record),
    }


def _row(found: VirtualCluster) -> dict:
    namespace, record = found.namespace, found.record
    quota = found.host.get(RESOURCE_QUOTA, VCLUSTER_QUOTA, namespace)
    server = found.host.get(STATEFUL_SET, SERVER, namespace)
    row = {**recorded(found, record), "servers": ready_servers(server), "resources": quota_use(quota or {})}
    if found.is_deleting:
        return {**row, "status": "Deleting", "nodes": None, "endpoint": None, "message": None}
    if is_paused(server):
        nodes = None if row["mode"] == SHARED else f"0/{record.agents}"
        return {**row, "status": "Paused", "nodes": nodes, "endpoint": _endpoint(found), "message": None}
    if started := certificate_lifetime.oldest_start(found.host, namespace):
        row["certificates_valid_until"] = stamp(certificate_lifetime.valid_until(started))
    return row | _live(found, None if row["mode"] == SHARED else record.agents)


def ready_servers(stateful_set: dict | None) -> str | None:
    if stateful_set is None:
        return None
    return f"{(stateful_set.get('status') or {}).get('readyReplicas', 0)}/{stateful_set['spec']['replicas']}"


def upkeep_of(found: VirtualCluster, record: VClusterRecord) -> dict:
    """Return the lifecycle options, with the time of expiry."""
    expires = expiry(found.created, record)
    return {
        "deletion_protection": record.deletion_protection,
        "expires": stamp(expires) if expires else None,
        "sleep": record.sleep,
    }


def _endpoint(found: VirtualCluster) -> str | None:
    try:
        return connection.endpoint(found)
    except TenantryError:
        return None


def _live(found: VirtualCluster, agents: int | None) -> dict:
    """Return the live status. In mode shared, there are as many nodes as carry its pods."""
    host, unknown = found.host, ready_of_all(None, agents)
    try:
        url = connection.endpoint(found)
        api = connection.inside(host, found.namespace).limited(host.timeout)
    except TenantryError as error:
        return {"status": "NotReady", "nodes": unknown, "endpoint": None, "message": str(error)}
    try:
        nodes = api.list(NODE)
        version = api.version()
        syncer = _why_not_synced(host, found.namespace) if agents is None else None
    except TenantryError as error:
        return {"status": "NotReady", "nodes": unknown, "endpoint": url, "message": str(error)}
    finally:
        api.close()
    ready, wanted = sum(map(is_ready, nodes)), len(nodes) if agents is None else agents
    message = syncer or (f"{ready} of {wanted} nodes are ready" if ready < wanted else None)
    status = "NotReady" if message else "Ready"
    counted = ready_of_all(nodes, agents)
    return {"status": status, "nodes": counted, "endpoint": url, "version": version, "message": message}


def _why_not_synced(host: Cluster, namespace: str) -> str | None:
    """Return why the syncer does not work. Without it, the API answers, but no pod runs."""
    pods = connection.pods_of(host, namespace, SYNCER)
    if any(map(is_ready, pods)):
        return None
    if not pods:
        return "there is no pod of the syncer. Run tenantry.kube.vcluster for it"
    return f"the syncer is not ready: {explanation(host, pods[0], pods[0]['metadata']['name'], namespace)}"
