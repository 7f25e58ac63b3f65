# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How users reach the API of a virtual cluster, validated. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown

CLUSTER_IP = "ClusterIP"
NODE_PORT = "NodePort"
LOAD_BALANCER = "LoadBalancer"
INGRESS = "Ingress"
ROUTE = "Route"
# By a name in the TLS handshake, at the port of https; the Service behind is reached from inside only.
BY_NAME = (INGRESS, ROUTE)
NODE_PORTS = range(30000, 32768)
# The types to which an option applies.
APPLIES = {
    "port": (NODE_PORT,),
    "address": (NODE_PORT, LOAD_BALANCER, *BY_NAME),
    "ingress_class": (INGRESS,),
    "annotations": (LOAD_BALANCER, *BY_NAME),
}
# For ingress-nginx; others have annotations of their own, or do it by the name alone.
PASSTHROUGH = {
    "nginx.ingress.kubernetes.io/backend-protocol": "HTTPS",
    "nginx.ingress.kubernetes.io/ssl-passthrough": "true",
}


@dataclass(frozen=True)
class Exposure:
    """The option expose."""

    type: str
    port: int | None = None
    address: str | None = None
    ingress_class: str | None = None
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def service_type(self) -> str:
        """Type of the Service."""
        return CLUSTER_IP if self.type in BY_NAME else self.type

    @property
    def services(self) -> dict[str, int]:
        """Node ports and load balancers it uses, by resource name."""
        return {
            "node_ports": int(self.type in (NODE_PORT, LOAD_BALANCER)),
            "load_balancers": int(self.type == LOAD_BALANCER),
        }


def parse_exposure(given: dict) -> Exposure:
    """Validate the option expose. Raise a TenantryError."""
    way, port, address = given["type"], given.get("port"), given.get("address")
    for option, ways in APPLIES.items():
        if given.get(option) is not None and way not in ways:
            raise TenantryError(f"expose.{option}: applies to expose.type {' or '.join(ways)} only, not {way}. Omit it")
    if port is not None and port not in NODE_PORTS:
        raise TenantryError(f"expose.port: must be {NODE_PORTS.start} to {NODE_PORTS.stop - 1}, not {port}. Or omit it")
    if address is not None:
        _check_address(address, by_name=way in BY_NAME)
    elif way in BY_NAME:
        raise TenantryError(f"expose.address: required for expose.type {way}. Set the DNS name that resolves to it")
    annotations = given.get("annotations")
    if annotations is None:
        annotations = PASSTHROUGH if way == INGRESS else {}
    for key, value in annotations.items():
        if not isinstance(value, str):
            raise TenantryError(f"expose.annotations.{key}: must be text, not {shown(value)}. Put it in quotes")
    return Exposure(way, port, address, given.get("ingress_class"), dict(annotations))


def _check_address(address: str, *, by_name: bool) -> None:
    try:
        unusable = ipaddress.ip_address(address)
    except ValueError:
        if not naming.DNS_NAME.fullmatch(address) or address == "localhost":
            raise TenantryError(
                f"expose.address: {shown(address)} is not an IP address or DNS name that others can reach. "
                "Set one of a host node, without scheme and port"
            ) from None
    else:
        if by_name:
            raise TenantryError(
                f"expose.address: {address} is not a DNS name, which an Ingress or a Route requires. Set one"
            )
        if unusable.is_loopback or unusable.is_unspecified or unusable.is_link_local or unusable.is_multicast:
            raise TenantryError(f"expose.address: {address} cannot be reached by others. Set an address of a host node")
