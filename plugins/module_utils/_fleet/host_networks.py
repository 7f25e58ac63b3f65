# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Detect the networks of a host. Every run does so, because they change with the nodes."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    ENDPOINT_SLICE,
    POD,
    SERVICE_CIDR,
)

ADDRESSES = ("ExternalIP", "InternalIP")  # addresses of a node, the external one first
NOWHERE = "240.0.0.1"  # in no service network
# Link-local networks, and the metadata addresses of clouds, which return credentials.
METADATA = (
    "169.254.0.0/16",
    "fe80::/10",
    "100.100.100.200/32",
    "168.63.129.16/32",
    "fd00:ec2::254/128",
    "fd20:ce::254/128",
)
_VALID_ADDRESSES = re.compile(r"range of valid IPs is ([0-9.]+/[0-9]{1,2})", re.IGNORECASE | re.ASCII)
# The pods of the cluster DNS, which every host has: their addresses show the pod networks.
_DNS = ("kube-system", "k8s-app=kube-dns")


@dataclass(frozen=True)
class HostNetworks:
    """The networks and addresses of a host that tenants must not reach."""

    pods: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    api: tuple[tuple[str, int], ...] = ()  # addresses and ports of its API server, behind the Service
    unlisted_pod_ips: tuple[str, ...] = ()  # addresses of pods outside of the known pod networks

    @property
    def closed(self) -> list[str]:
        """All networks of the host, and the clouds' metadata addresses: denied unless explicitly allowed."""
        return [*self.pods, *self.services, *self.nodes, *(address for address, _port in self.api), *METADATA]

    @classmethod
    def of(cls, host: Cluster, nodes: list[dict], api_service: list[str]) -> HostNetworks:
        """Detect the networks of a host.

        `api_service` has the addresses of the API's Service, which is all that hosts before Kubernetes 1.33 reveal
        about their service network.
        """
        pods = tuple(cidr for node in nodes for cidr in node["spec"].get("podCIDRs") or [])
        addresses = [address for node in nodes for address in node_addresses(node, *ADDRESSES)]
        return cls(
            pods=pods,
            services=tuple(_service_cidrs(host) or api_service),
            nodes=tuple(filter(is_address, addresses)),
            api=tuple(_api_servers(host)),
            unlisted_pod_ips=tuple(address for address in _addresses_of_pods(host) if not within(address, pods)),
        )


def gateways(networks: Iterable[str]) -> list[str]:
    """Return the address that each node has in its own pod network.

    A node sends traffic from a node port to a pod of another node from it: with flannel (k3s) the network's own
    address, else the first one. No pod has these.
    """
    found = (ipaddress.ip_network(network) for network in networks)
    return [f"{address}/{one.max_prefixlen}" for one in found for address in islice(one, 2)]


def within(address: str, networks: Iterable[str]) -> bool:
    """Return whether the address is in one of the networks."""
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(network) for network in networks)


def is_address(text: str) -> bool:
    """Return whether the text is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def node_addresses(node: dict, *kinds: str) -> list[str]:
    """Return the addresses of a node that have one of these types, such as InternalIP."""
    return [one["address"] for one in node.get("status", {}).get("addresses") or [] if one["type"] in kinds]


def service_network(host: Cluster) -> str:
    """Return the service network of a host, an IPv4 CIDR.

    Raise a TenantryError if there is not exactly one, or if it could not be detected.
    """
    cidrs = _service_cidrs(host)
    if cidrs is None:
        cidrs = _from_rejection(host)
    networks = sorted({network for network in cidrs if ":" not in network})
    if len(networks) != 1:
        raise TenantryError(
            f"mode: shared needs a host with exactly one IPv4 network of services, but {host.name} has "
            f"{', '.join(networks) or 'none'}. Use another host, or mode dedicated"
        )
    return networks[0]


def _service_cidrs(host: Cluster) -> list[str] | None:
    """Return the ServiceCIDRs, or none for hosts before Kubernetes 1.33 and members joined by an older platform."""
    try:
        return [network for one in host.list(SERVICE_CIDR) for network in one["spec"]["cidrs"]]
    except ApiError as error:
        if error.status not in (403, 404):
            raise
        return None


def _from_rejection(host: Cluster) -> list[str]:
    """Return the network that the rejection of an impossible Service address names. Nothing is created."""
    metadata = {"name": "tenantry-probe", "namespace": naming.PLATFORM_NAMESPACE}
    spec = {"clusterIP": NOWHERE, "ports": [{"port": 443, "protocol": "TCP"}]}
    try:
        host.create({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}, dry_run=True)
    except ApiError as error:
        cidrs = _VALID_ADDRESSES.findall(error.said)
        if not cidrs:
            raise TenantryError(
                f"mode: shared needs the service network of host {host.name}, which could not be detected: "
                f"{error}. Let the platform list ServiceCIDRs there (a member: join it again)"
            ) from None
        return cidrs
    return []


def _api_servers(host: Cluster) -> list[tuple[str, int]]:
    try:
        found = host.get(ENDPOINT_SLICE, "kubernetes", "default") or {}
    except ApiError as error:
        if error.status != 403:
            raise
        raise TenantryError(
            f"host {host.name} does not let the platform read the address of its API server: {error}. "
            "Join it again with tenantry.kube.fleet_member, which grants that right"
        ) from None
    addresses = [address for endpoint in found.get("endpoints") or [] for address in endpoint["addresses"]]
    return sorted((address, port["port"]) for address in addresses for port in found.get("ports") or [])


def _addresses_of_pods(host: Cluster) -> list[str]:
    pods = [pod for pod in host.list(POD, *_DNS) if not pod["spec"].get("hostNetwork")]
    return sorted(one["ip"] for pod in pods for one in pod.get("status", {}).get("podIPs") or [])
