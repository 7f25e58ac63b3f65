# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The content of an encrypted snapshot: write it, and read it back only if all of it is valid."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, require, shown
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.secret_data import decoded_value
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.description import SQLITE, Origin, Snapshot
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.encryption import Key, decrypt_from, encrypt_to
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.store import CHUNK, check_archive, digest
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore import etcd_client, sqlite
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.server_volume import (
    DataCopy,
    keys_archive,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.etcd import PLACE

ORIGIN, CREDENTIALS, SERVER = "snapshot.json", "credentials.json", "server/"
DATABASES = {SQLITE: f"{SERVER}db/{sqlite.NAME}", PLACE: "etcd/snapshot.db"}
MOST_FILES, MOST_BYTES = 1000, 16 * 1024 * 1024  # of all but the database; a server has about 60 files, 100 KiB
# Files of a server beside its database, relative to its directory, and never outside of it.
_OF_SERVER = re.compile(r"token|(tls|cred)(/(?!\.{1,2}(/|$))[A-Za-z0-9._-]{1,100}){1,5}", re.ASCII)
_IN_ARCHIVE = re.compile(f"{SERVER}({_OF_SERVER.pattern})", re.ASCII)
# Values of the host's Secrets that belong to the data: k3s rejects another token, and agents know the other two.
KEPT = ("server-token", "node-password", "ca.crt")


@dataclass(frozen=True)
class Content:
    """A snapshot that was verified."""

    credentials: dict[str, str] = field(repr=False)
    keys: bytes = field(repr=False)
    database: Path
    database_sha256: str


def credentials_of(*secrets: dict | None) -> dict[str, str]:
    """Return the credentials that a snapshot needs from these Secrets. Raise a TenantryError if one is missing."""
    found = {key: value for one in secrets for key, value in ((one or {}).get("data") or {}).items()}
    missing = [key for key in KEPT if key not in found]
    if missing:
        raise TenantryError(
            f"{', '.join(missing)}: missing in the Secrets of this virtual cluster. Take a snapshot when it is ready"
        )
    return {key: decoded_value(found[key]) for key in KEPT}


def write(target: BinaryIO, key: Key, origin: Origin, credentials: dict[str, str], captured: DataCopy) -> None:
    """Write an encrypted archive: description, credentials, keys and database."""

    def fill(tar: tarfile.TarFile) -> None:
        _add(tar, ORIGIN, json.dumps(origin.as_dict()).encode())
        _add(tar, CREDENTIALS, json.dumps(credentials).encode())
        with tarfile.open(fileobj=io.BytesIO(captured.keys)) as keys:
            for member in keys:
                if member.isfile():
                    if not _OF_SERVER.fullmatch(member.name):
                        raise TenantryError(f"the server has a file {shown(member.name)} among its keys. Remove it")
                    _add(tar, SERVER + member.name, require(keys.extractfile(member), "its content").read())
        with captured.database.open("rb") as database:
            tar.addfile(tar_entry(DATABASES[origin.datastore], captured.database.stat().st_size), database)

    encrypt_to(target, key, fill)


def read(snapshot: Snapshot, archive: BinaryIO, key: Key, directory: Path) -> Content:
    """Verify and unpack an archive into `directory`.

    Checked are size, checksum, the description, each file and the database. Raise a TenantryError.
    """
    what = snapshot.path
    check_archive(snapshot, archive)
    database = directory / sqlite.NAME
    with decrypt_from(archive, key, what, snapshot.origin.database_bytes + 2 * MOST_BYTES) as members:
        found = _unpacked(members, snapshot.origin, database, what)
    origin, credentials = (_parsed(found.pop(name, b""), what) for name in (ORIGIN, CREDENTIALS))
    if origin != snapshot.origin.as_dict():
        raise TenantryError(f"{what}: does not match its description. Use another snapshot")
    of_sqlite = snapshot.origin.datastore == SQLITE
    whole = database.exists() and (f"{SERVER}token" in found or not of_sqlite)
    if not whole or not isinstance(credentials, dict) or not _are_texts(credentials.get(name) for name in KEPT):
        raise TenantryError(f"{what}: is not complete. Use another snapshot")
    if not of_sqlite:
        etcd_client.check(database)
    elif sqlite.check(database) != snapshot.origin.revision:
        raise TenantryError(f"{what}: its datastore is not at the revision {snapshot.origin.revision} it should be at")
    files = ((tar_entry(name.removeprefix(SERVER), len(data)), data) for name, data in sorted(found.items()))
    return Content(credentials, keys_archive(files), database, digest(database))


def _unpacked(
    members: Iterable[tuple[tarfile.TarInfo, Any]], origin: Origin, database: Path, what: str
) -> dict[str, bytes]:
    """Return the files by name, and unpack the database. Reject files that write() does not write."""
    found: dict[str, bytes] = {}
    room = MOST_BYTES
    for entry, content in members:
        name = entry.name
        is_database = name == DATABASES[origin.datastore] and entry.size == origin.database_bytes
        known = name in (ORIGIN, CREDENTIALS) or _IN_ARCHIVE.fullmatch(name)
        if content is not None and is_database and not database.exists():
            _copy(content, database)
        elif content is not None and known and name not in found and entry.size <= room and len(found) < MOST_FILES:
            found[name] = content.read()
            room -= entry.size
        else:
            raise TenantryError(f"{what}: contains an unexpected file {shown(name)}. Use another snapshot")
    return found


def _are_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _copy(source: BinaryIO, target: Path) -> None:
    try:
        with target.open("xb") as file:
            while chunk := source.read(CHUNK):
                file.write(chunk)
    except OSError as error:
        if error.filename is None and error.errno is None:  # of the source
            raise
        raise TenantryError(
            f"cannot write to {target.parent}: {error.strerror}. Free space there or choose another place"
        ) from None


def _parsed(content: bytes, what: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise TenantryError(f"{what}: is not a snapshot of a virtual cluster. Use another") from None


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    tar.addfile(tar_entry(name, len(content)), io.BytesIO(content))


def tar_entry(name: str, size: int) -> tarfile.TarInfo:
    """Return an entry for a file of `size` bytes, mode 0600."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    return entry
