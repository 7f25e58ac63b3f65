# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stores of snapshots: a folder per virtual cluster, two files per snapshot.

NAME.age is the encrypted archive, NAME.json its description, which is written last and deleted first, so a snapshot
exists as a whole or not at all. A store is not trusted beyond the loss of its files: names come from the request, never
from the content of a file.
"""

from __future__ import annotations

import builtins
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.description import (
    ARCHIVE,
    DESCRIPTION,
    LATEST,
    BadFile,
    Origin,
    Snapshot,
    describe,
    is_name,
    parse,
)
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.encryption import Key

CHUNK = 1024 * 1024
MOST_FILES = 20_000  # of a virtual cluster
MOST_FOLDERS = 20_000  # of virtual clusters


@dataclass(frozen=True)
class Draft:
    """An archive that is being written. `place` is the store's own reference to it."""

    file: BinaryIO
    place: Any


@dataclass(frozen=True)
class Listing:
    """The snapshots of one virtual cluster, the oldest first, and files that are invalid or damaged."""

    snapshots: list[Snapshot]
    unreadable: list[BadFile]


class Store(ABC):
    """Snapshots by virtual cluster and name. Subclasses know where the files are."""

    def list(self, namespace: str) -> Listing:
        """Return the snapshots of a virtual cluster. Unusable files are listed, and hide nothing else."""
        sizes = self._files(namespace)
        snapshots, unreadable = [], []
        for file in sizes:
            if not file.endswith(DESCRIPTION) or file.startswith("."):
                continue
            try:
                found = self._examined(namespace, file, sizes)
            except BadFile as error:
                unreadable.append(error)
            else:
                snapshots += [found] if found else []
        snapshots.sort(key=lambda one: (one.origin.sequence, one.origin.snapshot))
        return Listing(snapshots, unreadable)

    def find(self, namespace: str, name: str) -> Snapshot | None:
        """Return the snapshot, or None. Raise a TenantryError for an invalid description."""
        file = f"{name}{DESCRIPTION}"
        text = self._text(namespace, file)
        if text is None:
            return None
        return parse(text, namespace, name, self.where(namespace, file), self.where(namespace, f"{name}{ARCHIVE}"))

    def get(self, namespace: str, name: str, there: Listing | None = None) -> Snapshot:
        """Return the named snapshot, or for LATEST the newest one that is readable.

        `there` is the result of list(), if known. Raise a TenantryError if there is none.
        """
        if name != LATEST:
            found = self.find(namespace, name)
            if found:
                return found
        there = there or self.list(namespace)
        if name == LATEST and there.snapshots:
            return there.snapshots[-1]
        names = [one.origin.snapshot for one in there.snapshots]
        known = f"there are {', '.join(names[-5:])}" if names else "there is none"
        bad = f". Of the files there, {'; '.join(map(str, there.unreadable[:3]))}" if there.unreadable else ""
        remedy = "Name one of these" if names else "Take one with state: present, or correct directory or bucket"
        raise TenantryError(f"snapshot: {self.where(namespace)} has no {shown(name)}; {known}{bad}. {remedy}")

    def add(self, origin: Origin, key: Key, draft: Draft) -> Snapshot:
        """Publish the draft as a snapshot."""
        size, sha256 = measured(draft.file)
        path = self.where(origin.namespace, f"{origin.snapshot}{ARCHIVE}")
        snapshot = describe(origin, key, size, sha256, path)
        self._keep(origin.namespace, origin.snapshot, draft, snapshot.text.encode())
        return snapshot

    def remove(self, snapshot: Snapshot) -> None:
        """Delete the snapshot, its description first."""
        for ending in (DESCRIPTION, ARCHIVE):
            self._delete(snapshot.origin.namespace, f"{snapshot.origin.snapshot}{ending}")

    def _examined(self, namespace: str, file: str, sizes: dict[str, int | None]) -> Snapshot | None:
        """Return the snapshot of a description, validated without the passphrase and without reading the archive."""
        name = file.removesuffix(DESCRIPTION)
        if not is_name(name):
            raise BadFile(shown(file).strip('"'), "is not named like a snapshot. Move it away")
        snapshot = self.find(namespace, name)
        if snapshot and (size := sizes.get(f"{name}{ARCHIVE}")) != snapshot.bytes:
            has = "is missing or not a file" if size is None else f"has {size} bytes"
            raise BadFile(
                snapshot.path, f"{has}, and should have {snapshot.bytes}: it is truncated or of another snapshot"
            )
        return snapshot

    @abstractmethod
    def where(self, namespace: str, file: str = "") -> str:
        """Return the location of a file for messages."""

    def listed(self, is_wanted: Callable[[str], bool]) -> tuple[builtins.list[str], TenantryError | None]:
        """Return the sorted namespaces that are wanted, and an error if they may be incomplete."""
        found: list[str] = []
        try:
            for name in filter(is_wanted, self.namespaces()):
                if len(found) == MOST_FOLDERS:
                    raise TenantryError(
                        f"{self.where('').rstrip('/')}: has more than {MOST_FOLDERS} folders of virtual clusters, and "
                        "some of them are not shown. Move folders away, or set tenant and name"
                    )
                found.append(name)
        except TenantryError as error:
            if not found:
                raise
            return sorted(found), error
        return sorted(found), None

    @abstractmethod
    def namespaces(self) -> Iterable[str]:
        """Yield the namespaces of virtual clusters that have a folder."""

    @abstractmethod
    def draft(self, namespace: str, name: str, directory: Path) -> AbstractContextManager[Draft]:
        """Open a file for a new archive. `directory` is private temporary space."""

    @abstractmethod
    def fetch(self, snapshot: Snapshot, directory: Path) -> AbstractContextManager[BinaryIO]:
        """Open an authenticated snapshot's archive for reading. `directory` is private temporary space."""

    @abstractmethod
    def _files(self, namespace: str) -> dict[str, int | None]:
        """Return sizes in bytes by name, sorted. Only files."""

    @abstractmethod
    def _text(self, namespace: str, file: str) -> bytes | None:
        """Return the beginning of a file, one byte more than the largest description, or None if there is none."""

    @abstractmethod
    def _keep(self, namespace: str, name: str, draft: Draft, description: bytes) -> None: ...

    @abstractmethod
    def _delete(self, namespace: str, file: str) -> None: ...


