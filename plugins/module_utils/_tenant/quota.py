# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module tenant_quota: a tenant's namespace and quota."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming, quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import Obstacle, TenantryError, shown
from ansible_collections.tenantry.kube.plugins.module_utils._core.resource_names import parse_extended
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Inventory, Plan, existing
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    CLUSTER_ROLE_BINDING,
    CONFIG_MAP,
    NAMESPACE,
    RESOURCE_QUOTA,
    SECRET,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import wait_gone
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context, run_each, validate_all
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import allocation, promises, resources_in_use
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import RECORD, quota_of, tenant_objects
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.promises import Promise

KINDS = (NAMESPACE, CONFIG_MAP, RESOURCE_QUOTA)
OUTSIDE_NAMESPACE = (CLUSTER_ROLE_BINDING, SECRET)
DEFAULT_QUOTA = {"cpu": "8", "memory": "16Gi", "storage": "100Gi", "pods": 100, "vclusters": 5}
QUANTITIES = ("cpu", "memory", "storage", "ephemeral_storage")
LONGEST_DISPLAY_NAME = 100


@dataclass(frozen=True)
class DesiredTenant:
    """One item, validated, with the whole quota in canonical form."""

    tenant: str
    present: bool
    quota: dict[str, str]
    display_name: str
    paused_frees_quota: bool = True
    actions: list[dict] = field(default_factory=list, compare=False)  # of this run

    def known(self) -> dict[str, Any]:
        """Return what the tenant's row has in any case."""
        return {"name": self.tenant, "actions": self.actions}


@dataclass(frozen=True)
class InUse:
    """Existing virtual clusters by tenant, and an error line for each host that does not answer."""

    vclusters: dict[str, list[VirtualCluster]]
    unreachable: dict[str, str]
    promised: dict[str, dict[str, Promise]] = field(default_factory=dict)  # on those hosts, by tenant and namespace
    creating: dict[str, dict[str, Promise]] = field(default_factory=dict)  # by other runs, on hosts that answer
    unwritten: frozenset[str] = frozenset()  # tenants without promises, which may have more there
    taken: dict[str, list[dict[str, str]]] = field(default_factory=dict)  # of each what counts against the quota
    unknown: dict[str, list[str]] = field(default_factory=dict)  # of each why that is not known of a virtual cluster

    def refuse(self, tenant: str) -> None:
        """Raise a TenantryError if the tenant has virtual clusters, or may have some."""
        living = sorted(one.namespace for one in self.vclusters.get(tenant, []))
        if living:
            raise TenantryError(
                f"tenant {tenant} cannot be removed while it has virtual clusters: {', '.join(living)}. Delete them "
                "first with tenantry.kube.vcluster"
            )
        if creating := self.creating.get(tenant):
            raise TenantryError(
                f"tenant {tenant} cannot be removed while a run creates {', '.join(sorted(creating))}. Run again when "
                f"it has ended. One that was killed counts until {_last(creating.values())}"
            )
        if away := self.promised.get(tenant):
            where = ", ".join(f"{name} on {one.host}" for name, one in sorted(away.items()))
            raise TenantryError(
                f"tenant {tenant} cannot be removed while it has virtual clusters on members that do not answer: "
                f"{where}: {'; '.join(self.unreachable.values())}"
            )
        if self.unreachable and tenant in self.unwritten:
            raise TenantryError(
                f"tenant {tenant} cannot be removed while these members, which may have virtual clusters of it, do not "
                f"answer: {', '.join(self.unreachable)}: {'; '.join(self.unreachable.values())}"
            )

    def of(self, tenant: str) -> dict[str, str]:
        """Return the sum of what the tenant's virtual clusters use."""
        away = (one.counted for one in self.promised.get(tenant, {}).values())
        return allocation.total([*self.taken.get(tenant, []), *away])


@dataclass(frozen=True)
class QuotaOptions:
    """Options that apply to each tenant of a call."""

    wait_timeout: int  # seconds

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> QuotaOptions:
        return cls(params["wait_timeout"])


