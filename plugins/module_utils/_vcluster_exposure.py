# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How people reach the API of a virtual cluster, as asked for. Pure."""

from __future__ import annotations

import ipaddress

from ansible_collections.tenantry.kube.plugins.module_utils import _names
from ansible_collections.tenantry.kube.plugins.module_utils._errors import TenantryError, shown

NODE_PORTS = range(30000, 32768)


def check_expose(expose: dict) -> None:
    port, address = expose.get("port"), expose.get("address")
    if expose["type"] != "NodePort" and (port is not None or address is not None):
        option = "port" if port is not None else "address"
        raise TenantryError(
            f"expose.{option}: applies to expose.type NodePort only, not {expose['type']}; leave it out"
        )
    if port is not None and port not in NODE_PORTS:
        raise TenantryError(
            f"expose.port: must be {NODE_PORTS.start} to {NODE_PORTS.stop - 1}, not {port}; or leave it out"
        )
    if address is not None:
        _check_address(address)


def _check_address(address: str) -> None:
    try:
        unusable = ipaddress.ip_address(address)
    except ValueError:
        if not _names.DNS_NAME.fullmatch(address) or address == "localhost":
            raise TenantryError(
                f"expose.address: {shown(address)} is not an IP address or DNS name that others can reach; "
                "give one of a host node, without scheme and port"
            ) from None
    else:
        if unusable.is_loopback or unusable.is_unspecified or unusable.is_link_local or unusable.is_multicast:
            raise TenantryError(
                f"expose.address: {address} cannot be reached by others; give an address of a host node"
            )
