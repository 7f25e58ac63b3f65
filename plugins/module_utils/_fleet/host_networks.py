# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host tells of its own networks: found out anew by each run, never assumed."""

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

ADDRESSES = ("ExternalIP", "InternalIP")  # of a node, the one to be reached from far away first
NOWHERE = "240.0.0.1"  # in nobody's network of services
# Networks of one link, and where clouds tell a machine its credentials.
METADATA = (
    "169.254.0.0/16",
    "fe80::/10",
    "100.100.100.200/32",
    "168.63.129.16/32",
    "fd00:ec2::254/128",
    "fd20:ce::254/128",
)
_VALID_ADDRESSES = re.compile(r"range of valid IPs is ([0-9.]+/[0-9]{1,2})", re.IGNORECASE | re.ASCII)
# Pods that every host has, by which its pods' addresses can be looked at.
_DNS = ("kube-system", "k8s-app=kube-dns")


@dataclass(frozen=True)
class HostNetworks:
    """Where a host's own things are."""

    pods: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    api: tuple[tuple[str, int], ...] = ()  # addresses and ports of its API server, behind the Service
    unlisted_pod_ips: tuple[str, ...] = ()  # addresses of pods outside of what is known of pods

    @property
    def closed(self) -> list[str]:
        """All that is the host's, and the metadata of clouds: closed to tenants unless it is opened by name."""
        return [*self.pods, *self.services, *self.nodes, *(address for address, _port in self.api), *METADATA]

    @classmethod
    def of(cls, host: Cluster, nodes: list[dict], api_service: list[str]) -> HostNetworks:
        """`api_service` has the addresses of the Service of the API: all that is told of services by an old host."""
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
    """
    The addresses that nodes have themselves in their networks of pods, with which they send on what came to a node port
    and goes to a pod of another node: with flannel, as k3s has it, the network's own, else the first. No pod has these.
    """
    found = (ipaddress.ip_network(network) for network in networks)
    return [f"{address}/{one.max_prefixlen}" for one in found for address in islice(one, 2)]


def within(address: str, networks: Iterable[str]) -> bool:
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(network) for network in networks)


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def node_addresses(node: dict, *kinds: str) -> list[str]:
    return [one["address"] for one in node.get("status", {}).get("addresses") or [] if one["type"] in kinds]


def service_network(host: Cluster) -> str:
    """The network that a host gives its services addresses of."""
    told = _service_cidrs(host)
    if told is None:
        told = _told_by_refusal(host)
    networks = sorted({network for network in told if ":" not in network})
    if len(networks) != 1:
        raise TenantryError(
            f"mode: shared needs a host with exactly one IPv4 network of services, but {host.name} has "
            f"{', '.join(networks) or 'none'}. Use another host, or mode dedicated"
        )
    return networks[0]


def _service_cidrs(host: Cluster) -> list[str] | None:
    """None of a host older than Kubernetes 1.33, and of a member joined by an older platform."""
    try:
        return [network for one in host.list(SERVICE_CIDR) for network in one["spec"]["cidrs"]]
    except ApiError as error:
        if error.status not in (403, 404):
            raise
        return None


def _told_by_refusal(host: Cluster) -> list[str]:
    """By the refusal of a Service with an address that cannot be: nothing is made."""
    metadata = {"name": "tenantry-probe", "namespace": naming.PLATFORM_NAMESPACE}
    spec = {"clusterIP": NOWHERE, "ports": [{"port": 443, "protocol": "TCP"}]}
    try:
        host.create({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}, dry_run=True)
    except ApiError as error:
        told = _VALID_ADDRESSES.findall(str(error))
        if not told:
            raise TenantryError(
                f"mode: shared needs the service network of host {host.name}, which could not be detected: "
                f"{error}. Let the platform list ServiceCIDRs there (a member: join it again)"
            ) from None
        return told
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