def run(context: Context, items: list[dict], options: QuotaOptions) -> list[dict]:
    """Create, update or delete tenants, and return a row for each."""
    wanted = validate_all(items, _validated)
    hub = context.hub
    registry.require_platform(hub)
    found = existing(hub, KINDS, naming.selector("tenant"))
    problems: dict[str, Obstacle] = {}

    def stopped(want: DesiredTenant, obstacle: Obstacle) -> None:
        problems[want.tenant] = obstacle

    made = validate_all(wanted, lambda want: _plan(hub, want, found), found=stopped)
    plans = {want.tenant: plan for want, plan in zip(wanted, made, strict=True) if plan}
    # The fleet is asked only where the answer matters: the usual second run stays with the hub.
    possible = [want for want in wanted if want.tenant not in problems]
    asked = any(not want.present or _other_quota(want, plans[want.tenant]) for want in possible)
    in_use = _in_use(context, {want.tenant for want in possible}, found) if asked else InUse({}, {})

    def row(want: DesiredTenant) -> dict:
        if want.tenant in problems:
            raise problems[want.tenant]
        return _row(context, want, plans[want.tenant], in_use, options)

    return run_each(hub, wanted, DesiredTenant.known, row)


def _in_use(context: Context, tenants: Collection[str], existing_objects: Inventory) -> InUse:
    records = {
        obj["metadata"]["labels"][naming.LABEL_TENANT]: obj
        for obj in existing_objects.of(CONFIG_MAP)
        if obj["metadata"]["name"] == RECORD
    }
    with closing(registry.hosts(context.hub, context.cluster)) as fleet:
        everyone, unreachable = fleet.vclusters()
        found = [one for one in everyone if one.tenant in tenants]
        quotas = resources_in_use.quotas(context.hub, (one.host for one in found), unreachable=unreachable)
    vclusters: dict[str, list[VirtualCluster]] = defaultdict(list)
    taken: dict[str, list[dict[str, str]]] = defaultdict(list)
    unknown: dict[str, list[str]] = defaultdict(list)
    for one in found:
        vclusters[one.tenant].append(one)
        quota = quotas.get((one.host.name, one.namespace)) or {}
        taken[one.tenant].append(resources_in_use.taken(resources_in_use.promised_to(one, quota), quota))
        if one.record_problem and not quota:
            unknown[one.tenant].append(one.record_problem)
    known = {one.namespace for one in found}
    away = {tenant: promises.away(record, unreachable, known) for tenant, record in records.items()}
    creating = {tenant: promises.beginning(record, unreachable, known) for tenant, record in records.items()}
    unwritten = frozenset(tenant for tenant, record in records.items() if not promises.are_kept(record))
    return InUse(vclusters, unreachable, away, creating, unwritten, taken, unknown)


def _last(promised: Iterable[Promise]) -> str:
    """Return when no run that they are for counts any more."""
    return f"{max(one.until for one in promised if one.until):%H:%M} UTC"


def _validated(item: dict) -> DesiredTenant:
    tenant = naming.check_name(item["tenant"], "tenant")
    naming.tenant_namespace(tenant)
    display_name = item["display_name"] or tenant
    if len(display_name) > LONGEST_DISPLAY_NAME or not display_name.isprintable():
        raise TenantryError(
            f"display_name: {shown(display_name)} of tenant {tenant} is not plain text of up to "
            f"{LONGEST_DISPLAY_NAME} characters"
        )
    return DesiredTenant(
        tenant,
        item["state"] == "present",
        _whole_quota(tenant, item["quota"] or {}),
        display_name,
        item["paused_frees_quota"],
    )


