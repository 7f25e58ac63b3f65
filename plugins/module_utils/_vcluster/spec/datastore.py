# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An external database as k3s's datastore, validated. Pure.

No error quotes the endpoint: if it does not have the expected form, any part may be the password.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import DNS_NAME
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.networking import parse_each

OPTIONS = {
    "endpoint": {"type": "str", "required": True, "no_log": True},
    "ca": {"type": "str"},
    "certificate": {"type": "str"},
    "key": {"type": "str", "no_log": True},
    "networks": {"type": "list", "elements": "str"},
}
PORTS = {"postgres": 5432, "mysql": 3306}
FORMS = {
    "postgres": "postgres://USER:PASSWORD@HOST:5432/DATABASE, special characters of user and password as %40",
    "mysql": "mysql://USER:PASSWORD@tcp(HOST:3306)/DATABASE",
}
# An alias that k3s does not use, but its driver accepts.
ALIASES = {"postgresql": "postgres"}
FILES = {"ca": "datastore-ca.crt", "certificate": "datastore.crt", "key": "datastore.key"}
# The key of k3s's configuration for each of the files.
KEYS = {"ca": "datastore-cafile", "certificate": "datastore-certfile", "key": "datastore-keyfile"}

_DATABASE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}", re.ASCII)
_MYSQL = re.compile(r"(?:[^:@]*(?::(?P<password>.*))?@)?tcp\((?P<address>[^()]+)\)/(?P<database>[^/?]*)(?:\?.*)?")


@dataclass(frozen=True, repr=False)
class Datastore:
    """A database. `place` identifies it without credentials."""

    endpoint: str
    place: str
    host: str
    port: int
    password: str
    files: tuple[tuple[str, str], ...]
    networks: tuple[str, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """The networks it is in, as far as they are known."""
        own = () if _address(self.host) is None else (self.host,)
        return (*own, *self.networks)

    @property
    def namespace(self) -> str | None:
        """The host's namespace, if the database is a Service there."""
        labels = self.host.removesuffix(".cluster.local").split(".")
        return labels[1] if len(labels) == 3 and labels[2] == "svc" else None


def parse_datastore(given: dict | None) -> Datastore | None:
    """Validate the option datastore. Return None if k3s has its own."""
    if not given:
        return None
    endpoint = given["endpoint"]
    kind = _kind(endpoint)
    rest = endpoint.partition("://")[2]
    found = _postgres(rest) if kind == "postgres" else _mysql(rest)
    if found is None:
        raise TenantryError(f"datastore.endpoint: is not of the form {FORMS[kind]}")
    host, port, database, password = found
    if kind == "postgres":
        database = database.lower()  # as k3s does
    _check_host(host)
    if not _DATABASE.fullmatch(database):
        raise TenantryError(
            "datastore.endpoint: must name a database of letters, digits, _ and -. Use a separate one for each "
            "virtual cluster"
        )
    at = f"[{host}]" if ":" in host else host
    return Datastore(
        endpoint=endpoint,
        place=f"{kind}://{at}:{port}/{database}",
        host=host,
        port=port,
        password=password,
        files=tuple(_files(given)),
        networks=parse_each(given.get("networks"), "datastore.networks"),
    )


def _kind(endpoint: str) -> str:
    if "{{" in endpoint:
        raise TenantryError("datastore.endpoint: contains a template, which is not rendered here. Set the value itself")
    if not endpoint.isprintable() or " " in endpoint or len(endpoint) > 2048:
        raise TenantryError("datastore.endpoint: must be one line of 2048 characters at most without spaces")
    scheme = endpoint.partition("://")[0]
    kind = ALIASES.get(scheme, scheme)
    if kind not in PORTS:
        raise TenantryError(
            "datastore.endpoint: must begin with postgres:// or mysql://. For k3s's own datastore, omit datastore"
        )
    return kind


def _postgres(rest: str) -> tuple[str, int, str, str] | None:
    try:
        parts = urlsplit(f"postgres://{rest}")
        port = parts.port or PORTS["postgres"]
    except ValueError:
        return None
    if not parts.hostname or parts.fragment:
        return None
    return parts.hostname, port, parts.path.removeprefix("/"), unquote(parts.password or "")


def _mysql(rest: str) -> tuple[str, int, str, str] | None:
    match = _MYSQL.fullmatch(rest)
    if not match:
        return None
    try:
        parts = urlsplit(f"mysql://{match['address']}")
        port = parts.port or PORTS["mysql"]
    except ValueError:
        return None
    if not parts.hostname or parts.username is not None or parts.path:
        return None
    return parts.hostname, port, match["database"], match["password"] or ""


def _check_host(host: str) -> None:
    address = _address(host)
    if address is None and not DNS_NAME.fullmatch(host):
        raise TenantryError("datastore.endpoint: its host is neither a DNS name nor an address. Set one host")
    labels = host.removesuffix(".cluster.local").split(".")
    if labels[-1] == "svc" and len(labels) != 3:
        raise TenantryError(
            "datastore.endpoint: its host is a name in the host's cluster DNS other than SERVICE.NAMESPACE.svc, and "
            "servers do not use that DNS. Name a Service that has a cluster IP, or give an address"
        )
    loopback = host == "localhost" if address is None else address.is_loopback or address.is_unspecified
    if loopback:
        raise TenantryError(
            "datastore.endpoint: its host is this machine's own address, which in the server's pod is the pod itself. "
            "Set the name or address at which the host's pods reach the database"
        )


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _files(given: dict) -> Iterable[tuple[str, str]]:
    if (given.get("certificate") is None) != (given.get("key") is None):
        raise TenantryError("datastore: certificate and key go together. Set both or neither")
    for option in FILES:
        content = given.get(option)
        if content is None:
            continue
        if "-----BEGIN " not in content or "{{" in content:
            raise TenantryError(f"datastore.{option}: is not PEM. Set the content of the file, not its path")
        yield option, content