def is_namespace(name: str) -> bool:
    """Return whether a folder's name may be the namespace of a virtual cluster."""
    tenant, separator, vcluster = name.partition("--")
    try:
        naming.vcluster_namespace(naming.check_name(tenant, "tenant"), naming.check_name(vcluster, "name"))
    except TenantryError:
        return False
    return bool(separator)


def few(names: Iterable[str], where: str) -> list[str]:
    """Return the sorted names. Raise a TenantryError if there are more than MOST_FILES."""
    found = sorted(islice(names, MOST_FILES + 1))
    if len(found) > MOST_FILES:
        raise TenantryError(f"{where}: has more than {MOST_FILES} files. Move some away")
    return found


def now() -> datetime:
    """Return the current time in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def check_archive(snapshot: Snapshot, archive: BinaryIO) -> None:
    """Raise a TenantryError if the archive's size or checksum differ from the description."""
    size, sha256 = measured(archive, snapshot.bytes + 1)
    if size != snapshot.bytes:
        raise TenantryError(
            f"{snapshot.path}: does not have the {snapshot.bytes} bytes it should have: it is truncated or of another "
            "snapshot. Use another"
        )
    if sha256 != snapshot.sha256:
        raise TenantryError(f"{snapshot.path}: does not match its sha256: it is corrupted. Use another snapshot")
    archive.seek(0)


def measured(file: BinaryIO, most: int | None = None) -> tuple[int, str]:
    """Return size and SHA-256 of an open file, reading at most `most` bytes."""
    found, size = hashlib.sha256(), 0
    file.seek(0)
    while chunk := file.read(CHUNK if most is None else min(CHUNK, most - size)):
        found.update(chunk)
        size += len(chunk)
    return size, found.hexdigest()


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
