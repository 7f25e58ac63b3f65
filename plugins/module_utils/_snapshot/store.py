# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where snapshots are kept: a folder per virtual cluster, two files per snapshot.

NAME.age is the sealed archive, NAME.json says what it is. The latter is written last and removed first, so a snapshot
is there as a whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import vcluster_namespace
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.kubeconfig import make_private

FORMAT = 1
LATEST = "latest"
DESCRIPTION, ARCHIVE = ".json", ".age"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
CHUNK = 1024 * 1024
SQLITE = "sqlite"


@dataclass(frozen=True)
class Origin:
    """What a snapshot is of. It is in the sealed archive too."""

    snapshot: str
    tenant: str
    name: str
    host: str
    mode: str
    version: str
    service_cidr: str | None
    created: str
    revision: int  # of the datastore
    database_bytes: int
    datastore: str = SQLITE

    @property
    def namespace(self) -> str:
        return vcluster_namespace(self.tenant, self.name)

    def as_dict(self) -> dict:
        """Of SQLite nothing was said before there were others."""
        content = asdict(self)
        if self.datastore == SQLITE:
            del content["datastore"]
        return {"format": FORMAT, **content}


@dataclass(frozen=True)
class Snapshot:
    """One snapshot in a store."""

    origin: Origin
    bytes: int
    sha256: str
    key: str
    path: str  # of the archive, or its URL

    def row(self) -> dict:
        return {**asdict(self.origin), "bytes": self.bytes, "sha256": self.sha256, "path": self.path}


def check_name(name: str) -> str:
    if not _NAME.fullmatch(name) or name == LATEST:
        raise TenantryError(
            f"snapshot: {shown(name)} is not a name; give letters, digits, `.`, `_` and `-`, at most 63, "
            f"starting with a letter or digit, and not {LATEST}"
        )
    return name


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


class Store(ABC):
    """Snapshots by virtual cluster and name; where files are is for those below."""

    def list(self, namespace: str) -> list[Snapshot]:
        """Those of one virtual cluster, the oldest first."""
        found = [self._read(namespace, file) for file in self._files(namespace) if file.endswith(DESCRIPTION)]
        return sorted(filter(None, found), key=lambda one: (one.origin.created, one.origin.snapshot))

    def find(self, namespace: str, name: str) -> Snapshot | None:
        return self._read(namespace, f"{name}{DESCRIPTION}")

    def get(self, namespace: str, name: str) -> Snapshot:
        """The snapshot of that name, or the newest."""
        there = self.list(namespace)
        names = [one.origin.snapshot for one in there]
        wanted = names[-1] if name == LATEST and names else name
        if wanted not in names:
            known = f"there are {', '.join(names[-5:])}" if names else "there is none"
            raise TenantryError(f"snapshot: {self.where(namespace)} has no {shown(name)}; {known}")
        return there[names.index(wanted)]

    def add(self, origin: Origin, key: str, archive: Path) -> Snapshot:
        """Make the archive that was written where draft() says a snapshot."""
        namespace, name = origin.namespace, origin.snapshot
        snapshot = Snapshot(
            origin, archive.stat().st_size, digest(archive), key, self.where(namespace, f"{name}{ARCHIVE}")
        )
        content = {**origin.as_dict(), "bytes": snapshot.bytes, "sha256": snapshot.sha256, "key": key}
        self._keep(namespace, name, archive, json.dumps(content, indent=2) + "\n")
        return snapshot

    def remove(self, snapshot: Snapshot) -> None:
        for ending in (DESCRIPTION, ARCHIVE):
            self._delete(snapshot.origin.namespace, f"{snapshot.origin.snapshot}{ending}")

    def _read(self, namespace: str, file: str) -> Snapshot | None:
        text = self._text(namespace, file)
        if text is None:
            return None
        where = self.where(namespace, file)
        try:
            content = json.loads(text)
            if content["format"] != FORMAT:
                raise TenantryError(
                    f"{where}: is of format {shown(content['format'])}, not {FORMAT}; "
                    "use the release of tenantry.kube it was made with"
                )
            origin = Origin(**{name: content[name] for name in Origin.__dataclass_fields__ if name in content})
            archive = where.removesuffix(DESCRIPTION) + ARCHIVE
            return Snapshot(origin, content["bytes"], content["sha256"], content["key"], archive)
        except (ValueError, KeyError, TypeError):
            raise TenantryError(f"{where}: is not the description of a snapshot; move it away") from None

    @abstractmethod
    def where(self, namespace: str, file: str = "") -> str:
        """For people."""

    @abstractmethod
    def namespaces(self) -> list[str]:
        """Those of virtual clusters that snapshots may be of."""

    @abstractmethod
    def draft(self, namespace: str, name: str, directory: Path) -> Path:
        """Where to write the archive of a new snapshot; `directory` is ours for a while."""

    @abstractmethod
    def fetch(self, snapshot: Snapshot, directory: Path) -> Path:
        """The archive as a local file."""

    @abstractmethod
    def _files(self, namespace: str) -> list[str]: ...

    @abstractmethod
    def _text(self, namespace: str, file: str) -> str | None: ...

    @abstractmethod
    def _keep(self, namespace: str, name: str, archive: Path, description: str) -> None: ...

    @abstractmethod
    def _delete(self, namespace: str, file: str) -> None: ...


class Directory(Store):
    """A directory of the controller, with a folder per virtual cluster."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory).expanduser()

    def where(self, namespace: str, file: str = "") -> str:
        return str(self._directory / namespace / file)

    def namespaces(self) -> list[str]:
        if not self._directory.is_dir():
            return []
        return sorted(folder.name for folder in self._directory.iterdir() if "--" in folder.name and folder.is_dir())

    def draft(self, namespace: str, name: str, directory: Path) -> Path:
        path = self._directory / namespace / f"{name}{ARCHIVE}"
        with self._doing("write to"):
            make_private(path.parent)
            path.unlink(missing_ok=True)  # of a run that was killed: without a description it is nothing
        return path

    def fetch(self, snapshot: Snapshot, directory: Path) -> Path:
        return Path(snapshot.path)

    def _files(self, namespace: str) -> list[str]:
        with self._doing("read"):
            folder = self._directory / namespace
            return sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []

    def _text(self, namespace: str, file: str) -> str | None:
        path = self._directory / namespace / file
        with self._doing("read"):
            return path.read_text(encoding="utf-8", errors="replace") if path.exists() else None

    def _keep(self, namespace: str, name: str, archive: Path, description: str) -> None:
        with self._doing("write to"):
            _write(archive.with_name(f"{name}{DESCRIPTION}"), description)

    def _delete(self, namespace: str, file: str) -> None:
        with self._doing("delete from"):
            (self._directory / namespace / file).unlink(missing_ok=True)

    @contextmanager
    def _doing(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TenantryError(
                f"directory: cannot {doing} {self._directory}: {error.strerror}; choose another"
            ) from None


def check_archive(snapshot: Snapshot, archive: Path) -> None:
    """Whether the archive is the one that was written, to the byte."""
    try:
        size = archive.stat().st_size
    except OSError as error:
        raise TenantryError(f"{snapshot.path}: {error.strerror}; use another snapshot") from None
    if size != snapshot.bytes:
        raise TenantryError(
            f"{snapshot.path}: has {size} bytes, not {snapshot.bytes}: it is truncated or of another snapshot; "
            "use another"
        )
    if digest(archive) != snapshot.sha256:
        raise TenantryError(f"{snapshot.path}: is not what its sha256 says: it is corrupted; use another snapshot")


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600 whatever the umask
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(path)
