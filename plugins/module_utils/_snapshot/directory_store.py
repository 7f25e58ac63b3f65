# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Snapshots in a directory of the controller, with a folder per virtual cluster.

Everyone with write access can replace folders and files by links at any time. So a folder is opened once, without
following links, and everything else is relative to it. Files are replaced by renaming, never overwritten.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.kubeconfig import make_private
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.description import (
    ARCHIVE,
    DESCRIPTION,
    LARGEST,
    BadFile,
    Snapshot,
)
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.store import Draft, Store, few, is_namespace

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # O_NONBLOCK: opening a pipe must not block
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Directory(Store):
    """A store in a directory. Errors begin with `directory:`."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory).expanduser()

    def where(self, namespace: str, file: str = "") -> str:
        return str(self._directory / namespace / file)

    def namespaces(self) -> list[str]:
        """Return the folders of virtual clusters, without links."""
        with self._doing("read"):
            if not self._directory.is_dir():
                return []
            with os.scandir(self._directory) as entries:
                return sorted(
                    entry.name for entry in entries if is_namespace(entry.name) and entry.is_dir(follow_symlinks=False)
                )

    @contextmanager
    def draft(self, namespace: str, name: str, directory: Path) -> Iterator[Draft]:
        """Write the archive under a temporary name in the folder of the virtual cluster."""
        with self._doing("write to"):
            make_private(self._directory)
            with suppress(FileExistsError):
                (self._directory / namespace).mkdir(0o700)
            folder = os.open(self._directory / namespace, _FOLDER)
        try:
            with self._doing("write to"):
                part, file = _new(folder, f"{name}{ARCHIVE}")
            with file:
                try:
                    yield Draft(file, (folder, part))
                finally:
                    with suppress(FileNotFoundError):  # it has its name
                        os.unlink(part, dir_fd=folder)
        finally:
            os.close(folder)

    @contextmanager
    def fetch(self, snapshot: Snapshot, directory: Path) -> Iterator[BinaryIO]:
        with self._doing("read"), self._folder(snapshot.origin.namespace) as folder:
            file = _opened(folder, f"{snapshot.origin.snapshot}{ARCHIVE}")
        with file:
            yield file

    def _files(self, namespace: str) -> dict[str, int | None]:
        with self._doing("read"):
            try:
                with self._folder(namespace) as folder, os.scandir(folder) as entries:
                    names = few((entry.name for entry in entries), self.where(namespace))
                    return {name: _size(folder, name) for name in names}
            except FileNotFoundError:
                return {}

    def _text(self, namespace: str, file: str) -> bytes | None:
        with self._doing("read"), suppress(FileNotFoundError), self._folder(namespace) as folder:
            try:
                with _opened(folder, file) as found:
                    return found.read(LARGEST + 1)
            except FileNotFoundError:
                raise
            except OSError as error:
                link = error.errno == errno.ELOOP
                reason = "a link or something else is where a file belongs" if link else error.strerror
                raise BadFile(self.where(namespace, file), f"cannot be read: {reason}. Move it away") from None
        return None

    def _keep(self, namespace: str, name: str, draft: Draft, description: bytes) -> None:
        folder, part = draft.place
        with self._doing("write to"):
            _named(draft.file, folder, part, f"{name}{ARCHIVE}")
            part, file = _new(folder, f"{name}{DESCRIPTION}")
            with file:
                file.write(description)
                _named(file, folder, part, f"{name}{DESCRIPTION}")

    def _delete(self, namespace: str, file: str) -> None:
        with self._doing("delete from"), suppress(FileNotFoundError), self._folder(namespace) as folder:
            os.unlink(file, dir_fd=folder)

    @contextmanager
    def _folder(self, namespace: str) -> Iterator[int]:
        descriptor = os.open(self._directory / namespace, _FOLDER)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _doing(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise TenantryError(
                    f"directory: cannot {doing} {self._directory}: a link or something else is where a folder or a "
                    "file of snapshots belongs. Move it away"
                ) from None
            raise TenantryError(
                f"directory: cannot {doing} {self._directory}: {error.strerror}. Choose another"
            ) from None


def _new(folder: int, name: str) -> tuple[str, BinaryIO]:
    """Create a file that only its owner can read, with a random temporary name."""
    part = f".{name}.{secrets.token_hex(8)}"
    return part, os.fdopen(os.open(part, _NEW, 0o600, dir_fd=folder), "w+b")


def _named(file: BinaryIO, folder: int, part: str, name: str) -> None:
    file.flush()
    os.fsync(file.fileno())
    os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)


def _size(folder: int, name: str) -> int | None:
    """Return the size of a file, or None if it is not a file or does not exist."""
    with suppress(FileNotFoundError):
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        return found.st_size if stat.S_ISREG(found.st_mode) else None
    return None


def _opened(folder: int, name: str) -> BinaryIO:
    descriptor = os.open(name, _READ, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    return os.fdopen(descriptor, "rb")
