# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The description of a snapshot, authenticated together with its archive.

It is read before the passphrase is known, and everyone with write access to the store can write it. So parse() accepts
only names that match the file and folder, and no paths. authenticate() verifies the rest.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.encryption import Key, unwrap_key

FORMAT = 2
LATEST = "latest"
DESCRIPTION, ARCHIVE = ".json", ".age"
SQLITE = "sqlite"
LARGEST = 16 * 1024  # of a description; they have about 1 KiB
_LARGEST_NUMBER = 2**63 - 1
_PURPOSE = b"tenantry.kube snapshot description"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_TEXTS = {
    "snapshot": _NAME,
    "tenant": re.compile(r"[a-z0-9-]{1,63}", re.ASCII),
    "name": re.compile(r"[a-z0-9-]{1,63}", re.ASCII),
    "host": re.compile(r"[a-z0-9][a-z0-9.-]{0,62}", re.ASCII),
    "mode": re.compile(r"(shared|dedicated)?"),
    "version": re.compile(r"(v1\.[0-9]{1,3}\.[0-9]{1,3}[A-Za-z0-9.+-]{0,40})?", re.ASCII),
    "created": re.compile(r"[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}\+00:00", re.ASCII),
    "datastore": re.compile(r"sqlite|etcd"),
    "sha256": re.compile(r"[0-9a-f]{64}", re.ASCII),
    "mac": re.compile(r"[0-9a-f]{64}", re.ASCII),
    "key": re.compile(r"[\x20-\x7e\n]{1,4096}", re.ASCII),
}
_NUMBERS = ("sequence", "revision", "database_bytes", "bytes")


@dataclass(frozen=True)
class Origin:
    """What a snapshot was taken of. The encrypted archive has it too."""

    snapshot: str
    tenant: str
    name: str
    host: str
    mode: str
    version: str
    service_cidr: str | None
    created: str
    sequence: int  # grows with each snapshot of a virtual cluster
    revision: int  # of the datastore
    database_bytes: int
    datastore: str = SQLITE

    @property
    def namespace(self) -> str:
        return naming.vcluster_namespace(self.tenant, self.name)

    def as_dict(self) -> dict:
        """Return the fields as they are written, with the format."""
        return {"format": FORMAT, **asdict(self)}


@dataclass(frozen=True)
class Snapshot:
    """A snapshot in a store, as its description says, which only authenticate() verifies."""

    origin: Origin
    bytes: int
    sha256: str
    key: str = field(repr=False)
    mac: str
    path: str  # of the archive, or its URL

    def row(self) -> dict:
        """Return the snapshot as modules return it."""
        return {**asdict(self.origin), "bytes": self.bytes, "sha256": self.sha256, "path": self.path}

    @property
    def text(self) -> str:
        """The content of the description file."""
        return json.dumps({**_claims(self.origin, self.bytes, self.sha256, self.key), "mac": self.mac}, indent=2) + "\n"


class BadFile(TenantryError):
    """A file of a store that cannot be used. Others are not affected."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.file = where.rpartition("/")[2]
        self.reason = reason

    def row(self) -> dict[str, str]:
        return {"file": self.file, "reason": self.reason}


def is_name(name: str) -> bool:
    """Return whether it is a valid name of a snapshot."""
    return bool(_NAME.fullmatch(name)) and name != LATEST


def check_name(name: str) -> str:
    """Return the name. Raise a TenantryError if it is not valid."""
    if not is_name(name):
        raise TenantryError(
            f"snapshot: {shown(name)} is not a name. Use letters, digits, `.`, `_` and `-`, at most 63, "
            f"starting with a letter or digit, and not {LATEST}"
        )
    return name


def describe(origin: Origin, key: Key, size: int, sha256: str, path: str) -> Snapshot:
    """Return the description of a new snapshot, authenticated with its key. `size` is in bytes."""
    return Snapshot(origin, size, sha256, key.locked, _mac(_claims(origin, size, sha256, key.locked), key), path)


def authenticate(snapshot: Snapshot, passphrase: str) -> Key:
    """Return the key of the archive. Raise a TenantryError if the description was not written with this passphrase."""
    key = unwrap_key(snapshot.key, passphrase, snapshot.path)
    claims = _claims(snapshot.origin, snapshot.bytes, snapshot.sha256, snapshot.key)
    if not hmac.compare_digest(snapshot.mac, _mac(claims, key)):
        raise TenantryError(f"{snapshot.path}: does not match its description, which was changed. Use another snapshot")
    return key


def parse(text: bytes, namespace: str, name: str, where: str, path: str) -> Snapshot:
    """Parse the description in file `name` of a virtual cluster's folder. Raise a TenantryError.

    `where` is its location for messages, `path` that of its archive.
    """
    try:
        if len(text) > LARGEST:
            raise ValueError(f"larger than {LARGEST // 1024} KiB")
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError("no object")
        if content.get("format") != FORMAT:
            raise BadFile(
                where,
                f"is of format {shown(content.get('format'))}, not {FORMAT}, and not supported. Move it "
                "away and take a new snapshot",
            )
        return _parsed(content, namespace, name, path)
    except (ValueError, RecursionError) as error:
        reason = "no JSON" if isinstance(error, (json.JSONDecodeError, UnicodeDecodeError, RecursionError)) else error
        raise BadFile(where, f"is not the description of a snapshot: {reason}. Move it away") from None


def _parsed(content: dict, namespace: str, name: str, path: str) -> Snapshot:
    wanted = {"format", "service_cidr", *_TEXTS, *_NUMBERS}
    if content.keys() != wanted:
        raise ValueError(f"{', '.join(sorted(map(shown, content.keys() ^ wanted))[:3])} missing or unknown")
    for key, pattern in _TEXTS.items():
        if not isinstance(content[key], str) or not pattern.fullmatch(content[key]):
            raise ValueError(f"{key} is {shown(content[key])}")
    for key in _NUMBERS:
        value = content[key]
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST_NUMBER:
            raise ValueError(f"{key} is {shown(content[key])}")
    if not _is_network(content["service_cidr"]):
        raise ValueError(f"service_cidr is {shown(content['service_cidr'])}")
    origin = Origin(**{key: content[key] for key in Origin.__dataclass_fields__})
    if (f"{origin.tenant}--{origin.name}", origin.snapshot) != (namespace, name):
        raise ValueError(f"it says {origin.tenant}--{origin.name}, {origin.snapshot}, not {namespace}, {name}")
    return Snapshot(origin, content["bytes"], content["sha256"], content["key"], content["mac"], path)


def _is_network(value: object) -> bool:
    """Return whether it is a network or None, as in snapshots of earlier releases."""
    try:
        return value is None or (isinstance(value, str) and bool(ipaddress.ip_network(value)))
    except ValueError:
        return False


def _claims(origin: Origin, size: int, sha256: str, key: str) -> dict[str, Any]:
    return {**origin.as_dict(), "bytes": size, "sha256": sha256, "key": key}


def _mac(claims: dict[str, Any], key: Key) -> str:
    derived = hmac.digest(str(key.identity).encode(), _PURPOSE, "sha256")
    return hmac.digest(derived, json.dumps(claims, sort_keys=True).encode(), "sha256").hex()