def _whole_quota(tenant: str, given: dict) -> dict[str, str]:
    """Return the quota in canonical form, with defaults for omitted keys."""
    quota = {**DEFAULT_QUOTA, **{key: value for key, value in given.items() if value is not None}}
    extended = parse_extended(quota.pop("extended", {}), f"quota.extended of tenant {tenant}")
    for key, value in quota.items():
        field = f"quota.{key} of tenant {tenant}"
        if key in QUANTITIES:
            quota[key] = quantities.canonical(value, field)
        elif value < 0:
            raise TenantryError(f"{field}: {value} is negative. Use a whole number, 0 for none")
    return {**{key: str(value) for key, value in quota.items()}, **extended}


def _plan(hub: Cluster, want: DesiredTenant, found: Inventory) -> Plan:
    kinds = KINDS if want.present else KINDS[:1]  # the namespace's deletion includes its content
    mine = Inventory(
        obj for kind in kinds for obj in found.of(kind) if obj["metadata"]["labels"][naming.LABEL_TENANT] == want.tenant
    )
    objects = tenant_objects(want.tenant, want.quota, want.display_name, paused_frees_quota=want.paused_frees_quota)
    desired = objects if want.present else []
    owned = naming.selector("tenant", tenant=want.tenant)
    return Plan.make(hub, desired, owned=owned, prune_kinds=kinds, inventory=mine)


def _row(context: Context, want: DesiredTenant, plan: Plan, in_use: InUse, options: QuotaOptions) -> dict:
    plans = [plan] if want.present else [_objects_outside_namespace(context.hub, want), plan]
    if want.present:
        _warn_of_overuse(context, want, plan, in_use)
    else:
        in_use.refuse(want.tenant)
    for each in plans:
        want.actions.extend(each.rows())
        if not context.check_mode:
            each.execute()
    if not context.check_mode and any((one.kind, one.action) == (NAMESPACE, "create") for one in plan.actions):
        promises.begin(context.hub, want.tenant)
    if not context.check_mode and plan.deletes(NAMESPACE, naming.tenant_namespace(want.tenant)):
        _wait_gone(context, want.tenant, options)
    return {
        "namespace": naming.tenant_namespace(want.tenant),
        "quota": want.quota if want.present else None,
        "diff": [each.diff() for each in plans],
    }


def _objects_outside_namespace(hub: Cluster, want: DesiredTenant) -> Plan:
    """
    Return a plan that deletes what the tenant's users have elsewhere on the hub: bindings of operators, kubeconfigs.
    """
    owned = naming.selector("user", tenant=want.tenant)
    return Plan.make(hub, [], owned=owned, prune_kinds=OUTSIDE_NAMESPACE)


def _wait_gone(context: Context, tenant: str, options: QuotaOptions) -> None:
    name = naming.tenant_namespace(tenant)
    deadline = context.deadline(options.wait_timeout)
    wait_gone(context.hub, NAMESPACE, name, None, deadline, what=f"tenant {tenant}")


def _other_quota(want: DesiredTenant, plan: Plan) -> bool:
    """Return whether the quota of an existing tenant changes."""
    record = plan.object(CONFIG_MAP, RECORD, naming.tenant_namespace(want.tenant))
    return want.present and record is not None and quota_of(record) != want.quota


def _warn_of_overuse(context: Context, want: DesiredTenant, plan: Plan, in_use: InUse) -> None:
    """Warn about a quota below the current use. It is accepted: nothing ends, but nothing can be added."""
    if not _other_quota(want, plan):
        return
    used = in_use.of(want.tenant)
    over = [
        f"{key} {used.get(key, '0')} of {limit}"
        for key, limit in want.quota.items()
        if quantities.parse(used.get(key, "0"), key) > quantities.parse(limit, key)
    ]
    if over:
        context.warn(
            f"quota of tenant {want.tenant}: below the current use ({', '.join(over)}). Virtual clusters keep running; "
            "new ones are rejected until the use drops"
        )
    away = in_use.unreachable.values() if want.tenant in in_use.unwritten else ()
    for problem in (*in_use.unknown.get(want.tenant, []), *away):
        context.warn(f"quota of tenant {want.tenant}: may be below the use, part of which is unknown: {problem}")
