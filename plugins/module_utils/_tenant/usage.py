# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module tenant_usage_info: quota, allocation and use of tenants."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming, quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.resource_names import in_order
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import (
    allocation,
    promises,
    records,
    resources_in_use,
)
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import paused_frees_quota, quota_of
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.promises import UNKNOWN, Promise


def run(context: Context, tenant: str | None) -> dict:
    """Return the tenants by name, and an error line for each host that does not answer."""
    if tenant is not None:  # an invalid name is an error, not an empty result
        naming.check_name(tenant, "tenant")
    with registry.open_fleet(context) as fleet:
        known_records = records.read(fleet.hub, tenant)
        if tenant is not None and tenant not in known_records:
            raise TenantryError(f"tenant: there is no tenant {tenant}. Create it with tenantry.kube.tenant_quota first")
        vclusters, unreachable = fleet.vclusters()
        found = [one for one in vclusters if tenant in (None, one.tenant)]
        quotas = resources_in_use.quotas(fleet.hub, (one.host for one in found), unreachable=unreachable)
    of_tenants: dict[str, list[VirtualCluster]] = defaultdict(list)
    for one in found:
        of_tenants[one.tenant].append(one)
    known = {one.namespace for one in found}
    away = {name: promises.away(record, unreachable, known) for name, record in known_records.items()}
    rows = [_row(name, known_records[name], of_tenants[name], away[name], quotas) for name in sorted(known_records)]
    return {"tenants": rows, "unreachable_members": unreachable}


def _row(
    name: str,
    record: dict,
    found: list[VirtualCluster],
    away: dict[str, Promise],
    quotas: dict[tuple[str, str], dict],
) -> dict:
    quota = quota_of(record)
    promised = [resources_in_use.promised_to(one, _quota(one, quotas)) for one in found]
    taken = map(resources_in_use.taken, promised, (_quota(one, quotas) for one in found))
    counted = allocation.total([*taken, *(one.counted for one in away.values())])
    answering = [_vcluster(one, quotas) for one in found]
    silent = [_silent(namespace.removeprefix(naming.joined(name, "")), one) for namespace, one in away.items()]
    used = allocation.total({key: part["used"] for key, part in one["resources"].items()} for one in answering)
    return {
        "name": name,
        "display_name": record["data"].get("display_name"),
        "quota": quota,
        "paused_frees_quota": paused_frees_quota(record),
        "allocated": allocation.total([*promised, *(one.resources for one in away.values())]),
        "counted": counted,
        "available": {key: _available(key, quota[key], counted.get(key, "0")) for key in in_order(quota)},
        "used": used,
        "exceeded": [key for key in in_order(quota) if _amount(key, counted.get(key, "0")) > _amount(key, quota[key])],
        "vclusters": sorted([*answering, *silent], key=lambda one: one["name"]),
        "unreadable": {one.name: one.record_problem for one in found if one.record_problem},
    }


def _vcluster(found: VirtualCluster, quotas: dict[tuple[str, str], dict]) -> dict:
    resources = resources_in_use.quota_use(_quota(found, quotas))
    return {"name": found.name, "host": found.host.name, "status": None, "resources": resources}


def _silent(name: str, promise: Promise) -> dict:
    return {"name": name, "host": promise.host, "status": UNKNOWN, "resources": promises.as_limits(promise)}


def _quota(found: VirtualCluster, quotas: dict[tuple[str, str], dict]) -> dict:
    return quotas.get((found.host.name, found.namespace)) or {}


def _available(key: str, quota: str, counted: str) -> str:
    amount = _amount(key, quota) - _amount(key, counted)
    return quantities.display(max(amount, Decimal(0)), binary=any(text.endswith("i") for text in (quota, counted)))


def _amount(key: str, text: str) -> Decimal:
    return quantities.parse(text, key)
