# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module tenant_usage_info: what tenants may use, have given to virtual clusters, and use now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming as _names
from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities as _quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry as _fleet
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import existing
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import budget as _budget
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import RECORD, budget_of
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_state import Found
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.info import slice_of

QUOTA = "v1/ResourceQuota"
SLICE = "slice"
RESOURCES = (*_budget.RESOURCES, "vclusters")


def run(context: Context, tenant: str | None) -> dict:
    """The tenants by name, and a line for each host that could not be asked."""
    if tenant is not None:  # a name that cannot exist is an error, not an empty answer
        _names.check_name(tenant, "tenant")
    hub = context.hub
    _fleet.require_platform(hub)
    records = hub.list("v1/ConfigMap", selector=_names.selector("tenant", tenant=tenant))
    records = {_tenant_of(one): one for one in records if one["metadata"]["name"] == RECORD}
    if tenant is not None and tenant not in records:
        raise TenantryError(f"tenant: there is no tenant {tenant}; make it with tenantry.kube.tenant_quota first")
    fleet = _fleet.hosts(hub, context.cluster)
    try:
        spaces, unreachable = fleet.vclusters()
        found = [Found(host, space) for host, space in spaces]
        found = [one for one in found if tenant in (None, one.tenant)]
        quotas = _quotas(hub, found)
    finally:
        fleet.close()
    of_tenants: dict[str, list[Found]] = defaultdict(list)
    for one in found:
        of_tenants[one.tenant].append(one)
    rows = [_row(name, records[name], of_tenants[name], quotas) for name in sorted(records)]
    return {"tenants": rows, "unreachable_members": unreachable}


def _tenant_of(obj: dict) -> str:
    return obj["metadata"]["labels"][_names.LABEL_TENANT]


def _quotas(hub: Cluster, found: Iterable[Found]) -> dict[tuple[str, str], dict]:
    """The quotas of all slices, by host and namespace: one LIST for each host."""
    hosts = {one.host.name: one.host for one in found}
    lists = hub.map(lambda host: existing(host, [QUOTA], _names.selector("vcluster")).of(QUOTA), hosts.values())
    return {
        (host, quota["metadata"]["namespace"]): quota
        for host, listed in zip(hosts, lists, strict=True)
        for quota in listed
        if quota["metadata"]["name"] == SLICE
    }


def _row(name: str, record: dict, found: list[Found], quotas: dict[tuple[str, str], dict]) -> dict:
    budget = budget_of(record)
    allotted = _budget.used(one.namespace for one in found)
    vclusters = sorted((_vcluster(one, quotas) for one in found), key=lambda one: one["name"])
    used = _budget.total({key: part["used"] for key, part in one["slice"].items()} for one in vclusters)
    return {
        "name": name,
        "display_name": record["data"].get("display_name"),
        "budget": budget,
        "allotted": allotted,
        "left": {key: _left(key, budget[key], allotted[key]) for key in RESOURCES},
        "used": used,
        "overdrawn": [key for key in RESOURCES if _amount(key, allotted[key]) > _amount(key, budget[key])],
        "vclusters": vclusters,
    }


def _vcluster(found: Found, quotas: dict[tuple[str, str], dict]) -> dict:
    quota = quotas.get((found.host.name, found.namespace["metadata"]["name"])) or {}
    return {"name": found.name, "host": found.host.name, "slice": slice_of(quota)}


def _left(key: str, budget: str, allotted: str) -> str:
    amount = _amount(key, budget) - _amount(key, allotted)
    return _quantities.display(max(amount, Decimal(0)), binary=any(text.endswith("i") for text in (budget, allotted)))


def _amount(key: str, text: str) -> Decimal:
    return _quantities.parse(text, key)
