# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The state of the fleet for new and existing virtual clusters: hosts, tenants, quotas, databases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import Obstacle, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import NAMESPACE
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context, attempt
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import promises, records
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.allocation import Wanted
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_quotas import (
    FleetQuotas,
    Unreachable,
    no_room,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import (
    VClusterSpec,
    parse,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.mode import mode_of


class FleetState:
    """The state of the fleet, read once for all items of a call."""

    def __init__(self, fleet: registry.Fleet) -> None:
        self.fleet = fleet
        # Read the records first, so that a later promise of another run causes a conflict with ours.
        self.records = records.read(fleet.hub)
        vclusters, self.unreachable = fleet.vclusters()
        self.found = _by_namespace(vclusters, self.records.values())
        self.quotas = FleetQuotas(fleet, self.records, self.found, self.unreachable)

    def host_of(self, tenant: str, namespace: str, wanted: str | None) -> Cluster:
        """Return the host of an existing virtual cluster, or the host `wanted` for a new one (None: the hub)."""
        found, promise = self.found.get(namespace), self.quotas.promise(tenant, namespace)
        if found and promise and promise.host in self.unreachable and promise.host != found.host.name:
            raise Unreachable(  # the administrator of a member can create any namespace there
                f"host: {namespace} is on {promise.host}, which does not answer: {self.unreachable[promise.host]}. The "
                f"one on {found.host.name} is another of the same name"
            )
        if found and wanted not in (None, found.host.name):
            raise TenantryError(
                f"host: {namespace} is on {found.host.name} and cannot be moved to {wanted}. "
                f"Set host {found.host.name}, or delete it there first"
            )
        if found:
            return found.host
        name = self._promised_host(tenant, namespace, wanted) or wanted or naming.HUB
        if name in self.unreachable:
            raise Unreachable(f"host: {self.unreachable[name]}")
        return self.fleet.cluster(name)

    def _promised_host(self, tenant: str, namespace: str, wanted: str | None) -> str | None:
        """Return the host of a virtual cluster that a run is about to create, or None if nothing is promised."""
        promise = self.quotas.promise(tenant, namespace)
        if promise and promise.host in self.unreachable:
            raise Unreachable(
                f"host: {namespace} is on {promise.host}, which does not answer: {self.unreachable[promise.host]}"
            )
        if promise and promise.host and wanted not in (None, promise.host):
            raise Obstacle(
                f"host: {namespace} is being created on {promise.host} by another run, or one that was interrupted. "
                f"Set host {promise.host}, or wait ten minutes"
            )
        if wanted is None and not self.quotas.are_known(tenant):
            raise Unreachable(
                f"host: not given, and {namespace} may be on a member that does not answer: "
                f"{'; '.join(self.unreachable.values())}. Set host"
            )
        return promise.host if promise else None

    def spec_of(self, item: dict) -> VClusterSpec:
        """Return the spec of an item. Without a mode, it is that of the existing virtual cluster, or shared."""
        found = self.found.get(naming.vcluster_namespace(item["tenant"], item["name"]))
        return parse({**item, "mode": mode_of(item["mode"], found.record if found else None)})

    def promise_each(self, wanted: Iterable[Wanted], *, check_mode: bool) -> dict[str, TenantryError]:
        """Write the promises of existing virtual clusters that are about to change, each as far as there is room.

        Return an error by namespace for those that the quota has no room for.
        """
        problems: dict[str, TenantryError] = {}
        admitted = []
        for one in wanted:
            try:
                self.host_of(one.tenant, one.namespace, None)
                self.quotas.admit(one, ())
                admitted.append(one)
            except TenantryError as error:
                problems[one.namespace] = error if isinstance(error, Obstacle) else no_room(one, error)
        if admitted and not check_mode:
            hosts = {one.namespace: self.found[one.namespace].host.name for one in admitted}
            taken = self.quotas.reserve(admitted, hosts, {})
            problems |= {one.namespace: taken[one.tenant] for one in admitted if one.tenant in taken}
        return problems

    def settle_each(self, context: Context, wanted: Mapping[str, Wanted], rows: Iterable[Mapping[str, Any]]) -> None:
        """Note by these rows which of the promises of promise_each() have been applied. `wanted` is by namespace."""
        if not wanted or context.check_mode:
            return
        failed = {row["namespace"] for row in rows if row.get("error")}
        done = {name: one for name, one in wanted.items() if name not in failed}
        problem, _nothing = attempt(lambda: self.quotas.settle(done, failed))
        if problem:
            context.warn(problem)

    def refresh(self, found: VirtualCluster) -> None:
        """Read the namespace of a virtual cluster again, which this run has changed."""
        if namespace := found.host.get(NAMESPACE, found.namespace):
            self.found[found.namespace] = VirtualCluster(found.host, namespace)

    def check_tenant(self, context: Context, tenant: str) -> None:
        """Raise a TenantryError if the tenant does not exist; in check mode, warn."""
        if tenant not in self.records:
            context.missing(
                TenantryError(
                    f"tenant: there is no tenant {tenant}{naming.did_you_mean(tenant, self.records)}. "
                    "Create it with tenantry.kube.tenant_quota first"
                )
            )

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


def _by_namespace(vclusters: Iterable[VirtualCluster], records: Iterable[dict]) -> dict[str, VirtualCluster]:
    """Of several with the same name, the one on the promised host counts, or else the first. Others may be false."""
    promised = {name: one.host for record in records for name, one in promises.of(record).items()}
    found: dict[str, VirtualCluster] = {}
    for one in vclusters:
        if one.namespace not in found or promised.get(one.namespace) == one.host.name:
            found[one.namespace] = one
    return found
