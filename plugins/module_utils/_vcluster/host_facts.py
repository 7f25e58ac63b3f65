# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Facts of a host that virtual clusters on it depend on: its networks and addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import Obstacle, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.host_networks import (
    ADDRESSES,
    HostNetworks,
    node_addresses,
    service_network,
    within,
)
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import VClusterRecord
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    NODE,
    SERVICE,
    SERVICE_ACCOUNT,
    STORAGE_CLASS,
)
from ansible_collections.tenantry.kube.plugins.module_utils._platform import rbac
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import (
    VClusterSpec,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.exposure import LOAD_BALANCER, NODE_PORT


@dataclass(frozen=True)
class HostFacts:
    """Networks, nodes and storage classes of a host."""

    host: str
    nodes: list[dict]
    service_addresses: list[str]
    service_network: str | None = None  # known where a virtual cluster of mode shared is wanted
    networks: HostNetworks = field(default_factory=HostNetworks)
    storage_classes: tuple[dict, ...] = ()  # likewise
    has_account: bool = False  # the platform has an account there, which needs rights in each namespace

    @classmethod
    def of(cls, host: Cluster, *, shared: bool = False) -> HostFacts:
        """Read the facts. With `shared`, also those that only mode shared needs."""
        nodes = sorted(host.list(NODE), key=lambda node: node["metadata"]["name"])
        service = host.get(SERVICE, "kubernetes", "default") or {}
        network = service_network(host) if shared else None
        addresses = service.get("spec", {}).get("clusterIPs") or []
        classes = tuple(host.list(STORAGE_CLASS)) if shared else ()
        networks = HostNetworks.of(host, nodes, addresses)
        return cls(host.name, nodes, addresses, network, networks, classes, _has_account(host))

    def with_resolved_networks(self, spec: VClusterSpec) -> VClusterSpec:
        """Return the spec with its networks: free ones of this host, or in mode shared the host's."""
        if not spec.shared:
            self.check_networks(spec)
            return spec
        if spec.service_cidr not in (None, self.service_network):
            raise TenantryError(
                f"service_cidr: {spec.service_cidr} is not {self.service_network}, the network of host {self.host}, "
                "where services have the same addresses with mode shared. Omit it"
            )
        return replace(spec, service_cidr=self.service_network)

    def isolation_gap(self, spec: VClusterSpec) -> str | None:
        """Return a warning if pods of the host have addresses outside of its known networks, or None."""
        outside = [one for one in self.networks.unlisted_pod_ips if not within(one, spec.network_options.egress_deny)]
        if not outside:
            return None
        return (
            f"pods of host {self.host} have addresses, such as {outside[0]}, outside of the pod networks of its nodes, "
            "so virtual clusters may not be isolated from each other. Set the network of its pods in "
            "network.egress_deny"
        )

    def check_networks(self, spec: VClusterSpec) -> None:
        """Raise a TenantryError if the spec's networks overlap the host's, which its pods must reach."""
        for option in ("cluster_cidr", "service_cidr"):
            ours = ipaddress.ip_network(getattr(spec, option))
            for what, text in self._networks():
                network = ipaddress.ip_network(text, strict=False)
                if ours.version == network.version and ours.overlaps(network):
                    raise TenantryError(
                        f"{option}: {ours} overlaps {what} of host {self.host} ({text}). "
                        "Choose a network that the host does not use"
                    )

    def published_address(self, spec: VClusterSpec, record: VClusterRecord) -> str:
        """Return the address for users: the option's, else the recorded one if a node has it, else a node's."""
        if spec.exposure.address:
            return spec.exposure.address
        if spec.exposure.type == LOAD_BALANCER and record.expose == LOAD_BALANCER:
            return record.address  # until the load balancer has one
        if spec.exposure.type != NODE_PORT:
            return ""
        known = [address for kind in ADDRESSES for node in self.nodes for address in node_addresses(node, kind)]
        if record.address in known:
            return record.address
        if not known:
            raise Obstacle(
                f"expose.address: host {self.host} has no node with an address. "
                "Set the address at which users reach its node ports"
            )
        return known[0]

    def _networks(self) -> Iterator[tuple[str, str]]:
        for node in self.nodes:
            name = node["metadata"]["name"]
            yield from ((f"the pod network of node {name}", cidr) for cidr in node["spec"].get("podCIDRs") or [])
            yield from ((f"the address of node {name}", address) for address in node_addresses(node, *ADDRESSES))
        yield from (("the service network", address) for address in self.service_addresses)


def _has_account(host: Cluster) -> bool:
    """Return whether the platform has an account: on each member, and on a hub with the reconciler."""
    account = rbac.PLATFORM_ACCOUNT, naming.PLATFORM_NAMESPACE
    return host.name != naming.HUB or host.get(SERVICE_ACCOUNT, *account) is not None
