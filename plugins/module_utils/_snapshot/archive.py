# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is in a sealed snapshot: written from what was captured, and read back only if all of it is as it should be."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.encryption import Key, seal, unlock, unseal
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.store import (
    CHUNK,
    FORMAT,
    SQLITE,
    Origin,
    Snapshot,
    check_archive,
    digest,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore import etcd_client as _etcd_api
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore import sqlite as _snapshot_database
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.server_volume import (
    Captured,
    keys_archive,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.etcd import PLACE

ORIGIN, CREDENTIALS, SERVER = "snapshot.json", "credentials.json", "server/"
DATABASES = {SQLITE: f"{SERVER}db/{_snapshot_database.NAME}", PLACE: "etcd/snapshot.db"}
LARGEST_KEY = 4 * 1024 * 1024  # no file of k3s's but the database comes near it
# What of the host's Secrets belongs to the data: k3s refuses another token, agents know the other two.
KEPT = ("server-token", "node-password", "ca.crt")


@dataclass(frozen=True)
class Content:
    """A snapshot that has proved whole."""

    credentials: dict[str, str] = field(repr=False)
    keys: bytes = field(repr=False)
    database: Path
    database_sha256: str


def credentials_of(*secrets: dict | None) -> dict[str, str]:
    found = {key: value for one in secrets for key, value in ((one or {}).get("data") or {}).items()}
    missing = [key for key in KEPT if key not in found]
    if missing:
        raise TenantryError(f"{', '.join(missing)}: not in the Secrets of this virtual cluster; was it ever ready?")
    return {key: base64.b64decode(found[key]).decode() for key in KEPT}


def write(path: Path, key: Key, origin: Origin, credentials: dict[str, str], captured: Captured) -> None:
    def fill(tar: tarfile.TarFile) -> None:
        _add(tar, ORIGIN, json.dumps(origin.as_dict()).encode())
        _add(tar, CREDENTIALS, json.dumps(credentials).encode())
        with tarfile.open(fileobj=io.BytesIO(captured.keys)) as keys:
            for member in keys:
                if member.isfile():
                    _add(tar, SERVER + member.name, keys.extractfile(member).read())
        with captured.database.open("rb") as database:
            tar.addfile(tar_entry(DATABASES[origin.datastore], captured.database.stat().st_size), database)

    seal(path, key, fill)


def read(snapshot: Snapshot, archive: Path, passphrase: str, directory: Path) -> Content:
    """All of it checked: size, checksum, passphrase, that it is the one it says, the database by its own means."""
    what = snapshot.path
    check_archive(snapshot, archive)
    key = unlock(snapshot.key, passphrase, what)
    found: dict[str, bytes] = {}
    database = directory / _snapshot_database.NAME
    with unseal(archive, key, what) as members:
        for entry, content in members:
            if entry.name == DATABASES[snapshot.origin.datastore]:
                _copy(content, database)
            elif content is not None and entry.size <= LARGEST_KEY:
                found[entry.name] = content.read()
    origin, credentials = (_parsed(found.pop(name, b""), what) for name in (ORIGIN, CREDENTIALS))
    if origin != snapshot.origin.as_dict() or origin["format"] != FORMAT:
        raise TenantryError(f"{what}: is another snapshot than its description says; use one that is whole")
    of_sqlite = snapshot.origin.datastore == SQLITE
    whole = database.exists() and (f"{SERVER}token" in found or not of_sqlite)
    if not whole or not all(key in credentials for key in KEPT):
        raise TenantryError(f"{what}: is not complete; use another snapshot")
    if not of_sqlite:
        _etcd_api.check(database)
    elif _snapshot_database.check(database) != snapshot.origin.revision:
        raise TenantryError(f"{what}: its datastore is not at the revision {snapshot.origin.revision} it should be at")
    files = ((tar_entry(name.removeprefix(SERVER), len(data)), data) for name, data in sorted(found.items()))
    return Content(credentials, keys_archive(files), database, digest(database))


def _copy(source: BinaryIO, target: Path) -> None:
    try:
        with target.open("xb") as file:
            while chunk := source.read(CHUNK):
                file.write(chunk)
    except OSError as error:
        if error.filename is None and error.errno is None:  # of the source
            raise
        raise TenantryError(f"cannot write to {target.parent}: {error.strerror}; make room there") from None


def _parsed(content: bytes, what: str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        raise TenantryError(f"{what}: is not a snapshot of a virtual cluster; use another") from None


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    tar.addfile(tar_entry(name, len(content)), io.BytesIO(content))


def tar_entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    return entry
