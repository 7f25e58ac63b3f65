# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module vcluster_info: what virtual clusters there are, read live."""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming as _names
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry as _fleet
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import explanation
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection as _tunnel
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_state import Found
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.guest import STATEFUL_SET, is_ready, ready_of_all
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.lifecycle import is_paused
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import SERVER
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.lifecycle import expiry, stamp
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.mode import SHARED

# The quota's names for what a slice consists of: the limits, since they are what can be used up.
QUOTA_KEYS = {"cpu": "limits.cpu", "memory": "limits.memory", "storage": "requests.storage", "pods": "pods"}


def run(context: Context, tenant: str | None, name: str | None, host: str | None) -> dict:
    """The virtual clusters that match, and a line for each host that could not be asked."""
    for field, value in (("tenant", tenant), ("name", name)):
        if value is not None:  # a name that cannot exist is an error, not an empty answer
            _names.check_name(value, field)
    _fleet.require_platform(context.hub)
    fleet = _fleet.hosts(context.hub, context.cluster)
    try:
        if host is not None and host not in fleet.names():
            raise fleet.unknown(host)
        spaces, unreachable = fleet.vclusters()
        wanted = [
            found
            for found in (Found(where, space) for where, space in spaces)
            if tenant in (None, found.tenant) and name in (None, found.name) and host in (None, found.host.name)
        ]
        rows = context.hub.map(_row, wanted)
    finally:
        fleet.close()
    rows.sort(key=lambda row: (row["tenant"], row["name"]))
    return {"vclusters": rows, "unreachable_members": {} if host and host not in unreachable else unreachable}


def _row(found: Found) -> dict:
    namespace, record = found.namespace["metadata"]["name"], found.record
    quota = found.host.get("v1/ResourceQuota", "slice", namespace)
    server = found.host.get(STATEFUL_SET, SERVER, namespace)
    row = {
        "tenant": found.tenant,
        "name": found.name,
        "host": found.host.name,
        "namespace": namespace,
        "mode": record.get("mode"),
        "tier": record.get("tier"),
        "version": record.get("version"),
        "datastore": record.get("datastore"),
        "servers": _servers(server),
        "slice": slice_of(quota or {}),
        "created": found.namespace["metadata"]["creationTimestamp"],
        **upkeep_of(found),
    }
    if found.namespace["metadata"].get("deletionTimestamp"):
        return {**row, "status": "Deleting", "nodes": None, "endpoint": None, "message": None}
    if is_paused(server):
        nodes = None if row["mode"] == SHARED else f"0/{record.get('agents', 0)}"
        return {**row, "status": "Paused", "nodes": nodes, "endpoint": _endpoint(found), "message": None}
    return row | _live(found.host, found.namespace, None if row["mode"] == SHARED else record.get("agents", 0))


def _servers(stateful_set: dict | None) -> str | None:
    if stateful_set is None:
        return None
    return f"{(stateful_set.get('status') or {}).get('readyReplicas', 0)}/{stateful_set['spec']['replicas']}"


def upkeep_of(found: Found) -> dict:
    expires = expiry(found.namespace, found.record)
    return {
        "deletion_protection": bool(found.record.get("deletion_protection")),
        "expires": stamp(expires) if expires else None,
        "sleep": found.record.get("sleep"),
    }


def _endpoint(found: Found) -> str | None:
    try:
        return _tunnel.endpoint(found.host, found.namespace)
    except TenantryError:
        return None


def _live(host: Cluster, namespace: dict, agents: int | None) -> dict:
    """What only the virtual cluster itself can tell. In mode shared it has as many nodes as carry its pods."""
    unknown = ready_of_all(None, agents)
    try:
        url = _tunnel.endpoint(host, namespace)
        api = _tunnel.inside(host, namespace["metadata"]["name"])
    except TenantryError as error:
        return {"status": "NotReady", "nodes": unknown, "endpoint": None, "message": str(error)}
    try:
        nodes = api.list("v1/Node")
        version = api.version()
        syncer = _why_not_synced(host, namespace["metadata"]["name"]) if agents is None else None
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
    """What keeps the syncer, without which the API answers but no pod runs."""
    name = _tunnel.serving_pod(host, namespace)
    pod = host.get("v1/Pod", name, namespace)
    if pod and is_ready(pod):
        return None
    return f"the syncer is not ready: {explanation(host, pod, name, namespace)}"


def slice_of(quota: dict) -> dict[str, dict[str, str]]:
    """What a quota counts of a slice: used now, and at most."""
    status = quota.get("status") or {}
    used, hard = status.get("used") or {}, status.get("hard") or quota.get("spec", {}).get("hard") or {}
    return {
        ours: {"used": used.get(theirs, "0"), "hard": hard[theirs]}
        for ours, theirs in QUOTA_KEYS.items()
        if theirs in hard
    }
