"""Where a tenant's services must not lead: the host's own networks. The platform keeps their list current."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
FILE = "networks.json"
REFRESH_SECONDS = 5.0
# IPv6 addresses by which IPv4 ones are reached, each in its last 32 bits (RFC 4291, 2765, 6052).
_EMBEDDING = [ipaddress.ip_network(text) for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")]
# For NAT64 by a site's own gateways (RFC 8215), which have a /48, /56, /64 or /96 of it. By that the IPv4 address is in
# other octets (RFC 6052, 2.2).
_LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")
_OCTETS = ((6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12), (12, 13, 14, 15))


class HostNetworks:
    """`closed` and `open` are networks; what is in both is open."""

    def __init__(
        self, path: Path | None = None, *, denied: tuple[str, ...] = (), allowed: tuple[str, ...] = ()
    ) -> None:
        self._path = path
        self._text = ""
        self._denied = [ipaddress.ip_network(text) for text in denied]
        self._allowed = [ipaddress.ip_network(text) for text in allowed]

    @classmethod
    def read(cls, directory: Path) -> HostNetworks:
        made = cls(directory / FILE)
        made.refresh()
        return made

    def refresh(self) -> bool:
        """Whether the file says something else than before."""
        text = self._path.read_text() if self._path else ""
        if text == self._text:
            return False
        given = json.loads(text)
        self._denied = [ipaddress.ip_network(network) for network in given["closed"]]
        self._allowed = [ipaddress.ip_network(network) for network in given["open"]]
        self._text = text
        return True

    def allows(self, text: str) -> bool:
        """Whether this is an address, and none by which something of the host is reached."""
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        return all(map(self._allows_one, _reachable_by(address)))

    def _allows_one(self, address: Address) -> bool:
        # Where a node would reach itself or its link, whatever the platform has told.
        if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
            return False
        return any(address in network for network in self._allowed) or not any(
            address in network for network in self._denied
        )


def _reachable_by(address: Address) -> Iterator[Address]:
    """The address, and those that gateways make of it."""
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in network for network in _EMBEDDING):
            yield ipaddress.IPv4Address(address.packed[-4:])
        if address in _LOCAL_NAT64:
            found = (ipaddress.IPv4Address(bytes(address.packed[at] for at in octets)) for octets in _OCTETS)
            yield from (one for one in found if not one.is_unspecified)  # the octets of another length
        if address.sixtofour:
            yield address.sixtofour
        if address.teredo:
            yield from address.teredo
