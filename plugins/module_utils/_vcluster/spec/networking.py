# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the pods of a virtual cluster may reach and who may reach them, beyond what always holds. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming as _names
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown

OPTIONS = {
    "egress_allow": {"type": "list", "elements": "str"},
    "egress_deny": {"type": "list", "elements": "str"},
    "ingress_from": {"type": "list", "elements": "str"},
}


@dataclass(frozen=True)
class Walls:
    """Networks, and of ingress also namespaces of the host."""

    egress_allow: tuple[str, ...] = ()
    egress_deny: tuple[str, ...] = ()
    ingress_networks: tuple[str, ...] = ()
    ingress_namespaces: tuple[str, ...] = ()


def parse_walls(given: dict) -> Walls:
    networks, namespaces = [], []
    for one in given.get("ingress_from") or []:
        # What looks like neither is told what a network must be.
        (namespaces if _is_namespace(one) else networks).append(one)
    return Walls(
        egress_allow=parse_each(given.get("egress_allow"), "network.egress_allow"),
        egress_deny=parse_each(given.get("egress_deny"), "network.egress_deny"),
        ingress_networks=parse_each(networks, "network.ingress_from", " or the name of a namespace of the host"),
        ingress_namespaces=tuple(sorted(set(namespaces))),
    )


def _is_namespace(text: str) -> bool:
    return bool(_names.DNS_NAME.fullmatch(text)) and "." not in text


def parse_each(given: list[str] | None, option: str, also: str = "") -> tuple[str, ...]:
    """Networks, each once; `also` is what else could have been given."""
    found = []
    for text in given or []:
        try:
            found.append(str(ipaddress.ip_network(text)))
        except ValueError as error:
            raise TenantryError(
                f"{option}: {shown(text)} is not a network ({error}); give one such as 192.0.2.0/24{also}"
            ) from None
    return tuple(sorted(set(found)))
