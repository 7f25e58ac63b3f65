# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where virtual clusters are and may go: hosts of the fleet, records of tenants, room in budgets, free networks."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming as _names
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry as _fleet
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.host_networks import (
    ADDRESSES,
    HostNetworks,
    node_addresses,
    service_network,
    within,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import budget as _budget
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import reservations as _reservations
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import budget_of
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import VCluster, parse, recorded
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.exposure import LOAD_BALANCER, NODE_PORT
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.mode import mode_of


@dataclass(frozen=True)
class Found:
    """A virtual cluster that exists."""

    host: Cluster
    namespace: dict

    @property
    def tenant(self) -> str:
        return self.namespace["metadata"]["labels"][_names.LABEL_TENANT]

    @property
    def name(self) -> str:
        return self.namespace["metadata"]["labels"][_names.LABEL_VCLUSTER]

    @property
    def record(self) -> dict:
        return recorded(self.namespace)


class Unreachable(TenantryError):
    """The host of a virtual cluster does not answer."""


class Places:
    """The fleet as it is now, asked once for all items of a call."""

    def __init__(self, fleet: _fleet.Fleet) -> None:
        self.fleet = fleet
        # The records first: what is reserved on them later than this, a reservation of ours will notice.
        records = fleet.hub.list("v1/ConfigMap", selector=_names.selector("tenant"))
        self.records = {record["metadata"]["labels"][_names.LABEL_TENANT]: record for record in records}
        spaces, self.unreachable = fleet.vclusters()
        self.found = {space["metadata"]["name"]: Found(host, space) for host, space in spaces}

    def host_of(self, namespace: str, wanted: str | None) -> Cluster:
        """The host a virtual cluster is on or, if it is nowhere, goes to."""
        found = self.found.get(namespace)
        if found and wanted not in (None, found.host.name):
            raise TenantryError(
                f"host: {namespace} is on {found.host.name} and cannot be moved to {wanted}; "
                f"give host {found.host.name}, or delete it there first"
            )
        if found:
            return found.host
        if wanted is None and self.unreachable:
            raise Unreachable(
                f"host: not given, and {namespace} may be on a member that does not answer: "
                f"{'; '.join(self.unreachable.values())}; give host"
            )
        name = wanted or _names.HUB
        if name in self.unreachable:
            raise Unreachable(f"host: {self.unreachable[name]}")
        return self.fleet.cluster(name)

    def spec_of(self, item: dict) -> VCluster:
        """What an item asks for. One that leaves out the mode means the mode that there is, or that of a new one."""
        found = self.found.get(_names.vcluster_namespace(item["tenant"], item["name"]))
        return parse({**item, "mode": mode_of(item["mode"], found.record if found else None)})

    def check_tenant(self, context: Context, tenant: str) -> None:
        if tenant not in self.records:
            context.missing(
                TenantryError(
                    f"tenant: there is no tenant {tenant}{_names.did_you_mean(tenant, self.records)}; "
                    "make it with tenantry.kube.tenant_quota first"
                )
            )

    def check_budgets(self, wanted: Iterable[VCluster], leaving: Iterable[str], *, reserve: bool = False) -> None:
        """
        All slices of a tenant together, those in question as they are asked for now, against its budget. With
        `reserve`, runs at the same time are told of them too.
        """
        asked: dict[str, dict[str, VCluster]] = defaultdict(dict)
        for spec in wanted:
            asked[spec.tenant][spec.namespace] = spec
        gone = set(leaving)
        errors = []
        for tenant, record in self.records.items():  # in check mode a tenant may not exist yet
            specs = asked.get(tenant, {})
            try:
                if reserve:
                    growing = {name: spec.slice.as_text() for name, spec in specs.items() if self._grows(name, spec)}
                    again = partial(self._check_budget, tenant, specs, gone)
                    _reservations.reserve(self.fleet.hub, record, growing, gone, again)
                else:
                    self._check_budget(tenant, specs, gone, record)
            except TenantryError as error:
                errors.append(str(error))
        if errors:
            raise TenantryError("\n".join(errors))

    def check_datastores(self, wanted: Iterable[VCluster]) -> None:
        """No two virtual clusters share a database, as far as the records of the fleet tell."""
        taken = {place: name for name, found in self.found.items() if (place := found.record.get("datastore"))}
        for spec in wanted:
            if spec.datastore is None:
                continue
            owner = taken.setdefault(spec.datastore.place, spec.namespace)
            if owner != spec.namespace:
                raise TenantryError(
                    f"datastore.endpoint: {spec.datastore.place} is the database of {owner} already; "
                    f"give {spec.namespace} one of its own"
                )

    def _check_budget(self, tenant: str, specs: dict[str, VCluster], gone: set[str], record: dict) -> None:
        if not any(self._grows(name, spec) for name, spec in specs.items()):
            return  # a budget lowered below its use stops growth, not the upkeep of what there is
        if self.unreachable:
            raise TenantryError(
                f"budget of tenant {tenant}: cannot be checked while {', '.join(self.unreachable)} cannot be asked: "
                f"{'; '.join(self.unreachable.values())}"
            )
        others = {name: found.record.get("slice") or {} for name, found in self.found.items() if found.tenant == tenant}
        for name, reserved in _reservations.of(record).items():
            others[name] = _budget.larger(others.get(name, {}), reserved)
        used = _budget.total(part for name, part in others.items() if name not in specs and name not in gone)
        total = _budget.total(spec.slice.as_text() for spec in specs.values())
        _budget.check(tenant, budget_of(record), used, total)

    def _grows(self, namespace: str, spec: VCluster) -> bool:
        found = self.found.get(namespace)
        return found is None or not _budget.fits(spec.slice.as_text(), found.record.get("slice") or {})


@dataclass(frozen=True)
class Surroundings:
    """What a host tells about itself that a virtual cluster on it must know."""

    host: str
    nodes: list[dict]
    service_addresses: list[str]
    service_network: str | None = None  # known where a virtual cluster of mode shared is wanted
    networks: HostNetworks = field(default_factory=HostNetworks)

    @classmethod
    def of(cls, host: Cluster, *, shared: bool = False) -> Surroundings:
        nodes = sorted(host.list("v1/Node"), key=lambda node: node["metadata"]["name"])
        service = host.get("v1/Service", "kubernetes", "default") or {}
        network = service_network(host) if shared else None
        addresses = service.get("spec", {}).get("clusterIPs") or []
        return cls(host.name, nodes, addresses, network, HostNetworks.of(host, nodes, addresses))

    def settled(self, spec: VCluster) -> VCluster:
        """With its networks: its own, free on this host, or in mode shared those of the host."""
        if not spec.shared:
            self.check_networks(spec)
            return spec
        if spec.service_cidr not in (None, self.service_network):
            raise TenantryError(
                f"service_cidr: {spec.service_cidr} is not {self.service_network}, the network of host {self.host}, "
                "where services have the same addresses with mode shared; leave it out"
            )
        return replace(spec, service_cidr=self.service_network)

    def hole(self, spec: VCluster) -> str | None:
        """What is wrong where the host's own pods have addresses that no wall is known to be around."""
        outside = [one for one in self.networks.strays if not within(one, spec.walls.egress_deny)]
        if not outside:
            return None
        return (
            f"pods of host {self.host} have addresses, such as {outside[0]}, outside of the networks that its "
            "nodes name for pods, so others' pods may be reached; give the network of its pods in network.egress_deny"
        )

    def check_networks(self, spec: VCluster) -> None:
        """A virtual cluster's networks are routed in its pods, where the host's addresses must stay reachable."""
        for option in ("cluster_cidr", "service_cidr"):
            ours = ipaddress.ip_network(getattr(spec, option))
            for what, text in self._networks():
                network = ipaddress.ip_network(text, strict=False)
                if ours.version == network.version and ours.overlaps(network):
                    raise TenantryError(
                        f"{option}: {ours} overlaps {what} of host {self.host} ({text}); "
                        "choose a network that the host does not use"
                    )

    def published_address(self, spec: VCluster, record: dict) -> str:
        """Where people reach it: as given, else as before while a node has it, else at a node from outside."""
        if spec.exposure.address:
            return spec.exposure.address
        if spec.exposure.type == LOAD_BALANCER and record.get("expose") == LOAD_BALANCER:
            return record.get("address", "")  # until the balancer tells another
        if spec.exposure.type != NODE_PORT:
            return ""
        known = [address for kind in ADDRESSES for node in self.nodes for address in node_addresses(node, kind)]
        if record.get("address") in known:
            return record["address"]
        if not known:
            raise TenantryError(
                f"expose.address: host {self.host} has no node with an address; "
                "give the address at which people reach its node ports"
            )
        return known[0]

    def _networks(self) -> Iterator[tuple[str, str]]:
        for node in self.nodes:
            name = node["metadata"]["name"]
            yield from ((f"the pod network of node {name}", cidr) for cidr in node["spec"].get("podCIDRs") or [])
            yield from ((f"the address of node {name}", address) for address in node_addresses(node, *ADDRESSES))
        yield from (("the service network", address) for address in self.service_addresses)
