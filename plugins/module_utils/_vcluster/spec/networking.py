# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The networks of a virtual cluster, and the options for network policies. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.mode import Shared

OPTIONS = {
    "egress_allow": {"type": "list", "elements": "str"},
    "egress_deny": {"type": "list", "elements": "str"},
    "ingress_from": {"type": "list", "elements": "str"},
}


# A node gets a /24 of the pod network, and an API server takes no service network larger than /12.
CLUSTER_PREFIXES = range(8, 24)
SERVICE_PREFIXES = range(12, 28)
CLUSTER_CIDR = "10.52.0.0/16"
SERVICE_CIDR = "10.53.0.0/16"


@dataclass(frozen=True)
class NetworkPolicyOptions:
    """Networks, and for ingress also namespaces of the host."""

    egress_allow: tuple[str, ...] = ()
    egress_deny: tuple[str, ...] = ()
    ingress_networks: tuple[str, ...] = ()
    ingress_namespaces: tuple[str, ...] = ()


def parse_network_options(given: dict) -> NetworkPolicyOptions:
    """Validate the option network. Raise a TenantryError."""
    networks: list[str] = []
    namespaces: list[str] = []
    for one in given.get("ingress_from") or []:
        # An entry that is neither is parsed as a network, so that the error explains what a network must be.
        (namespaces if _is_namespace(one) else networks).append(one)
    return NetworkPolicyOptions(
        egress_allow=parse_each(given.get("egress_allow"), "network.egress_allow"),
        egress_deny=parse_each(given.get("egress_deny"), "network.egress_deny"),
        ingress_networks=parse_each(networks, "network.ingress_from", " or the name of a namespace of the host"),
        ingress_namespaces=tuple(sorted(set(namespaces))),
    )


def _is_namespace(text: str) -> bool:
    return bool(naming.DNS_NAME.fullmatch(text)) and "." not in text


def parse_each(given: list[str] | None, option: str, also: str = "") -> tuple[str, ...]:
    """Validate and normalize networks. `also` names other accepted values in errors."""
    found = []
    for text in given or []:
        try:
            found.append(str(ipaddress.ip_network(text)))
        except ValueError as error:
            raise TenantryError(
                f"{option}: {shown(text)} is not a network ({error}). Use one such as 192.0.2.0/24{also}"
            ) from None
    return tuple(sorted(set(found)))


def parse_networks(item: dict, shared: Shared | None) -> tuple[str | None, str | None]:
    """Return the networks of pods and services. None in mode shared, where they are the host's."""
    if shared:
        given = item["service_cidr"]
        return None, None if given is None else str(_ipv4_network(given, "service_cidr"))
    cluster = _network(item["cluster_cidr"] or CLUSTER_CIDR, "cluster_cidr", CLUSTER_PREFIXES)
    service = _network(item["service_cidr"] or SERVICE_CIDR, "service_cidr", SERVICE_PREFIXES)
    if cluster.overlaps(service):
        raise TenantryError(f"service_cidr: {service} overlaps cluster_cidr {cluster}. Choose two separate networks")
    return str(cluster), str(service)


def _ipv4_network(text: object, option: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(text)
    except (ValueError, TypeError) as error:
        raise TenantryError(
            f"{option}: {shown(text)} is not an IPv4 network ({error}). Use one such as 10.52.0.0/16"
        ) from None


def _network(text: object, option: str, prefixes: range) -> ipaddress.IPv4Network:
    network = _ipv4_network(text, option)
    if network.prefixlen not in prefixes:
        raise TenantryError(
            f"{option}: {network} has the prefix length {network.prefixlen}. "
            f"Use /{prefixes.start} to /{prefixes.stop - 1}"
        )
    if not network.is_private:
        raise TenantryError(f"{option}: {network} is a public network. Use a private one such as 10.52.0.0/16")
    return network
