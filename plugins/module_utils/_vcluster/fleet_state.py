# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The state of the fleet for new and existing virtual clusters: hosts, tenants, quotas, databases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import Obstacle, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import CONFIG_MAP
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import allocation, reservations, resources_in_use
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import quota_of
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import (
    VClusterSpec,
    parse,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.mode import mode_of


class Unreachable(Obstacle):
    """A host does not answer, so what it has is not known."""


class FleetState:
    """The state of the fleet, read once for all items of a call."""

    def __init__(self, fleet: registry.Fleet) -> None:
        self.fleet = fleet
        # Read the records first, so that a later reservation of another run causes a conflict with ours.
        records = fleet.hub.list(CONFIG_MAP, selector=naming.selector("tenant"))
        self.records = {record["metadata"]["labels"][naming.LABEL_TENANT]: record for record in records}
        vclusters, self.unreachable = fleet.vclusters()
        self.found = {one.namespace: one for one in vclusters}
        self._quotas: dict[str, dict[tuple[str, str], dict]] = {}
        self._admitted: dict[str, tuple[str, dict[str, str]]] = {}  # tenant and resources, by namespace

    def host_of(self, namespace: str, wanted: str | None) -> Cluster:
        """Return the host of an existing virtual cluster, or the host `wanted` for a new one (None: the hub)."""
        found = self.found.get(namespace)
        if found and wanted not in (None, found.host.name):
            raise TenantryError(
                f"host: {namespace} is on {found.host.name} and cannot be moved to {wanted}. "
                f"Set host {found.host.name}, or delete it there first"
            )
        if found:
            return found.host
        if wanted is None and self.unreachable:
            raise Unreachable(
                f"host: not given, and {namespace} may be on a member that does not answer: "
                f"{'; '.join(self.unreachable.values())}. Set host"
            )
        name = wanted or naming.HUB
        if name in self.unreachable:
            raise Unreachable(f"host: {self.unreachable[name]}")
        return self.fleet.cluster(name)

    def spec_of(self, item: dict) -> VClusterSpec:
        """Return the spec of an item. Without a mode, it is that of the existing virtual cluster, or shared."""
        found = self.found.get(naming.vcluster_namespace(item["tenant"], item["name"]))
        return parse({**item, "mode": mode_of(item["mode"], found.record if found else None)})

    def check_tenant(self, context: Context, tenant: str) -> None:
        """Raise a TenantryError if the tenant does not exist; in check mode, warn."""
        if tenant not in self.records:
            context.missing(
                TenantryError(
                    f"tenant: there is no tenant {tenant}{naming.did_you_mean(tenant, self.records)}. "
                    "Create it with tenantry.kube.tenant_quota first"
                )
            )

    def over_quota(
        self, wanted: Iterable[VClusterSpec], leaving: Iterable[str], *, reserve: bool = False
    ) -> dict[str, TenantryError]:
        """Return an error by tenant for quotas that have no room.

        The wanted specs replace the recorded ones, `leaving` are deleted. With `reserve`, concurrent runs count them
        too.
        """
        asked: dict[str, dict[str, VClusterSpec]] = defaultdict(dict)
        for spec in wanted:
            asked[spec.tenant][spec.namespace] = spec
        gone = set(leaving)
        problems = {}
        for tenant, record in self.records.items():  # in check mode a tenant may not exist yet
            specs = asked.get(tenant, {})
            try:
                if reserve:
                    growing = {name: spec.resources.as_text() for name, spec in specs.items() if self.grows(spec)}
                    again = partial(self._check_quota, tenant, specs, gone)
                    reservations.reserve(self.fleet.hub, record, growing, gone, again)
                else:
                    self._check_quota(tenant, specs, gone, record)
            except TenantryError as error:
                problems[tenant] = error
        return problems

    def admit(self, spec: VClusterSpec, leaving: Iterable[str]) -> None:
        """Raise a TenantryError if the quota has no room, else count this one for those that follow."""
        if problem := self.over_quota([spec], leaving).get(spec.tenant):
            raise problem
        self._admitted[spec.namespace] = (spec.tenant, spec.resources.as_text())

    def shared_datastores(self, wanted: Iterable[VClusterSpec]) -> dict[str, str]:
        """Return an error by namespace for virtual clusters whose database belongs to another, by the fleet's records.

        Of two new ones, the first keeps it.
        """
        problems = {}
        taken = {place: name for name, found in self.found.items() if (place := found.readable_record.datastore)}
        for spec in wanted:
            if spec.datastore is None:
                continue
            owner = taken.setdefault(spec.datastore.place, spec.namespace)
            if owner != spec.namespace:
                problems[spec.namespace] = (
                    f"datastore.endpoint: {spec.datastore.place} is already the database of {owner}. Use a separate "
                    f"one for {spec.namespace}"
                )
        return problems

    def _check_quota(self, tenant: str, specs: dict[str, VClusterSpec], gone: set[str], record: dict) -> None:
        if not any(map(self.grows, specs.values())):
            return  # a quota below the use stops growth, but not updates of existing virtual clusters
        if self.unreachable:
            raise Unreachable(
                f"quota of tenant {tenant}: cannot be checked while {', '.join(self.unreachable)} does not answer: "
                f"{'; '.join(self.unreachable.values())}"
            )
        mine = {name: found for name, found in self.found.items() if found.tenant == tenant and name not in gone}
        others = {name: found.record.resources for name, found in mine.items() if name not in specs}
        for name, reserved in reservations.of(record).items():
            if name not in specs and name not in gone:
                others[name] = allocation.larger(others.get(name, {}), reserved)
        others |= {
            name: resources_in_use.taken(others[name], self._quota(mine[name])) for name in others if name in mine
        }
        admitted = {name: part for name, (owner, part) in self._admitted.items() if owner == tenant}
        for name in admitted.keys() - specs.keys():
            others[name] = allocation.larger(others.get(name, {}), admitted[name])
        asked = {name: spec.resources.as_text() for name, spec in specs.items()}
        asked |= {name: resources_in_use.in_use(asked[name], self._quota(mine[name])) for name in asked if name in mine}
        allocation.check(tenant, quota_of(record), allocation.total(others.values()), allocation.total(asked.values()))

    def lowered_below_use(self, specs: Iterable[VClusterSpec]) -> Iterator[str]:
        """Yield a warning for each virtual cluster whose resources are reduced below its use."""
        for spec in specs:
            found, asked = self.found.get(spec.namespace), spec.resources.as_text()
            if not found or allocation.fits(found.record.resources, asked):
                continue
            used = resources_in_use.in_use({}, self._quota(found))
            over = [
                f"{key} {used[key]} of {asked[key]}" for key in used if not allocation.fits_in(used[key], asked[key])
            ]
            if over:
                yield (
                    f"{spec.namespace}: resources: below the current use ({', '.join(over)}). The use counts against "
                    "the quota. Delete pods or volumes in the virtual cluster to free it"
                )

    def _quota(self, found: VirtualCluster) -> dict:
        """Return the ResourceQuota of a virtual cluster, read once per tenant and only if needed."""
        if found.tenant not in self._quotas:
            hosts = (one.host for one in self.found.values() if one.tenant == found.tenant)
            self._quotas[found.tenant] = resources_in_use.quotas(self.fleet.hub, hosts, found.tenant)
        return self._quotas[found.tenant].get((found.host.name, found.namespace)) or {}

    def grows(self, spec: VClusterSpec) -> bool:
        """Return whether it is new, or gets more of any resource than it has."""
        found = self.found.get(spec.namespace)
        return found is None or not allocation.fits(spec.resources.as_text(), found.record.resources)
