# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Encrypt snapshots as streams: a compressed tar archive in the format of age.

The archive is encrypted for a key of its own, and that key with the passphrase, like age's identity files. So a
passphrase is stretched once per call, a wrong one is found before the archive is read, and `age` and `tar` can open a
snapshot without this collection.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot import age_format

try:
    import pyrage
except ImportError:  # reported once, by _module.main()
    pyrage = None

SHORTEST_PASSPHRASE = 12
COMPRESSION = 6


@dataclass(frozen=True)
class Key:
    """The key of an archive. `locked` is the same, encrypted with the passphrase."""

    identity: Any = field(repr=False)
    locked: str


def check_passphrase(passphrase: str | None) -> str:
    """Return the passphrase. Raise a TenantryError if it is missing or too short."""
    if not passphrase:
        raise TenantryError("passphrase: required, because snapshots are always encrypted. Set one from a vault")
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise TenantryError(
            f"passphrase: has {len(passphrase)} characters. Set {SHORTEST_PASSPHRASE} or more, "
            "because it alone protects the snapshot"
        )
    return passphrase


def new_key(passphrase: str) -> Key:
    """Return a new key, also encrypted with the passphrase."""
    identity = pyrage.x25519.Identity.generate()
    return Key(identity, age_format.wrap_key(f"{identity}\n", passphrase))


def unwrap_key(locked: str, passphrase: str, what: str) -> Key:
    """Decrypt a key. Raise a TenantryError that names `what` if the passphrase is wrong."""
    try:
        return Key(pyrage.x25519.Identity.from_str(age_format.unwrap_key(locked, passphrase).strip()), locked)
    except (age_format.WrongPassphrase, pyrage.IdentityError):
        raise TenantryError(
            f"passphrase: cannot decrypt {what}. Set the passphrase with which that snapshot was taken"
        ) from None


class _Bounded:
    """A file that ends after the expected number of bytes."""

    def __init__(self, file: Any, most: int) -> None:
        self._file, self._left = file, most

    def read(self, size: int) -> bytes:
        content = self._file.read(min(size, self._left + 1))
        self._left -= len(content)
        if self._left < 0:
            raise tarfile.TarError("larger than it should be")
        return content


def encrypt_to(target: BinaryIO, key: Key, fill: Callable[[tarfile.TarFile], None]) -> None:
    """Encrypt what `fill` adds to the archive into an open file."""

    def archive(descriptor: int) -> None:
        with (
            os.fdopen(descriptor, "wb") as pipe,
            gzip.GzipFile(fileobj=pipe, mode="wb", compresslevel=COMPRESSION) as compressed,
            tarfile.open(fileobj=compressed, mode="w|") as tar,
        ):
            fill(tar)

    reading, writing = os.pipe()
    with (
        ThreadPoolExecutor(1) as executor,
        os.fdopen(reading, "rb") as pipe,
    ):
        filled = executor.submit(archive, writing)
        pyrage.encrypt_io(pipe, target, [key.identity.to_public()])
        filled.result()
        target.flush()


@contextmanager
def decrypt_from(source: BinaryIO, key: Key, what: str, most: int) -> Iterator[Iterator[tuple[tarfile.TarInfo, Any]]]:
    """Yield members and contents of an archive of at most `most` bytes when unpacked.

    Raise a TenantryError that names `what` for truncated or modified content, at the end at the latest.
    """

    def decrypt(descriptor: int) -> None:
        with os.fdopen(descriptor, "wb") as pipe:
            pyrage.decrypt_io(source, pipe, [key.identity])

    def members(pipe: Any) -> Iterator[tuple[tarfile.TarInfo, Any]]:
        unpacked = _Bounded(gzip.GzipFile(fileobj=pipe), most)
        with tarfile.open(fileobj=unpacked, mode="r|") as tar:  # type: ignore[call-overload]  # it only reads
            for member in tar:
                yield member, tar.extractfile(member) if member.isfile() else None
        while unpacked.read(1024 * 1024):  # what follows an archive is checked too
            pass

    reading, writing = os.pipe()
    with ThreadPoolExecutor(1) as executor:
        decrypted = executor.submit(decrypt, writing)
        try:
            with os.fdopen(reading, "rb") as pipe:
                yield members(pipe)
            decrypted.result()
        except (OSError, EOFError, ValueError, RecursionError, tarfile.TarError, zlib.error, pyrage.DecryptError):
            raise TenantryError(
                f"{what}: is truncated, corrupted or encrypted with another key. Use another snapshot"
            ) from None
