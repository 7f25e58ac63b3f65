"""Networks of the host that a tenant's endpoints must not point to. The platform keeps the list current."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
FILE = "networks.json"
REFRESH_SECONDS = 5.0
# IPv6 networks whose last 32 bits are an IPv4 address (RFC 4291, 2765, 6052).
_EMBEDDING = [ipaddress.ip_network(text) for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")]
# For a site's own NAT64 gateways (RFC 8215), with a prefix of /48, /56, /64 or /96 within it. The prefix length
# determines which octets hold the IPv4 address (RFC 6052, 2.2).
_LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")
_OCTETS = ((6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12), (12, 13, 14, 15))


class HostNetworks:
    """Denied and allowed networks; an address in both is allowed."""

    def __init__(
        self, path: Path | None = None, *, denied: tuple[str, ...] = (), allowed: tuple[str, ...] = ()
    ) -> None:
        self._path = path
        self._text = ""
        self._denied = [ipaddress.ip_network(text) for text in denied]
        self._allowed = [ipaddress.ip_network(text) for text in allowed]

    @classmethod
    def read(cls, directory: Path) -> HostNetworks:
        """Read the networks from the file in `directory`."""
        networks = cls(directory / FILE)
        networks.refresh()
        return networks

    def refresh(self) -> bool:
        """Read the file again and return whether it has changed."""
        text = self._path.read_text() if self._path else ""
        if text == self._text:
            return False
        given = json.loads(text)
        self._denied = [ipaddress.ip_network(network) for network in given["closed"]]
        self._allowed = [ipaddress.ip_network(network) for network in given["open"]]
        self._text = text
        return True

    def allows(self, text: str) -> bool:
        """Return whether the text is an IP address that reaches nothing of the host."""
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        return all(map(self._allows_one, _reachable_by(address)))

    def _allows_one(self, address: Address) -> bool:
        # On a node, these are the node itself or its link, whatever the file says.
        if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
            return False
        return any(address in network for network in self._allowed) or not any(
            address in network for network in self._denied
        )


def _reachable_by(address: Address) -> Iterator[Address]:
    """Yield the address and the IPv4 addresses that gateways translate it to."""
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in network for network in _EMBEDDING):
            yield ipaddress.IPv4Address(address.packed[-4:])
        if address in _LOCAL_NAT64:
            found = (ipaddress.IPv4Address(bytes(address.packed[at] for at in octets)) for octets in _OCTETS)
            yield from (one for one in found if not one.is_unspecified)  # zero: the octets of another prefix length
        if address.sixtofour:
            yield address.sixtofour
        if address.teredo:
            yield from address.teredo
