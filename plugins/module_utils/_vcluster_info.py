# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module vcluster_info: what virtual clusters there are, read live."""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils import _fleet, _names, _tunnel
from ansible_collections.tenantry.kube.plugins.module_utils._client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster_inside import is_ready
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster_places import Found

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
    row = {
        "tenant": found.tenant,
        "name": found.name,
        "host": found.host.name,
        "namespace": namespace,
        "mode": record.get("mode"),
        "tier": record.get("tier"),
        "version": record.get("version"),
        "slice": _slice(quota or {}),
        "created": found.namespace["metadata"]["creationTimestamp"],
    }
    if found.namespace["metadata"].get("deletionTimestamp"):
        return {**row, "status": "Deleting", "nodes": None, "endpoint": None, "message": None}
    return row | _live(found.host, found.namespace, record.get("agents", 0))


def _live(host: Cluster, namespace: dict, agents: int) -> dict:
    """What only the virtual cluster itself can tell."""
    try:
        url = _tunnel.endpoint(host, namespace)
        api = _tunnel.inside(host, namespace["metadata"]["name"])
    except TenantryError as error:
        return {"status": "NotReady", "nodes": f"?/{agents}", "endpoint": None, "message": str(error)}
    try:
        ready = sum(map(is_ready, api.list("v1/Node")))
        version = api.version()
    except TenantryError as error:
        return {"status": "NotReady", "nodes": f"?/{agents}", "endpoint": url, "message": str(error)}
    finally:
        api.close()
    status = "Ready" if ready >= agents else "NotReady"
    message = None if ready >= agents else f"{ready} of {agents} nodes are ready"
    return {"status": status, "nodes": f"{ready}/{agents}", "endpoint": url, "version": version, "message": message}


def _slice(quota: dict) -> dict[str, dict[str, str]]:
    status = quota.get("status") or {}
    used, hard = status.get("used") or {}, status.get("hard") or quota.get("spec", {}).get("hard") or {}
    return {
        ours: {"used": used.get(theirs, "0"), "hard": hard[theirs]}
        for ours, theirs in QUOTA_KEYS.items()
        if theirs in hard
    }
